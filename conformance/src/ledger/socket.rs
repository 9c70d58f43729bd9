//! One socket's two streams, read a second time.

use ropewalk_core::SocketId;

use crate::wire::{FrameReader, Position, Side, Unit};

/// What passed over one socket.
#[derive(Debug)]
pub(super) struct SocketBook {
    id: SocketId,
    progress: Progress,
    request: Head,
    response: Head,
    writes: FrameReader,
    reads: FrameReader,
    server_lost_sense: bool,
    pings: Vec<Vec<u8>>,
    /// Data frames of the client that passed whole: the ready script's come first.
    pub(super) data_units: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Connecting,
    Connected,
}

/// The head of a request or response.
#[derive(Debug, Default)]
struct Head {
    bytes: Vec<u8>,
    is_complete: bool,
}

impl Head {
    /// Takes bytes up to the end of the head; returns those after it.
    fn read<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        for (index, byte) in bytes.iter().enumerate() {
            self.bytes.push(*byte);
            if self.bytes.ends_with(b"\r\n\r\n") {
                self.is_complete = true;
                return &bytes[index + 1..];
            }
        }
        &[]
    }

    fn status(&self) -> Option<&[u8]> {
        self.bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3)
    }
}

impl SocketBook {
    pub(super) fn new(id: SocketId) -> Self {
        Self {
            id,
            progress: Progress::Connecting,
            request: Head::default(),
            response: Head::default(),
            writes: FrameReader::new(Side::Client),
            reads: FrameReader::new(Side::Server),
            server_lost_sense: false,
            pings: Vec::new(),
            data_units: 0,
        }
    }

    pub(super) fn id(&self) -> SocketId {
        self.id
    }

    pub(super) fn connected(&mut self) -> Result<(), String> {
        self.progress = Progress::Connected;
        Ok(())
    }

    /// Whether the server has made no mistake and has not closed.
    pub(super) fn makes_sense(&self) -> bool {
        !self.server_lost_sense && !self.reads.is_closed()
    }

    /// Whether some bytes of a data frame, not all, were written.
    pub(super) fn is_inside_data(&self) -> bool {
        matches!(self.writes.position(), Position::Inside(1 | 2))
    }

    /// Reads what the client wrote.
    pub(super) fn written(&mut self, bytes: &[u8]) -> Result<Vec<Unit>, String> {
        if self.progress == Progress::Connecting {
            return Err(format!("{}: bytes before it is connected", self.id));
        }
        let mut frames = bytes;
        if !self.request.is_complete {
            frames = self.request.read(bytes);
        }
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        if !self.is_open() {
            return Err(format!(
                "{}: frames before the handshake is done (S11)",
                self.id
            ));
        }
        let units = self
            .writes
            .read(frames)
            .map_err(|problem| format!("{}: writes {problem} (S7)", self.id))?;
        for unit in &units {
            if let Unit::Pong(payload) = unit
                && !self.pings.contains(payload)
            {
                return Err(format!("{}: a pong to no ping (S24)", self.id));
            }
        }
        Ok(units)
    }

    /// Reads what the server wrote, up to its first mistake; returns the data messages.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Unit> {
        let mut rest = bytes;
        while !self.is_open() && !rest.is_empty() {
            rest = self.response.read(rest);
            let is_interim = self
                .response
                .status()
                .is_some_and(|status| status.first() == Some(&b'1') && status != b"101");
            if self.response.is_complete && is_interim {
                self.response = Head::default();
            } else if self.response.is_complete && !self.is_open() {
                return Vec::new();
            } else if self.response.is_complete {
                self.reads.agree(&self.response.bytes);
                self.writes.agree(&self.response.bytes);
            }
        }
        if rest.is_empty() || self.server_lost_sense || self.reads.is_closed() {
            return Vec::new();
        }
        // Byte by byte, so that what came before a mistake counts.
        let mut messages = Vec::new();
        for byte in rest {
            match self.reads.read(std::slice::from_ref(byte)) {
                Ok(units) => {
                    for unit in units {
                        match unit {
                            Unit::Text(_) | Unit::Binary(_) => messages.push(unit),
                            Unit::Ping(payload) => self.pings.push(payload),
                            Unit::Pong(_) => {}
                            Unit::Close(_) => return messages,
                        }
                    }
                }
                Err(_) => {
                    self.server_lost_sense = true;
                    break;
                }
            }
        }
        messages
    }

    /// Whether a 101 was read.
    fn is_open(&self) -> bool {
        self.response.is_complete && self.response.status() == Some(b"101".as_slice())
    }
}
