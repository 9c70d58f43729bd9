//! The primitives of the ready list, named here so that its test can put loom's in their place.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
