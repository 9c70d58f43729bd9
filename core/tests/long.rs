//! Messages that are long, and how much is read at once.

mod pair;

use pair::{Pair, frame, text};
use ropewalk_core::settings::QueueBounds;
use ropewalk_core::{Kind, Settings};

const BINARY: u8 = 2;
const KIB: usize = 1024;
/// Of a frame of between 126 and 65,535 bytes.
const HEADER_BYTES: usize = 4;

#[test]
fn a_long_message_that_came_in_pieces_keeps_its_place_between_short_ones() {
    let payload: Vec<u8> = (0..=250).cycle().take(40 * KIB).collect();
    let long = frame(BINARY, &payload);
    for cut in [1, 3, 20 * KIB, long.len() - 1] {
        let mut pair = Pair::opened(Settings::default());
        pair.stop_asking();
        // The first is taken at once; what follows waits, so that there is a batch that could grow.
        pair.receive(&[text("first"), text("before"), long[..cut].to_vec()].concat());
        pair.receive(&[&long[cut..], &text("after"), &text("last")].concat());
        for _ in 0..4 {
            pair.ask();
        }
        let messages = pair.batches.iter().flat_map(|batch| batch.iter());
        let seen: Vec<_> = messages
            .map(|it| (it.seq(), it.kind(), it.as_bytes().to_vec()))
            .collect();
        let expected = [
            (1, Kind::Text, b"first".to_vec()),
            (2, Kind::Text, b"before".to_vec()),
            (3, Kind::Binary, payload.clone()),
            (4, Kind::Text, b"after".to_vec()),
            (5, Kind::Text, b"last".to_vec()),
        ];
        assert_eq!(seen, expected, "cut at {cut}");
        // Put together from two reads it is in memory of its own, which the batch takes; whole in one, it is copied.
        let is_put_together = cut > HEADER_BYTES;
        let batch = pair.batches.iter().find(|it| it.bytes() >= payload.len());
        assert_eq!(
            batch.map(|it| it.len() == 1),
            Some(is_put_together),
            "cut at {cut}"
        );
    }
}

#[test]
fn much_is_read_at_once_only_while_there_is_room_for_far_more() {
    let mut pair = Pair::opened(Settings {
        inbound: QueueBounds {
            bytes_max: 300 * KIB,
            ..QueueBounds::default()
        },
        ..Settings::default()
    });
    pair.stop_asking();
    let socket = pair.socket.expect("it is open");
    let at_once = |pair: &mut Pair| pair.set.read_buffer(socket).len();
    assert_eq!(at_once(&mut pair), 128 * KIB);
    // The first is taken at once.
    let message = frame(BINARY, &[b'x'; 60 * KIB]);
    pair.receive(&message);
    assert_eq!(at_once(&mut pair), 128 * KIB);
    pair.receive(&message);
    assert_eq!(at_once(&mut pair), 32 * KIB);
    for _ in 0..5 {
        pair.receive(&message);
    }
    assert_eq!(at_once(&mut pair), 0, "it is full");
}
