//! Messages that a read puts where they stay.

use std::ops::Range;

use super::{AHEAD_BYTES_MAX, Decoder, End, Item, Kind, ProtocolError, Ready, Stage};

/// A message that lacks so much is worth reads of its own.
const DIRECT_BYTES_MIN: u64 = 32 * 1024;

impl Decoder {
    /// Whether there may be [`room`](Self::room).
    pub(crate) fn is_in_long_message(&self) -> bool {
        match self.stage {
            Stage::Direct { .. } => true,
            Stage::Data { left, .. } => left >= DIRECT_BYTES_MIN,
            Stage::Head | Stage::HeadAfterDirect | Stage::Control | Stage::Ended => false,
        }
    }

    /// Where the rest of the message that is being put together can be read to, if so much is missing that it is worth reads of its
    /// own. `spare` may have memory for all of it; what else is taken is as much as has arrived.
    pub(crate) fn room(
        &mut self,
        spare: impl FnOnce(usize) -> Option<Vec<u8>>,
    ) -> Option<&mut [u8]> {
        let left = match self.stage {
            Stage::Direct { left, room: 0 } => left,
            Stage::Direct { room, .. } => {
                let filled = self.message.len() - room as usize;
                return Some(&mut self.message[filled..]);
            }
            Stage::Data {
                left,
                end: End::OfMessage,
            } if left >= DIRECT_BYTES_MIN && !self.is_inflating() => u32::try_from(left).ok()?,
            Stage::Data { .. }
            | Stage::Head
            | Stage::HeadAfterDirect
            | Stage::Control
            | Stage::Ended => return None,
        };
        let filled = self.message.len();
        let total = filled + left as usize;
        if total > self.message.capacity()
            && let Some(mut spare) = spare(total)
        {
            spare[..filled].copy_from_slice(&self.message);
            self.message = spare;
        } else {
            let ahead = filled.max(AHEAD_BYTES_MAX).min(left as usize);
            self.message.reserve_exact(ahead);
            self.message.resize(filled + ahead, 0);
        }
        let room = u32::try_from(self.message.len() - filled).expect("at most what is left");
        self.stage = Stage::Direct { left, room };
        Some(&mut self.message[filled..])
    }

    /// The next `len` bytes of the stream were read to where [`room`](Self::room) has said.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(crate) fn read_directly(&mut self, len: usize) -> Result<Option<Item<'_>>, ProtocolError> {
        match self.advance_directly(len) {
            Ok(ready) => Ok(ready.map(|ready| self.item(ready))),
            Err(error) => {
                self.end(&mut &[][..]);
                Err(error)
            }
        }
    }

    /// Completes the message that is being put together, if its end is at the front of what was read to `memory[here]`, and what is held of it
    /// fits before that: it is put there. Returns where the message lies.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(crate) fn complete_in(
        &mut self,
        memory: &mut [u8],
        here: Range<usize>,
    ) -> Result<Option<(Kind, Range<usize>)>, ProtocolError> {
        let Stage::Data {
            left,
            end: End::OfMessage,
        } = self.stage
        else {
            return Ok(None);
        };
        let held = self.message.len();
        let is_here = left <= here.len() as u64 && held <= here.start;
        if !is_here || self.is_inflating() {
            return Ok(None);
        }
        let left = usize::try_from(left).expect("it is here");
        let place = here.start - held..here.start + left;
        memory[place.start..here.start].copy_from_slice(&self.message);
        let checked = match self.kind {
            Some(Kind::Text) => {
                let grown = self.utf8.grow(&memory[place.clone()], left);
                grown.and_then(|()| self.utf8.finish())
            }
            Some(Kind::Binary) | None => Ok(()),
        };
        if let Err(error) = checked {
            self.end(&mut &[][..]);
            return Err(error.into());
        }
        self.message = Vec::new();
        self.stage = Stage::Head;
        Ok(Some((self.finish_kind(), place)))
    }

    fn advance_directly(&mut self, len: usize) -> Result<Option<Ready<'static>>, ProtocolError> {
        let Stage::Direct { left, room } = self.stage else {
            return Ok(None);
        };
        let read = u32::try_from(len).expect("at most the room");
        let room = room.checked_sub(read).expect("at most the room");
        let left = left - read;
        if self.kind == Some(Kind::Text) {
            let filled = self.message.len() - room as usize;
            self.utf8.grow(&self.message[..filled], len)?;
        }
        if left > 0 {
            self.stage = Stage::Direct { left, room };
            return Ok(None);
        }
        self.stage = Stage::HeadAfterDirect;
        self.finish_message().map(Some)
    }

    /// The next bytes were not read directly.
    pub(super) fn leave_direct(&mut self) {
        match self.stage {
            Stage::HeadAfterDirect => self.stage = Stage::Head,
            Stage::Direct { left, room } => {
                self.message.truncate(self.message.len() - room as usize);
                self.stage = Stage::Data {
                    left: u64::from(left),
                    end: End::OfMessage,
                };
            }
            Stage::Head | Stage::Data { .. } | Stage::Control | Stage::Ended => {}
        }
    }

    /// Whether a message that was read [directly](Self::room) was the last thing that came. The next may be as long: it pays to read but its
    /// beginning.
    pub(crate) fn expects_long(&self) -> bool {
        self.stage == Stage::HeadAfterDirect
    }
}
