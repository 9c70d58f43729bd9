//! What the core asks of a shard. This is the only place that looks at outputs.

use std::io;
use std::sync::Arc;

use ropewalk_core::{
    AdmissionRequest, ConnectionId, EventKind, Input, Instant, Output, Peer, Reading, SocketId,
};

use super::Shard;
use crate::application::call;
use crate::mailbox::Command;
use crate::runtime::{Runtime, refuse_self_connect};
use crate::scoped::Scoped;
use crate::slots::{Dialled, Work, Writing};
use crate::store::LetterId;

impl<R: Runtime> Shard<R> {
    /// Does everything that the last change has made necessary. Called after every change of the set.
    pub(super) fn perform(&mut self, now: Instant) {
        loop {
            match self.set.poll_output(now) {
                Output::Provide {
                    connection,
                    generation,
                    failures,
                } => self.provide(connection, generation, failures),
                Output::Admission(request) => self.ask_admission(now, request),
                Output::Call(request) => {
                    if let Some(connection) = self.common.gate.call(self.number, request) {
                        self.set.handle(now, Input::CallGranted { connection });
                        if self.calls_kept == 0 {
                            self.calls_kept = self.common.gate.keep_calls(self.number);
                            self.set.keep_calls(self.calls_kept);
                        }
                    }
                }
                Output::Resolve {
                    connection,
                    generation,
                    host,
                    port,
                } => self.resolve(connection, generation, host.into(), port),
                Output::Connect { socket, peer } => self.dial(socket, peer),
                Output::Transmit { socket } => self.writes.push(socket),
                Output::ShutdownWrite { socket } => self.end_writing(socket),
                Output::Abort { socket } => self.drop_socket(socket),
                Output::Read { socket, reading } => match reading {
                    // Asked for before each read.
                    Reading::Paused => {}
                    Reading::Resumed => self.schedule_socket(socket),
                },
                Output::ReadAll { reading, except } => {
                    self.slots.set_reading(reading);
                    if let Some(socket) = except {
                        self.schedule_socket(socket);
                    }
                }
                Output::Deliver(batch) => self.deliver(batch),
                Output::Outcome {
                    connection,
                    message,
                    outcome,
                } => {
                    self.note_fate(connection, message, &outcome);
                    let promise = self
                        .member(connection)
                        .and_then(|member| member.outcomes.remove(message));
                    if let Some(promise) = promise {
                        promise.keep(outcome);
                    }
                }
                Output::Room {
                    connection,
                    items,
                    bytes,
                } => {
                    if let Some(member) = self.member(connection) {
                        member.link.room.give(items, bytes);
                    }
                }
                Output::DeadLetter(letter) => {
                    self.file(*letter);
                }
                Output::Redriven {
                    connection,
                    letter,
                    fate,
                } => self.settle(connection, LetterId(letter), fate),
                Output::Event(event) => {
                    if let Some(member) = self.member(event.connection) {
                        if let EventKind::State { to, .. } = event.kind {
                            member.link.moved(to);
                        }
                        let name = Arc::clone(&member.link.name);
                        self.common.ring.push(&name, *event);
                    }
                }
                Output::Removed(report) => {
                    let id = report.connection;
                    if self.member(id).is_some()
                        && let Some(mut member) = self.members[id.index()].take()
                    {
                        for index in member.sockets.places() {
                            self.slots.release(index);
                        }
                        if let Some(index) = member.resolving {
                            self.slots.release(index);
                        }
                        if let Some(keeper) = &self.common.keeper {
                            keeper.ended(&member.link);
                        }
                        self.end_processing(id);
                        member.pending = None;
                        member.link.end(Some(*report));
                    }
                }
                Output::Idle { next_timeout } => {
                    self.next_timeout = next_timeout;
                    return;
                }
            }
        }
    }

    /// Asks the application's request provider, in a task of its own.
    fn provide(&mut self, connection: ConnectionId, generation: u32, failures: u32) {
        let Some(member) = self.member(connection) else {
            return;
        };
        let Some(helper) = &mut member.helper else {
            return;
        };
        let Some(provide) = helper.provide.clone() else {
            return;
        };
        let link = Arc::clone(&member.link);
        helper.providing = Some(Scoped::spawn::<R>(async move {
            let result = match call(|| (provide.0)(failures)).await {
                Ok(result) => result,
                Err(panicked) => Err(format!("the request provider {panicked}").into()),
            };
            link.tell(Command::Provided {
                connection,
                generation,
                result: Box::new(result),
            });
        }));
    }

    fn ask_admission(&mut self, now: Instant, request: AdmissionRequest) {
        let asks = match &request {
            AdmissionRequest::Request { connection, .. }
            | AdmissionRequest::Release { connection } => Some(*connection),
            AdmissionRequest::Join(_)
            | AdmissionRequest::Leave(_)
            | AdmissionRequest::Narrow { .. }
            | AdmissionRequest::TakeBytes(_)
            | AdmissionRequest::GiveBytes(_) => None,
        };
        let visit = self.common.gate.ask(now, self.number, request);
        if let Some(member) = asks.and_then(|connection| self.member(connection)) {
            member.request = visit.request;
        }
        self.note_return(&visit);
    }

    fn resolve(&mut self, connection: ConnectionId, generation: u32, host: String, port: u16) {
        let index = self.slots.insert(Work::Resolve {
            connection,
            generation,
            future: Box::pin(R::resolve(host, port)),
        });
        let outdated = match self.member(connection) {
            Some(member) => member.resolving.replace(index),
            None => Some(index),
        };
        if let Some(index) = outdated {
            self.slots.release(index);
        }
    }

    fn dial(&mut self, socket: SocketId, peer: Peer) {
        let Some(member) = self.member(socket.connection) else {
            return;
        };
        let work = match peer {
            Peer::Address(address) => {
                let connect = R::connect(address);
                Work::Dial {
                    socket,
                    future: Box::pin(async move {
                        let stream = connect.await?;
                        refuse_self_connect(&stream)?;
                        stream.set_nodelay(true)?;
                        Ok(Dialled::Tcp(stream))
                    }),
                }
            }
            Peer::Transport(endpoint) => {
                let helper = member.helper.as_ref();
                let transport = helper.and_then(|helper| helper.transport.clone());
                Work::Dial {
                    socket,
                    future: Box::pin(async move {
                        let Some(transport) = transport else {
                            return Err(io::Error::other("there is no transport"));
                        };
                        Ok(Dialled::Application((transport.0)(endpoint).await?))
                    }),
                }
            }
        };
        let index = self.slots.insert(work);
        if let Some(member) = self.member(socket.connection) {
            member.sockets.insert(socket, index);
        }
    }

    fn end_writing(&mut self, socket: SocketId) {
        let Some(index) = self.place_of(socket) else {
            return;
        };
        if let Some((open, _)) = self.slots.open(index) {
            open.writing = match open.writing {
                Writing::Idle | Writing::Blocked | Writing::Ending => Writing::Ending,
                Writing::Ended => Writing::Ended,
            };
            self.slots.schedule(index);
        }
    }

    fn schedule_socket(&mut self, socket: SocketId) {
        if let Some(index) = self.place_of(socket) {
            self.slots.schedule(index);
        }
    }

    /// Drops a socket or its dial, and forgets its place.
    pub(super) fn drop_socket(&mut self, socket: SocketId) {
        let Some(member) = self.member(socket.connection) else {
            return;
        };
        if let Some(index) = member.sockets.remove(socket) {
            self.slots.release(index);
        }
    }

    pub(super) fn place_of(&mut self, socket: SocketId) -> Option<u32> {
        self.member(socket.connection)?.sockets.place_of(socket)
    }
}
