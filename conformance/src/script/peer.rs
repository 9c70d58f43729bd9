//! A well-behaved WebSocket server in memory.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use crate::trace::payload;

/// What a server heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// The close handshake is complete: the server ends the connection (RFC 6455 §7.1.1).
    Closed,
    Violation(String),
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&payload::text(text)),
            Self::Binary(bytes) => f.write_str(&payload::binary(bytes)),
            Self::Ping => f.write_str("ping"),
            Self::Pong(_) => f.write_str("pong"),
            Self::Close(Some(code)) => write!(f, "close({code})"),
            Self::Close(None) => f.write_str("close()"),
            Self::Closed => f.write_str("closed"),
            Self::Violation(text) => write!(f, "violation({text})"),
        }
    }
}

/// The WebSocket and the bytes on both of its sides.
#[derive(Debug)]
pub(super) struct Peer {
    context: WebSocketContext,
    pipe: Pipe,
    has_failed: bool,
}

#[derive(Debug, Default)]
struct Pipe {
    inbound: VecDeque<u8>,
    outbound: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.inbound.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.inbound.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbound.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer {
    pub(super) fn new() -> Self {
        // Small buffers: a simulation has thousands of these, and the contexts allocate theirs at once.
        let config = WebSocketConfig::default()
            .read_buffer_size(1024)
            .write_buffer_size(0)
            .max_frame_size(None)
            .max_message_size(None);
        Self {
            context: WebSocketContext::new(Role::Server, Some(config)),
            pipe: Pipe::default(),
            has_failed: false,
        }
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.pipe.inbound.extend(bytes);
    }

    /// Everything that can be made of the bytes received; replies are among what was written.
    pub(super) fn listen(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while !self.has_failed {
            match self.context.read(&mut self.pipe) {
                Ok(Message::Text(text)) => heard.push(Heard::Text(text.to_string())),
                Ok(Message::Binary(bytes)) => heard.push(Heard::Binary(bytes.to_vec())),
                Ok(Message::Ping(_)) => heard.push(Heard::Ping),
                Ok(Message::Pong(bytes)) => heard.push(Heard::Pong(bytes.to_vec())),
                Ok(Message::Close(frame)) => {
                    heard.push(Heard::Close(frame.map(|frame| frame.code.into())));
                }
                Ok(Message::Frame(_)) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(Error::ConnectionClosed) => {
                    heard.push(Heard::Closed);
                    break;
                }
                Err(Error::AlreadyClosed) => break,
                Err(error) => {
                    heard.push(Heard::Violation(error.to_string()));
                    self.has_failed = true;
                }
            }
        }
        heard
    }

    pub(super) fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pipe.outbound)
    }

    pub(super) fn send_text(&mut self, text: &str) -> Result<(), String> {
        self.send(Message::text(text))
    }

    pub(super) fn send_binary(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.send(Message::binary(bytes.to_vec()))
    }

    pub(super) fn send_ping(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.send(Message::Ping(bytes.to_vec().into()))
    }

    pub(super) fn close(&mut self, frame: Option<&(u16, String)>) -> Result<(), String> {
        let frame = frame.map(|(code, reason)| CloseFrame {
            code: CloseCode::from(*code),
            reason: reason.as_str().into(),
        });
        match self.context.close(&mut self.pipe, frame) {
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn send(&mut self, message: Message) -> Result<(), String> {
        // A client that closes while the script goes on talking is no mistake of the script.
        if !self.context.can_write() {
            return Ok(());
        }
        let sent = self
            .context
            .write(&mut self.pipe, message)
            .and_then(|()| self.context.flush(&mut self.pipe));
        match sent {
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
