//! What `tap` writes: one JSON object a line.

mod clock;
mod event;
mod message;

pub(crate) use clock::{Clock, wall_text};
pub(crate) use event::{EventForm, EventRecords};
pub(crate) use message::MessageRecords;
