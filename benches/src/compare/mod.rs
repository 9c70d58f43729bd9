//! The same work for everybody, in turn, each in a process of its own.

mod machine;
mod measures;
mod report;
mod rounds;
mod rows;

pub use machine::Machine;
pub(crate) use measures::median;
pub use measures::{Measure, Summary};
pub use report::Report;
pub use rounds::{Results, Rounds, run};
pub use rows::{ROWS, Row};
