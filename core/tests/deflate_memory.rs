//! What compressed messages make this process hold, by its allocator.
//!
//! Without the test harness, whose own threads allocate too: the counts are those of the whole process.

mod pair;

use std::alloc::System;

use flate2::{Compress, Compression, FlushCompress};
use pair::frame;
use pair::peer::Sender;
use ropewalk_core::websocket::deflate::{
    Agreement, Context, Deflator, INFLATOR_BYTES, Inflator, WhenIdle, WindowBits,
};
use ropewalk_core::websocket::{Decoder, Limits, ProtocolError};
use stats_alloc::{Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: StatsAlloc<System> = StatsAlloc::system();

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const AGREED: Agreement = Agreement {
    server_context: Context::TakenOver,
    client_context: Context::TakenOver,
    server_window: WindowBits::MAX,
    client_window: WindowBits::MAX,
};

/// Bytes held now beyond those at the start of the region.
fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated - change.bytes_deallocated.min(change.bytes_allocated)
}

/// A compressed binary message.
fn compressed(payload: &[u8]) -> Vec<u8> {
    frame(0x42, payload)
}

fn state_costs_no_more_than_it_is_charged() {
    for bits in 9..=15 {
        let window = WindowBits::new(bits).expect("8 to 15");
        let agreement = Agreement {
            client_window: window,
            ..AGREED
        };
        let region = Region::new(&ALLOCATOR);
        let mut deflator = Deflator::new(&agreement, 6, 0, WhenIdle::Free);
        assert_eq!(held(&region), 0);
        let payload = deflator.compress(&[b'x'; 100]);
        assert!(payload.is_some_and(|payload| payload.len() < 100));
        let cost = held(&region);
        let charged = Deflator::bytes(window);
        assert!(
            cost <= charged && charged <= cost + 32 * KIB,
            "{bits}: {cost}"
        );
        deflator.rest();
        assert_eq!(held(&region), 0);
    }
    let message = compressed(&Sender::new(15).compress(b"hello hello hello"));
    let region = Region::new(&ALLOCATOR);
    let mut decoder = Decoder::inflating(Inflator::new(&AGREED, None, WhenIdle::Keep));
    assert!(held(&region) < 512, "{}", held(&region));
    let mut input = &message[..];
    while decoder
        .next(&Limits::default(), &mut input)
        .expect("a good message")
        .is_some()
    {}
    let cost = held(&region);
    assert!(
        cost <= INFLATOR_BYTES && INFLATOR_BYTES <= cost + 4 * KIB,
        "{cost}"
    );
}

fn a_bomb_takes_no_more_than_the_limit_and_one_state() {
    let mut mebibyte = vec![0; 4 * KIB];
    let mut state = Compress::new(Compression::best(), false);
    state
        .compress(&vec![0; MIB], &mut mebibyte, FlushCompress::Sync)
        .expect("a fresh compressor");
    mebibyte.truncate(usize::try_from(state.total_out()).expect("small"));
    // One MiB that would become one GiB.
    let bomb = compressed(&mebibyte.repeat(KIB));
    assert!(bomb.len() < 2 * MIB);
    for message_bytes_max in [2 * MIB, 16 * MIB] {
        let limits = Limits {
            message_bytes_max,
            ..Limits::default()
        };
        for piece in [512, 64 * KIB, bomb.len()] {
            let region = Region::new(&ALLOCATOR);
            let mut decoder = Decoder::inflating(Inflator::new(&AGREED, None, WhenIdle::Keep));
            let mut refused = None;
            let mut most = 0;
            for mut piece in bomb.chunks(piece) {
                if let Err(error) = decoder.next(&limits, &mut piece) {
                    refused = Some(error);
                }
                most = most.max(held(&region));
            }
            let bytes = message_bytes_max as u64 + 1;
            let max = message_bytes_max;
            assert_eq!(refused, Some(ProtocolError::MessageTooBig { bytes, max }));
            assert!(most <= max + INFLATOR_BYTES + KIB, "{most} of {max}");
            assert_eq!(held(&region), 0);
            drop(decoder);
        }
    }
}

fn many_small_bombs_take_no_more_than_one() {
    let message = compressed(&Sender::new(15).compress(&vec![0; MIB]));
    let mut decoder = Decoder::inflating(Inflator::new(&AGREED, None, WhenIdle::Keep));
    let limits = Limits {
        message_bytes_max: MIB,
        ..Limits::default()
    };
    let region = Region::new(&ALLOCATOR);
    for _ in 0..32 {
        for mut piece in message.chunks(100) {
            while decoder
                .next(&limits, &mut piece)
                .expect("a good message")
                .is_some()
            {}
            assert!(held(&region) <= MIB + INFLATOR_BYTES + KIB);
        }
        let mut nothing = &[][..];
        assert_eq!(decoder.next(&limits, &mut nothing), Ok(None));
        assert!(held(&region) <= INFLATOR_BYTES);
    }
}

fn main() {
    state_costs_no_more_than_it_is_charged();
    a_bomb_takes_no_more_than_the_limit_and_one_state();
    many_small_bombs_take_no_more_than_one();
}
