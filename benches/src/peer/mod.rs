//! The server that all contestants have: raw sockets on one thread, so that it costs as little as it can.

mod compression;
mod frames;
mod running;
mod tls;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};
use tungstenite::handshake::derive_accept_key;

use crate::work::{DONE, SMALL_BYTES, Service, letters, quotes};
use compression::{Inflater, compress};
use frames::{Compressed, Reader, append_compressed, append_text};
pub use running::Running;

/// How many turns paced connections have at once, how often, and how many messages each brings.
const TURN: usize = 100;
const TURN_EVERY: Duration = Duration::from_millis(2);
const BURST: usize = 4;

/// About how much a blast writes at once.
const BLAST_BYTES: usize = 256 << 10;

/// Where the peer listens.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Address {
    /// Of `ws://127.0.0.1`.
    pub port: u16,
    /// Of `wss://127.0.0.1`.
    pub tls_port: u16,
    /// Who vouches for its certificate, as PEM.
    pub authority: String,
}

/// Connections that are served together.
#[derive(Default)]
struct Shared {
    paced: RefCell<Vec<OwnedWriteHalf>>,
    /// All that are to be paced have been there.
    is_pacing: Cell<bool>,
    greeted: RefCell<Vec<OwnedWriteHalf>>,
}

/// Serves for ever, and first prints its [`Address`] as a line of JSON.
///
/// # Errors
/// The system has no port.
pub fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let tls_listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (acceptor, authority) = tls::acceptor().map_err(io::Error::other)?;
        let address = Address {
            port: listener.local_addr()?.port(),
            tls_port: tls_listener.local_addr()?.port(),
            authority,
        };
        println!("{}", serde_json::to_string(&address)?);
        let shared = Rc::new(Shared::default());
        tokio::task::spawn_local(pace(Rc::clone(&shared)));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = tls_listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::task::spawn_local(async move {
                    // A contestant that goes away is no news.
                    let _ = tls_connection(&acceptor, stream).await;
                });
            }
        });
        loop {
            let (stream, _) = listener.accept().await?;
            let shared = Rc::clone(&shared);
            tokio::task::spawn_local(async move {
                let _ = connection(stream, &shared).await;
            });
        }
    })
}

async fn connection(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match upgrade(&mut stream).await? {
        Service::Blast { bytes, messages } => {
            blast(&mut stream, &text_frame(&letters(bytes)), messages).await?;
        }
        Service::Squeeze { bytes, messages } => {
            blast(&mut stream, &compressed_frame(&quotes(bytes)), messages).await?;
        }
        Service::Pace { connections } => {
            let (mut read, write) = stream.into_split();
            shared.paced.borrow_mut().push(write);
            if shared.paced.borrow().len() == connections {
                shared.is_pacing.set(true);
            }
            return until_gone(&mut read).await;
        }
        Service::Greet => {
            let (mut read, mut write) = stream.into_split();
            write.write_all(&text_frame(&letters(SMALL_BYTES))).await?;
            shared.greeted.borrow_mut().push(write);
            return until_gone(&mut read).await;
        }
        Service::Drop => shared.greeted.borrow_mut().clear(),
        Service::Sink { bytes, messages } => {
            sink(&mut stream, &letters(bytes), messages).await?;
            stream.write_all(&text_frame(DONE)).await?;
        }
        Service::Unsqueeze { bytes, messages } => {
            let frame_bytes = sink(&mut stream, &quotes(bytes), messages).await?;
            println!("{frame_bytes}");
            stream.write_all(&text_frame(DONE)).await?;
        }
        Service::Echo => return echo(&mut stream).await,
        Service::Silence => return answer_pings(&mut stream).await,
    }
    until_gone(&mut stream).await
}

async fn tls_connection(acceptor: &tls::Acceptor, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let Service::Blast { bytes, messages } = upgrade(&mut stream).await? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    blast(&mut stream, &text_frame(&letters(bytes)), messages).await?;
    stream.flush().await?;
    until_gone(&mut stream).await
}

/// Reads the request, and answers it.
async fn upgrade(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Service> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let target = request.split(' ').nth(1).ok_or_else(wrong)?;
    // Some clients ask for the whole URL.
    let path = target.find("://").map_or(target, |at| {
        let rest = &target[at + 3..];
        rest.find('/').map_or("/", |slash| &rest[slash..])
    });
    let service = Service::from_path(path).ok_or_else(wrong)?;
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim())
    });
    let accept = derive_accept_key(key.ok_or_else(wrong)?.as_bytes());
    let extensions = match service {
        Service::Squeeze { .. } | Service::Unsqueeze { .. } => {
            "Sec-WebSocket-Extensions: permessage-deflate\r\n"
        }
        Service::Blast { .. }
        | Service::Pace { .. }
        | Service::Sink { .. }
        | Service::Echo
        | Service::Greet
        | Service::Drop
        | Service::Silence => "",
    };
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    );
    stream.write_all(response.as_bytes()).await?;
    Ok(service)
}

/// A text message as a server sends it.
pub fn text_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    append_text(&mut frame, payload);
    frame
}

/// The same, compressed (RFC 7692).
pub(crate) fn compressed_frame(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    append_compressed(&mut frame, &compress(message));
    frame
}

async fn blast(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &[u8],
    messages: u64,
) -> io::Result<()> {
    let at_once = (BLAST_BYTES / frame.len()).max(1);
    let mut block = frame.repeat(at_once);
    let mut left = messages;
    while left > 0 {
        let now = left.min(at_once as u64);
        block.truncate(frame.len() * usize::try_from(now).unwrap_or(at_once));
        stream.write_all(&block).await?;
        left -= now;
    }
    Ok(())
}

async fn pace(shared: Rc<Shared>) {
    let burst = text_frame(&letters(SMALL_BYTES)).repeat(BURST);
    let mut ticks = interval(TURN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = 0;
    loop {
        ticks.tick().await;
        if !shared.is_pacing.get() {
            continue;
        }
        let mut connections = shared.paced.borrow_mut();
        // So many messages pass whatever the number of connections: of few, each has more than one turn.
        for _ in 0..TURN {
            next %= connections.len().max(1);
            // A burst fits into what the kernel holds, unless a contestant reads no more: then it is out.
            match connections.get(next).map(|to| to.try_write(&burst)) {
                Some(Ok(written)) if written == burst.len() => next += 1,
                Some(_) => drop(connections.swap_remove(next)),
                None => break,
            }
        }
        // Those of the next contestant are to be complete, too, before they are sent anything.
        if connections.is_empty() {
            shared.is_pacing.set(false);
        }
    }
}

/// Takes messages until there were enough, each of which must be `expected`; returns how many bytes their frames had.
async fn sink(stream: &mut TcpStream, expected: &[u8], messages: u64) -> io::Result<u64> {
    let mut reader = Reader::default();
    let mut inflater = Inflater::new(expected.len());
    let mut left = messages;
    while left > 0 {
        while left > 0
            && let Some((payload, compressed)) = reader.next()
        {
            let is_expected = match compressed {
                Compressed::No => payload == expected,
                Compressed::Yes => inflater.inflate(payload)? == expected,
            };
            if !is_expected {
                return Err(io::ErrorKind::InvalidData.into());
            }
            left -= 1;
        }
        if left > 0 && read(stream, &mut reader).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(reader.frame_bytes())
}

async fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut reader = Reader::default();
    let mut answer = Vec::new();
    loop {
        answer.clear();
        while let Some((payload, _)) = reader.next() {
            append_text(&mut answer, payload);
        }
        stream.write_all(&answer).await?;
        if read(stream, &mut reader).await? == 0 {
            return Ok(());
        }
    }
}

async fn read(stream: &mut TcpStream, reader: &mut Reader) -> io::Result<usize> {
    let buffer = reader.buffer();
    buffer.reserve(64 << 10);
    stream.read_buf(buffer).await
}

/// Says nothing by itself.
async fn answer_pings(stream: &mut TcpStream) -> io::Result<()> {
    let mut reader = Reader::default();
    while stream.read_buf(reader.buffer()).await? > 0 {
        while reader.next().is_some() {}
        stream.write_all(&reader.take_pongs()).await?;
    }
    Ok(())
}

async fn until_gone(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<()> {
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}
