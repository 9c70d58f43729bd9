//! What the rest of the world asks of a shard.

use std::collections::vec_deque::IntoIter;
use std::sync::Arc;

use ropewalk_core::{ConnectionId, Consumer, Input, Instant, Report, SendError, Shutdown};

use super::Shard;
use super::member::{Helper, Member, Sockets};
use super::outcomes::Outcomes;
use crate::link::{Link, Settled};
use crate::mailbox::{Command, Opening};
use crate::oneshot::Promise;
use crate::room::{Post, Posted};
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;

/// How many messages of one connection, or packs of them, are passed on before the shard looks at its budget.
const POSTED_MAX: usize = 256;

impl<R: Runtime> Shard<R> {
    /// Passes a command on to the set. Its outputs are still to be performed, but where a command concerns
    /// many connections.
    pub(super) fn obey(&mut self, now: Instant, command: Command) {
        match command {
            Command::Open(opening) => self.open(now, *opening),
            Command::Send(link) => {
                let posted = link.room.take_posted();
                self.send(now, link, posted.into_iter());
            }
            Command::SendRest(link, posted) => self.send(now, link, posted),
            Command::Ask(link) => {
                if let Some(connection) = link.id() {
                    self.set.handle(now, Input::Ask { connection });
                }
            }
            Command::Done(done) => self.conclude(now, done),
            Command::PauseProcessing(link) => self.pause_processing(link.id()),
            Command::ResumeProcessing(link) => {
                if let Some(connection) = link.id() {
                    self.resume_processing(now, connection);
                }
            }
            Command::Provided {
                connection,
                generation,
                result,
            } => {
                let input = Input::Provided {
                    connection,
                    generation,
                    result: *result,
                };
                self.set.handle(now, input);
            }
            Command::Remove(link, how) => self.remove(now, &link, how),
            Command::RemoveAll(deadline) => self.remove_all(now, deadline),
            Command::Pause(link) => {
                if let Some(id) = link.id() {
                    self.set.pause(now, id);
                }
            }
            Command::Resume(link) => {
                if let Some(id) = link.id() {
                    self.set.resume(now, id);
                }
            }
            Command::RetryNow(link) => {
                if let Some(id) = link.id() {
                    self.set.retry_now(now, id);
                }
            }
            Command::Admitted {
                connection,
                request,
                stage,
            } => {
                // The request may have been released while its grant was on its way.
                let is_latest = |member: &mut Member| member.request == Some(request);
                if self.member(connection).is_some_and(is_latest) {
                    self.set.handle(now, Input::Admitted { connection, stage });
                }
            }
            Command::BytesGranted(bytes) => self.set.handle(now, Input::BytesGranted(bytes)),
            Command::Redrive(link, letter) => self.redrive(now, &link, &letter),
            Command::CallGranted(connection) => {
                self.set.handle(now, Input::CallGranted { connection });
            }
            Command::CallsRecalled => {
                self.calls_kept = 0;
                self.set.keep_calls(0);
            }
            Command::Snapshot(link, promise) => {
                // The set's time goes on, so that it knows who is idle.
                self.perform(now);
                let snapshot = link.id().and_then(|id| self.snapshot(id));
                if let Some(snapshot) = snapshot {
                    promise.keep(snapshot);
                }
            }
            Command::SnapshotAll(promise) => {
                self.perform(now);
                let snapshots = self.set.ids().filter_map(|id| self.snapshot(id));
                promise.keep(snapshots.collect());
            }
        }
    }

    /// Passes on what was posted, but so that others have their turn before there is too much.
    fn send(&mut self, now: Instant, link: Arc<Link>, mut posted: IntoIter<Post>) {
        self.pass_on(now, &link, posted.by_ref().take(POSTED_MAX));
        if posted.len() > 0 {
            self.mail.push_front(Command::SendRest(link, posted));
        }
    }

    /// Passes messages on to the set, as few changes.
    fn pass_on(&mut self, now: Instant, link: &Link, posted: impl Iterator<Item = Post>) {
        let Some(id) = link.id() else {
            return posted.for_each(Post::not_sent);
        };
        let mut posted = posted.peekable();
        while let Some(post) = posted.next() {
            match post {
                Post::One(first) => {
                    let more = std::iter::from_fn(|| {
                        match posted.next_if(|post| matches!(post, Post::One(_)))? {
                            Post::One(posted) => Some(posted),
                            Post::Packed(_) => None,
                        }
                    });
                    self.pass_on_each(now, id, link, std::iter::once(first).chain(more));
                }
                Post::Packed(packed) => {
                    let (mut items, mut bytes) = (0, 0);
                    self.set.send_packed(now, id, *packed, |refused| {
                        items += 1;
                        bytes += refused.message.len();
                    });
                    if items > 0 {
                        link.room.give(items, bytes);
                    }
                }
            }
            self.perform(now);
        }
    }

    fn pass_on_each(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: &Link,
        posted: impl Iterator<Item = Posted>,
    ) {
        let member = self.members.get_mut(id.index());
        let mut member = member.and_then(|it| it.as_mut().filter(|it| it.id == id));
        let (mut items, mut bytes) = (0, 0);
        let messages = posted.map(|Posted { message, outcome }| {
            let outcome = outcome.filter(Promise::is_awaited);
            let report = match outcome {
                Some(_) => Report::Outcome,
                None => Report::Quiet,
            };
            (message, report, outcome)
        });
        self.set
            .send_all(now, id, messages, |outcome, sent| match (sent, outcome) {
                (Ok(message), Some(outcome)) => {
                    if let Some(member) = &mut member {
                        member.outcomes.insert(message, outcome);
                    }
                }
                (Ok(_), None) => {}
                // The connection was ended while the message was on its way here, or it is not to wait.
                (Err(SendError { message, .. }), outcome) => {
                    items += 1;
                    bytes += message.len();
                    Posted { message, outcome }.not_sent();
                }
            });
        if items > 0 {
            link.room.give(items, bytes);
        }
    }

    fn open(&mut self, now: Instant, opening: Opening) {
        let Opening {
            link,
            target,
            config,
            provide,
            transport,
            process,
        } = opening;
        let settings = config.settings().processor;
        let id = self.set.insert(now, target, config, link.consumer);
        link.begin(id);
        if self.members.len() <= id.index() {
            self.members.resize_with(id.index() + 1, || None);
        }
        self.members[id.index()] = Some(Member {
            id,
            link,
            helper: Helper::new(provide, transport),
            pending: None,
            resolving: None,
            request: None,
            sockets: Sockets::default(),
            outcomes: Outcomes::default(),
            redriven: None,
        });
        if let Some(process) = process {
            self.begin_processing(now, id, process, &settings);
        }
    }

    fn remove_all(&mut self, now: Instant, deadline: Instant) {
        let ids: Vec<_> = self.set.ids().collect();
        for id in ids {
            if let Some(member) = self.member(id) {
                let link = Arc::clone(&member.link);
                link.room.close();
                self.remove(now, &link, Shutdown::Graceful { deadline });
                self.perform(now);
            }
        }
    }

    fn remove(&mut self, now: Instant, link: &Arc<Link>, how: Shutdown) {
        let Some(connection) = link.id() else {
            return;
        };
        // What a pause held back is to be processed before the end.
        match link.consumer {
            Consumer::Pull => link.resume_processing(),
            Consumer::Process => self.resume_processing(now, connection),
        }
        // Whoever posted the first of these has perhaps not told yet, and this is the end of a later one's sender.
        self.pass_on(now, link, link.room.take_posted().into_iter());
        self.set.remove(now, connection, how);
        self.perform(now);
        if link.settle() == Settled::Ask {
            self.set.handle(now, Input::Ask { connection });
        }
    }

    fn snapshot(&self, id: ConnectionId) -> Option<Snapshot> {
        let member = self.members.get(id.index())?.as_ref()?;
        Some(Snapshot {
            name: Arc::clone(&member.link.name),
            state: self.set.state(id)?,
            counters: self.set.counters(id)?,
        })
    }
}

/// Tells those who wait for a command's effect that there will be none: its shard has ended.
pub(super) fn abandon(command: Command) {
    match command {
        Command::Open(opening) => opening.link.end(None),
        Command::Send(link) => link.room.abandon(),
        Command::SendRest(_, posted) => posted.for_each(Post::not_sent),
        Command::Ask(_)
        | Command::Done(_)
        | Command::PauseProcessing(_)
        | Command::ResumeProcessing(_)
        | Command::Provided { .. }
        | Command::Remove(..)
        | Command::RemoveAll(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::RetryNow(_)
        | Command::Admitted { .. }
        | Command::BytesGranted(_)
        | Command::Redrive(..)
        | Command::CallGranted(_)
        | Command::CallsRecalled
        | Command::Snapshot(..)
        | Command::SnapshotAll(_) => {}
    }
}
