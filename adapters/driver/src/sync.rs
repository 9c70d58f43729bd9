//! The primitives of the ready list and the trays, named here so that their test can put loom's in their place.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};
