//! Few bytes that become many.

use flate2::{Compress, Compression, FlushCompress};
use ropewalk_conformance::wire::server_frame;
use ropewalk_core::settings::Deflate;
use ropewalk_core::websocket::ProtocolError;
use ropewalk_core::websocket::deflate::INFLATOR_BYTES;
use ropewalk_core::{CloseReason, Settings};

use crate::world::{Attack, Damage, Fed, KIB, MIB, suffer, turn};

const MESSAGE_BYTES_MAX: usize = 2 * MIB;

fn attack(response: &'static str, ticks: u32) -> Attack {
    let mut settings = Settings {
        // Without a limit of its ratio: the limit of size alone has to hold.
        deflate: Some(Deflate {
            ratio_max: None,
            ..Deflate::default()
        }),
        ..Settings::default()
    };
    settings.limits.message_bytes_max = MESSAGE_BYTES_MAX;
    settings.limits.frame_bytes_max = MESSAGE_BYTES_MAX;
    Attack {
        settings,
        response: Some(response),
        ticks,
    }
}

const AGREED: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const FORGETFUL: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";

/// What a server compresses; each message refers to those before it.
struct Compressor(Compress);

impl Compressor {
    fn new() -> Self {
        Self(Compress::new(Compression::best(), false))
    }

    /// A payload with the four bytes at its end that a message leaves out.
    fn flush(&mut self, message: &[u8]) -> Vec<u8> {
        let before = self.0.total_out();
        let mut payload = vec![0; message.len() / 2 + KIB];
        self.0
            .compress(message, &mut payload, FlushCompress::Sync)
            .expect("a compressor in order");
        let len = usize::try_from(self.0.total_out() - before).expect("small");
        payload.truncate(len);
        payload
    }

    fn message(&mut self, message: &[u8]) -> Vec<u8> {
        let mut payload = self.flush(message);
        payload.truncate(payload.len() - 4);
        payload
    }
}

/// A message of so many bytes, and the same again as little more than references to the one before, as any number of
/// times.
fn bombs(bytes: usize) -> [Vec<u8>; 2] {
    let mut compressor = Compressor::new();
    [0, 1].map(|_| server_frame(0xc2, &compressor.message(&vec![b'b'; bytes])))
}

/// One MiB that would become one GiB.
fn gibibyte() -> Vec<u8> {
    let mebibyte = Compressor::new().flush(&vec![0; MIB]);
    let bomb = mebibyte.repeat(KIB);
    assert!(bomb.len() < 2 * MIB);
    bomb
}

#[track_caller]
fn assert_too_big(damage: &Damage) {
    let max = MESSAGE_BYTES_MAX;
    let bytes = max as u64 + 1;
    let error = ProtocolError::MessageTooBig { bytes, max };
    assert_eq!(damage.end, Some(CloseReason::Protocol(error)));
}

#[test]
fn one_bomb_of_a_gibibyte_costs_no_more_than_a_message() {
    let _turn = turn();
    let bomb = server_frame(0xc2, &gibibyte());
    for piece in [100, 64 * KIB] {
        let mut pieces = bomb.chunks(piece);
        let damage = suffer(&attack(AGREED, 30), |world, victim, tick| match tick {
            0..20 => {
                for piece in pieces.by_ref().take(5_000) {
                    world.feed(victim, piece);
                }
            }
            _ => world.advance_close(victim),
        });
        assert_too_big(&damage);
        damage.check_cap(MESSAGE_BYTES_MAX);
    }
}

#[test]
fn a_bomb_in_fragments_costs_no_more_than_a_message() {
    let _turn = turn();
    let payload = gibibyte();
    let mut fragments = Vec::new();
    for (index, piece) in payload.chunks(300).enumerate() {
        let first = if index == 0 { 0x42 } else { 0x00 };
        fragments.extend(server_frame(first, piece));
    }
    let mut pieces = fragments.chunks(10 * KIB);
    let damage = suffer(&attack(AGREED, 30), |world, victim, tick| match tick {
        0..20 => {
            for piece in pieces.by_ref().take(20) {
                world.feed(victim, piece);
            }
        }
        _ => world.advance_close(victim),
    });
    assert_too_big(&damage);
    damage.check_cap(MESSAGE_BYTES_MAX);
}

#[test]
fn many_small_bombs_cost_no_more_than_one() {
    let _turn = turn();
    const COUNT: u32 = 6;
    for (response, is_nested) in [(AGREED, true), (FORGETFUL, false)] {
        let [first, other] = bombs(MESSAGE_BYTES_MAX);
        let other = if is_nested { &other } else { &first };
        let damage = suffer(&attack(response, COUNT), |world, victim, tick| {
            let bomb = if tick == 0 { &first } else { other };
            for piece in bomb.chunks(100) {
                assert_eq!(world.feed(victim, piece), Fed::All);
            }
        });
        assert_eq!(damage.delivered, COUNT as usize);
        assert_eq!(damage.end, None);
        // The message, and the batch that it is delivered in.
        damage.check_cap(2 * MESSAGE_BYTES_MAX);
    }
}

#[test]
fn bombs_that_nobody_takes_stop_the_reading() {
    let _turn = turn();
    let [first, other] = bombs(MIB / 2);
    let bombs = other.repeat(100);
    let attack = attack(AGREED, 5);
    let inbound = attack.settings.inbound.bytes_max;
    let damage = suffer(&attack, |world, victim, tick| {
        if tick == 0 {
            world.stop_consuming(victim);
            assert_eq!(world.feed(victim, &first), Fed::All);
        }
        let fed = world.feed(victim, &bombs);
        assert!(tick == 0 || fed == Fed::Stalled);
    });
    assert_eq!((damage.delivered, damage.end.as_ref()), (1, None));
    // Compression costs its state beside.
    damage.check_cap(inbound + MIB / 2 + INFLATOR_BYTES);
}
