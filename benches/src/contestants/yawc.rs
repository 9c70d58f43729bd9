//! yawc with its defaults but for UTF-8, which it checks only when it is told to, the longest message, and compression, which is
//! measured by itself: "balanced", its "good default for most applications". That is what this library does as well: zlib-rs at
//! level 6, context takeover, and the largest window; it compresses all messages, and this library those of 64 bytes or more.

use std::sync::Arc;

use ::yawc::{Frame, OpCode, Options, TcpWebSocket, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_rustls::TlsConnector;

use super::place::Compression;
use super::{Place, Problem, drive};
use crate::work::Seen;

/// By default messages must be shorter than 1 MiB, which is what the longest here are.
const READ_BYTES_MAX: usize = 2 << 20;

pub(super) struct Client(TcpWebSocket);

impl drive::Client for Client {
    type Message = Bytes;

    async fn connect(to: &Place) -> Result<Self, Problem> {
        let options = Options::default()
            .with_utf8()
            .with_no_delay()
            .with_max_payload_read(READ_BYTES_MAX);
        let options = match to.compression {
            Compression::Off => options,
            Compression::Offered => options.with_balanced_compression(),
        };
        let builder = WebSocket::connect(to.url.parse()?).with_options(options);
        let socket = match &to.tls {
            None => builder.await?,
            Some(config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                builder.with_connector(connector).await?
            }
        };
        Ok(Self(socket))
    }

    async fn look(&mut self, seen: &mut Seen) -> Result<(), Problem> {
        let frame = self.0.next_frame().await?;
        if frame.opcode() != OpCode::Text {
            return Err("no message".into());
        }
        seen.look(frame.payload());
        Ok(())
    }

    async fn receive(&mut self) -> Result<Bytes, Problem> {
        Ok(self.0.next_frame().await?.into_payload())
    }

    async fn feed(&mut self, text: &str) -> Result<(), Problem> {
        Ok(self.0.feed(Frame::text(text.to_owned())).await?)
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        Ok(self.0.flush().await?)
    }
}
