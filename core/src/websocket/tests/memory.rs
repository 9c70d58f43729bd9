//! What a decoder holds, and when it gives it back.

use super::*;

const KIB: usize = 1024;

#[test]
fn a_message_whole_in_the_input_is_handed_over_where_it_lies() {
    let stream = frame(FIN | TEXT, "größer".as_bytes());
    let mut decoder = Decoder::new();
    // The header may have been cut; the payload is what counts.
    for cut in 0..=2 {
        let (mut front, mut back) = stream.split_at(cut);
        assert_eq!(decoder.next(&Limits::default(), &mut front), Ok(None));
        let Ok(Some(Item::Message { payload, .. })) = decoder.next(&Limits::default(), &mut back)
        else {
            panic!("the message is complete");
        };
        assert_eq!(payload.as_ptr(), stream[2..].as_ptr());
        assert_eq!(decoder.charged(), 0);
    }
}

#[test]
fn memory_is_taken_for_what_has_arrived_and_not_for_what_is_announced() {
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    let announced = (limits.frame_bytes_max as u64).to_be_bytes();
    feed(&mut decoder, &limits, &[FIN | BINARY, 127]);
    feed(&mut decoder, &limits, &announced);
    assert_eq!(decoder.charged(), FRAGMENT_OVERHEAD_BYTES);
    feed(&mut decoder, &limits, &[1]);
    assert_eq!(decoder.charged(), FRAGMENT_OVERHEAD_BYTES + 16 * KIB);

    let mut decoder = Decoder::new();
    feed(&mut decoder, &limits, &[FIN | BINARY, 100, 1]);
    assert_eq!(decoder.charged(), FRAGMENT_OVERHEAD_BYTES + 100);
}

#[test]
fn memory_stays_within_twice_what_has_arrived() {
    let limits = Limits::default();
    for (size, pieces) in [(1, 3_000), (700, 2_000), (64 * KIB, 20)] {
        let mut decoder = Decoder::new();
        let mut arrived = 0;
        for piece in 0..pieces {
            let first = if piece == 0 { BINARY } else { CONTINUATION };
            feed(&mut decoder, &limits, &frame(first, &vec![0; size]));
            arrived += size;
            let overhead = (piece + 1) * FRAGMENT_OVERHEAD_BYTES;
            assert!(decoder.charged() <= 2 * arrived + 16 * KIB + overhead);
            assert!(decoder.charged() >= arrived + overhead);
        }
    }
}

#[test]
fn growth_is_geometric_so_that_small_fragments_do_not_copy_the_message_each_time() {
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    let mut capacities = Vec::new();
    feed(&mut decoder, &limits, &[BINARY, 0]);
    for fragments in 2..=4_096 {
        feed(&mut decoder, &limits, &frame(CONTINUATION, &[0; 256]));
        capacities.push(decoder.charged() - fragments * FRAGMENT_OVERHEAD_BYTES);
    }
    capacities.dedup();
    assert!(capacities.len() < 20, "{capacities:?}");
}

#[test]
fn what_was_handed_over_is_freed_by_the_next_call() {
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    let message = frame(FIN | BINARY, &vec![5; KIB * KIB]);
    let ping = frame(FIN | PING, &[6; 100]);
    let stream = [&message[..], &ping].concat();
    let got: Vec<_> = stream
        .chunks(1_000)
        .flat_map(|piece| feed(&mut decoder, &limits, piece))
        .collect();
    assert_eq!(got.len(), 2);
    assert!(!decoder.is_partial());
    assert_eq!(decoder.charged(), 0);
}

#[test]
fn every_empty_fragment_and_every_cut_control_frame_is_charged() {
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    feed(&mut decoder, &limits, &[TEXT, 0]);
    for fragments in 2..=10 {
        feed(&mut decoder, &limits, &[CONTINUATION, 0]);
        assert_eq!(decoder.charged(), fragments * FRAGMENT_OVERHEAD_BYTES);
    }
    feed(&mut decoder, &limits, &[FIN | PING, 3, 1]);
    let charged = decoder.charged() - 10 * FRAGMENT_OVERHEAD_BYTES;
    assert!((125..=136).contains(&charged), "{charged}");
    feed(&mut decoder, &limits, &[2, 3]);
    assert_eq!(decoder.charged(), 10 * FRAGMENT_OVERHEAD_BYTES);
}

#[test]
fn nothing_is_held_after_the_end_of_the_stream() {
    let partial = [frame(TEXT, b"some"), vec![CONTINUATION, 9, b'x']].concat();
    let violation = [frame(TEXT, b"some"), vec![0xff, 0]].concat();
    let close = [frame(TEXT, b"some"), frame(FIN | CLOSE, b"\x03\xe8")].concat();
    for (stream, is_partial) in [(partial, true), (violation, false), (close, false)] {
        let mut decoder = Decoder::new();
        for piece in stream.chunks(1) {
            feed(&mut decoder, &Limits::default(), piece);
        }
        assert_eq!(decoder.is_partial(), is_partial);
        assert_eq!(decoder.charged() > 0, is_partial);
    }
}
