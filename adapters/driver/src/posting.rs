//! Sending very many messages at once.

use ropewalk_core::settings::Overflow;
use ropewalk_core::{Kind, Message, Packed, SendErrorCause};

use crate::room::{Load, NoRoom};
use crate::sender::Sender;

impl Sender {
    /// As [`post_text`](Self::post_text), for very many texts: up to 256 of them, 64 KiB, or a quarter of the queue's bounds are queued at a
    /// time, so that a message costs little more than its copy. They keep their order, and messages of other senders may come in between.
    ///
    /// Dropping the future before it is done drops what was not queued yet, and nobody is told how much that is: where it matters, let it
    /// finish.
    ///
    /// # Errors
    /// As for [`send`](Self::send), but what was not queued does not come back: the error tells how many were queued before.
    ///
    /// ```no_run
    /// # async fn subscribe(sender: ropewalk_driver::Sender) -> Result<(), ropewalk_driver::PostAllError> {
    /// let symbols = ["btcusdt", "ethusdt", "solusdt"];
    /// let requests = symbols.map(|symbol| format!(r#"{{"op":"subscribe","symbol":"{symbol}"}}"#));
    /// sender.post_texts(requests).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn post_texts<T: AsRef<str>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<(), PostAllError> {
        self.post_all(
            Kind::Text,
            texts,
            |text| text.as_ref().as_bytes(),
            |text| text.as_ref().into(),
        )
        .await
    }

    /// As [`post_texts`](Self::post_texts), for binary data.
    ///
    /// # Errors
    /// As for [`post_texts`](Self::post_texts).
    pub async fn post_binaries<T: AsRef<[u8]>>(
        &self,
        payloads: impl IntoIterator<Item = T>,
    ) -> Result<(), PostAllError> {
        self.post_all(
            Kind::Binary,
            payloads,
            |payload| payload.as_ref(),
            |payload| payload.as_ref().to_vec().into(),
        )
        .await
    }

    async fn post_all<T>(
        &self,
        kind: Kind,
        payloads: impl IntoIterator<Item = T>,
        bytes: impl Fn(&T) -> &[u8],
        message: impl Fn(&T) -> Message,
    ) -> Result<(), PostAllError> {
        let most = self.link.room.pack_max();
        let mut posted = 0;
        let mut packed = Packed::default();
        for payload in payloads {
            let payload_bytes = bytes(&payload);
            let is_room = packed.len() < most.items
                && packed.bytes() + payload_bytes.len() <= most.bytes
                && packed.push_bytes(kind, payload_bytes);
            if is_room {
                continue;
            }
            let full = std::mem::take(&mut packed);
            if !full.is_empty() {
                packed = Packed::with_capacity(full.len(), full.bytes());
                self.post_packed(full, &mut posted).await?;
            }
            if !packed.push_bytes(kind, bytes(&payload)) {
                let sent = self.post(message(&payload)).await;
                sent.map_err(|error| PostAllError {
                    posted,
                    cause: error.cause,
                })?;
                posted += 1;
            }
        }
        match packed.is_empty() {
            true => Ok(()),
            false => self.post_packed(packed, &mut posted).await,
        }
    }

    /// Queues all of a pack, or none of it but where a full queue rejects.
    async fn post_packed(&self, packed: Packed, posted: &mut usize) -> Result<(), PostAllError> {
        let load = Load::of(&packed);
        let then = match self.link.room.post_packed(packed) {
            Ok(then) => Ok(then),
            Err((packed, NoRoom::Full)) if self.link.when_full == Overflow::Reject => {
                return self.post_each(&packed, posted);
            }
            Err((packed, NoRoom::Full)) => match self.link.room.wait(load).await {
                Ok(()) => self.link.room.post_packed_charged(packed),
                Err(no_room) => Err(no_room),
            },
            Err((_, NoRoom::Closed)) => Err(NoRoom::Closed),
        };
        match then {
            Ok(then) => {
                *posted += load.items;
                self.link.posted(then);
                Ok(())
            }
            Err(_) => Err(PostAllError {
                posted: *posted,
                cause: SendErrorCause::Closed,
            }),
        }
    }

    /// Queues as many as there is room for.
    fn post_each(&self, packed: &Packed, posted: &mut usize) -> Result<(), PostAllError> {
        for message in packed.messages() {
            self.try_post(message).map_err(|error| PostAllError {
                posted: *posted,
                cause: error.cause,
            })?;
            *posted += 1;
        }
        Ok(())
    }
}

/// Not all messages were queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}, after {posted} messages were queued")]
#[non_exhaustive]
pub struct PostAllError {
    /// How many were: the first ones, in their order.
    pub posted: usize,
    /// Why the next was not.
    pub cause: SendErrorCause,
}
