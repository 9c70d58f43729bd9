//! Scenarios for Ropewalk, a simulator to run them in, and a harness to run them over sockets.
//!
//! Not published: this is how the project tests that the core keeps its rules, and that every adapter behaves as the
//! core does.
#![forbid(unsafe_code)]

pub mod harness;
mod inflate;
mod ledger;
pub mod scenario;
pub mod script;
pub mod sim;
pub mod trace;
pub mod wire;
mod words;
