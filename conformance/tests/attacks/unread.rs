//! Servers that read nothing.

use std::time::Duration;

use ropewalk_core::{CloseReason, Message, SendErrorCause, Settings, TimerKind};

use crate::world::{Attack, Fed, KIB, Kernel, MIB, suffer, turn};

#[test]
fn a_server_that_reads_nothing_makes_the_queue_full_and_loses_its_socket() {
    let _turn = turn();
    for len in [1, 100, 30 * KIB] {
        let mut settings = Settings::default();
        settings.timeouts.write_progress = Duration::from_secs(2);
        let bytes_max = settings.outbound.bytes_max;
        let attack = Attack {
            settings,
            response: Some(""),
            ticks: 205,
        };
        let mut refused = 0;
        let damage = suffer(&attack, |world, victim, tick| {
            if tick == 0 {
                world.set_kernel(victim, Kernel::Full);
            }
            for _ in 0..20 {
                let sent = world.send(victim, Message::binary(vec![b'x'; len]));
                if let Err(error) = sent {
                    assert_eq!(error.cause, SendErrorCause::Full);
                    refused += 1;
                }
            }
            // It talks, so that nothing else is wrong with it.
            let fed = world.feed(victim, b"\x89\x00");
            assert_eq!(fed == Fed::Gone, tick >= 200, "at tick {tick}");
        });
        assert!(refused > 1_000, "{refused}");
        let stuck = CloseReason::Timeout(TimerKind::WriteProgress);
        assert_eq!(damage.end, Some(stuck));
        assert!(bytes_max == MIB);
        damage.check_cap(bytes_max);
    }
}
