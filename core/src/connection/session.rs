//! One WebSocket: all that is gone when its socket is.

use std::collections::VecDeque;
use std::time::Duration;

use crate::message::Message;
use crate::seed::fraction;
use crate::settings::Deflate;
use crate::time::Instant;
use crate::websocket::deflate::Agreement;
use crate::websocket::{Accepted, CONTROL_BYTES_MAX, Decoder};

use super::arriving::Arriving;
use super::closing::Close;
use super::compression::Compression;

/// How many pings may wait for their pongs before only the latest is answered (RFC 6455 §5.5.3 allows
/// one; servers that test it expect each).
pub(super) const PONGS_MAX: usize = 16;

/// What a pong that waits is charged, its place in the row included.
const PONG_BYTES: usize = CONTROL_BYTES_MAX + size_of::<Box<[u8]>>();

/// How much of the outbound queue one write may hold.
pub(super) const QUANTUM_MAX: u32 = 256 * 1024;
pub(super) const QUANTUM_MIN: u32 = 4 * 1024;
/// With so many bytes in the queue, nothing waits for more.
pub(super) const LINGER_BYTES: usize = 64 * 1024;

/// Into so many parts at least an interval between pings is cut by the times that connections have in common.
const PING_TIMES: u32 = 64;

/// The state of one socket after its upgrade.
///
/// What each read needs comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Session {
    pub(super) decoder: Decoder,
    pub(super) last_received_at: Instant,
    pub(super) last_data_at: Instant,
    /// Only while a message is incomplete that has a time to be complete.
    pub(super) arriving: Option<Box<Arriving>>,
    pub(super) close: Option<Box<Close>>,
    /// Only if compression was agreed on.
    pub(super) compression: Option<Box<Compression>>,
    #[allow(
        clippy::box_collection,
        reason = "eight bytes in every idle session, not 32"
    )]
    pub(super) pongs: Option<Box<VecDeque<Box<[u8]>>>>,
    /// Bytes of the socket that were not taken, and are kept elsewhere.
    pub(super) left_with_driver: u32,
    /// The last read brought much in few messages.
    pub(super) brings_much: bool,
    /// The peer was pinged, and no byte came since.
    pub(super) is_life_awaited: bool,
    pub(super) has_sign_of_life: bool,
    pub(super) has_ended: bool,
    pub(super) script: Option<Box<Script>>,
    pub(super) cut: Option<Box<Cut>>,
    /// `FAR_FUTURE` until the ready script has succeeded.
    pub(super) ready_at: Instant,
    /// When the last ping was decided on.
    pub(super) pinged_at: Instant,
    /// `FAR_FUTURE` while the socket is read.
    pub(super) unread_since: Instant,
    /// `FAR_FUTURE` unless the peer has bytes to accept.
    pub(super) unwritten_since: Instant,
    pub(super) ping_nonce: u64,
    pub(super) quantum: u32,
    /// Messages wait for others to leave with them.
    pub(super) is_lingering: bool,
    pub(super) is_ping_unsent: bool,
    /// The peer was pinged, and the round trip is not measured yet.
    pub(super) is_pong_awaited: bool,
}

/// What the kernel took only a part of. It goes out to its end before anything else does.
#[derive(Debug)]
pub(super) enum Cut {
    /// The rest of a control frame or of a ready script's message.
    Bytes(Box<[u8]>),
    /// The first message of the queue: its frame's mask, and how many of the frame's bytes are out.
    Message { mask: [u8; 4], written: u64 },
}

/// A ready script under way.
#[derive(Debug)]
pub(super) struct Script {
    /// The step that is next, or the reply that is awaited.
    pub(super) next: usize,
    pub(super) unsent: VecDeque<Message>,
    pub(super) deadline: Instant,
    /// What the server chose; told when the script is done.
    pub(super) accepted: Accepted,
}

impl Session {
    /// How much of it each read needs.
    #[cfg(target_pointer_width = "64")]
    pub(super) const READ_BYTES: usize = std::mem::offset_of!(Self, script);

    pub(super) fn new(now: Instant) -> Self {
        Self {
            decoder: Decoder::new(),
            last_received_at: now,
            last_data_at: now,
            ready_at: Instant::FAR_FUTURE,
            pinged_at: now,
            unread_since: Instant::FAR_FUTURE,
            unwritten_since: Instant::FAR_FUTURE,
            ping_nonce: 0,
            pongs: None,
            arriving: None,
            cut: None,
            close: None,
            script: None,
            compression: None,
            quantum: QUANTUM_MAX,
            left_with_driver: 0,
            is_lingering: false,
            is_ping_unsent: false,
            brings_much: false,
            is_life_awaited: false,
            is_pong_awaited: false,
            has_sign_of_life: false,
            has_ended: false,
        }
    }

    /// Both sides agreed that messages may be compressed (RFC 7692).
    pub(super) fn compress(&mut self, deflate: &Deflate, agreement: &Agreement) {
        self.decoder = Decoder::inflating(deflate.inflator(agreement));
        let deflator = deflate.deflator(agreement);
        self.compression = Some(Box::new(Compression::new(deflator)));
    }

    /// The first ping comes up to `spread` early, so that connections that were opened together do not
    /// ping together ever after.
    pub(super) fn ready(&mut self, now: Instant, spread: Duration) {
        self.script = None;
        self.ready_at = now;
        self.last_data_at = now;
        let since_origin = now.since_origin().saturating_sub(spread);
        self.last_received_at = Instant::from_origin(since_origin);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready_at != Instant::FAR_FUTURE
    }

    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_since(self.ready_at)
    }

    /// Bytes arrived: whatever they are, the peer lives.
    pub(super) fn received(&mut self, now: Instant) {
        self.last_received_at = now;
        self.is_life_awaited = false;
    }

    /// The socket is no longer read: no deadline that waits for the peer runs.
    pub(super) fn stop_reading(&mut self, now: Instant) {
        self.unread_since = now;
    }

    /// The socket is read again: the deadlines go on with what they had left.
    pub(super) fn start_reading(&mut self, now: Instant) {
        let unread = now.saturating_since(self.unread_since);
        self.unread_since = Instant::FAR_FUTURE;
        self.last_received_at += unread;
        self.last_data_at += unread;
        self.pinged_at += unread;
        if let Some(arriving) = &mut self.arriving {
            arriving.due += unread;
        }
    }

    pub(super) fn is_read(&self) -> bool {
        self.unread_since == Instant::FAR_FUTURE
    }

    pub(super) fn owe_pong(&mut self, payload: &[u8]) {
        let pongs = self.pongs.get_or_insert_default();
        if pongs.len() == PONGS_MAX {
            pongs.pop_back();
        }
        pongs.push_back(payload.into());
    }

    /// When a peer that has been silent for `interval` is pinged: at one of the times that all connections have in common and
    /// that are a 64th of the interval apart at most, so that few of them wake the process for many pings. The last such time
    /// would keep pings together for good that once were, after a stall, so it is drawn from the last few, with each ping anew.
    pub(super) fn ping_at(&self, interval: Duration) -> Instant {
        let part = interval / PING_TIMES;
        let early = fraction(part, self.ping_nonce);
        (self.last_received_at + (interval - early)).rounded_down(part)
    }

    pub(super) fn start_ping(&mut self, now: Instant, nonce: u64) {
        self.ping_nonce = nonce;
        self.pinged_at = now;
        self.is_ping_unsent = true;
        self.is_life_awaited = true;
        self.is_pong_awaited = true;
    }

    /// Whether what arrives is no longer looked at: the peer broke the protocol, or said that it has
    /// nothing more to say.
    pub(super) fn is_deaf(&self) -> bool {
        self.has_ended || self.close.as_ref().is_some_and(|close| close.is_deaf())
    }

    /// Whether something was received that is not a whole message yet.
    pub(super) fn has_part(&self) -> bool {
        self.left_with_driver > 0 || self.decoder.is_mid_message()
    }

    pub(super) fn has_cut_message(&self) -> bool {
        matches!(self.cut.as_deref(), Some(Cut::Message { .. }))
    }

    pub(super) fn charged(&self) -> usize {
        let compression = self.compression.as_ref().map_or(0, |it| it.charged());
        let pongs = self.pongs.as_ref().map_or(0, |pongs| pongs.len());
        let left = usize::try_from(self.left_with_driver).unwrap_or(usize::MAX);
        self.decoder.charged() + compression + pongs * PONG_BYTES + left
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::seed::Jitter;

    #[test]
    fn pings_have_few_times_in_common_and_do_not_stay_together() {
        let interval = Duration::from_secs(20);
        let mut jitter = Jitter::from_state(1);
        let mut sessions: Vec<_> = (0..1_000)
            .map(|_| Session::new(Instant::from_origin(Duration::from_secs(7))))
            .collect();
        let mut times = Vec::new();
        // All are pinged at one time, are answered at once, and so on.
        for round in 0..100 {
            let mut together = BTreeSet::new();
            for session in &mut sessions {
                let due = session.ping_at(interval);
                let waited = due.saturating_since(session.last_received_at);
                assert!(waited <= interval, "{waited:?}");
                assert!(waited >= interval - interval / 32, "{waited:?}");
                assert!(round > 0 || session.ping_nonce == 0);
                session.start_ping(due, jitter.next_u64());
                session.received(due + Duration::from_millis(1));
                together.insert(due);
            }
            times.push(together.len());
        }
        assert_eq!(times[0], 1);
        assert!(times[99] > 4, "{times:?}");
        // As many at most as there are in an interval, whatever the number of connections.
        assert!(times.iter().all(|it| *it <= 128), "{times:?}");
    }
}
