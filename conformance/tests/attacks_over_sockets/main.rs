//! Hostile servers on loopback sockets, against a fleet on each runtime: what they make the whole process hold, counted by
//! its allocator, while a neighbour in the same shard gets every message back, in order.
#![forbid(unsafe_code)]

mod attacks;
mod field;
mod server;

use std::alloc::System;

use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc};
use ropewalk_async_std::AsyncStd;
use ropewalk_smol::Smol;
use ropewalk_tokio::Tokio;

#[global_allocator]
static ALLOCATOR: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

/// So many pings take a moment, and no more.
const PINGS: usize = 100_000;
/// Too many for a debug build.
const PINGS_HEAVY: usize = 1_000_000;

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn every_attack_is_bounded_and_leaves_the_neighbour_alone_on_tokio() {
    let _turn = field::turn();
    let runtime = tokio();
    let _entered = runtime.enter();
    attacks::all::<Tokio>(PINGS);
}

#[test]
fn every_attack_is_bounded_and_leaves_the_neighbour_alone_on_smol() {
    let _turn = field::turn();
    attacks::all::<Smol>(PINGS);
}

#[test]
fn every_attack_is_bounded_and_leaves_the_neighbour_alone_on_async_std() {
    let _turn = field::turn();
    attacks::all::<AsyncStd>(PINGS);
}

#[test]
#[ignore = "a million pings over sockets three times: run by .ci/run in release"]
fn a_million_pings_are_bounded_on_every_runtime() {
    let _turn = field::turn();
    let runtime = tokio();
    let _entered = runtime.enter();
    attacks::pings::<Tokio>(PINGS_HEAVY);
    attacks::pings::<Smol>(PINGS_HEAVY);
    attacks::pings::<AsyncStd>(PINGS_HEAVY);
}
