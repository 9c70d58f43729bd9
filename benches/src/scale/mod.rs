//! What messages, memory, wake-ups and timers cost beside how many connections there are.

mod chart;
mod charts;
mod draw;
mod jobs;
mod limits;
mod timers;
mod traced;

pub use chart::{Chart, Kind, Series};
pub use charts::{cost, memory, wake_ups};
pub use draw::svg;
pub use jobs::{Job, Measured, Trace, plan, together};
pub use limits::{check_ports, raise_descriptors};
pub use timers::timers;
