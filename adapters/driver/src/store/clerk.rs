//! The thread before a store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant, SystemTime};

use ropewalk_core::{ConnectionId, EventKind, Fate};

use super::keeper::{Phase, Settled, Shared, Task};
use super::lanes::Lanes;
use super::{Change, Filter, LetterState, LetterStore, StoreError};
use crate::mailbox::Command;

/// How long a store that failed is left alone: at first, and at most.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// How many letters are marked for a retry in one commit.
const PAGE: usize = 100;

/// Stores letters in groups, notes what became of those that were redriven, and sends the next ones back.
pub(super) struct Clerk {
    shared: Arc<Shared>,
    store: Box<dyn LetterStore>,
    lanes: Lanes,
    /// Fates that the store does not know yet. Their letters count as being on their way until it does, so that none
    /// goes out twice.
    unsettled: Vec<Settled>,
    lists: Lists,
    failures: u32,
    /// The store failed, and is left alone until then.
    retry_at: Option<StdInstant>,
}

/// Whether the lanes have what the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lists {
    Good,
    /// The store could not be read.
    Stale,
}

/// Whether the thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    Yes,
}

impl Clerk {
    pub(super) fn new(shared: Arc<Shared>, store: Box<dyn LetterStore>) -> Self {
        Self {
            shared,
            store,
            lanes: Lanes::new(),
            unsettled: Vec::new(),
            lists: Lists::Good,
            failures: 0,
            retry_at: None,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let tasks = self.wait();
            for task in tasks {
                self.perform(task);
            }
            if self.retry_at.is_none_or(|at| at <= StdInstant::now()) {
                self.retry_at = None;
                if std::mem::replace(&mut self.lists, Lists::Good) == Lists::Stale {
                    self.refresh();
                }
                self.settle();
                self.store();
                self.redrive();
            }
            if self.end() == End::Yes {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> VecDeque<Task> {
        let mut state = self.shared.lock();
        loop {
            let now = StdInstant::now();
            let deadline = match &state.phase {
                Phase::Running => None,
                Phase::Finishing(until, _) => Some(*until),
                Phase::Ended => Some(now),
            };
            let due = match self.retry_at {
                Some(at) => Some(at),
                None if deadline.is_some() || !state.queue.is_empty() => Some(now),
                None => self.lanes.due(now),
            };
            let due = due.into_iter().chain(deadline).min();
            if !state.tasks.is_empty() || due.is_some_and(|at| at <= now) {
                return std::mem::take(&mut state.tasks);
            }
            let work = &self.shared.work;
            state = match due {
                Some(at) => {
                    work.wait_timeout(state, at - now)
                        .expect("nothing that can panic runs under this lock")
                        .0
                }
                None => work
                    .wait(state)
                    .expect("nothing that can panic runs under this lock"),
            };
        }
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Ask(ask) => ask(&mut *self.store),
            Task::Change { ids, change, done } => {
                let changed = self.store.change(&ids, &change, self.wall_now());
                self.refresh();
                done.keep(changed);
            }
            Task::RedriveAll { rate, done } => {
                self.lanes.set_rate(rate);
                let marked = self.mark_all();
                self.refresh();
                done.keep(marked);
            }
            Task::Refresh(rate) => {
                if let Some(rate) = rate {
                    self.lanes.set_rate(rate);
                }
                self.refresh();
            }
            Task::Opened(link) => {
                self.lanes.open(&link);
                self.refresh_one(&link.name);
            }
            Task::Ended(link) => {
                // What it finished at the last moment is noted first.
                self.settle();
                self.lanes.end(&link);
                self.refresh_one(&link.name);
            }
            Task::Fate(settled) => self.unsettled.push(settled),
        }
    }

    /// Marks every waiting letter for a retry.
    fn mark_all(&mut self) -> Result<u64, StoreError> {
        let mut filter = Filter {
            states: vec![LetterState::Waiting],
            limit: PAGE,
            ..Filter::default()
        };
        let mut marked = 0;
        loop {
            let page = self.store.list(&filter)?;
            let ids: Vec<_> = page.iter().map(|letter| letter.id).collect();
            let Some(last) = ids.last() else {
                return Ok(marked);
            };
            filter.after = last.0;
            marked += self
                .store
                .change(&ids, &Change::Retry, self.wall_now())?
                .len() as u64;
        }
    }

    fn refresh(&mut self) {
        for name in self.lanes.names() {
            self.refresh_one(&name);
        }
    }

    fn refresh_one(&mut self, name: &str) {
        match self.store.retrying(name) {
            Ok(mut ids) => {
                // What was delivered and could not be noted yet does not go out again.
                ids.retain(|id| self.unsettled.iter().all(|settled| settled.id != *id));
                self.lanes.fill(name, &ids);
            }
            Err(_) => {
                self.lists = Lists::Stale;
                self.back_off();
            }
        }
    }

    /// Gives the store everything that waits, in one commit.
    fn store(&mut self) {
        let group = self.shared.lock().queue.take();
        let Some(first) = group.first() else {
            return;
        };
        let records: Vec<_> = group.iter().map(|pending| pending.record.clone()).collect();
        match self.store.append(&records, self.wall_now()) {
            Ok(ids) => {
                self.failures = 0;
                let mut state = self.shared.lock();
                state.queue.release(&group);
                state.counts.stored += group.len() as u64;
                drop(state);
                for (pending, id) in group.iter().zip(ids) {
                    let record = &pending.record;
                    let stored = EventKind::LetterStored {
                        letter: id.0,
                        seq: record.seq,
                        direction: record.direction,
                    };
                    self.shared.tell(
                        &record.connection,
                        pending.connection,
                        record.generation,
                        stored,
                    );
                }
            }
            Err(error) => {
                let (name, connection, generation) = (
                    Arc::clone(&first.record.connection),
                    first.connection,
                    first.record.generation,
                );
                self.shared.lock().queue.put_back(group);
                self.failed(&error, &name, connection, generation);
            }
        }
    }

    /// Notes the fates of redriven letters.
    fn settle(&mut self) {
        while let Some(settled) = self.unsettled.first() {
            let change = match &settled.fate {
                Fate::Delivered => Change::Delivered,
                Fate::Failed { reason, attempts } => Change::Failed {
                    reason: reason.clone(),
                    attempts: *attempts,
                },
            };
            // Those that were delivered are noted together.
            let together = match change {
                Change::Delivered => self
                    .unsettled
                    .iter()
                    .take_while(|settled| settled.fate == Fate::Delivered)
                    .count(),
                Change::Failed { .. }
                | Change::Hold
                | Change::Retry
                | Change::Edit(_)
                | Change::Discard => 1,
            };
            let ids: Vec<_> = self.unsettled[..together].iter().map(|s| s.id).collect();
            let noted = self.store.change(&ids, &change, self.wall_now());
            if let Err(error) = noted {
                let link = Arc::clone(&settled.link);
                if let Some(connection) = link.id() {
                    self.failed(&error, &link.name, connection, 0);
                } else {
                    self.back_off();
                }
                return;
            }
            self.failures = 0;
            for settled in self.unsettled.drain(..together).collect::<Vec<_>>() {
                let Settled { link, id, fate } = settled;
                self.lanes.done(&link.name, id);
                let mut state = self.shared.lock();
                match fate {
                    Fate::Delivered => state.counts.delivered += 1,
                    Fate::Failed { .. } => state.counts.failed_again += 1,
                }
                drop(state);
                if let Some(connection) = link.id() {
                    let kind = EventKind::Redriven { letter: id.0, fate };
                    self.shared.tell(&link.name, connection, 0, kind);
                }
            }
        }
    }

    /// Sends letters back whose turn it is.
    fn redrive(&mut self) {
        if self.retry_at.is_some() {
            return;
        }
        while let Some((link, id)) = self.lanes.next(StdInstant::now()) {
            match self.store.get(id) {
                // Somebody may have decided otherwise since it was marked.
                Ok(Some(letter)) if letter.state == LetterState::Retrying => {
                    let command = Command::Redrive(Arc::clone(&link), Box::new(letter));
                    link.tell(command);
                }
                Ok(_) => self.lanes.done(&link.name, id),
                Err(_) => {
                    self.lanes.done(&link.name, id);
                    self.lists = Lists::Stale;
                    self.back_off();
                    return;
                }
            }
        }
    }

    fn failed(
        &mut self,
        error: &StoreError,
        name: &Arc<str>,
        connection: ConnectionId,
        generation: u32,
    ) {
        self.back_off();
        let mut state = self.shared.lock();
        state.counts.failures += 1;
        let waiting = state.queue.len() as u64;
        drop(state);
        let kind = EventKind::LettersNotStored {
            reason: error.to_string().into(),
            waiting,
        };
        self.shared.tell(name, connection, generation, kind);
    }

    fn back_off(&mut self) {
        let doubled = BACKOFF.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(StdInstant::now() + doubled.min(BACKOFF_MAX));
    }

    /// Ends if that was asked for and either nothing is left to do or the time is over.
    fn end(&mut self) -> End {
        let mut state = self.shared.lock();
        let Phase::Finishing(until, _) = &state.phase else {
            return End::No;
        };
        let is_done = state.queue.is_empty() && state.tasks.is_empty() && self.unsettled.is_empty();
        if !is_done && StdInstant::now() < *until {
            return End::No;
        }
        let left = state.queue.take();
        state.queue.release(&left);
        // Whatever is said of it is worth saying at the end.
        state.drop_told_at = None;
        let told = (!left.is_empty())
            .then(|| state.dropped(self.shared.clock.now(), left.len() as u64))
            .flatten();
        state.tasks.clear();
        let phase = std::mem::replace(&mut state.phase, Phase::Ended);
        drop(state);
        if let (Some(kind), Some(last)) = (told, left.last()) {
            let record = &last.record;
            self.shared
                .tell(&record.connection, last.connection, record.generation, kind);
        }
        if let Phase::Finishing(_, Some(promise)) = phase {
            promise.keep(());
        }
        End::Yes
    }

    fn wall_now(&self) -> SystemTime {
        self.shared.clock.wall_time(self.shared.clock.now())
    }
}
