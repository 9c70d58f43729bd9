//! What sockets bring, and where it is put.

use super::ConnectionSet;
use super::budget::Share;
use crate::arenas::READ_AT;
use crate::connection::Turn;
use crate::ids::SocketId;
use crate::time::Instant;

/// Where a read puts its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Buffer,
    /// The message that they belong to.
    Message,
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
    /// for far more, or 32 KiB; less at the beginning and the end of a long message. What is in it already means nothing.
    /// [`handle_read`](Self::handle_read) takes what was read; if nothing was, there is nothing to tell.
    pub fn read_buffer(&mut self, socket: SocketId) -> &mut [u8] {
        self.reading = None;
        let bytes_max = self.read_bytes_max(socket);
        if bytes_max == 0 {
            return &mut [];
        }
        let into = match self.make_message_room(socket) {
            0 => Room::Buffer,
            1.. => Room::Message,
        };
        self.reading = Some((socket, into));
        let room = match into {
            Room::Buffer => {
                let buffer = self
                    .buffer
                    .get_or_insert_with(|| Box::new(self.arenas.for_read()));
                &mut buffer.memory()[READ_AT..]
            }
            Room::Message => {
                let connection = self.slots[socket.connection.index()].connection.as_mut();
                let room = connection.and_then(|it| it.message_room(&mut self.arenas));
                room.expect("it has just been made")
            }
        };
        let bytes_max = bytes_max.min(room.len());
        &mut room[..bytes_max]
    }

    /// Takes the first `len` bytes of the [`read_buffer`](Self::read_buffer) that was asked for last; no other bytes of its socket
    /// may have been brought since. Returns those that were not taken: as with [`handle_input`](Self::handle_input), they are to
    /// be kept and given to that, before anything newer is read.
    ///
    /// # Panics
    /// If `len` is more than that buffer had.
    pub fn handle_read(&mut self, now: Instant, len: usize) -> &[u8] {
        let Some((socket, into)) = self.reading.take() else {
            return &[];
        };
        let mut buffer = self.buffer.take();
        let mut taken = len;
        self.socket_step(now, socket, |connection, step| match (into, &mut buffer) {
            (Room::Buffer, Some(buffer)) => {
                taken = connection.receive_buffer(step, buffer, len);
                connection.left_with_driver(len - taken);
            }
            (Room::Message, _) => connection.receive_in_place(step, len),
            (Room::Buffer, None) => {}
        });
        self.buffer = buffer;
        match &self.buffer {
            Some(buffer) if taken < len => &buffer.as_bytes()[READ_AT..][taken..len],
            Some(_) | None => &[],
        }
    }

    /// Takes bytes that were read from a socket; returns how many.
    ///
    /// Fewer than given only when the inbound queue was full: keep the rest and give it again before anything
    /// newer, at once while [`wants_read`](Self::wants_read) says so, else after [`Output::Read`](crate::Output::Read) resumes. All
    /// are taken, and ignored, if the socket is not, or no longer, the connection's.
    pub fn handle_input(&mut self, now: Instant, socket: SocketId, bytes: &mut [u8]) -> usize {
        let mut taken = bytes.len();
        self.socket_step(now, socket, |connection, step| {
            taken = connection.receive_from_socket(step, bytes);
            connection.left_with_driver(bytes.len() - taken);
        });
        taken
    }

    /// How many bytes one read of this socket should bring at most: what is read and then not taken waits with whoever has read
    /// it.
    fn read_bytes_max(&self, socket: SocketId) -> usize {
        match self.get(socket.connection) {
            Some(connection) if self.wants_read(socket) => connection.read_bytes_max(),
            Some(_) | None => 0,
        }
    }

    /// Makes room for the rest of the long message that this socket brings, if one arrives; returns for how many bytes.
    fn make_message_room(&mut self, socket: SocketId) -> usize {
        let slot = self.slots.get_mut(socket.connection.index());
        let Some(connection) = slot.and_then(|slot| slot.connection.as_mut()) else {
            return 0;
        };
        if !connection.is_in_long_message() {
            return 0;
        }
        let before = Share::of(connection);
        let room = connection.message_room(&mut self.arenas);
        let bytes = room.map_or(0, |room| room.len());
        let after = Share::of(connection);
        self.budget.note(socket.connection.index, before, after);
        bytes
    }
}
