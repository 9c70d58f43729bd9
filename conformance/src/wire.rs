//! A second reader of WebSocket streams, written from RFC 6455 and RFC 7692 alone and sharing no code with the core.
//!
//! It judges what the core writes and counts what the core was given to read.

use ropewalk_core::Kind;

use crate::inflate::Inflater;

/// Which end wrote the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Every frame must be masked.
    Client,
    /// No frame may be.
    Server,
}

/// A whole message or control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A text message.
    Text(Vec<u8>),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame: its payload.
    Close(Vec<u8>),
}

impl Unit {
    /// Kind and payload of a data message.
    pub(crate) fn message(&self) -> Option<(Kind, &[u8])> {
        match self {
            Self::Text(payload) => Some((Kind::Text, payload)),
            Self::Binary(payload) => Some((Kind::Binary, payload)),
            Self::Ping(_) | Self::Pong(_) | Self::Close(_) => None,
        }
    }
}

/// How a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Plain,
    /// Compressed.
    Deflated,
}

/// Where in the stream the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Between frames.
    Boundary,
    /// Inside a frame of this opcode; some of its bytes, not all, have passed.
    Inside(u8),
}

/// Reads one side's frames from pieces of any size.
#[derive(Debug)]
pub struct FrameReader {
    side: Side,
    inflater: Option<Inflater>,
    partial: Vec<u8>,
    message: Option<Partial>,
    last_mask: Option<[u8; 4]>,
    closed: bool,
}

/// A message of which there is more to come.
#[derive(Debug)]
struct Partial {
    opcode: u8,
    coding: Coding,
    payload: Vec<u8>,
}

impl FrameReader {
    /// A reader at the start of the side's frames.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            inflater: None,
            partial: Vec::new(),
            message: None,
            last_mask: None,
            closed: false,
        }
    }

    /// Messages may be compressed from here on, if the server's answer to the request agrees to it.
    pub fn agree(&mut self, answer: &[u8]) {
        let forgets = match self.side {
            Side::Client => "client_no_context_takeover",
            Side::Server => "server_no_context_takeover",
        };
        self.inflater = Inflater::agreed(answer, forgets);
    }

    /// Whether messages may be compressed.
    pub fn is_inflating(&self) -> bool {
        self.inflater.is_some()
    }

    /// Where it stands.
    pub fn position(&self) -> Position {
        self.partial
            .first()
            .map_or(Position::Boundary, |first| Position::Inside(first & 0x0f))
    }

    /// Whether a close frame has passed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Reads on; returns what became whole.
    ///
    /// # Errors
    /// The rule of RFC 6455 that the bytes break.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<Unit>, String> {
        let units = self.read_coded(bytes)?;
        Ok(units.into_iter().map(|(unit, _)| unit).collect())
    }

    /// The same, with how each was sent.
    ///
    /// # Errors
    /// The rule of RFC 6455 or RFC 7692 that the bytes break.
    pub fn read_coded(&mut self, bytes: &[u8]) -> Result<Vec<(Unit, Coding)>, String> {
        if self.closed && !bytes.is_empty() {
            return Err("bytes after a close frame (§5.5.1)".into());
        }
        self.partial.extend_from_slice(bytes);
        let mut units = Vec::new();
        let mut used = 0;
        let reserved = match self.inflater {
            Some(_) => 0x30,
            None => 0x70,
        };
        while let Some(frame) = Frame::parse(&self.partial[used..], self.side, reserved)? {
            used += frame.len;
            if self.closed {
                return Err("a frame after a close frame (§5.5.1)".into());
            }
            if let Some(mask) = frame.mask {
                if self.last_mask == Some(mask) {
                    return Err("two frames in a row with one masking key (§5.3)".into());
                }
                self.last_mask = Some(mask);
            }
            units.extend(self.accept(frame)?);
        }
        self.partial.drain(..used);
        if self.closed && !self.partial.is_empty() {
            return Err("bytes after a close frame (§5.5.1)".into());
        }
        Ok(units)
    }

    fn accept(&mut self, frame: Frame) -> Result<Option<(Unit, Coding)>, String> {
        if frame.coding == Coding::Deflated && !matches!(frame.opcode, 1 | 2) {
            return Err("RSV1 on a frame that begins no message (RFC 7692 §6)".into());
        }
        let unit = match frame.opcode {
            0 => {
                let Some(message) = &mut self.message else {
                    return Err("a continuation of nothing (§5.4)".into());
                };
                message.payload.extend_from_slice(&frame.payload);
                None
            }
            1 | 2 => {
                if self.message.is_some() {
                    return Err("a message inside a message (§5.4)".into());
                }
                self.message = Some(Partial {
                    opcode: frame.opcode,
                    coding: frame.coding,
                    payload: frame.payload,
                });
                None
            }
            8 => {
                check_close(&frame.payload)?;
                self.closed = true;
                Some(Unit::Close(frame.payload))
            }
            9 => Some(Unit::Ping(frame.payload)),
            10 => Some(Unit::Pong(frame.payload)),
            opcode => return Err(format!("the reserved opcode {opcode} (§5.2)")),
        };
        if frame.opcode > 2 || !frame.fin {
            return Ok(unit.map(|unit| (unit, Coding::Plain)));
        }
        let Some(message) = self.message.take() else {
            return Ok(None);
        };
        let payload = match (message.coding, &mut self.inflater) {
            (Coding::Deflated, Some(inflater)) => inflater.message(&message.payload)?,
            (Coding::Deflated | Coding::Plain, _) => message.payload,
        };
        let unit = match (message.opcode, std::str::from_utf8(&payload)) {
            (1, Ok(_)) => Unit::Text(payload),
            (1, Err(_)) => return Err("text that is not UTF-8 (§8.1)".into()),
            (_, _) => Unit::Binary(payload),
        };
        Ok(Some((unit, message.coding)))
    }
}

struct Frame {
    len: usize,
    fin: bool,
    opcode: u8,
    coding: Coding,
    mask: Option<[u8; 4]>,
    payload: Vec<u8>,
}

impl Frame {
    fn parse(bytes: &[u8], side: Side, reserved: u8) -> Result<Option<Self>, String> {
        let [first, second, ..] = bytes else {
            return Ok(None);
        };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        if first & reserved != 0 {
            return Err("a reserved bit (§5.2)".into());
        }
        let coding = match first & 0x40 {
            0 => Coding::Plain,
            _ => Coding::Deflated,
        };
        if (second & 0x80 != 0) != (side == Side::Client) {
            return Err("masked by the wrong side, or not by the right one (§5.1)".into());
        }
        let short = u64::from(second & 0x7f);
        if opcode >= 8 && (!fin || short > 125) {
            return Err("a control frame that is fragmented or too long (§5.5)".into());
        }
        let (length, mut at) = match short {
            126 => match bytes.get(2..4) {
                Some(field) => (big_endian(field), 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10) {
                Some(field) => (big_endian(field), 10),
                None => return Ok(None),
            },
            _ => (short, 2),
        };
        let minimal = match short {
            126 => length > 125,
            127 => length > 65_535 && length < 1 << 63,
            _ => true,
        };
        if !minimal {
            return Err("a length that is not in its shortest form (§5.2)".into());
        }
        let mask = match side {
            Side::Server => None,
            Side::Client => match bytes.get(at..at + 4) {
                Some(field) => {
                    at += 4;
                    let key: [u8; 4] = field.try_into().expect("four bytes were taken");
                    Some(key)
                }
                None => return Ok(None),
            },
        };
        let length = usize::try_from(length).map_err(|_| "a length beyond memory")?;
        let Some(payload) = bytes.get(at..at.saturating_add(length)) else {
            return Ok(None);
        };
        let mut payload = payload.to_vec();
        if let Some(mask) = mask {
            for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= key;
            }
        }
        Ok(Some(Self {
            len: at + length,
            fin,
            opcode,
            coding,
            mask,
            payload,
        }))
    }
}

fn big_endian(field: &[u8]) -> u64 {
    field
        .iter()
        .fold(0_u64, |n, byte| n << 8 | u64::from(*byte))
}

fn check_close(payload: &[u8]) -> Result<(), String> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(())
        } else {
            Err("a close frame of one byte (§5.5.1)".into())
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(format!("the close code {code} (§7.4)"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(()),
        Err(_) => Err("a close reason that is not UTF-8 (§5.5.1)".into()),
    }
}

/// One unmasked frame, as a server writes it: `first` is the first byte, with FIN, reserved bits and opcode.
pub fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(u8::try_from(len).expect("at most 125")),
        len @ 126..=65_535 => {
            frame.push(126);
            frame.extend(u16::try_from(len).expect("at most 65,535").to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// The 101 that answers this upgrade request, with these header lines more.
///
/// # Panics
/// If the request has no key.
pub fn switching_protocols(request: &[u8], headers: &str) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    let key = request
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .expect("an upgrade request has a key");
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// The same as a client writes it.
pub fn client_frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = server_frame(first, payload);
    let header = frame.len() - payload.len();
    frame[1] |= 0x80;
    for (byte, key) in frame[header..].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    frame.splice(header..header, mask);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_make_the_same_units() {
        let mut stream = client_frame(0x01, b"he", [1, 2, 3, 4]);
        stream.extend(client_frame(0x89, b"p", [5, 2, 3, 4]));
        stream.extend(client_frame(0x80, &[b'y'; 300], [6, 2, 3, 4]));
        stream.extend(client_frame(0x88, &[3, 232], [7, 2, 3, 4]));
        let whole = FrameReader::new(Side::Client).read(&stream).unwrap();
        assert_eq!(whole.len(), 3);
        let mut reader = FrameReader::new(Side::Client);
        let pieces: Vec<_> = stream
            .iter()
            .flat_map(|byte| reader.read(&[*byte]).unwrap())
            .collect();
        assert_eq!(whole, pieces);
        assert!(reader.is_closed());
    }

    #[test]
    fn each_violation_is_seen() {
        let key = [9, 8, 7, 6];
        let twice = [client_frame(0x81, b"a", key), client_frame(0x81, b"b", key)].concat();
        let late = [
            client_frame(0x88, b"", key),
            client_frame(0x81, b"b", [1; 4]),
        ]
        .concat();
        for (side, stream) in [
            (Side::Client, server_frame(0x81, b"a")),
            (Side::Server, client_frame(0x81, b"a", key)),
            (Side::Client, twice),
            (Side::Client, late),
            (Side::Server, server_frame(0xc1, b"a")),
            (Side::Server, server_frame(0x83, b"a")),
            (Side::Server, server_frame(0x09, b"a")),
            (Side::Server, server_frame(0x80, b"a")),
            (Side::Server, vec![0x81, 126, 0, 5, 1, 2, 3, 4, 5]),
            (Side::Server, server_frame(0x81, &[0xff])),
            (Side::Server, server_frame(0x88, &[3])),
            (Side::Server, server_frame(0x88, &1005_u16.to_be_bytes())),
        ] {
            assert!(FrameReader::new(side).read(&stream).is_err(), "{stream:x?}");
        }
    }

    #[test]
    fn messages_are_decompressed_where_that_is_agreed_and_only_there() {
        // RFC 7692 §7.2.3.1 and §7.2.3.2: "Hello", and again by reference to the first.
        let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let hello = || Unit::Text(b"Hello".to_vec());
        let stream = [
            server_frame(0x41, &first[..3]),
            server_frame(0x80, &first[3..]),
            server_frame(0xc1, &again),
            server_frame(0x81, b"Hello"),
        ]
        .concat();
        let mut reader = FrameReader::new(Side::Server);
        reader.agree(b"Sec-WebSocket-Extensions: permessage-deflate\r\n");
        let units: Vec<_> = stream
            .iter()
            .flat_map(|byte| reader.read_coded(&[*byte]).unwrap())
            .collect();
        let expected = [Coding::Deflated, Coding::Deflated, Coding::Plain];
        assert_eq!(units, expected.map(|coding| (hello(), coding)));
        for answer in [
            "",
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
        ] {
            let mut reader = FrameReader::new(Side::Server);
            reader.agree(answer.as_bytes());
            assert!(reader.read(&stream).is_err(), "{answer:?}");
        }
        for stream in [
            server_frame(0xc1, &[6]),
            server_frame(0xc9, b""),
            [server_frame(0x01, b""), server_frame(0xc0, b"")].concat(),
        ] {
            let mut reader = FrameReader::new(Side::Server);
            reader.agree(b"Sec-WebSocket-Extensions: permessage-deflate\r\n");
            assert!(reader.read(&stream).is_err(), "{stream:x?}");
        }
    }
}
