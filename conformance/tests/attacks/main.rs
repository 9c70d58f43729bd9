//! What hostile servers can make a client hold, counted by the allocator, and that nobody else notices.
//!
//! Each attack goes against the core alone, in virtual time. The allowance is what the settings let a connection hold and
//! 64 KiB, and, unless data are compressed, twice what the attacker has sent and 64 KiB.
#![forbid(unsafe_code)]

mod deflate;
mod frames;
mod giants;
mod handshakes;

mod tls;
mod unread;
mod world;

use std::alloc::System;

use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc};

#[global_allocator]
static ALLOCATOR: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;
