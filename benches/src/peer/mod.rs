//! The server that all contestants have: raw sockets on one thread, so that it costs as little as it can.

mod frames;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};
use tungstenite::handshake::derive_accept_key;

use crate::work::{PACED_BYTES, Service};
use frames::{Reader, append_text};

/// How many paced connections have their turn at once, how often, and how many messages each gets.
const TURN: usize = 100;
const TURN_EVERY: Duration = Duration::from_millis(2);
const BURST: usize = 4;

/// About how much a blast writes at once.
const BLAST_BYTES: usize = 256 << 10;

/// Serves for ever, and says first on which port.
///
/// # Errors
/// The system has no port.
pub fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{}", listener.local_addr()?.port());
        let paced = Rc::new(RefCell::new(Vec::new()));
        tokio::task::spawn_local(pace(Rc::clone(&paced)));
        loop {
            let (stream, _) = listener.accept().await?;
            let paced = Rc::clone(&paced);
            tokio::task::spawn_local(async move {
                // A contestant that goes away is no news.
                let _ = connection(stream, &paced).await;
            });
        }
    })
}

type Paced = RefCell<Vec<OwnedWriteHalf>>;

async fn connection(mut stream: TcpStream, paced: &Paced) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let service = upgrade(&mut stream).await?;
    match service {
        Service::Blast { bytes, messages } => blast(&mut stream, bytes, messages).await?,
        Service::Pace => {
            let (mut read, write) = stream.into_split();
            paced.borrow_mut().push(write);
            return until_gone(&mut read).await;
        }
        Service::Sink { messages } => sink(&mut stream, messages).await?,
        Service::Echo => return echo(&mut stream).await,
        Service::Silence => {}
    }
    until_gone(&mut stream).await
}

/// Reads the request, and answers it.
async fn upgrade(stream: &mut TcpStream) -> io::Result<Service> {
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
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(response.as_bytes()).await?;
    Ok(service)
}

/// The text that messages are made of.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(bytes).collect()
}

async fn blast(stream: &mut TcpStream, bytes: usize, messages: u64) -> io::Result<()> {
    let mut frames = Vec::new();
    append_text(&mut frames, &text(bytes));
    let frame = frames.len();
    let at_once = (BLAST_BYTES / frame).max(1);
    let mut block = frames.repeat(at_once);
    let mut left = messages;
    while left > 0 {
        let now = left.min(at_once as u64);
        block.truncate(frame * usize::try_from(now).unwrap_or(at_once));
        stream.write_all(&block).await?;
        left -= now;
    }
    Ok(())
}

async fn pace(paced: Rc<Paced>) {
    let mut burst = Vec::new();
    for _ in 0..BURST {
        append_text(&mut burst, &text(PACED_BYTES));
    }
    let mut ticks = interval(TURN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = 0;
    loop {
        ticks.tick().await;
        let mut connections = paced.borrow_mut();
        for _ in 0..TURN.min(connections.len()) {
            next %= connections.len().max(1);
            // A burst fits into what the kernel holds, unless a contestant reads no more: then it is out.
            match connections.get(next).map(|to| to.try_write(&burst)) {
                Some(Ok(written)) if written == burst.len() => next += 1,
                Some(_) => drop(connections.swap_remove(next)),
                None => break,
            }
        }
    }
}

async fn sink(stream: &mut TcpStream, messages: u64) -> io::Result<()> {
    let mut reader = Reader::default();
    let mut left = messages;
    while left > 0 {
        while left > 0 && reader.next().is_some() {
            left -= 1;
        }
        if left > 0 && read(stream, &mut reader).await? == 0 {
            return Ok(());
        }
    }
    let mut done = Vec::new();
    append_text(&mut done, b"done");
    stream.write_all(&done).await
}

async fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut reader = Reader::default();
    let mut answer = Vec::new();
    loop {
        answer.clear();
        while let Some(payload) = reader.next() {
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

async fn until_gone(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<()> {
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}
