//! tokio-websockets with its defaults.

use ::tokio_websockets::{
    ClientBuilder, Connector, MaybeTlsStream, Message, Payload, WebSocketStream,
};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Place, Problem, drive};
use crate::work::Seen;

pub(super) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn next(&mut self) -> Result<Message, Problem> {
        Ok(self.0.next().await.ok_or("the connection ended")??)
    }
}

pub(super) struct Taken(Payload);

impl AsRef<[u8]> for Taken {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl drive::Client for Client {
    type Message = Taken;

    async fn connect(to: &Place) -> Result<Self, Problem> {
        let connector = to.tls.clone().map_or(Connector::Plain, |config| {
            Connector::Rustls(TlsConnector::from(config))
        });
        let builder = ClientBuilder::new().uri(&to.url)?.connector(&connector);
        let (socket, _) = builder.connect().await?;
        Ok(Self(socket))
    }

    async fn look(&mut self, seen: &mut Seen) -> Result<(), Problem> {
        let message = self.next().await?;
        if !message.is_text() {
            return Err("no message".into());
        }
        seen.look(message.as_payload());
        Ok(())
    }

    async fn receive(&mut self) -> Result<Taken, Problem> {
        Ok(Taken(self.next().await?.into_payload()))
    }

    async fn feed(&mut self, text: &str) -> Result<(), Problem> {
        Ok(self.0.feed(Message::text(text.to_owned())).await?)
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        Ok(self.0.flush().await?)
    }
}
