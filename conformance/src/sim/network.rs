//! What happens between the core's sockets and the servers.

use ropewalk_core::{Input, SocketId, TransportErrorKind};

use super::link::{End, Held};
use super::{Happening, Sim};
use crate::script::{Act, Script};
use crate::trace::Aspect;

impl Sim {
    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected(socket) => self.connected(socket),
            Happening::ConnectFailed(socket, kind) => self.transport_failed(socket, kind),
            Happening::ToServer(socket, bytes) => self.reach_server(socket, &bytes),
            Happening::ClientLeft(socket) => {
                if let Some(script) = self.links.get_mut(&socket).and_then(|l| l.script.as_mut()) {
                    script.client_gone();
                    self.pump(socket);
                }
                self.forget(socket);
            }
            Happening::ToClient(socket, bytes) => {
                if let Some(link) = self.links.get_mut(&socket) {
                    link.inbox.extend_from_slice(&bytes);
                    self.feed(socket);
                }
            }
            Happening::ServerLeft(socket, end) => {
                if let Some(link) = self.links.get_mut(&socket) {
                    link.inbox_end = Some(end);
                    self.feed(socket);
                }
            }
            Happening::ServerWoke(socket) => {
                if let Some(link) = self.links.get_mut(&socket) {
                    link.server_sleeps = false;
                    if let Some(script) = &mut link.script {
                        script.woke();
                    }
                    self.pump(socket);
                }
            }
            Happening::Writable(socket) => self.write(socket),
            Happening::Resolved(connection, generation, result) => self.set.handle(
                self.now,
                Input::Resolved {
                    connection,
                    generation,
                    result,
                },
            ),
            Happening::ConsumerDone(id, call) => self.consumer_done(id, call),
            Happening::Wake => {}
        }
    }

    fn connected(&mut self, socket: SocketId) {
        let signals = self.signals.clone();
        let Some(link) = self.links.get_mut(&socket) else {
            return;
        };
        let plan = self.todo.plans.remove(&socket).unwrap_or_default();
        link.script = Some(Script::new(&plan.steps, signals));
        if link.client == Held::Yes {
            self.ledger.connected(socket);
            self.set.handle(self.now, Input::Connected { socket });
        }
        self.pump(socket);
    }

    fn transport_failed(&mut self, socket: SocketId, kind: TransportErrorKind) {
        let Some(link) = self.links.get_mut(&socket) else {
            return;
        };
        if link.client == Held::Yes {
            link.client = Held::Dropped;
            self.ledger.lost(socket);
            let error = ropewalk_core::TransportError::new(kind);
            self.set
                .handle(self.now, Input::TransportFailed { socket, error });
        }
        self.leave_server(socket);
    }

    /// The server will see that the client is gone.
    pub(super) fn leave_server(&mut self, socket: SocketId) {
        if let Some(link) = self.links.get_mut(&socket) {
            let at = link.up_arrival(self.now, &mut self.rng, 0);
            self.schedule(at, Happening::ClientLeft(socket));
        }
    }

    fn reach_server(&mut self, socket: SocketId, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&socket) else {
            return;
        };
        if link.server_reads {
            link.window_used -= bytes.len();
            if let Some(script) = &mut link.script {
                script.receive(bytes);
            }
            if link.write_blocked {
                link.write_blocked = false;
                let at = self.now;
                self.schedule(at, Happening::Writable(socket));
            }
            self.pump(socket);
        } else {
            link.unread_by_server.extend_from_slice(bytes);
        }
    }

    /// Does what the server's script wants.
    pub(super) fn pump(&mut self, socket: SocketId) {
        loop {
            let Some(link) = self.links.get_mut(&socket) else {
                return;
            };
            let Some(script) = &mut link.script else {
                return;
            };
            let name = &self.clients[&socket.connection].name;
            for note in script.take_notes() {
                self.trace
                    .push(name, Aspect::Server(socket.generation), note);
            }
            if let Some(problem) = script.problem() {
                let problem = format!("{name}#{}: {problem}", socket.generation);
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
            }
            if script.is_done() {
                self.served.insert((socket.connection, socket.generation));
            }
            if link.server_sleeps {
                return;
            }
            let Some(act) = script.poll() else {
                return;
            };
            self.act(socket, act);
        }
    }

    fn act(&mut self, socket: SocketId, act: Act) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&socket) else {
            return;
        };
        match act {
            Act::Write(bytes) => {
                let piece_max = link.profile.piece_bytes_max as u64;
                let mut pieces = Vec::new();
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let size = 1 + self.rng.next_u64() % piece_max;
                    // Half of the pieces are as large as they can be.
                    let size = if self.rng.next_u64().is_multiple_of(2) {
                        piece_max
                    } else {
                        size
                    };
                    let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
                    let at = link.down_arrival(now, &mut self.rng, size);
                    pieces.push((at, rest[..size].to_vec()));
                    rest = &rest[size..];
                }
                for (at, piece) in pieces {
                    self.schedule(at, Happening::ToClient(socket, piece));
                }
            }
            Act::ShutdownWrite => {
                let at = link.down_arrival(now, &mut self.rng, 0);
                self.schedule(at, Happening::ServerLeft(socket, End::Eof));
            }
            Act::Reset => {
                let at = link.down_arrival(now, &mut self.rng, 0);
                self.schedule(at, Happening::ServerLeft(socket, End::Reset));
            }
            Act::StopReading => link.server_reads = false,
            Act::StartReading => {
                link.server_reads = true;
                let bytes = std::mem::take(&mut link.unread_by_server);
                self.reach_server(socket, &bytes);
            }
            Act::Sleep(time) => {
                link.server_sleeps = true;
                self.schedule(now + time, Happening::ServerWoke(socket));
            }
        }
    }

    /// Gives the core what has arrived, as long as it wants to read.
    pub(super) fn feed(&mut self, socket: SocketId) {
        while let Some(link) = self.links.get_mut(&socket) {
            if link.client == Held::Dropped || !self.set.wants_read(socket) {
                return;
            }
            if link.inbox.is_empty() {
                match link.inbox_end.take() {
                    Some(End::Eof) => self.set.handle(self.now, Input::Eof { socket }),
                    Some(End::Reset) => {
                        self.transport_failed(socket, TransportErrorKind::Reset);
                    }
                    None => return,
                }
                self.drain();
                return;
            }
            let (count, taken) = if link.leftover == 0 {
                let buffer = self.set.read_buffer(socket);
                let count = link.inbox.len().min(buffer.len());
                buffer[..count].copy_from_slice(&link.inbox[..count]);
                // Both ways of taking a read come to the same.
                let left = match count % 2 {
                    0 => self.set.handle_read(self.now, count).len(),
                    _ => {
                        self.set.defer_read(count);
                        let taken = self.set.handle_deferred(self.now);
                        taken.map_or(0, |(_, left)| left.len())
                    }
                };
                (count, count - left)
            } else {
                let mut bytes = link.inbox[..link.leftover].to_vec();
                let taken = self.set.handle_input(self.now, socket, &mut bytes);
                (link.leftover, taken)
            };
            link.leftover = count - taken;
            let bytes: Vec<u8> = link.inbox.drain(..taken).collect();
            self.ledger.read(self.now, socket, &bytes);
            self.drain();
            if taken == 0 && self.set.wants_read(socket) {
                self.ledger.complain(format!(
                    "{socket}: wants to read and takes none of {count} bytes"
                ));
                return;
            }
        }
    }

    /// Forgets a link that neither side has any more.
    fn forget(&mut self, socket: SocketId) {
        let is_over = self
            .links
            .get(&socket)
            .is_some_and(|link| link.client == Held::Dropped);
        if is_over {
            self.links.remove(&socket);
        }
    }
}
