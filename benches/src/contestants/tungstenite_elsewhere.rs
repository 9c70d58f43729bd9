//! async-tungstenite with its defaults, on smol and on async-std, without Nagle's algorithm.

use std::future::Future;
use std::sync::Arc;

use async_tungstenite::stream::Stream;
use async_tungstenite::tungstenite::{Bytes, Message};
use async_tungstenite::{WebSocketStream, client_async};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_util::{AsyncRead, AsyncWrite, SinkExt, StreamExt};

use super::elsewhere::{AsyncStd, Elsewhere, Smol};
use super::{Place, Problem, drive};
use crate::work::{Done, Seen, Work};

pub(super) fn on_smol(work: Work, to: Place) -> Result<Done, Problem> {
    Smol::work(async move { drive::drive::<Smol, Client<smol::net::TcpStream>>(work, &to).await })
}

pub(super) fn on_async_std(work: Work, to: Place) -> Result<Done, Problem> {
    AsyncStd::work(async move {
        drive::drive::<AsyncStd, Client<async_std::net::TcpStream>>(work, &to).await
    })
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
