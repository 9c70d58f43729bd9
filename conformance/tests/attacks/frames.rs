//! Frames that cost more than they bring, and frames that never end.

use std::time::Duration;

use ropewalk_conformance::wire::server_frame;
use ropewalk_core::websocket::ProtocolError;
use ropewalk_core::{CloseReason, Settings, TimerKind};

use crate::world::{Attack, Damage, Fed, KIB, Kernel, MIB, suffer, turn};

const MESSAGE_BYTES_MAX: usize = MIB;

fn attack(ticks: u32) -> Attack {
    let mut settings = Settings::default();
    settings.limits.message_bytes_max = MESSAGE_BYTES_MAX;
    settings.limits.frame_bytes_max = MESSAGE_BYTES_MAX;
    Attack {
        settings,
        response: Some(""),
        ticks,
    }
}

#[track_caller]
fn assert_refused(damage: &Damage, error: ProtocolError) {
    assert_eq!(damage.end, Some(CloseReason::Protocol(error)));
}

/// Sends the first frame of a message and this one again and again, as often as the ticks and `times` say.
fn flood(first: &[u8], frame: &[u8], times: usize) -> Damage {
    let ticks = 10;
    let frames = frame.repeat(times);
    suffer(&attack(ticks), |world, victim, tick| {
        if tick == 0 {
            world.feed(victim, first);
        }
        // One read for each frame, and many frames in one read.
        if tick % 2 == 0 {
            for piece in frames.chunks(frame.len()) {
                world.feed(victim, piece);
            }
        } else {
            world.feed(victim, &frames);
        }
    })
}

#[test]
fn a_flood_of_one_byte_fragments_is_bounded() {
    let _turn = turn();
    let damage = flood(&[0x02, 1, b'x'], &[0x00, 1, b'x'], 400);
    damage.check(MESSAGE_BYTES_MAX);
    let damage = flood(&[0x02, 1, b'x'], &[0x00, 1, b'x'], 40_000);
    damage.check(4_096 * 3);
}

#[test]
fn a_flood_of_empty_fragments_ends_at_the_limit_of_fragments() {
    let _turn = turn();
    for first in [[0x01, 0], [0x02, 0]] {
        let damage = flood(&first, &[0x00, 0], 40_000);
        damage.check(0);
        assert!(damage.wire > 2 * 4_096);
    }
}

#[test]
fn the_limit_of_fragments_ends_the_connection() {
    let _turn = turn();
    let fragments = [0x00, 1, b'x'].repeat(5_000);
    let damage = suffer(&attack(100), |world, victim, tick| match tick {
        0 => drop(world.feed(victim, &[0x02, 0])),
        1 => drop(world.feed(victim, &fragments)),
        _ => world.advance_close(victim),
    });
    assert_refused(&damage, ProtocolError::TooManyFragments { max: 4_096 });
    damage.check(0);
}

#[test]
fn a_length_beyond_the_limit_is_refused_by_its_header() {
    let _turn = turn();
    let max = MESSAGE_BYTES_MAX;
    for bytes in [(1 << 63) - 1, u64::from(u32::MAX), max as u64 + 1] {
        let mut header = vec![0x82, 127];
        header.extend(bytes.to_be_bytes());
        let damage = suffer(&attack(10), |world, victim, tick| match tick {
            0 => drop(world.feed(victim, &header)),
            // What follows is not looked at.
            1..5 => drop(world.feed(victim, &[0xff; 64 * KIB])),
            _ => world.advance_close(victim),
        });
        assert_refused(&damage, ProtocolError::FrameTooBig { bytes, max });
        damage.check_cap(0);
    }
}

#[test]
fn a_length_at_the_limit_takes_memory_only_as_its_bytes_arrive() {
    let _turn = turn();
    let mut header = vec![0x82, 127];
    header.extend((MESSAGE_BYTES_MAX as u64).to_be_bytes());
    for piece in [1, 100, 10 * KIB] {
        let bytes = vec![b'x'; piece];
        let damage = suffer(&attack(50), |world, victim, tick| {
            if tick == 0 {
                world.feed(victim, &header);
            }
            assert_eq!(world.feed(victim, &bytes), Fed::All);
        });
        assert_eq!(damage.end, None);
        damage.check(MESSAGE_BYTES_MAX);
    }
}

#[test]
fn a_drip_ends_with_the_time_of_its_message() {
    let _turn = turn();
    let mut drip = attack(600);
    drip.settings.timeouts.message = Some(Duration::from_secs(5));
    let damage = suffer(&drip, |world, victim, tick| {
        let byte: &[u8] = if tick == 0 { &[0x82, 126] } else { b"x" };
        let fed = world.feed(victim, byte);
        assert_eq!(fed == Fed::Gone, tick >= 500, "at tick {tick}");
    });
    let late = CloseReason::Timeout(TimerKind::Message);
    assert_eq!(damage.end, Some(late));
    damage.check(MESSAGE_BYTES_MAX);
}

#[test]
fn a_message_of_the_full_size_costs_its_size_and_its_copy_at_most() {
    let _turn = turn();
    let message = server_frame(0x82, &vec![b'x'; MESSAGE_BYTES_MAX]);
    let damage = suffer(&attack(20), |world, victim, _| {
        assert_eq!(world.feed(victim, &message), Fed::All);
    });
    assert_eq!(damage.delivered, 20);
    damage.check(2 * MESSAGE_BYTES_MAX);
}

/// A million pings of 125 bytes, whose pongs the server does not read.
#[test]
fn a_flood_of_pings_that_never_reads_a_pong_is_bounded() {
    let _turn = turn();
    const PINGS: usize = 1_000_000;
    let ping = server_frame(0x89, &[b'p'; 125]);
    let pings = ping.repeat(500);
    let ticks = u32::try_from(PINGS / 500).expect("it is small");
    let damage = suffer(&attack(ticks), |world, victim, tick| {
        if tick == 0 {
            world.set_kernel(victim, Kernel::Full);
        }
        assert_eq!(world.feed(victim, &pings), Fed::All);
    });
    assert_eq!((damage.end.as_ref(), damage.wire), (None, PINGS * 127));
    damage.check_cap(0);
}

#[test]
fn messages_that_nobody_takes_stop_the_reading() {
    let _turn = turn();
    // Empty, short, long: what is small costs more than it holds.
    for len in [0, 1, 100, 10 * KIB] {
        let frames = server_frame(0x82, &vec![b'x'; len]).repeat(MIB / (len + 2));
        let attack = attack(10);
        let inbound = attack.settings.inbound.bytes_max;
        let damage = suffer(&attack, |world, victim, tick| {
            if tick == 0 {
                world.stop_consuming(victim);
            }
            world.feed(victim, &frames);
            assert_eq!(world.feed(victim, &frames), Fed::Stalled);
        });
        assert_eq!(damage.end, None);
        assert!(damage.delivered <= attack.settings.batch.count_max);
        damage.check(inbound + len);
    }
}
