//! async-tungstenite with its defaults, on smol and on async-std, without Nagle's algorithm.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::stream::Stream;
use async_tungstenite::tungstenite::{Bytes, Message};
use async_tungstenite::{WebSocketStream, client_async};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_util::{AsyncRead, AsyncWrite, SinkExt, StreamExt};

use super::{Place, Problem, drive};
use crate::work::{Done, Seen, Work};

pub(super) struct Smol;
pub(super) struct AsyncStd;

impl drive::Tasks for Smol {
    type Sender<T: Send + 'static> = smol::channel::Sender<T>;
    type Receiver<T: Send + 'static> = smol::channel::Receiver<T>;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }

    async fn sleep(time: Duration) {
        smol::Timer::after(time).await;
    }

    fn channel<T: Send + 'static>(bound: usize) -> (Self::Sender<T>, Self::Receiver<T>) {
        smol::channel::bounded(bound)
    }

    async fn send<T: Send + 'static>(to: &Self::Sender<T>, it: T) {
        let _ = to.send(it).await;
    }

    async fn receive<T: Send + 'static>(from: &mut Self::Receiver<T>) -> Option<T> {
        from.recv().await.ok()
    }
}

impl drive::Tasks for AsyncStd {
    type Sender<T: Send + 'static> = async_std::channel::Sender<T>;
    type Receiver<T: Send + 'static> = async_std::channel::Receiver<T>;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        async_std::task::spawn(task);
    }

    async fn sleep(time: Duration) {
        async_std::task::sleep(time).await;
    }

    fn channel<T: Send + 'static>(bound: usize) -> (Self::Sender<T>, Self::Receiver<T>) {
        async_std::channel::bounded(bound)
    }

    async fn send<T: Send + 'static>(to: &Self::Sender<T>, it: T) {
        let _ = to.send(it).await;
    }

    async fn receive<T: Send + 'static>(from: &mut Self::Receiver<T>) -> Option<T> {
        from.recv().await.ok()
    }
}

pub(super) fn on_smol(work: Work, to: &Place) -> Result<Done, Problem> {
    smol::block_on(drive::drive::<Smol, Client<smol::net::TcpStream>>(work, to))
}

pub(super) fn on_async_std(work: Work, to: &Place) -> Result<Done, Problem> {
    async_std::task::block_on(drive::drive::<AsyncStd, Client<async_std::net::TcpStream>>(
        work, to,
    ))
}

/// A TCP stream of a runtime.
pub(super) trait Tcp: AsyncRead + AsyncWrite + Unpin + Send + Sized + 'static {
    fn connect(authority: &str) -> impl Future<Output = std::io::Result<Self>> + Send;
}

impl Tcp for smol::net::TcpStream {
    async fn connect(authority: &str) -> std::io::Result<Self> {
        let stream = Self::connect(authority).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Tcp for async_std::net::TcpStream {
    async fn connect(authority: &str) -> std::io::Result<Self> {
        let stream = Self::connect(authority).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

struct Client<S>(WebSocketStream<Stream<S, TlsStream<S>>>);

impl<S: Tcp> Client<S> {
    async fn next(&mut self) -> Result<Message, Problem> {
        Ok(self.0.next().await.ok_or("the connection ended")??)
    }
}

impl<S: Tcp> drive::Client for Client<S> {
    type Message = Bytes;

    async fn connect(to: &Place) -> Result<Self, Problem> {
        let stream = <S as Tcp>::connect(to.host_and_port()?).await?;
        let stream = match &to.tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Stream::Tls(connector.connect(to.server_name()?, stream).await?)
            }
        };
        let (socket, _) = client_async(&to.url, stream).await?;
        Ok(Self(socket))
    }

    async fn look(&mut self, seen: &mut Seen) -> Result<(), Problem> {
        match self.next().await? {
            Message::Text(text) => seen.look(text.as_bytes()),
            Message::Binary(bytes) => seen.look(&bytes),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                return Err("no message".into());
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Bytes, Problem> {
        Ok(self.next().await?.into_data())
    }

    async fn feed(&mut self, text: &str) -> Result<(), Problem> {
        Ok(self.0.feed(Message::text(text)).await?)
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        Ok(self.0.flush().await?)
    }
}
