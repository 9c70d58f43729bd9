//! A socket's TLS: between the bytes of the socket and those of the WebSocket.
//!
//! Outwards, one record at a time is encrypted, and what it is made of counts as written when the kernel has
//! taken its last byte: a record that was begun cannot be taken back, and half of one is worth nothing to
//! the server. Inwards, what the connection does not take now stays decrypted until it does.

use std::fmt;

use crate::event::State;
use crate::reason::{CloseReason, TransportError, TransportErrorKind};
use crate::seed::Secrets;
use crate::time::Instant;
use crate::tls::{Records, TlsError};

use super::ending::Socket;
use super::transmit::{Unit, messages_within};
use super::{Connection, Step};

/// The plaintext of one record (RFC 8446 §5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// How much of a message one write may hold, so that with the longest frame header it fills a record.
pub(super) const QUANTUM_MAX: u32 = 16 * 1024 - 14;

/// The TLS of one socket, from its connect to its end.
pub(super) struct Tls {
    /// Absent only while the connection is receiving what was decrypted.
    records: Option<Box<dyn Records>>,
    unsent: Unsent,
    end: End,
}

/// A record, or what a handshake says, of which the kernel has not taken everything.
#[derive(Default)]
struct Unsent {
    ciphertext: Vec<u8>,
    written: usize,
    /// What is encrypted, and what it consists of; empty for what belongs to TLS itself.
    plaintext: Vec<u8>,
    plan: Vec<Unit>,
    /// How much of the plaintext went into the record.
    encrypted: usize,
}

/// What follows the last of what was decrypted.
enum End {
    /// More, perhaps.
    Open,
    /// The stream ended, by `close_notify` or without.
    Ended,
    Failed(TlsError),
    /// Nothing: the connection knows.
    Told,
}

/// Whether the connection took all that was decrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Drained,
    Held,
}

impl Tls {
    pub(super) fn new(records: Box<dyn Records>) -> Self {
        Self {
            records: Some(records),
            unsent: Unsent::default(),
            end: End::Open,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.records.as_ref().is_some_and(|r| r.is_handshaking())
    }

    /// Whether there is something to write that is already encrypted, or needs no plaintext.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.records.as_ref().is_some_and(|r| r.has_ciphertext())
    }

    /// Whether frames can be encrypted.
    pub(super) fn is_established(&self) -> bool {
        !self.is_handshaking()
    }

    /// Whether the server is verified, and nothing went wrong with that very step.
    fn can_upgrade(&self) -> bool {
        self.is_established() && !matches!(self.end, End::Failed(_))
    }

    fn has_peer_closed(&self) -> bool {
        self.records.as_ref().is_some_and(|r| r.has_peer_closed())
    }

    /// How many messages of the queue are in a record that the kernel has begun to take.
    pub(super) fn messages_begun(&self) -> usize {
        if self.unsent.written == 0 {
            return 0;
        }
        self.messages_in_record()
    }

    /// How many messages of the queue are in the record that waits for the kernel.
    fn messages_in_record(&self) -> usize {
        messages_within(&self.unsent.plan, self.unsent.encrypted)
    }

    pub(super) fn charged(&self) -> usize {
        let decrypted = self.records.as_ref().map_or(0, |r| r.plaintext_len());
        self.unsent.ciphertext.len() + self.unsent.plaintext.len() + decrypted
    }

    /// Gives the buffers back that nothing is in.
    pub(super) fn shrink(&mut self) {
        if self.unsent.is_empty() {
            self.unsent = Unsent::default();
        }
    }
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.ciphertext.is_empty()
    }

    fn clear(&mut self) {
        self.ciphertext.clear();
        self.written = 0;
        self.plaintext.clear();
        self.plan.clear();
        self.encrypted = 0;
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("is_handshaking", &self.is_handshaking())
            .field("unsent", &self.unsent.ciphertext.len())
            .field("written", &self.unsent.written)
            .finish_non_exhaustive()
    }
}

// Outwards.
impl Connection {
    /// Puts what the socket is to write next into `scratch`; without TLS also what it consists of into `plan`.
    pub(crate) fn offer_to_socket(
        &mut self,
        secrets: &mut Secrets,
        scratch: &mut Vec<u8>,
        plan: &mut Vec<Unit>,
    ) {
        if self.tls.is_none() {
            return self.offer(secrets, scratch, plan);
        }
        self.encrypt_next(secrets);
        if let Some(tls) = &self.tls {
            scratch.extend_from_slice(&tls.unsent.ciphertext[tls.unsent.written..]);
        }
    }

    /// Makes the next record, once the kernel has taken the one before.
    fn encrypt_next(&mut self, secrets: &mut Secrets) {
        let Some(tls) = &mut self.tls else {
            return;
        };
        if !tls.unsent.is_empty() {
            return;
        }
        if tls.has_unsent() {
            if let Some(records) = &mut tls.records {
                records.drain(&mut tls.unsent.ciphertext);
            }
            return;
        }
        if tls.is_handshaking() {
            return;
        }
        let mut plaintext = std::mem::take(&mut tls.unsent.plaintext);
        let mut plan = std::mem::take(&mut tls.unsent.plan);
        self.offer(secrets, &mut plaintext, &mut plan);
        let (Some(tls), false) = (&mut self.tls, plan.is_empty()) else {
            return;
        };
        let Some(records) = &mut tls.records else {
            return;
        };
        let part = plaintext.len().min(RECORD_BYTES_MAX);
        let unsent = &mut tls.unsent;
        unsent.encrypted = records.encrypt(&plaintext[..part]);
        records.drain(&mut unsent.ciphertext);
        if unsent.ciphertext.is_empty() {
            // The keys are used up: nothing will leave, and the write deadline ends the session.
            unsent.clear();
            return;
        }
        unsent.plaintext = plaintext;
        unsent.plan = plan;
    }

    /// The socket took the first `written` bytes of what was offered.
    pub(crate) fn socket_wrote(
        &mut self,
        step: &mut Step<'_>,
        scratch: &[u8],
        plan: &[Unit],
        written: usize,
    ) {
        let Some(tls) = &mut self.tls else {
            return self.wrote(step, scratch, plan, written);
        };
        let unsent = &mut tls.unsent;
        unsent.written += written;
        assert!(
            unsent.written <= unsent.ciphertext.len(),
            "more was written than was offered"
        );
        let is_complete = unsent.written == unsent.ciphertext.len();
        if let (true, Some(session)) = (written > 0, &mut self.session) {
            session.unwritten_since = Instant::FAR_FUTURE;
        }
        if !is_complete {
            return;
        }
        let mut unsent = std::mem::take(&mut tls.unsent);
        if !unsent.plan.is_empty() {
            self.wrote(step, &unsent.plaintext, &unsent.plan, unsent.encrypted);
        }
        unsent.clear();
        if let Some(tls) = &mut self.tls {
            tls.unsent = unsent;
        }
    }

    /// How many messages, from the first of the queue on, keep their places: they are begun, or are in a record
    /// that will go out as it is.
    pub(super) fn messages_committed(&self) -> usize {
        let session = self.session.as_ref();
        let cut = usize::from(session.is_some_and(super::session::Session::has_cut_message));
        let in_record = self.tls.as_ref().map_or(0, |tls| tls.messages_in_record());
        in_record.max(cut)
    }

    /// How many messages, from the first of the queue on, cannot be taken back: some of their bytes, or of the
    /// record that they are in, are out.
    pub(super) fn messages_begun(&self) -> usize {
        let session = self.session.as_ref();
        let cut = usize::from(session.is_some_and(super::session::Session::has_cut_message));
        let in_record = self.tls.as_ref().map_or(0, |tls| tls.messages_begun());
        in_record.max(cut)
    }

    /// Both sides have said that the WebSocket is over: so is TLS (RFC 8446 §6.1).
    pub(super) fn settle_close_notify(&mut self) {
        let (Some(tls), Some(session)) = (&mut self.tls, &self.session) else {
            return;
        };
        let is_closed = session
            .close
            .as_ref()
            .is_some_and(|close| close.is_sent() && (close.has_peer_closed() || session.has_ended));
        if let (true, Some(records)) = (is_closed && session.cut.is_none(), &mut tls.records) {
            records.close();
        }
    }
}

// Inwards.
impl Connection {
    /// Takes bytes from the socket; fewer than given only if the connection is not to be read now.
    pub(crate) fn receive_from_socket(&mut self, step: &mut Step<'_>, bytes: &[u8]) -> usize {
        if self.tls.is_none() {
            return self.receive(step, bytes);
        }
        if let Some(session) = &mut self.session {
            session.received(step.now);
        }
        let mut rest = bytes;
        loop {
            if self.receive_decrypted(step) == Flow::Held {
                return bytes.len() - rest.len();
            }
            let Some(tls) = &mut self.tls else {
                return bytes.len();
            };
            let Some(records) = tls.records.as_mut().filter(|_| !rest.is_empty()) else {
                return bytes.len();
            };
            match records.feed(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) => {
                    tls.end = End::Failed(error);
                    rest = &[];
                }
            }
            if tls.has_peer_closed() && matches!(tls.end, End::Open) {
                tls.end = End::Ended;
            }
            if self.life.state() == State::TlsHandshaking
                && self.tls.as_ref().is_some_and(|tls| tls.can_upgrade())
            {
                self.start_upgrade(step);
            }
        }
    }

    /// The socket's stream ended. What was decrypted and not taken yet comes before that.
    pub(crate) fn socket_ended(&mut self, step: &mut Step<'_>) {
        let Some(tls) = &mut self.tls else {
            return self.ended_by_peer(step);
        };
        if matches!(tls.end, End::Open) {
            tls.end = End::Ended;
        }
        self.receive_decrypted(step);
    }

    /// Goes on with what was decrypted while the connection could take no more; whether there was any.
    pub(super) fn receive_held(&mut self, step: &mut Step<'_>) -> bool {
        let bounds = self.settings().inbound;
        let Some(tls) = &mut self.tls else {
            return false;
        };
        let Some(records) = &mut tls.records else {
            return false;
        };
        if records.plaintext().is_empty() || self.inbound.is_full(&bounds) {
            return false;
        }
        self.receive_decrypted(step);
        true
    }

    fn receive_decrypted(&mut self, step: &mut Step<'_>) -> Flow {
        loop {
            let Some(tls) = &mut self.tls else {
                return Flow::Drained;
            };
            let Some(mut records) = tls.records.take() else {
                return Flow::Drained;
            };
            let chunk = records.plaintext();
            let len = chunk.len();
            let taken = if len == 0 {
                0
            } else {
                self.receive(step, chunk)
            };
            records.consume(taken);
            // The socket may be gone by what it brought, and its TLS with it.
            let Some(tls) = &mut self.tls else {
                return Flow::Drained;
            };
            tls.records = Some(records);
            if len == 0 {
                self.tell_end(step);
                return Flow::Drained;
            }
            if taken < len {
                return Flow::Held;
            }
        }
    }

    fn tell_end(&mut self, step: &mut Step<'_>) {
        let Some(tls) = &mut self.tls else {
            return;
        };
        match std::mem::replace(&mut tls.end, End::Told) {
            End::Open => tls.end = End::Open,
            End::Told => {}
            End::Ended => self.ended_by_peer(step),
            End::Failed(error) => self.tls_failed(step, error),
        }
    }

    fn tls_failed(&mut self, step: &mut Step<'_>, error: TlsError) {
        let close = self.session.as_ref().map(|session| session.close.as_ref());
        match close {
            None => self.attempt_failed(step, CloseReason::Tls(error)),
            Some(close) => {
                let reason = close.map_or(CloseReason::Tls(error), |close| close.reason().clone());
                self.end_session(step, reason, Socket::Held);
            }
        }
    }

    /// The end of the stream, and whether somebody may have cut it short.
    pub(super) fn end_of_stream(&self) -> TransportError {
        let detail = match &self.tls {
            Some(tls) if tls.is_handshaking() => "in the TLS handshake",
            Some(tls) if !tls.has_peer_closed() => "it was cut off: TLS was not closed",
            Some(_) | None => return TransportError::new(TransportErrorKind::Eof),
        };
        TransportError::with_detail(TransportErrorKind::Eof, detail)
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests;
