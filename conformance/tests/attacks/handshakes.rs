//! Responses that never end.

use ropewalk_core::{CloseReason, Settings, TimerKind, UpgradeError};

use crate::world::{Attack, Damage, Fed, KIB, suffer, turn};

fn attack(ticks: u32) -> Attack {
    Attack {
        settings: Settings::default(),
        response: None,
        ticks,
    }
}

/// Sends a beginning and then one piece over and over.
fn endless(start: &[u8], again: &[u8]) -> Damage {
    suffer(&attack(20), |world, victim, tick| {
        if tick == 0 {
            world.feed(victim, start);
        }
        for _ in 0..50 {
            world.feed(victim, again);
        }
    })
}

#[track_caller]
fn assert_refused(damage: &Damage, expected: &UpgradeError) {
    let Some(CloseReason::Upgrade(error)) = &damage.end else {
        panic!("{:?}", damage.end);
    };
    assert_eq!(error, expected);
}

#[test]
fn a_head_without_an_end_is_refused_at_its_limit() {
    let _turn = turn();
    let max = 16 * KIB;
    for again in [&b"x"[..], b"X-Again: and again and again\r\n"] {
        let line = [&b"X-Long: "[..], &[b'x'; 700], b"\r\n"].concat();
        let lines = line.repeat(22);
        let start = [&b"HTTP/1.1 101 Switching Protocols\r\n"[..], &lines].concat();
        let damage = endless(&start, again);
        assert_refused(&damage, &UpgradeError::HeadTooBig { max });
        damage.check(max);
    }
}

#[test]
fn more_headers_than_the_limit_are_refused() {
    let _turn = turn();
    let start = b"HTTP/1.1 101 Switching Protocols\r\n";
    let damage = endless(start, b"A: b\r\n");
    assert_refused(&damage, &UpgradeError::TooManyHeaders { max: 100 });
    damage.check(16 * KIB);
}

#[test]
fn interim_responses_without_end_are_refused() {
    let _turn = turn();
    let damage = endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_refused(&damage, &UpgradeError::TooManyInterim { max: 8 });
    damage.check(16 * KIB);
}

#[test]
fn the_body_of_a_refusal_is_not_waited_for() {
    let _turn = turn();
    let head = b"HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n";
    let damage = endless(head, &[b'x'; 60 * KIB]);
    assert_eq!(damage.wire, head.len(), "nothing is read after the head");
    assert!(matches!(
        damage.end,
        Some(CloseReason::Upgrade(UpgradeError::Status(refusal))) if refusal.status == 500
    ));
}

#[test]
fn a_response_that_drips_is_held_as_it_arrives_and_ends_with_its_time() {
    let _turn = turn();
    let damage = suffer(&attack(510), |world, victim, tick| {
        let byte: &[u8] = match tick {
            0 => b"HTTP/1.1 101 Switching Protocols\r\nX-Long: ",
            _ => b"x",
        };
        let fed = world.feed(victim, byte);
        assert_eq!(fed == Fed::Gone, tick >= 499, "at tick {tick}");
    });
    let late = CloseReason::Timeout(TimerKind::Upgrade);
    assert_eq!(damage.end, Some(late));
    damage.check(16 * KIB);
}
