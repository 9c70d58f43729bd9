//! A server with compression of its own: frames to the byte, flate2 and nothing of the library.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tungstenite::handshake::derive_accept_key;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What ends a message's data and is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// How much of a message is decompressed at a time.
const STEP: usize = 4096;

/// One frame of the client, unmasked: its first byte and its payload.
pub(crate) type Frame = (u8, Vec<u8>);

/// A session, with the contexts of both directions.
pub(crate) struct Session {
    stream: TcpStream,
    compressor: Compress,
    decompressor: Decompress,
    is_closed: bool,
}

impl Session {
    /// Answers the request with this about extensions. `None` if the client goes.
    pub(crate) fn accept(mut stream: TcpStream, extensions: &str) -> Option<Self> {
        upgrade(&mut stream, extensions)?;
        Some(Self::new(stream))
    }

    /// A session whose request is answered.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            compressor: Compress::new(Compression::default(), false),
            decompressor: Decompress::new(false),
            is_closed: false,
        }
    }

    /// The payload of a compressed message.
    pub(crate) fn compressed(&mut self, message: impl AsRef<[u8]>) -> Vec<u8> {
        let message = message.as_ref();
        let mut payload = Vec::with_capacity(message.len() * 2 + 64);
        self.compressor
            .compress_vec(message, &mut payload, FlushCompress::Sync)
            .unwrap();
        assert!(payload.len() < payload.capacity() && payload.ends_with(&TAIL));
        payload.truncate(payload.len() - TAIL.len());
        payload
    }

    /// Sends a frame. A client that has gone meanwhile notices nothing, and is noticed by reading.
    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(u8::try_from(len).unwrap()),
            len @ 126..0x1_0000 => {
                frame.push(126);
                frame.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            len => {
                frame.push(127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        self.is_closed |= first == FIN | CLOSE;
        drop(self.stream.write_all(&frame));
    }

    /// Compresses and sends a text message.
    pub(crate) fn send_text(&mut self, text: &str) {
        let payload = self.compressed(text);
        self.send(FIN | RSV1 | TEXT, &payload);
    }

    /// The client's next frame; `None` when it has gone.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let [first, second] = self.bytes().ok()?;
        assert_eq!(second & 0x80, 0x80, "a client masks");
        let len = match second & 0x7f {
            126 => u16::from_be_bytes(self.bytes().ok()?).into(),
            127 => usize::try_from(u64::from_be_bytes(self.bytes().ok()?)).unwrap(),
            len => usize::from(len),
        };
        let mask: [u8; 4] = self.bytes().ok()?;
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload).ok()?;
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        Some((first, payload))
    }

    /// The message of a data frame, or what is wrong with it: a comparison will show it.
    pub(crate) fn message(&mut self, (first, payload): &Frame) -> String {
        assert!(
            matches!(first & !RSV1, 0x81 | 0x82),
            "{first:x}: not a message in one frame"
        );
        if first & RSV1 == 0 {
            return String::from_utf8(payload.clone()).unwrap();
        }
        let mut input = &[payload, &TAIL[..]].concat()[..];
        let mut message = Vec::new();
        loop {
            let mut step = [0; STEP];
            let (taken, made) = (self.decompressor.total_in(), self.decompressor.total_out());
            let flush = FlushDecompress::None;
            if let Err(error) = self.decompressor.decompress(input, &mut step, flush) {
                return error.to_string();
            }
            let made = usize::try_from(self.decompressor.total_out() - made).unwrap();
            input = &input[usize::try_from(self.decompressor.total_in() - taken).unwrap()..];
            message.extend_from_slice(&step[..made]);
            if input.is_empty() && made < STEP {
                return String::from_utf8(message).unwrap();
            }
        }
    }

    /// Reads until the client goes, and does what is left of the closing handshake; the code of the client's frame.
    pub(crate) fn farewell(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some((first, payload)) = self.frame() {
            if first == FIN | CLOSE {
                code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                if !self.is_closed {
                    self.send(FIN | CLOSE, &payload);
                }
                drop(self.stream.shutdown(Shutdown::Write));
            }
        }
        code
    }

    /// The next bytes of the stream.
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads the request and answers it with these extensions, with none if there is no name; returns what the client
/// offered. `None` if the client goes.
pub(crate) fn upgrade(stream: &mut TcpStream, extensions: &str) -> Option<Option<String>> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let header = |name: &str| request.lines().find_map(|line| line.strip_prefix(name));
    let accept = derive_accept_key(header("Sec-WebSocket-Key: ").unwrap().as_bytes());
    let extensions = match extensions {
        "" => String::new(),
        extensions => format!("Sec-WebSocket-Extensions: {extensions}\r\n"),
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    );
    stream.write_all(answer.as_bytes()).ok()?;
    Some(header("Sec-WebSocket-Extensions: ").map(str::to_owned))
}
