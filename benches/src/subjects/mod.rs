//! The core's parts, set up to be measured: by time in the suites, and by instructions in the program `counts`.

mod codec;
mod counted;
mod many;
mod timers;

pub use codec::{Codec, Compressed};
pub use counted::{COUNTED, Counted};
pub use many::Many;
pub use timers::{Backoffs, Timers};
