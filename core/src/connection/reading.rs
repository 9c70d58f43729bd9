//! What a read has put where it belongs: whole messages in memory that becomes a batch, or a part of a long one.

use std::ops::Range;

use crate::arenas::Arenas;
use crate::batch::{Contents, Found, Pushed};
use crate::reason::CloseReason;

use super::receive::{Arrived, limits_of};
use super::{Connection, Step};

impl Connection {
    /// Takes the bytes that a read has put `here` in `buffer`; where it takes the buffer with them, another is left in its place. Returns
    /// how many bytes were taken.
    pub(crate) fn receive_buffer(
        &mut self,
        step: &mut Step<'_>,
        buffer: &mut Contents,
        here: Range<usize>,
    ) -> usize {
        let is_plain = self.tls.is_none() && self.life.has_session();
        let is_worth_it = buffer.is_worth_keeping(here.len());
        let taken = if is_worth_it && is_plain && self.messages_go_straight() {
            self.receive_messages(step, buffer, here.clone())
        } else {
            0
        };
        taken + self.receive_from_socket(step, &buffer.as_bytes()[here][taken..])
    }

    /// Takes the `len` bytes that a read has put where [`message_room`](Self::message_room) has said.
    pub(crate) fn receive_in_place(&mut self, step: &mut Step<'_>, len: usize) {
        if let Some(session) = &mut self.session {
            session.received(step.now);
        }
        self.receive_frames(step, Arrived::InPlace(len));
        self.time_message(step);
    }

    /// Whether there may be [`message_room`](Self::message_room).
    pub(crate) fn is_in_long_message(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.decoder.is_in_long_message())
    }

    /// Where the next read is to put its bytes, if they are a part of a long message.
    pub(crate) fn message_room(&mut self, arenas: &mut Arenas) -> Option<&mut [u8]> {
        if self.tls.is_some() {
            return None;
        }
        let decoder = &mut self.session.as_mut()?.decoder;
        decoder.room(|bytes| arenas.for_message(bytes))
    }

    /// Takes the plain messages at the front of what is `here` in `buffer`: with the buffer itself, so that they are not copied, if they are most of it
    /// and nothing follows but the beginning of another. Returns how many bytes were taken.
    fn receive_messages(
        &mut self,
        step: &mut Step<'_>,
        buffer: &mut Contents,
        here: Range<usize>,
    ) -> usize {
        let settings = self.config.settings();
        let limits = limits_of(settings);
        let Some(session) = &mut self.session else {
            return 0;
        };
        if session.is_deaf() || self.inbound.is_full(&settings.inbound) {
            return 0;
        }
        let completed = session.decoder.complete_in(buffer.memory(), here.clone());
        let first = match completed {
            Ok(first) => first,
            Err(error) => {
                self.fail(step, CloseReason::Protocol(error));
                return here.len();
            }
        };
        session.received(step.now);
        let found = Found {
            seq: self.config.hooks().numbered_after + self.received + 1,
            received_at: step.now,
            first,
            behind: here.clone(),
            count_max: settings.batch.count_max,
        };
        let end = buffer.note(found, |bytes| session.decoder.run(&limits, bytes));
        let mut rest = &buffer.as_bytes()[end..here.end];
        let is_all = session.decoder.is_cut(&limits, rest);
        let is_few = (1..settings.batch.count_max / 2).contains(&buffer.len());
        session.brings_much = is_all && is_few;
        let policy = (&settings.batch, &settings.inbound);
        if !is_all || !self.inbound.has_room_for(policy, buffer) {
            let taken = self.copy_messages(step, buffer, end);
            return taken.unwrap_or(here.start) - here.start;
        }
        // What is cut has to be elsewhere before the buffer is gone.
        let cut = session.decoder.next(&limits, &mut rest).map(drop);
        let pushed = Pushed {
            items: u32::try_from(buffer.len()).expect("a read brings little"),
            bytes: buffer.bytes(),
        };
        let mut messages = std::mem::replace(buffer, step.arenas.for_read());
        messages.settle();
        self.inbound.append(self.generation, 0, messages);
        self.were_queued(step, pushed);
        if let Err(error) = cut {
            self.fail(step, CloseReason::Protocol(error));
        }
        self.time_message(step);
        here.len()
    }

    /// Takes the messages that were noted in `buffer`, the last of which ends at `end`, as far as there is room. Returns where the last one that was
    /// taken ends.
    fn copy_messages(
        &mut self,
        step: &mut Step<'_>,
        buffer: &mut Contents,
        end: usize,
    ) -> Option<usize> {
        let mut messages = buffer.noted();
        let mut taken = None;
        self.push_run(step, || {
            let (message, at) = messages.next()?;
            taken = Some(at);
            Some((message.kind(), message.as_bytes(), end - at))
        });
        drop(messages);
        buffer.forget();
        taken
    }
}
