//! A server that does what a test wants, in threads.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tungstenite::{Message, WebSocket};

/// A session that the server has accepted.
pub(crate) type Session = WebSocket<TcpStream>;

/// Listens on a free port of loopback and runs a script, in a thread of its own, for each connection.
pub(crate) struct Server {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Runs `script` for each WebSocket, with its number counted from 1.
    pub(crate) fn start(script: impl Fn(usize, Session) + Send + Sync + 'static) -> Self {
        Self::raw(move |number, stream| {
            if let Ok(session) = tungstenite::accept(stream) {
                script(number, session);
            }
        })
    }

    /// Runs `script` for each TCP connection, before any upgrade.
    pub(crate) fn raw(script: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stopped = Arc::clone(&stopped);
            let script = Arc::new(script);
            let accepted = AtomicUsize::new(0);
            move || {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let number = accepted.fetch_add(1, Ordering::SeqCst) + 1;
                    let script = Arc::clone(&script);
                    std::thread::spawn(move || script(number, stream));
                }
            }
        });
        Self {
            address,
            stopped,
            thread: Some(thread),
        }
    }

    /// Sends everything back.
    pub(crate) fn echo() -> Self {
        Self::start(|_, session| echo(session))
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Sends data messages back until the peer goes.
pub(crate) fn echo<S: std::io::Read + std::io::Write>(mut session: WebSocket<S>) {
    while let Ok(message) = session.read() {
        if (message.is_text() || message.is_binary()) && session.send(message).is_err() {
            return;
        }
    }
}

/// The next text, or nothing if the session has ended.
pub(crate) fn text(session: &mut Session) -> Option<String> {
    loop {
        match session.read() {
            Ok(Message::Text(text)) => return Some(text.to_string()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// Reads until the peer goes; whether it said goodbye with a close frame.
pub(crate) fn farewell(session: &mut Session) -> bool {
    let mut said_goodbye = false;
    loop {
        match session.read() {
            Ok(Message::Close(_)) => said_goodbye = true,
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return said_goodbye,
        }
    }
}

/// A port on which nobody listens.
pub(crate) fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("ws://{}/", listener.local_addr().unwrap())
}
