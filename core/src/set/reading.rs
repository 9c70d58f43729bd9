//! What sockets bring, and where it is put.

use std::collections::VecDeque;

use super::ConnectionSet;
use crate::arenas::READ_AT;
use crate::batch::Contents;
use crate::connection::Turn;
use crate::ids::SocketId;
use crate::time::Instant;

/// The reads of a set's sockets.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Where they put their bytes, one behind the other.
    buffer: Option<Box<Contents>>,
    /// What the next one was told.
    asked: Option<(SocketId, Room)>,
    /// Those whose bytes are still to be taken.
    deferred: VecDeque<Deferred>,
    /// How many bytes of theirs are in the buffer, or were.
    end: usize,
}

/// Where a read puts its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// Behind so many others.
    Buffer(usize),
    /// The message that they belong to.
    Message,
}

/// What was read and not taken yet.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    socket: SocketId,
    room: Room,
    len: usize,
}

impl ConnectionSet {
    /// Whether this socket is to be read now.
    pub fn wants_read(&self, socket: SocketId) -> bool {
        let Some(connection) = self.get(socket.connection) else {
            return false;
        };
        // What a handshake brings is little, and nobody else's consumer is to make it late.
        let is_let = self.budget.turn(socket) != Turn::NotNow || !connection.has_session();
        is_let && connection.has_socket(socket.generation) && connection.wants_read()
    }

    /// Where one read of this socket is to put what it brings, as much as it should bring at most: nothing if it is not to be
    /// read now, as [`wants_read`](Self::wants_read) says it. Else up to 224 KiB (64 KiB with TLS) while its connection has room
    /// for far more, or 32 KiB; less at the beginning and the end of a long message, and as little as deferred reads have left of
    /// the memory that all share, which can be nothing too. What is in it already means nothing. [`handle_read`](Self::handle_read)
    /// or [`defer_read`](Self::defer_read) takes what was read; if nothing was, there is nothing to tell.
    pub fn read_buffer(&mut self, socket: SocketId) -> &mut [u8] {
        self.reads.asked = None;
        let (bytes_max, is_in_long_message) = match self.get(socket.connection) {
            Some(connection) if self.wants_read(socket) => {
                (connection.read_bytes_max(), connection.is_in_long_message())
            }
            Some(_) | None => return &mut [],
        };
        debug_assert!(
            !self.reads.deferred.iter().any(|it| it.socket == socket),
            "a read of {socket:?} is deferred"
        );
        let (room, memory) = if is_in_long_message && self.make_message_room(socket) > 0 {
            let connection = self.slots[socket.connection.index()].connection.as_mut();
            let memory = connection.and_then(|it| it.message_room(&mut self.arenas));
            (Room::Message, memory.expect("it has just been made"))
        } else {
            let at = self.reads.end;
            let buffer = self
                .reads
                .buffer
                .get_or_insert_with(|| Box::new(self.arenas.for_read()));
            (Room::Buffer(at), &mut buffer.memory()[READ_AT + at..])
        };
        self.reads.asked = Some((socket, room));
        let bytes_max = bytes_max.min(memory.len());
        &mut memory[..bytes_max]
    }

    /// Takes the first `len` bytes of the [`read_buffer`](Self::read_buffer) that was asked for last; no other bytes of its socket
    /// may have been brought since. Returns those that were not taken: as with [`handle_input`](Self::handle_input), they are to
    /// be kept and given to that, before anything newer is read.
    ///
    /// # Panics
    /// If `len` is more than that buffer had.
    pub fn handle_read(&mut self, now: Instant, len: usize) -> &[u8] {
        match self.reads.asked.take() {
            Some((socket, room)) => self.take_read(now, Deferred { socket, room, len }),
            None => &[],
        }
    }

    /// As [`handle_read`](Self::handle_read), but later: [`handle_deferred`](Self::handle_deferred) takes what was read. To read
    /// several sockets and then to handle what they brought costs less than to do both for each in turn. A socket of which a read is
    /// deferred is to be brought nothing else, and what was read may be lost with its connection meanwhile.
    ///
    /// # Panics
    /// As `handle_read`, though perhaps not before that.
    pub fn defer_read(&mut self, len: usize) {
        if let Some((socket, room)) = self.reads.asked.take() {
            match room {
                Room::Buffer(at) => self.reads.end = at + len,
                Room::Message => {}
            }
            self.reads
                .deferred
                .push_back(Deferred { socket, room, len });
        }
    }

    /// Takes what the earliest of the [deferred](Self::defer_read) reads has brought. Returns its socket and the bytes that were not
    /// taken; `None` if no read is deferred.
    pub fn handle_deferred(&mut self, now: Instant) -> Option<(SocketId, &[u8])> {
        let deferred = self.reads.deferred.pop_front()?;
        Some((deferred.socket, self.take_read(now, deferred)))
    }

    fn take_read(&mut self, now: Instant, read: Deferred) -> &[u8] {
        let Deferred { socket, room, len } = read;
        let mut buffer = self.reads.buffer.take();
        // Others may lie before it or behind it.
        let is_alone = self.reads.deferred.is_empty();
        if is_alone {
            self.reads.end = 0;
        }
        let mut taken = len;
        self.read_step(now, socket, |connection, step| match (room, &mut buffer) {
            (Room::Buffer(at), Some(buffer)) => {
                let here = READ_AT + at..READ_AT + at + len;
                taken = match is_alone {
                    true => connection.receive_buffer(step, buffer, here),
                    false => connection.receive_from_socket(step, &buffer.as_bytes()[here]),
                };
                connection.left_with_driver(len - taken);
            }
            (Room::Message, _) => connection.receive_in_place(step, len),
            (Room::Buffer(_), None) => {}
        });
        self.reads.buffer = buffer;
        match (&self.reads.buffer, room) {
            (Some(buffer), Room::Buffer(at)) if taken < len => {
                &buffer.as_bytes()[READ_AT + at..][taken..len]
            }
            _ => &[],
        }
    }

    /// Takes bytes that were read from a socket; returns how many.
    ///
    /// Fewer than given only when the inbound queue was full: keep the rest and give it again before anything
    /// newer, at once while [`wants_read`](Self::wants_read) says so, else after [`Output::Read`](crate::Output::Read) resumes. All
    /// are taken, and ignored, if the socket is not, or no longer, the connection's.
    pub fn handle_input(&mut self, now: Instant, socket: SocketId, bytes: &mut [u8]) -> usize {
        let mut taken = bytes.len();
        self.read_step(now, socket, |connection, step| {
            taken = connection.receive_from_socket(step, bytes);
            connection.left_with_driver(bytes.len() - taken);
        });
        taken
    }

    /// Makes room for the rest of the long message that this socket brings; returns for how many bytes.
    fn make_message_room(&mut self, socket: SocketId) -> usize {
        let slot = self.slots.get_mut(socket.connection.index());
        let Some(connection) = slot.and_then(|slot| slot.connection.as_mut()) else {
            return 0;
        };
        let room = connection.message_room(&mut self.arenas);
        let bytes = room.map_or(0, |room| room.len());
        self.note_share(socket.connection.index);
        bytes
    }
}
