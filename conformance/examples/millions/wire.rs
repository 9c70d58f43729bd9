//! The server's side of RFC 6455, as little of it as this needs: it shares no code with what it tries.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Most messages are this long.
const SMALL: usize = 16;
/// Some are longer, so that kernels take a part of them.
const LARGE: usize = 16 << 10;
/// Every so many messages one is long.
const LARGE_EVERY: u64 = 64;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// What the server says after the last message.
pub(crate) const END: &[u8] = b"end";

/// How long the payload of a message is.
fn len_of(number: u64) -> usize {
    if number.is_multiple_of(LARGE_EVERY) {
        LARGE
    } else {
        SMALL
    }
}

/// The payload of a message: its number at both ends, so that a piece that is missing shows.
pub(crate) fn payload(number: u64) -> Vec<u8> {
    let mut payload = vec![0; len_of(number)];
    let tail = payload.len() - 8;
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload[tail..].copy_from_slice(&number.to_be_bytes());
    payload
}

/// The number of a whole message; `None` if it is not as it was made.
pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    let head = u64::from_be_bytes(*payload.first_chunk()?);
    let tail = u64::from_be_bytes(*payload.last_chunk()?);
    (head == tail && payload.len() == len_of(head)).then_some(head)
}

/// Appends a server's frame (RFC 6455 §5.2).
pub(crate) fn push_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(FIN | opcode);
    match u8::try_from(payload.len()).ok().filter(|len| *len < 126) {
        Some(len) => out.push(len),
        None => {
            let len = u16::try_from(payload.len()).expect("no message here is longer than 64 KiB");
            out.push(126);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// One frame of the client.
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
}

/// Reads a client's frames.
pub(crate) struct Reader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; 64 << 10],
            start: 0,
            end: 0,
        }
    }

    /// Whether what was read ends in the middle of a frame.
    pub(crate) fn is_mid_frame(&self) -> bool {
        self.start < self.end
    }

    /// Reads more, at most `max` bytes; how many came, 0 at the end.
    pub(crate) fn fill(&mut self, mut stream: &TcpStream, max: usize) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let until = self.buffer.len().min(self.end.saturating_add(max));
        let count = stream.read(&mut self.buffer[self.end..until])?;
        self.end += count;
        Ok(count)
    }

    /// The next frame that is whole.
    ///
    /// # Errors
    /// A frame that no client may send, or that is too long.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let bytes = &self.buffer[self.start..self.end];
        let Some(&[first, second]) = bytes.first_chunk() else {
            return Ok(None);
        };
        if first & 0xf0 != FIN || second & MASKED == 0 {
            return Err(invalid("a frame that is not whole, or not masked"));
        }
        let (header, len) = match second & !MASKED {
            126 => match bytes.get(2..4) {
                Some(len) => (4, usize::from(u16::from_be_bytes([len[0], len[1]]))),
                None => return Ok(None),
            },
            127 => return Err(invalid("a frame that is too long")),
            len => (2, usize::from(len)),
        };
        let whole = header + 4 + len;
        if whole > self.buffer.len() {
            return Err(invalid("a frame that is too long"));
        }
        if bytes.len() < whole {
            return Ok(None);
        }
        let at = self.start + header;
        let mask = [0, 1, 2, 3].map(|index| self.buffer[at + index]);
        self.start += whole;
        let payload = &mut self.buffer[at + 4..at + 4 + len];
        for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
            *byte ^= mask;
        }
        Ok(Some(Frame {
            opcode: first & 0x0f,
            payload,
        }))
    }
}

/// Answers the client's request; returns its path.
pub(crate) fn accept(mut stream: &TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    let mut chunk = [0; 2048];
    // A client sends nothing more before the 101 (RFC 6455 §4.1).
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
    let request = String::from_utf8(request).map_err(|_| invalid("a request that is not text"))?;
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then_some(value.trim())
    });
    let path = request.split(' ').nth(1);
    let (Some(key), Some(path)) = (key, path) else {
        return Err(invalid("a request without key or path"));
    };
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    Ok(path.to_owned())
}

pub(crate) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
