//! Bytes out: what is written next, and what the kernel took of it.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::event::{Outcome, State};
use crate::io::Output;
use crate::message::Lane;
use crate::outbound::{Before, Queued};
use crate::seed::Secrets;
use crate::time::Instant;
use crate::websocket::{Opcode, close_payload, encode_frame, frame_len, mask_append};

use super::compression::Payload;
use super::session::{Cut, LINGER_BYTES, PONGS_MAX, QUANTUM_MAX, QUANTUM_MIN};
use super::{Connection, Step, tls};

/// Of a masked frame of 126 bytes to 64 KiB (RFC 6455 §5.2).
const HEADER_BYTES: usize = 8;

/// A piece of what is offered to the kernel: what it is, and where it ends in the scratch buffer.
#[derive(Debug)]
pub(crate) struct Unit {
    what: What,
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Request,
    /// The rest of a control frame, or of a ready script's message.
    CutBytes,
    Pong,
    Ping {
        nonce: u64,
    },
    Script,
    /// Part of a message's frame, or all of it: from `written` on.
    Message {
        mask: [u8; 4],
        written: u64,
    },
    Close,
}

impl Connection {
    /// Puts what goes out next into `scratch`, and what it consists of into `plan`.
    ///
    /// Nothing changes by this: only [`Self::wrote`] does what the kernel made true. Frames that were
    /// offered and not begun are offered again with another mask.
    pub(crate) fn offer(&self, secrets: &mut Secrets, scratch: &mut Vec<u8>, plan: &mut Vec<Unit>) {
        if self.life.state() == State::Upgrading {
            let unsent = self
                .attempt
                .as_ref()
                .map(|attempt| attempt.unsent_request());
            if let Some(request) = unsent.filter(|request| !request.is_empty()) {
                scratch.extend_from_slice(request);
                close_unit(plan, What::Request, scratch);
            }
            return;
        }
        let Some(session) = &self.session else {
            return;
        };
        let quantum = match self.tls {
            Some(_) => session.quantum.min(tls::QUANTUM_MAX),
            None => session.quantum,
        };
        let mut messages_begun = 0;
        let compression = session.compression.as_deref();
        match session.cut.as_deref() {
            Some(Cut::Bytes(rest)) => {
                scratch.extend_from_slice(rest);
                close_unit(plan, What::CutBytes, scratch);
            }
            Some(Cut::Message { mask, written }) => {
                let (mask, written) = (*mask, *written);
                messages_begun = 1;
                if let Some(payload) = self.first_payload() {
                    let is_whole = encode_rest(scratch, payload, mask, written, quantum);
                    close_unit(plan, What::Message { mask, written }, scratch);
                    if !is_whole {
                        return;
                    }
                }
            }
            None => {}
        }
        if session.close.as_ref().is_some_and(|close| close.is_sent()) {
            return;
        }
        // The last of a full row may still be replaced by a newer one while a record with the others waits.
        let pongs = session.pongs.iter().flat_map(|pongs| pongs.iter());
        for pong in pongs.take(PONGS_MAX - 1) {
            encode_frame(scratch, Opcode::Pong, pong, secrets.mask());
            close_unit(plan, What::Pong, scratch);
        }
        if session.is_ping_unsent {
            let nonce = session.ping_nonce.to_be_bytes();
            encode_frame(scratch, Opcode::Ping, &nonce, secrets.mask());
            close_unit(
                plan,
                What::Ping {
                    nonce: session.ping_nonce,
                },
                scratch,
            );
        }
        if let Some(script) = &session.script {
            for message in &script.unsent {
                // Never compressed: a length that depends on a secret tells of it.
                let payload = message.as_bytes();
                encode_frame(scratch, message.kind().into(), payload, secrets.mask());
                close_unit(plan, What::Script, scratch);
            }
        }
        if self.sends_messages() {
            if compression.is_none() {
                let bytes = self.outbound.bytes() + HEADER_BYTES * self.outbound.len();
                make_room(scratch, bytes.min(quantum as usize));
            }
            let mut is_whole = true;
            let offer_one = |payload: Payload<'_>| {
                let left = quantum.saturating_sub(offered(scratch));
                if left == 0 {
                    return ControlFlow::Break(());
                }
                let mask = secrets.mask();
                is_whole = encode_rest(scratch, payload, mask, 0, left);
                close_unit(plan, What::Message { mask, written: 0 }, scratch);
                if is_whole {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            };
            match compression {
                Some(compression) => {
                    let mut payloads = compression.payloads(&self.outbound, messages_begun);
                    let _ = payloads.try_for_each(offer_one);
                }
                None => {
                    let queued = (messages_begun..).map_while(|index| self.outbound.get(index));
                    let mut payloads = queued.map(|it| Payload::plain(&it.message));
                    let _ = payloads.try_for_each(offer_one);
                }
            }
            if !is_whole {
                return;
            }
            if compression.is_none() && self.outbound.len() > self.outbound.queued() {
                let begun = messages_begun.max(self.outbound.queued());
                self.offer_packed(begun, quantum, secrets, scratch, plan);
            }
        }
        if let Some(close) = &session.close
            && close.is_due()
        {
            let payload = close_payload(close.frame());
            encode_frame(scratch, Opcode::Close, &payload, secrets.mask());
            close_unit(plan, What::Close, scratch);
        }
    }

    /// Puts messages that are packed, and not compressed, behind all others.
    fn offer_packed(
        &self,
        begun: usize,
        quantum: u32,
        secrets: &mut Secrets,
        scratch: &mut Vec<u8>,
        plan: &mut Vec<Unit>,
    ) {
        let _ = self
            .outbound
            .packed_from(begun)
            .try_for_each(|(kind, payload)| {
                if scratch.len() >= quantum as usize {
                    return ControlFlow::Break(());
                }
                let mask = secrets.mask();
                encode_frame(scratch, kind.into(), payload, mask);
                close_unit(plan, What::Message { mask, written: 0 }, scratch);
                ControlFlow::Continue(())
            });
    }

    /// The kernel took the first `written` bytes of what was offered.
    pub(crate) fn wrote(
        &mut self,
        step: &mut Step<'_>,
        scratch: &[u8],
        plan: &[Unit],
        written: usize,
    ) {
        let offered = plan.last().map_or(0, |unit| unit.end);
        assert!(written <= offered, "more was written than was offered");
        let (mut start, mut whole) = (0, 0);
        let leaves_at_once = self.written_leaves_at_once();
        for unit in plan {
            if written <= start {
                break;
            }
            // What stands before another is whole; the last may be the beginning of a long message.
            if let What::Message { written: 0, .. } = unit.what
                && leaves_at_once
                && unit.end <= written
                && unit.end < offered
            {
                whole += 1;
                start = unit.end;
                continue;
            }
            self.first_were_written(step, whole);
            whole = 0;
            let taken = written.min(unit.end) - start;
            let rest = &scratch[start + taken..unit.end];
            start = unit.end;
            self.unit_wrote(step, unit.what, taken, rest);
        }
        self.first_were_written(step, whole);
        let Some(session) = &mut self.session else {
            return;
        };
        if written > 0 {
            session.unwritten_since = Instant::FAR_FUTURE;
        }
        // A kernel that takes little is offered little, so that little is encoded twice.
        session.quantum = if written < offered {
            (session.quantum / 2).max(QUANTUM_MIN)
        } else {
            session.quantum.saturating_mul(2).min(QUANTUM_MAX)
        };
        self.advance_script_if_sent(step);
    }

    fn unit_wrote(&mut self, step: &mut Step<'_>, what: What, taken: usize, rest: &[u8]) {
        if what == What::Request {
            if let Some(attempt) = &mut self.attempt {
                attempt.request_wrote(taken);
            }
            return;
        }
        let Some(session) = &mut self.session else {
            return;
        };
        let cut = (!rest.is_empty()).then(|| Box::new(Cut::Bytes(rest.into())));
        match what {
            What::Request => {}
            What::CutBytes => session.cut = cut,
            What::Pong => {
                session.cut = cut;
                if let Some(pongs) = &mut session.pongs {
                    pongs.pop_front();
                    if pongs.is_empty() {
                        session.pongs = None;
                    }
                }
            }
            What::Ping { nonce } => {
                session.cut = cut;
                session.is_ping_unsent &= session.ping_nonce != nonce;
            }
            What::Script => {
                session.cut = cut;
                if let Some(script) = &mut session.script {
                    script.unsent.pop_front();
                }
            }
            What::Close => {
                session.cut = cut;
                if let Some(close) = &mut session.close {
                    close.sent();
                }
            }
            What::Message { mask, written } => {
                if written == 0 {
                    self.first_begun();
                }
                let written = written + taken as u64;
                let payload = self
                    .first_payload()
                    .map_or(0, |payload| payload.bytes().len());
                let Some(session) = &mut self.session else {
                    return;
                };
                if written < frame_len(payload) {
                    session.cut = Some(Box::new(Cut::Message { mask, written }));
                } else {
                    session.cut = None;
                    if let Some(compression) = &mut session.compression {
                        compression.first_left(1);
                    }
                    self.first_written(step);
                }
            }
        }
    }

    /// The first message of the queue begins to leave over this socket.
    fn first_begun(&mut self) {
        let before = self.outbound.get(0).map(|queued| queued.before);
        if let Some(Before::Part | Before::Whole) = before {
            self.history.get_or_insert_default().resent += 1;
        }
    }

    /// Whether nothing follows from a message that was written but its outcome.
    fn written_leaves_at_once(&self) -> bool {
        self.config.hooks().acknowledge.is_none()
    }

    /// The first `count` messages of the queue were written whole.
    fn first_were_written(&mut self, step: &mut Step<'_>, count: usize) {
        if count == 0 {
            return;
        }
        if let Some(session) = &mut self.session
            && let Some(compression) = &mut session.compression
        {
            compression.first_left(count);
        }
        let mut left = count;
        while left > 0 && self.outbound.get(0).is_some() {
            self.first_begun();
            self.first_written(step);
            left -= 1;
        }
        self.packed_written(step, left);
    }

    fn advance_script_if_sent(&mut self, step: &mut Step<'_>) {
        let is_sent = self.session.as_ref().is_some_and(|session| {
            session
                .script
                .as_ref()
                .is_some_and(|script| script.unsent.is_empty())
        });
        if is_sent {
            self.advance_script(step);
        }
    }

    /// The first message of the queue has this outcome.
    #[inline]
    pub(super) fn message_left(&mut self, step: &mut Step<'_>, outcome: Outcome) -> Option<Queued> {
        self.message_left_from(step, 0, outcome)
    }

    /// Whether messages of the application may go out: not before the ready script has succeeded, and not
    /// once only the close is left to be said.
    pub(super) fn may_send_messages(&self) -> bool {
        self.session.as_ref().is_some_and(|session| {
            session.is_ready()
                && session
                    .close
                    .as_ref()
                    .is_none_or(|close| close.lets_messages_out())
        })
    }

    /// Whether they go out with the next write.
    fn sends_messages(&self) -> bool {
        self.may_send_messages() && self.session.as_ref().is_some_and(|it| !it.is_lingering)
    }

    /// Until when what is queued still waits for more to leave with it.
    pub(super) fn linger_deadline(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        session.is_lingering.then(|| self.lingers_until()).flatten()
    }

    /// Until when what is queued may wait for more to leave with it; `None` if it may not.
    fn lingers_until(&self) -> Option<Instant> {
        let outbound = &self.settings().outbound;
        let session = self.session.as_ref()?;
        let (lane, accepted_at) = self.outbound.first()?;
        let is_plenty = self.outbound.len() >= outbound.items_max / 2
            || self.outbound.bytes() >= (outbound.bytes_max / 2).min(LINGER_BYTES);
        let waits = outbound.linger > Duration::ZERO
            && session.close.is_none()
            && lane == Lane::Normal
            && !is_plenty;
        waits.then(|| accepted_at + outbound.linger)
    }

    fn settle_linger(&mut self, step: &Step<'_>) {
        let is_lingering = self.lingers_until().is_some_and(|at| !at.is_due(step.now));
        if let Some(session) = &mut self.session {
            session.is_lingering = is_lingering;
        }
    }

    /// What the first message of the queue goes out as on this socket.
    fn first_payload(&self) -> Option<Payload<'_>> {
        match &self.session.as_ref()?.compression {
            Some(compression) => compression.payloads(&self.outbound, 0).next(),
            None => {
                if let Some(first) = self.outbound.get(0) {
                    return Some(Payload::plain(&first.message));
                }
                let (kind, payload) = self.outbound.packed_from(0).next()?;
                Some(Payload::of(kind, payload))
            }
        }
    }

    /// Compresses what goes out next, if it is agreed that messages may be compressed.
    fn settle_compression(&mut self) {
        if !self.sends_messages() {
            return;
        }
        if let Some(session) = &mut self.session
            && let Some(compression) = &mut session.compression
        {
            compression.go_ahead(&self.outbound, session.quantum);
        }
    }

    /// Whether TLS has something to say that is not out yet.
    pub(super) fn has_unsent_records(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_unsent())
    }

    fn has_unwritten(&self) -> bool {
        if self.has_unsent_records() {
            return true;
        }
        if self.life.state() == State::Upgrading {
            return self
                .attempt
                .as_ref()
                .is_some_and(|a| !a.unsent_request().is_empty());
        }
        let Some(session) = &self.session else {
            return false;
        };
        if session.cut.is_some() {
            return true;
        }
        let is_close_sent = session.close.as_ref().is_some_and(|close| close.is_sent());
        !is_close_sent
            && (session.pongs.is_some()
                || session.is_ping_unsent
                || session
                    .script
                    .as_ref()
                    .is_some_and(|s| !s.unsent.is_empty())
                || (self.sends_messages() && !self.outbound.is_empty())
                || session.close.as_ref().is_some_and(|close| close.is_due()))
    }

    /// Announces that there is something to write, once until it is all written.
    pub(super) fn settle_transmit(&mut self, step: &mut Step<'_>) {
        self.settle_linger(step);
        self.settle_compression();
        if !self.has_unwritten() {
            return;
        }
        if let Some(session) = &mut self.session
            && session.unwritten_since == Instant::FAR_FUTURE
        {
            session.unwritten_since = step.now;
        }
        if !self.is_transmit_announced {
            self.is_transmit_announced = true;
            step.out.push_back(Output::Transmit {
                socket: self.socket(),
            });
        }
    }

    /// There was nothing to offer: the next thing to write is announced again.
    pub(crate) fn has_nothing_to_offer(&mut self) {
        self.is_transmit_announced = false;
        if let Some(tls) = &mut self.tls {
            tls.shrink();
        }
        // What cannot be encrypted any more still waits, and not for ever.
        let is_stuck = self.has_unwritten();
        if let (false, Some(session)) = (is_stuck, &mut self.session) {
            session.unwritten_since = Instant::FAR_FUTURE;
        }
    }
}

/// How many messages of a plan begin in its first `bytes`.
pub(super) fn messages_within(plan: &[Unit], bytes: usize) -> usize {
    let mut start = 0;
    let begins_within = |unit: &&Unit| {
        let begins = start < bytes;
        start = unit.end;
        begins
    };
    plan.iter()
        .take_while(begins_within)
        .filter(|unit| matches!(unit.what, What::Message { .. }))
        .count()
}

#[inline(always)]
fn close_unit(plan: &mut Vec<Unit>, what: What, scratch: &[u8]) {
    plan.push(Unit {
        what,
        end: scratch.len(),
    });
}

/// Makes room for so many bytes, if they are many, and for what goes out beside them. Left to double, the buffer would come to take
/// twice as much as one write ever holds.
fn make_room(scratch: &mut Vec<u8>, bytes: usize) {
    const MANY: usize = 64 << 10;
    /// Control frames, and the part of the last frame that lies beyond the quantum.
    const BESIDE: usize = 8 << 10;
    /// So that a little more each time does not lead to new memory each time.
    const STEP: usize = 32 << 10;
    let needed = bytes + BESIDE;
    if bytes >= MANY && needed > scratch.capacity() - scratch.len() {
        scratch.reserve_exact(needed.next_multiple_of(STEP));
    }
}

fn offered(scratch: &[u8]) -> u32 {
    u32::try_from(scratch.len()).unwrap_or(u32::MAX)
}

/// Encodes a message's frame from byte `written` on, about `quantum` bytes of it; whether that was all.
fn encode_rest(
    scratch: &mut Vec<u8>,
    payload: Payload<'_>,
    mask: [u8; 4],
    written: u64,
    quantum: u32,
) -> bool {
    let bytes = payload.bytes();
    if written == 0 && bytes.len() <= quantum as usize {
        payload.encode_header(scratch, mask);
        mask_append(scratch, bytes, mask, 0);
        return true;
    }
    let header_len = frame_len(bytes.len()) - bytes.len() as u64;
    let mut payload_written = 0;
    if written < header_len {
        let start = scratch.len();
        payload.encode_header(scratch, mask);
        let skipped = start + usize::try_from(written).unwrap_or(0);
        scratch.drain(start..skipped);
    } else {
        payload_written = usize::try_from(written - header_len).unwrap_or(bytes.len());
    }
    let rest = &bytes[payload_written..];
    let part = rest.len().min(quantum.max(QUANTUM_MIN) as usize);
    mask_append(scratch, &rest[..part], mask, payload_written);
    part == rest.len()
}
