//! Servers that are a thread and a script of bytes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use ropewalk_conformance::wire::{FrameReader, Side, Unit, server_frame, switching_protocols};

/// What a server does with the one socket that it accepts. An error is a client that has gone.
pub(crate) type Play = Box<dyn FnOnce(&mut TcpStream) -> io::Result<()> + Send>;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(play: Play) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a dial");
            // Nobody else is to be dialled.
            drop(listener);
            stream.set_nodelay(true).expect("a socket has the option");
            if play(&mut stream).is_ok() {
                // What is to come is read to its end, so that the client sees an end and no reset.
                let _ = stream.shutdown(Shutdown::Write);
                let _ = io::copy(&mut stream, &mut io::sink());
            }
        });
        Self { address, thread }
    }

    /// Waits until its client has gone.
    pub(crate) fn join(self) {
        self.thread.join().expect("servers do not panic");
    }
}

/// Reads the upgrade request and opens the WebSocket, with these header lines more.
pub(crate) fn open(stream: &mut TcpStream, headers: &str) -> io::Result<()> {
    let request = read_request(stream)?;
    stream.write_all(&switching_protocols(&request, headers))
}

pub(crate) fn read_request(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&piece[..count]);
    }
    Ok(request)
}

/// Sends every message back.
pub(crate) fn echo(stream: &mut TcpStream) -> io::Result<()> {
    open(stream, "")?;
    let mut frames = FrameReader::new(Side::Client);
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        for unit in frames.read(&piece[..count]).expect("good frames") {
            let reply = match unit {
                Unit::Text(text) => server_frame(0x81, &text),
                Unit::Ping(payload) => server_frame(0x8a, &payload),
                Unit::Close(payload) => server_frame(0x88, &payload),
                Unit::Binary(_) | Unit::Pong(_) => continue,
            };
            stream.write_all(&reply)?;
        }
    }
}
