//! What no client can do without: bytes are read, and not looked at.

use std::future::Future;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Problem;
use super::drive::{Meter, Tasks, Tokio, pass, tokio_runtime};
use super::tungstenite_elsewhere::{AsyncStd, Smol, Tcp};
use crate::work::{Done, PACED_BYTES, Seen, Work};

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

struct Elsewhere<S>(S);

impl<S: Tcp> Raw for Elsewhere<S> {
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

pub(super) fn on_tokio(work: Work, url: &str) -> Result<Done, Problem> {
    tokio_runtime()?.block_on(drive::<Tokio, tokio::net::TcpStream>(work, url))
}

pub(super) fn on_smol(work: Work, url: &str) -> Result<Done, Problem> {
    smol::block_on(drive::<Smol, Elsewhere<smol::net::TcpStream>>(work, url))
}

pub(super) fn on_async_std(work: Work, url: &str) -> Result<Done, Problem> {
    async_std::task::block_on(drive::<AsyncStd, Elsewhere<async_std::net::TcpStream>>(
        work, url,
    ))
}

/// Without a runtime: one socket that blocks.
pub(super) fn kernel(work: Work, url: &str) -> Result<Done, Problem> {
    let (Work::Receive { bytes, messages }, Some(authority)) = (work, url.split('/').nth(2)) else {
        return Err("the kernel alone does not do this".into());
    };
    let meter = Meter::start();
    let mut stream = std::net::TcpStream::connect(authority)?;
    stream.write_all(request(url, authority).as_bytes())?;
    let mut response = Vec::new();
    let mut byte = [0];
    while !response.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        response.extend_from_slice(&byte);
    }
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

async fn drive<T: Tasks, S: Raw>(work: Work, url: &str) -> Result<Done, Problem> {
    match work {
        Work::Receive { bytes, messages } => {
            let meter = Meter::start();
            let (mut stream, early) = open::<S>(url).await?;
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
                let (mut stream, early) = open::<S>(url).await?;
                received.fetch_add(early, Ordering::Relaxed);
                let received = Arc::clone(&received);
                T::spawn(async move {
                    let mut buffer = vec![0; SMALL_BUFFER];
                    while let Ok(taken @ 1..) = stream.take(&mut buffer).await {
                        received.fetch_add(taken as u64, Ordering::Relaxed);
                    }
                });
            }
            let frame = frame_len(PACED_BYTES);
            Ok(pass::<T>(messages, || received.load(Ordering::Relaxed) / frame).await)
        }
        Work::HandOver { .. } | Work::Send { .. } | Work::Echo { .. } | Work::Idle { .. } => {
            Err("reading alone does not do this".into())
        }
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
async fn open<S: Raw>(url: &str) -> Result<(S, u64), Problem> {
    let authority = url.split('/').nth(2).ok_or("no authority")?;
    let mut stream = S::dial(authority).await?;
    stream.give(request(url, authority).as_bytes()).await?;
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
