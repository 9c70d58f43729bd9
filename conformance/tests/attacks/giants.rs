//! Messages as large as they may be, on many connections that together may not hold them.

use std::num::NonZeroU64;
use std::time::Duration;

use ropewalk_conformance::wire::{server_frame, switching_protocols};
use ropewalk_core::{AdmissionLimits, CloseReason, ConnectionId, Settings, State, TimerKind};

use crate::world::{ALLOWANCE, Fed, KIB, MIB, World, measured, peak, start_counting, turn};

const COUNT: usize = 32;
const MESSAGE_BYTES: usize = MIB;
const BUDGET: usize = 4 * MIB;

fn limits() -> AdmissionLimits {
    AdmissionLimits {
        bytes_max: NonZeroU64::new(BUDGET as u64).expect("it is not zero"),
        ..AdmissionLimits::default()
    }
}

/// What a server still has to say.
struct Server {
    id: ConnectionId,
    /// How much of its stream the client has read.
    sent: usize,
}

fn servers(world: &mut World) -> Vec<Server> {
    let mut settings = Settings::default();
    settings.limits.message_bytes_max = MESSAGE_BYTES;
    settings.limits.frame_bytes_max = MESSAGE_BYTES;
    let mut open = |_| {
        let id = world.insert(&settings);
        world.upgrade(id, "");
        Server { id, sent: 0 }
    };
    (0..COUNT).map(&mut open).collect()
}

/// Every server's socket is readable in turn; returns whether any was read.
fn round(world: &mut World, servers: &mut [Server], stream: &[u8]) -> bool {
    let mut is_moved = false;
    for server in servers {
        let rest = &stream[server.sent..];
        let piece = &rest[..rest.len().min(64 * KIB)];
        let before = world.read_bytes(server.id);
        let fed = world.feed(server.id, piece);
        assert_ne!(fed, Fed::Gone, "{:?}", world.end(server.id));
        let read = world.read_bytes(server.id) - before;
        server.sent += read;
        is_moved |= read > 0;
    }
    is_moved
}

#[test]
fn giants_on_all_connections_are_read_in_turn_and_all_delivered() {
    let _turn = turn();
    const EACH: usize = 3;
    let stream = server_frame(0x82, &vec![b'g'; MESSAGE_BYTES]).repeat(EACH);
    measured(limits(), |world| {
        let mut servers = servers(world);
        start_counting();
        while round(world, &mut servers, &stream) {
            world.set.check_invariants();
            let delivered: Vec<usize> = servers.iter().map(|s| world.delivered(s.id)).collect();
            let (least, most) = (delivered.iter().min(), delivered.iter().max());
            assert!(
                most <= least.map(|least| least + 2).as_ref(),
                "{delivered:?}"
            );
        }
        for server in &servers {
            assert_eq!(world.delivered(server.id), EACH);
        }
        assert_eq!(world.set.charged_bytes(), 0);
        // One may be finished although the bytes are used up, and is copied into its batch.
        let allowed = BUDGET + 2 * MESSAGE_BYTES + COUNT * ALLOWANCE;
        assert!(peak() <= allowed, "{} bytes, {allowed} allowed", peak());
    });
}

#[test]
fn giants_that_nobody_takes_stop_the_reading_of_all() {
    let _turn = turn();
    measured(limits(), |world| {
        let (mut servers, stream) = (servers(world), stream());
        start_counting();
        use_up(world, &mut servers, &stream);
        // Each consumer asked for one batch, and for no more.
        let delivered: Vec<usize> = servers.iter().map(|s| world.delivered(s.id)).collect();
        assert!(delivered.iter().all(|count| *count <= 1), "{delivered:?}");
        let allowed = BUDGET + 2 * MESSAGE_BYTES + COUNT * ALLOWANCE;
        assert!(peak() <= allowed, "{} bytes, {allowed} allowed", peak());
    });
}

#[test]
fn servers_that_never_finish_their_giants_hold_up_the_others_for_ten_seconds_each() {
    let _turn = turn();
    let stream = server_frame(0x82, &vec![b'g'; MESSAGE_BYTES]);
    measured(limits(), |world| {
        let mut servers = servers(world);
        let mut hostile = servers.split_off(COUNT / 2);
        // Half a message each: more than all may hold. Then not a word more of it.
        for server in &mut hostile {
            let fed = world.feed(server.id, &stream[..60 * KIB]);
            assert_eq!(fed, Fed::All);
        }
        while round(world, &mut hostile, &stream[..MESSAGE_BYTES / 2]) {}
        let mut seconds = 0;
        while servers.iter().any(|s| world.delivered(s.id) == 0) {
            while round(world, &mut servers, &stream) {}
            world.advance(Duration::from_secs(1));
            for server in &hostile {
                // It lives, as pings and their answers show.
                world.feed(server.id, b"\x8a\x00");
            }
            seconds += 1;
            // What a turn of ten seconds makes room for is noticed a second later.
            assert!(seconds <= 11 * COUNT / 2, "the others are not read");
        }
        let lost: Vec<_> = hostile.iter().filter_map(|s| world.end(s.id)).collect();
        assert!(!lost.is_empty());
        assert!(
            lost.iter()
                .all(|reason| *reason == CloseReason::Timeout(TimerKind::Message)),
            "{lost:?}"
        );
    });
}

/// Makes the connections hold what all may hold, with nobody to take it.
fn use_up(world: &mut World, servers: &mut [Server], stream: &[u8]) {
    for server in &*servers {
        world.stop_consuming(server.id);
    }
    while round(world, servers, stream) {}
}

fn stream() -> Vec<u8> {
    server_frame(0x82, &vec![b'g'; MESSAGE_BYTES]).repeat(3)
}

#[test]
fn a_connection_is_established_although_the_bytes_are_used_up() {
    let _turn = turn();
    measured(limits(), |world| {
        let mut servers = servers(world);
        use_up(world, &mut servers, &stream());
        let id = world.insert(&Settings::default());
        // The response comes in pieces, so that it is not only what a first read would bring.
        let request = world.take_written(id);
        for byte in switching_protocols(&request, "") {
            assert_eq!(world.feed(id, &[byte]), Fed::All);
        }
        assert_eq!(world.set.state(id), Some(State::Open));
        assert_eq!(world.feed(id, &server_frame(0x82, b"x")), Fed::Stalled);
    });
}

#[test]
fn the_time_of_a_message_stands_still_while_the_bytes_are_used_up() {
    let _turn = turn();
    let limit = Duration::from_secs(5);
    for is_in_time in [true, false] {
        measured(limits(), |world| {
            let mut settings = Settings::default();
            settings.timeouts.message = Some(limit);
            let id = world.insert(&settings);
            world.upgrade(id, "");
            world.stop_consuming(id);
            // The one batch that was asked for.
            world.feed(id, &server_frame(0x81, b"first"));
            world.feed(id, &[0x81, 6, b's']);
            world.advance(limit - Duration::from_secs(1));
            let (mut servers, stream) = (servers(world), stream());
            use_up(world, &mut servers, &stream);
            world.advance(limit * 10);
            assert_eq!(world.feed(id, b"econd"), Fed::Stalled);
            for server in &servers {
                world.go_on_consuming(server.id);
            }
            while round(world, &mut servers, &stream) {}
            assert_eq!(world.set.state(id), Some(State::Open));
            let last = Duration::from_secs(1);
            if is_in_time {
                world.advance(last - Duration::from_nanos(1));
                assert_eq!(world.feed(id, b"econd"), Fed::All);
                world.advance(limit);
                assert_eq!(world.end(id), None);
            } else {
                world.advance(last);
                let late = CloseReason::Timeout(TimerKind::Message);
                assert_eq!(world.end(id), Some(late));
            }
        });
    }
}
