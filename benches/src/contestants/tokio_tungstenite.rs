//! tokio-tungstenite with its defaults, and without Nagle's algorithm, as its documentation advises for small messages.

use ::tokio_tungstenite::tungstenite::{Bytes, Message};
use ::tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;

use super::{Place, Problem, drive};
use crate::work::Seen;

pub(super) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn next(&mut self) -> Result<Message, Problem> {
        Ok(self.0.next().await.ok_or("the connection ended")??)
    }
}

impl drive::Client for Client {
    type Message = Bytes;

    async fn connect(to: &Place) -> Result<Self, Problem> {
        let connector = to.tls.clone().map(Connector::Rustls);
        let (socket, _) = connect_async_tls_with_config(&to.url, None, true, connector).await?;
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
