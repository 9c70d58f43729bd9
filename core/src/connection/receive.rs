//! Bytes in: messages for the consumer, control frames for the session.

use std::borrow::Cow;
use std::time::Duration;

use crate::batch::{Contents, MessageRef, Next, Pushed};
use crate::event::{EventKind, Reading, State};
use crate::hooks::{Hooks, ReadyStep, Reply, Urgency};
use crate::ids::ConnectionId;
use crate::inbound::{Arrival, Inbound};
use crate::io::Output;
use crate::letter::{DeadLetter, Direction, Stage};
use crate::message::{Kind, Message};
use crate::reason::CloseReason;
use crate::renegotiate::{Invalid, InvalidCounts, InvalidKind};
use crate::settings::{Config, InvalidFate, Settings};
use crate::target::Endpoint;
use crate::time::Instant;
use crate::websocket::{Item, Limits, Run};

use super::renegotiation::ready_steps;
use super::session::{Script, Session};
use super::{Connection, History, Step, Tally, endpoint_of};

/// What the application's decoder refused of late.
#[derive(Debug, Default)]
pub(super) struct InvalidWindow {
    started_at: Instant,
    counts: InvalidCounts,
    reported_at: Option<Instant>,
}

impl InvalidWindow {
    /// Counts one more; returns how many there are.
    fn count(&mut self, now: Instant, length: Duration, kind: InvalidKind) -> u32 {
        let is_over = now.saturating_since(self.started_at) >= length;
        if self.counts.total() == 0 || is_over {
            self.started_at = now;
            self.counts = InvalidCounts::default();
        }
        self.counts.count(kind);
        self.counts.total()
    }

    /// Starts over; returns what was counted.
    pub(super) fn take(&mut self) -> InvalidCounts {
        std::mem::take(&mut self.counts)
    }
}

/// What may happen with every message is told at most this often.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A message of so many bytes that was put together from several reads is a batch of its own, so that it is not copied.
const LONG: usize = 32 << 10;

/// What has arrived.
#[derive(Clone, Copy)]
pub(super) enum Arrived<'a> {
    /// These bytes.
    Here(&'a [u8]),
    /// So many, which were read to where they belong.
    InPlace(usize),
}

/// What a message means for the session that it came over.
enum Meaning {
    Nothing,
    ScriptGoesOn,
    Fail(CloseReason),
}

impl Connection {
    /// Takes bytes from the socket; fewer than given only if the connection is not to be read now.
    pub(crate) fn receive(&mut self, step: &mut Step<'_>, bytes: &[u8]) -> usize {
        let mut taken = 0;
        if self.life.state() == State::Upgrading {
            taken = self.receive_response(step, bytes);
        }
        if !self.life.has_session() {
            return bytes.len();
        }
        if let Some(session) = &mut self.session {
            session.received(step.now);
        }
        taken += self.receive_frames(step, Arrived::Here(&bytes[taken..]));
        self.time_message(step);
        taken
    }

    pub(super) fn receive_frames(&mut self, step: &mut Step<'_>, arrived: Arrived<'_>) -> usize {
        let settings = self.config.settings();
        let bounds = settings.inbound;
        let limits = limits_of(settings);
        let goes_straight = self.messages_go_straight();
        let (bytes, mut in_place) = match arrived {
            Arrived::Here(bytes) => (bytes, None),
            Arrived::InPlace(len) => (&[][..], Some(len)),
        };
        let mut rest = bytes;
        loop {
            let Some(session) = &mut self.session else {
                return bytes.len();
            };
            // What was just handed over has been copied, whether or not more is to be read.
            session.decoder.release();
            if session.is_deaf() {
                return bytes.len();
            }
            // What is in its place already can neither be left nor be looked at again.
            if in_place.is_none() && (rest.is_empty() || self.inbound.is_full(&bounds)) {
                return bytes.len() - rest.len();
            }
            if goes_straight && in_place.is_none() {
                let run = session.decoder.run(&limits, rest);
                rest = self.receive_run(step, run);
                if rest.is_empty() {
                    return bytes.len();
                }
                if self.inbound.is_full(&bounds) {
                    continue;
                }
            }
            let Some(session) = &mut self.session else {
                return bytes.len();
            };
            let mut reply = None;
            let is_in_place = in_place.is_some();
            let next = match in_place.take() {
                Some(len) => session.decoder.read_directly(len),
                None => session.decoder.next(&limits, &mut rest),
            };
            let meaning = match next {
                Ok(None) => return bytes.len(),
                Ok(Some(Item::Message { kind, payload })) => {
                    session.has_sign_of_life = true;
                    session.last_data_at = step.now;
                    session.arriving = None;
                    self.received += 1;
                    self.received_bytes += payload.len() as u64;
                    let seq = self.config.hooks().numbered_after + self.received;
                    let message = MessageRef::new(kind, &payload, seq, step.now);
                    if let Some(acknowledge) = &self.config.hooks().acknowledge
                        && let Some(key) = acknowledge.reply(message)
                        && self.outbound.awaits(&key)
                    {
                        reply = Some((key, Message::from(message)));
                    }
                    Intake {
                        id: self.id,
                        endpoint: endpoint_of(&self.target, self.endpoint),
                        generation: self.generation,
                        config: &self.config,
                        inbound: &mut self.inbound,
                        tally: &mut self.tally,
                        history: &mut self.history,
                        next_sequence: &mut self.next_sequence,
                        script: session.script.as_deref_mut(),
                        ahead: rest.len(),
                        is_in_place,
                    }
                    .take(step, (kind, seq), payload)
                }
                Ok(Some(Item::Ping(payload))) => {
                    // The payload may lie in the decoder: copied before anything else is asked of it.
                    let payload: Box<[u8]> = payload.into();
                    session.owe_pong(&payload);
                    Meaning::Nothing
                }
                Ok(Some(Item::Pong(payload))) => {
                    let is_ours = *payload == session.ping_nonce.to_be_bytes();
                    if is_ours && session.is_pong_awaited {
                        self.pong_arrived(step);
                    }
                    Meaning::Nothing
                }
                Ok(Some(Item::Close(frame))) => {
                    self.peer_closed(step, frame);
                    Meaning::Nothing
                }
                Err(error) => Meaning::Fail(CloseReason::Protocol(error)),
            };
            if let Some((key, reply)) = reply {
                self.reply_arrived(step, &key, reply);
            }
            match meaning {
                Meaning::Nothing => {}
                Meaning::ScriptGoesOn => self.advance_script(step),
                Meaning::Fail(reason) => self.fail(step, reason),
            }
        }
    }

    /// Whether nothing looks at messages on their way to the queue.
    pub(super) fn messages_go_straight(&self) -> bool {
        // Every hook has to say whether it looks at messages. Of keys only lanes know.
        let Hooks {
            acknowledge,
            resume,
            decode,
            urgent,
            per_key: _,
            ready: _,
            renegotiate: _,
            coalesce: _,
            numbered_after: _,
            provider: _,
        } = self.config.hooks();
        // A session that is open has no script, and needs not be looked at where that would be.
        let is_scripted = |session: &Session| session.script.is_some();
        acknowledge.is_none()
            && resume.is_none()
            && decode.is_none()
            && urgent.is_none()
            && (self.life.state() == State::Open || !self.session.as_ref().is_some_and(is_scripted))
            && self.inbound.has_one_lane()
    }

    /// Takes messages that go straight to the queue; returns what lies behind them.
    fn receive_run<'i>(&mut self, step: &mut Step<'_>, mut run: Run<'i>) -> &'i [u8] {
        self.push_run(step, || {
            let (kind, payload) = run.next()?;
            Some((kind, payload, run.rest().len()))
        });
        run.rest()
    }

    /// Queues messages that go straight to the queue, as many as there is room for.
    pub(super) fn push_run<'i>(
        &mut self,
        step: &mut Step<'_>,
        next: impl FnMut() -> Option<Next<'i>>,
    ) -> Pushed {
        let settings = self.config.settings();
        let policy = (&settings.batch, &settings.inbound);
        let arrival = Arrival {
            generation: self.generation,
            at: step.now,
            seq: self.config.hooks().numbered_after + self.received + 1,
        };
        let pushed = self.inbound.push_run(policy, &arrival, step.arenas, next);
        self.were_queued(step, pushed);
        pushed
    }

    pub(super) fn were_queued(&mut self, step: &Step<'_>, pushed: Pushed) {
        if pushed.items > 0 {
            self.received += u64::from(pushed.items);
            self.received_bytes += pushed.bytes as u64;
            if let Some(session) = &mut self.session {
                session.has_sign_of_life = true;
                session.last_data_at = step.now;
                session.arriving = None;
            }
        }
    }

    fn pong_arrived(&mut self, step: &mut Step<'_>) {
        let Some(session) = &mut self.session else {
            return;
        };
        session.is_pong_awaited = false;
        session.has_sign_of_life = true;
        let micros = step.now.saturating_since(session.pinged_at).as_micros();
        let last = u32::try_from(micros).unwrap_or(u32::MAX);
        let smoothed = self.tally.round_trip_smoothed_micros;
        self.tally.round_trip_last_micros = last;
        self.tally.round_trip_smoothed_micros = if smoothed == 0 {
            last
        } else {
            // RFC 6298's α of 1/8.
            smoothed - smoothed / 8 + last / 8
        };
    }

    /// Sends what the ready script wants sent, up to the next reply that it waits for; after its last
    /// step is done, the session is ready.
    pub(super) fn advance_script(&mut self, step: &mut Step<'_>) {
        if self.life.state() != State::Readying {
            return;
        }
        let steps = ready_steps(&self.config, self.history.as_deref());
        let Some(session) = &mut self.session else {
            return;
        };
        let Some(script) = &mut session.script else {
            return;
        };
        while let Some(ReadyStep::Send(template)) = steps.get(script.next) {
            script.next += 1;
            let text = template.render(self.next_sequence);
            script.unsent.push_back(Message::text(text));
        }
        let is_done = script.next == steps.len() && script.unsent.is_empty();
        if is_done
            && session.cut.is_none()
            && let Some(script) = session.script.take()
        {
            self.become_ready(step, script.accepted);
        }
    }

    /// Stops or resumes reading as the inbound queue fills and empties.
    pub(super) fn settle_reading(&mut self, step: &mut Step<'_>) {
        let bounds = self.config.settings().inbound;
        let Some(session) = &mut self.session else {
            self.reading = Reading::Resumed;
            return;
        };
        let wanted = if self.inbound.is_full(&bounds) && !session.is_deaf() {
            Reading::Paused
        } else {
            Reading::Resumed
        };
        if wanted == self.reading {
            return;
        }
        match wanted {
            Reading::Paused => session.stop_reading(step.now),
            Reading::Resumed => session.start_reading(step.now),
        }
        self.reading = wanted;
        step.out.push_back(Output::Read {
            socket: self.socket(),
            reading: wanted,
        });
        self.tell_reading(step, wanted);
    }

    /// A queue at its bound fills and empties many times a second: a pause is told once a second at most,
    /// and its end only if it was.
    fn tell_reading(&mut self, step: &mut Step<'_>, reading: Reading) {
        let is_told = match reading {
            Reading::Paused => {
                let told_at = &mut self.history.get_or_insert_default().pause_told_at;
                let is_told =
                    told_at.is_none_or(|at| step.now.saturating_since(at) >= REPORT_INTERVAL);
                if is_told {
                    *told_at = Some(step.now);
                }
                self.is_pause_told = is_told;
                is_told
            }
            Reading::Resumed => std::mem::take(&mut self.is_pause_told),
        };
        if is_told {
            self.emit(step, EventKind::Reading(reading));
        }
    }
}

/// The way of one message from the socket to the consumer's queue.
struct Intake<'a> {
    id: ConnectionId,
    endpoint: &'a Endpoint,
    generation: u32,
    config: &'a Config,
    inbound: &'a mut Inbound,
    tally: &'a mut Tally,
    history: &'a mut Option<Box<History>>,
    next_sequence: &'a mut u64,
    script: Option<&'a mut Script>,
    /// How many bytes of the socket have arrived after the message.
    ahead: usize,
    /// Its end was read to where it belongs.
    is_in_place: bool,
}

/// What the decoder is to know of the settings.
pub(super) fn limits_of(settings: &Settings) -> Limits {
    Limits {
        message_bytes_max: settings.limits.message_bytes_max,
        frame_bytes_max: settings.limits.frame_bytes_max,
        fragments_max: settings.limits.fragments_max,
    }
}

impl Intake<'_> {
    fn take(
        mut self,
        step: &mut Step<'_>,
        (kind, seq): (Kind, u64),
        payload: Cow<'_, [u8]>,
    ) -> Meaning {
        let message = MessageRef::new(kind, &payload, seq, step.now);
        let hooks = self.config.hooks();
        let reply = self.reply_to_script(message);
        if let Some(resume) = &hooks.resume
            && let Some(number) = resume.sequence_of(message)
        {
            self.follow_sequence(step, number);
        }
        let refusal = match &hooks.decode {
            Some(decode) => decode.decode(message).err(),
            None => None,
        };
        if let Some(invalid) = refusal {
            if let Some(failure) = self.filter(step, message, invalid) {
                return Meaning::Fail(failure);
            }
        } else {
            let settings = self.config.settings();
            let policy = (&settings.batch, &settings.inbound);
            let lane = self.inbound.lane_of(|| {
                let per_key = hooks.per_key.as_ref();
                per_key.map_or(0, |per_key| per_key.hash(message))
            });
            let is_urgent = hooks
                .urgent
                .as_ref()
                .is_some_and(|urgent| urgent.urgency(message) == Urgency::AtOnce);
            let arenas = &mut *step.arenas;
            match payload {
                Cow::Owned(payload) if payload.len() >= LONG => {
                    let mut message = Contents::of_one(kind, payload, seq, step.now);
                    if self.is_in_place {
                        message.lend();
                    }
                    message.shrink();
                    self.inbound.append(self.generation, lane, message);
                }
                Cow::Borrowed(_) | Cow::Owned(_) => {
                    self.inbound
                        .push(policy, self.generation, lane, message, self.ahead, arenas);
                }
            }
            if is_urgent {
                self.inbound.mark_urgent(lane);
            }
        }
        match reply {
            Reply::Other => Meaning::Nothing,
            Reply::Accepted => {
                if let Some(script) = &mut self.script {
                    script.next += 1;
                }
                Meaning::ScriptGoesOn
            }
            Reply::Refused(reason) => Meaning::Fail(CloseReason::Ready(reason)),
        }
    }

    fn reply_to_script(&self, message: MessageRef<'_>) -> Reply {
        let Some(script) = &self.script else {
            return Reply::Other;
        };
        match ready_steps(self.config, self.history.as_deref()).get(script.next) {
            Some(ReadyStep::Expect(expect)) => expect.recognise(message),
            Some(ReadyStep::Send(_)) | None => Reply::Other,
        }
    }

    fn follow_sequence(&mut self, step: &mut Step<'_>, number: u64) {
        let expected = *self.next_sequence;
        *self.next_sequence = number.saturating_add(1);
        if number != expected {
            let gap = EventKind::Gap {
                expected,
                received: number,
            };
            self.emit(step, gap);
        }
    }

    /// Counts a message that the decoder refused; `Some` if it was one too many.
    fn filter(
        &mut self,
        step: &mut Step<'_>,
        message: MessageRef<'_>,
        invalid: Invalid,
    ) -> Option<CloseReason> {
        self.tally.filtered += 1;
        let policy = self.config.settings().invalid;
        if policy.dead_letter == InvalidFate::DeadLetter {
            self.emit_letter(step, message, &invalid.reason);
        }
        let now = step.now;
        let window = &mut self.history.get_or_insert_default().invalid;
        let count = window.count(now, policy.invalid_window, invalid.kind);
        let is_reported = window
            .reported_at
            .is_none_or(|at| now.saturating_since(at) >= REPORT_INTERVAL);
        if is_reported {
            window.reported_at = Some(now);
            let filtered = EventKind::Filtered {
                seq: message.seq(),
                kind: invalid.kind,
                reason: invalid.reason.clone(),
                sample: sample(message, policy.sample_bytes),
                total: self.tally.filtered,
            };
            self.emit(step, filtered);
        }
        (count > policy.invalid_max).then_some(CloseReason::InvalidMessages(invalid))
    }

    fn emit_letter(&self, step: &mut Step<'_>, message: MessageRef<'_>, reason: &str) {
        step.out.push_back(Output::DeadLetter(Box::new(DeadLetter {
            connection: self.id,
            endpoint: self.endpoint.to_string().into(),
            generation: self.generation,
            seq: message.seq(),
            direction: Direction::Inbound,
            stage: Stage::Protocol,
            reason: reason.into(),
            attempts: 1,
            received_at: message.received_at(),
            first_failed_at: step.now,
            kind: message.kind(),
            payload: bytes::Bytes::copy_from_slice(message.as_bytes()),
        })));
        let kind = EventKind::Letter {
            seq: message.seq(),
            direction: Direction::Inbound,
            stage: Stage::Protocol,
        };
        self.emit(step, kind);
    }

    fn emit(&self, step: &mut Step<'_>, kind: EventKind) {
        step.out
            .push_back(Output::Event(Box::new(crate::event::Event {
                at: step.now,
                connection: self.id,
                generation: self.generation,
                kind,
            })));
    }
}

/// The first bytes of a message. What is a text stays one.
fn sample(message: MessageRef<'_>, bytes_max: usize) -> Option<Message> {
    let bytes = message.as_bytes();
    let len = bytes.len().min(bytes_max);
    match message.text() {
        _ if bytes_max == 0 => None,
        Ok(text) => Some(Message::text(&text[..text.floor_char_boundary(len)])),
        Err(_) => Some(Message::binary(bytes[..len].to_vec())),
    }
}
