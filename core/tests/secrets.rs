//! Handshake keys and masks: fresh each time, and without a pattern (RFC 6455 §4.1, §5.3, §10.3).
//!
//! The seed is fixed, so that the figures below are always the same ones.

mod pair;

use std::collections::BTreeSet;
use std::time::Duration;

use pair::{Pair, frame};
use ropewalk_core::{
    Hooks, Input, Message, Settings, Shutdown, State, TransportError, TransportErrorKind,
};

const PING: u8 = 9;

fn opened() -> Pair {
    let mut pair = Pair::new(Settings::default(), Hooks::default());
    pair.open();
    pair.take_written();
    pair
}

fn reset(pair: &mut Pair) {
    let socket = pair.socket.take().expect("there is a socket");
    let error = TransportError::new(TransportErrorKind::Reset);
    pair.handle(Input::TransportFailed { socket, error });
}

/// Opcode and mask of each whole frame.
fn masks(mut bytes: &[u8]) -> Vec<(u8, [u8; 4])> {
    let mut masks = Vec::new();
    while let [first, second, ..] = *bytes {
        assert!(
            second > 0x80 && second < 0x80 + 126,
            "the frames of these tests are short"
        );
        let len = usize::from(second & 0x7f);
        let mask = bytes[2..6].try_into().expect("four bytes");
        masks.push((first & 0x0f, mask));
        bytes = &bytes[6 + len..];
    }
    masks
}

#[test]
fn every_attempt_has_a_key_of_its_own() {
    let mut pair = Pair::new(Settings::default(), Hooks::default());
    let mut keys = BTreeSet::new();
    for _ in 0..300 {
        while pair.socket.is_none() {
            pair.advance(Duration::from_secs(60));
        }
        pair.accept();
        let request = String::from_utf8(pair.take_written()).expect("a request is text");
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .expect("the request has a key");
        assert!(keys.insert(key.to_owned()), "{key} was used before");
        reset(&mut pair);
    }
    assert!(
        keys.iter()
            .all(|key| key.len() == 24 && key.ends_with("=="))
    );
}

#[test]
fn every_frame_has_a_mask_of_its_own_control_frames_too() {
    let mut pair = opened();
    for number in 0..700_u32 {
        pair.send(format!("message {number}"));
        pair.receive(&frame(PING, &number.to_be_bytes()));
    }
    pair.set.remove(
        pair.now,
        pair.id,
        Shutdown::Graceful {
            deadline: pair.now + Duration::from_secs(1),
        },
    );
    pair.drain();
    assert_eq!(pair.state(), State::Closing);
    let masks = masks(&pair.written);
    let opcodes: BTreeSet<_> = masks.iter().map(|(opcode, _)| *opcode).collect();
    assert_eq!(opcodes, [1, 8, 10].into());
    assert_eq!(masks.len(), 1_401);
    let different: BTreeSet<_> = masks.iter().map(|(_, mask)| *mask).collect();
    assert_eq!(different.len(), masks.len());
}

#[test]
fn masks_have_no_bias_and_do_not_tell_their_successors() {
    let mut pair = opened();
    for number in 0..4_000_u32 {
        pair.send(format!("{number}"));
    }
    let masks: Vec<_> = masks(&pair.written)
        .into_iter()
        .map(|(_, mask)| u32::from_be_bytes(mask))
        .collect();
    assert_eq!(masks.len(), 4_000);
    // A fair coin thrown 4,000 times has a deviation of 32; five of those are allowed to each bit.
    let is_even = |ones: usize| ones.abs_diff(2_000) < 160;
    for bit in 0..32 {
        let ones = |words: &[u32]| words.iter().filter(|word| *word >> bit & 1 == 1).count();
        assert!(is_even(ones(&masks)), "bit {bit}");
        let changes: Vec<_> = masks.windows(2).map(|two| two[0] ^ two[1]).collect();
        assert!(is_even(ones(&changes)), "bit {bit} from frame to frame");
        let steps: Vec<_> = masks
            .windows(2)
            .map(|two| two[1].wrapping_sub(two[0]))
            .collect();
        assert!(is_even(ones(&steps)), "bit {bit} of the difference");
    }
}

#[test]
fn what_goes_out_again_goes_out_under_another_mask() {
    let mut pair = opened();
    pair.is_blocked = true;
    pair.send(Message::text("again").idempotent());
    let socket = pair.socket.expect("a socket");
    let transmit = pair.set.transmit(pair.now, socket).expect("more to write");
    let cut = transmit.slices()[0][..8].to_vec();
    transmit.advance(8);
    pair.drain();
    reset(&mut pair);
    pair.is_blocked = false;
    pair.advance(Duration::from_secs(1));
    pair.open();
    assert_eq!(pair.written[..2], cut[..2], "it is the same message");
    assert_ne!(pair.written[2..6], cut[2..6]);
}

#[test]
fn a_frame_that_was_begun_keeps_its_bytes() {
    let mut pair = opened();
    pair.is_blocked = true;
    pair.send("the payload of a frame under way");
    let socket = pair.socket.expect("a socket");
    let mut expected = Vec::new();
    for taken in 0..38 {
        let transmit = pair.set.transmit(pair.now, socket).expect("more to write");
        let offered = transmit.slices()[0].to_vec();
        // Until its first byte is taken a frame has not begun.
        if taken == 0 {
            expected.clone_from(&offered);
        }
        assert!(
            offered.starts_with(&expected[taken..]),
            "after {taken} bytes"
        );
        transmit.advance(1);
        pair.drain();
        // What is sent and received meanwhile waits behind it.
        pair.send(format!("later {taken}"));
        pair.receive(&frame(PING, b"?"));
    }
    assert_eq!(expected.len(), 38);
    assert_eq!(pair.outcomes.len(), 1, "the frame is out, and no other");
}
