//! fastwebsockets, as its README uses it: the upgrade by hyper, and a `FragmentCollector`, which gives whole messages and
//! checks that they are UTF-8. Its payloads are borrowed from the connection until the next read, so that a message that is
//! handed over has to be copied.

use std::sync::Arc;

use ::fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, handshake};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::header::{CONNECTION, HOST, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Place, Problem, drive};
use crate::work::Seen;

pub(super) struct Client(FragmentCollector<TokioIo<Upgraded>>);

struct Spawn;

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, task: F) {
        tokio::spawn(task);
    }
}

impl drive::Client for Client {
    type Message = Vec<u8>;

    async fn connect(to: &Place) -> Result<Self, Problem> {
        let authority = to.host_and_port()?;
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let request = Request::builder()
            .method("GET")
            .uri(to.url.replacen("ws", "http", 1))
            .header(HOST, authority)
            .header(UPGRADE, "websocket")
            .header(CONNECTION, "upgrade")
            .header("Sec-WebSocket-Key", handshake::generate_key())
            .header("Sec-WebSocket-Version", "13")
            .body(Empty::<Bytes>::new())?;
        let (socket, _) = match &to.tls {
            None => handshake::client(&Spawn, request, stream).await?,
            Some(config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(to.server_name()?, stream).await?;
                handshake::client(&Spawn, request, stream).await?
            }
        };
        Ok(Self(FragmentCollector::new(socket)))
    }

    async fn look(&mut self, seen: &mut Seen) -> Result<(), Problem> {
        let frame = self.0.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => seen.look(&frame.payload),
            OpCode::Close | OpCode::Ping | OpCode::Pong | OpCode::Continuation => {
                return Err("no message".into());
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Problem> {
        Ok(self.0.read_frame().await?.payload.to_vec())
    }

    async fn feed(&mut self, text: &str) -> Result<(), Problem> {
        let frame = Frame::text(Payload::Borrowed(text.as_bytes()));
        Ok(self.0.write_frame(frame).await?)
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        Ok(())
    }
}
