//! What no client can do without: bytes are read, and not looked at.

use std::future::Future;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::drive::{Meter, Tasks, Tokio, idle, pass, tokio_runtime};
use super::elsewhere::{AsyncStd, Elsewhere, Smol};
use super::tungstenite_elsewhere::Tcp;
use super::{Place, Problem};
use crate::measure::resident_bytes;
use crate::work::{Done, SMALL_BYTES, Seen, Service, Work};

const BUFFER: usize = 64 << 10;
/// A paced connection brings little at a time.
const SMALL_BUFFER: usize = 4 << 10;

/// A socket of a runtime.
trait Raw: Sized + Send + 'static {
    fn dial(authority: &str) -> impl Future<Output = io::Result<Self>> + Send;
    fn take(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn give(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

impl Raw for tokio::net::TcpStream {
    async fn dial(authority: &str) -> io::Result<Self> {
        Self::connect(authority).await
    }

    async fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer).await
    }

    async fn give(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await
    }
}

struct Plain<S>(S);

impl<S: Tcp> Raw for Plain<S> {
    async fn dial(authority: &str) -> io::Result<Self> {
        Ok(Self(<S as Tcp>::connect(authority).await?))
    }

    async fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).await
    }

    async fn give(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}

pub(super) fn on_tokio(work: Work, to: &Place) -> Result<Done, Problem> {
    tokio_runtime()?.block_on(drive::<Tokio, tokio::net::TcpStream>(work, to))
}

pub(super) fn on_smol(work: Work, to: Place) -> Result<Done, Problem> {
    Smol::work(async move { drive::<Smol, Plain<smol::net::TcpStream>>(work, &to).await })
}

pub(super) fn on_async_std(work: Work, to: Place) -> Result<Done, Problem> {
    AsyncStd::work(
        async move { drive::<AsyncStd, Plain<async_std::net::TcpStream>>(work, &to).await },
    )
}

/// Without a runtime: one socket that blocks.
pub(super) fn kernel(work: Work, to: &Place) -> Result<Done, Problem> {
    let Work::Receive { bytes, messages } = work else {
        return Err("the kernel alone does not do this".into());
    };
    let meter = Meter::start();
    let mut stream = blocking(to, &to.url)?;
    let mut left = messages * frame_len(bytes);
    let mut buffer = vec![0; BUFFER];
    while left > 0 {
        match stream.read(&mut buffer)? {
            0 => return Err("the connection ended".into()),
            taken => left = left.saturating_sub(taken as u64),
        }
    }
    Ok(meter.stop(unseen(bytes, messages)))
}

/// The same, with the least that makes messages of bytes: headers are parsed where they lie in one buffer, and text is
/// found to be UTF-8. What is cut at its end moves to its front.
pub(super) fn probe(work: Work, to: &Place) -> Result<Done, Problem> {
    let Work::Receive { bytes, messages } = work else {
        return Err("the probe does not do this".into());
    };
    let meter = Meter::start();
    let mut stream = blocking(to, &to.url)?;
    // A message must fit, and is read with as few calls as the others may need.
    let mut buffer = vec![0; BUFFER.max(bytes + BUFFER)];
    let (mut start, mut end) = (0, 0);
    let mut seen = Seen::default();
    while seen.messages < messages {
        match stream.read(&mut buffer[end..])? {
            0 => return Err("the connection ended".into()),
            taken => end += taken,
        }
        while let Some((header, len)) = header(&buffer[start..end])? {
            let payload_at = start + header;
            let Some(payload) = buffer[..end].get(payload_at..payload_at + len) else {
                break;
            };
            seen.look(std::str::from_utf8(payload)?.as_bytes());
            start = payload_at + len;
        }
        buffer.copy_within(start..end, 0);
        (start, end) = (0, end - start);
    }
    Ok(meter.stop(seen))
}

/// How long the header of a frame and its payload are; `None` if more bytes are needed.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, Problem> {
    let mut cursor = io::Cursor::new(bytes);
    let Some((header, len)) = FrameHeader::parse(&mut cursor)? else {
        return Ok(None);
    };
    if header.opcode != OpCode::Data(Data::Text) || !header.is_final || header.mask.is_some() {
        return Err("this is not what the peer sends".into());
    }
    Ok(Some((
        usize::try_from(cursor.position())?,
        usize::try_from(len)?,
    )))
}

/// A socket on which the peer was asked for a service.
pub(super) fn ask_for(to: &Place, service: Service) -> Result<std::net::TcpStream, Problem> {
    let url = format!("{}{}", to.origin(), service.path());
    blocking(to, &url)
}

/// A socket that blocks, after its upgrade.
fn blocking(to: &Place, url: &str) -> Result<std::net::TcpStream, Problem> {
    let authority = to.host_and_port()?;
    let mut stream = std::net::TcpStream::connect(authority)?;
    stream.write_all(request(url, authority).as_bytes())?;
    let mut response = Vec::new();
    let mut byte = [0];
    while !response.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        response.extend_from_slice(&byte);
    }
    Ok(stream)
}

async fn drive<T: Tasks, S: Raw>(work: Work, to: &Place) -> Result<Done, Problem> {
    match work {
        Work::Receive { bytes, messages } => {
            let meter = Meter::start();
            let (mut stream, early) = open::<S>(to).await?;
            let mut left = (messages * frame_len(bytes)).saturating_sub(early);
            let mut buffer = vec![0; BUFFER];
            while left > 0 {
                match stream.take(&mut buffer).await? {
                    0 => return Err("the connection ended".into()),
                    taken => left = left.saturating_sub(taken as u64),
                }
            }
            Ok(meter.stop(unseen(bytes, messages)))
        }
        Work::Paced {
            connections,
            messages,
        } => {
            let received = Arc::new(AtomicU64::new(0));
            for _ in 0..connections {
                let (mut stream, early) = open::<S>(to).await?;
                received.fetch_add(early, Ordering::Relaxed);
                let received = Arc::clone(&received);
                T::spawn(async move {
                    let mut buffer = vec![0; SMALL_BUFFER];
                    while let Ok(taken @ 1..) = stream.take(&mut buffer).await {
                        received.fetch_add(taken as u64, Ordering::Relaxed);
                    }
                });
            }
            let frame = frame_len(SMALL_BYTES);
            Ok(pass::<T>(messages, || {
                unseen(SMALL_BYTES, received.load(Ordering::Relaxed) / frame)
            })
            .await)
        }
        Work::Idle { connections } => {
            let before = resident_bytes();
            for _ in 0..connections {
                let (mut stream, _) = open::<S>(to).await?;
                T::spawn(async move {
                    let mut buffer = vec![0; SMALL_BUFFER];
                    while let Ok(1..) = stream.take(&mut buffer).await {}
                });
            }
            idle::<T>(before).await
        }
        Work::HandOver { .. }
        | Work::Inflate { .. }
        | Work::ReceiveTls { .. }
        | Work::Send { .. }
        | Work::Deflate { .. }
        | Work::Echo { .. }
        | Work::Connect { .. }
        | Work::Recover { .. }
        | Work::Pinged { .. } => Err("reading alone does not do this".into()),
    }
}

/// What is read and not looked at.
fn unseen(bytes: usize, messages: u64) -> Seen {
    Seen {
        messages,
        bytes: messages * bytes as u64,
        sum: 0,
    }
}

fn frame_len(bytes: usize) -> u64 {
    let header = match bytes {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    header + bytes as u64
}

fn request(url: &str, authority: &str) -> String {
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    format!(
        "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A socket after its upgrade, and how many bytes came with the response.
async fn open<S: Raw>(to: &Place) -> Result<(S, u64), Problem> {
    let authority = to.host_and_port()?;
    let mut stream = S::dial(authority).await?;
    stream.give(request(&to.url, authority).as_bytes()).await?;
    let mut response = vec![0; SMALL_BUFFER];
    let mut taken = 0;
    loop {
        match stream.take(&mut response[taken..]).await? {
            0 => return Err("the connection ended".into()),
            more => taken += more,
        }
        let end = response[..taken]
            .windows(4)
            .position(|it| it == b"\r\n\r\n");
        if let Some(end) = end {
            return Ok((stream, (taken - end - 4) as u64));
        }
    }
}
