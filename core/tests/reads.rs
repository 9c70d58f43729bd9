//! What is read into the set's own memory: it means the same as bytes that are brought, and stays where it is.

mod pair;

use std::time::Duration;

use pair::{Pair, frame};
use proptest::prelude::*;
use ropewalk_core::settings::{BatchPolicy, IdleFlush, QueueBounds};
use ropewalk_core::{Consumer, EventKind, Hooks, Input, Kind, Settings, Verdict};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;
const FINAL: u8 = 0x80;
const KIB: usize = 1024;

/// Text of about so many bytes, in which characters of one to four bytes are cut easily.
fn words(len: usize, seed: usize) -> Vec<u8> {
    let letters = ['a', 'ß', '語', '🪢', 'z'];
    let text = (seed..).map(|at| letters[at % letters.len()]);
    let mut bytes = 0;
    text.take_while(|letter| {
        bytes += letter.len_utf8();
        bytes <= len
    })
    .collect::<String>()
    .into_bytes()
}

/// What a server sends.
#[derive(Clone, Debug)]
enum Piece {
    Text(usize),
    Binary(usize),
    /// Text in so many frames.
    Fragments(usize, usize),
    Ping,
    NotUtf8(usize),
}

impl Piece {
    fn append_to(&self, seed: usize, stream: &mut Vec<u8>) {
        match *self {
            Self::Text(len) => stream.extend(frame(TEXT, &words(len, seed))),
            Self::Binary(len) => {
                let payload: Vec<u8> = (0..=250).cycle().skip(seed % 251).take(len).collect();
                stream.extend(frame(BINARY, &payload));
            }
            Self::Fragments(len, count) => {
                let text = words(len, seed);
                let parts: Vec<&[u8]> = text.chunks(len.div_ceil(count).max(1)).collect();
                for (index, part) in parts.iter().enumerate() {
                    let opcode = if index == 0 { TEXT } else { 0 };
                    let at = stream.len();
                    stream.extend(frame(opcode, part));
                    if index + 1 < parts.len() {
                        stream[at] &= !FINAL;
                    }
                }
            }
            Self::Ping => stream.extend(frame(PING, b"are you there?")),
            Self::NotUtf8(len) => {
                let mut text = words(len, seed);
                text.push(0xff);
                stream.extend(frame(TEXT, &text));
            }
        }
    }
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => 0..200_usize,
        2 => 120..130_usize,
        4 => 4 * KIB..20 * KIB,
        2 => 65_530..65_540_usize,
        2 => 33 * KIB..600 * KIB,
    ]
}

fn pieces() -> impl Strategy<Value = Vec<(Piece, usize)>> {
    let piece = prop_oneof![
        8 => lengths().prop_map(Piece::Text),
        8 => lengths().prop_map(Piece::Binary),
        1 => (1..70 * KIB, 1..4_usize).prop_map(|(len, count)| Piece::Fragments(len, count)),
        5 => Just(Piece::Ping),
        1 => lengths().prop_map(Piece::NotUtf8),
    ];
    // Several of a kind follow each other, as they do.
    prop::collection::vec((piece, prop_oneof![1..3_usize, 10..40_usize]), 1..8)
}

fn settings() -> impl Strategy<Value = Settings> {
    let count_max = prop_oneof![Just(2), Just(20), Just(1_024)];
    let bytes_max = prop_oneof![Just(100 * KIB), Just(256 * KIB)];
    let queue = prop_oneof![Just(300 * KIB), Just(1_024 * KIB), Just(8_192 * KIB)];
    let idle = prop_oneof![Just(IdleFlush::AtOnce), Just(IdleFlush::Linger)];
    (count_max, bytes_max, queue, idle).prop_map(|(count_max, bytes_max, queue, idle)| Settings {
        batch: BatchPolicy {
            count_max,
            bytes_max,
            idle,
            ..BatchPolicy::default()
        },
        inbound: QueueBounds {
            bytes_max: queue,
            items_max: 2_000,
        },
        ..Settings::default()
    })
}

/// How a socket is read: so many bytes at once, and whether the consumer asks afterwards.
fn reads() -> impl Strategy<Value = Vec<(usize, bool)>> {
    let at_once = prop_oneof![
        1 => 1..200_usize,
        2 => 1_000..100_000_usize,
        6 => Just(usize::MAX),
    ];
    prop::collection::vec((at_once, any::<bool>()), 1..20)
}

/// What the consumer saw, and why the session ended.
#[derive(Default, PartialEq)]
struct Played {
    messages: Vec<(u64, Kind, Vec<u8>)>,
    end: Option<String>,
}

impl Played {
    /// Takes what was delivered, and lets its memory go, so that it is used again.
    fn take(&mut self, pair: &mut Pair, policy: &BatchPolicy) -> bool {
        for batch in &pair.batches {
            let is_within = batch.len() <= policy.count_max && batch.bytes() <= policy.bytes_max;
            assert!(is_within || batch.len() == 1, "{batch:?}");
            let bytes: usize = batch.iter().map(|it| it.as_bytes().len()).sum();
            assert_eq!(bytes, batch.bytes());
            let messages = batch.iter();
            self.messages
                .extend(messages.map(|it| (it.seq(), it.kind(), it.as_bytes().to_vec())));
        }
        !std::mem::take(&mut pair.batches).is_empty()
    }
}

/// Takes everything.
fn play(
    settings: &Settings,
    stream: &[u8],
    reads: &[(usize, bool)],
    bring: impl Fn(&mut Pair, &[u8], usize) -> usize,
) -> Played {
    let mut pair = Pair::opened(settings.clone());
    pair.stop_asking();
    let mut played = Played::default();
    let mut rest = stream;
    let mut reads = reads.iter().cycle();
    while !rest.is_empty() && pair.socket.is_some() {
        let (at_once, asks) = *reads.next().expect("it goes round");
        let now = rest.len().min(at_once);
        let taken = bring(&mut pair, &rest[..now], at_once);
        rest = &rest[taken..];
        if asks || taken == 0 {
            pair.ask();
            pair.advance(settings.batch.linger);
        }
        played.take(&mut pair, &settings.batch);
    }
    loop {
        bring(&mut pair, &[], usize::MAX);
        pair.ask();
        pair.advance(settings.batch.linger);
        if !played.take(&mut pair, &settings.batch) {
            break;
        }
    }
    // The closing handshake of a session that has failed has its time.
    pair.advance(Duration::from_secs(10));
    played.end = pair.events.iter().find_map(|event| {
        if let EventKind::Closed { reason, .. } = &event.kind {
            return Some(format!("{reason:?}"));
        }
        None
    });
    played
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_that_are_read_into_the_sets_memory_mean_the_same_as_bytes_that_are_brought(
        pieces in pieces(),
        settings in settings(),
        reads in reads(),
    ) {
        let mut stream = Vec::new();
        for (index, (piece, times)) in pieces.iter().enumerate() {
            for time in 0..*times {
                piece.append_to(index + time, &mut stream);
            }
        }
        stream.truncate(2_048 * KIB);
        let read = play(&settings, &stream, &reads, Pair::read);
        // Brought in other memory, and cut elsewhere.
        let brought = play(&settings, &stream, &[(10_000, true)], |pair, bytes, _| {
            match pair.socket.is_some_and(|it| pair.set.wants_read(it)) {
                true => pair.receive(bytes),
                false => 0,
            }
        });
        prop_assert_eq!(read.messages.len(), brought.messages.len());
        prop_assert_eq!(&read.end, &brought.end);
        prop_assert!(read == brought);
    }
}

/// Reads as much as is wanted at once; returns where it was put.
fn read_once(pair: &mut Pair, bytes: &mut &[u8]) -> std::ops::Range<*const u8> {
    let socket = pair.socket.expect("it is open");
    let buffer = pair.set.read_buffer(socket);
    let place = buffer.as_ptr_range();
    let len = buffer.len().min(bytes.len());
    let read = pair.read(&bytes[..len], len);
    assert_eq!(read, len);
    *bytes = &bytes[len..];
    place
}

#[test]
fn messages_that_are_most_of_what_was_read_stay_where_they_are() {
    let mut pair = Pair::opened(Settings::default());
    let stream = frame(BINARY, &[b'x'; 4 * KIB]).repeat(90);
    let mut rest = &stream[..];
    let first = read_once(&mut pair, &mut rest);
    let cut = pair.batches.iter().map(ropewalk_core::Batch::len).sum();
    let second = read_once(&mut pair, &mut rest);
    let messages: Vec<_> = pair.batches.iter().flat_map(|batch| batch.iter()).collect();
    assert!(messages.len() > cut + 40);
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(message.as_bytes(), [b'x'; 4 * KIB], "{index}");
        let end = message.as_bytes().as_ptr_range().end;
        let place = if index < cut { &first } else { &second };
        assert!(place.contains(&end) || place.end == end, "{index}");
    }
    let begun = messages[cut].as_bytes().as_ptr();
    assert!(begun < second.start, "its beginning was put before its end");
}

#[test]
fn a_long_message_is_read_where_it_stays_and_takes_no_memory_far_ahead() {
    // Memory for the one is kept for the next; the other is too long for that.
    for (len, is_used_again) in [(700 * KIB, true), (3_000 * KIB, false)] {
        let mut pair = Pair::opened(Settings::default());
        let mut places = Vec::new();
        for letter in *b"abc" {
            let payload = vec![letter; len];
            let stream = frame(BINARY, &payload);
            let mut rest = &stream[..];
            let mut place = std::ptr::null()..std::ptr::null();
            while !rest.is_empty() {
                place = read_once(&mut pair, &mut rest);
                let arrived = stream.len() - rest.len();
                let held = usize::try_from(pair.set.charged_bytes()).unwrap();
                let is_ahead = is_used_again && !places.is_empty();
                let allowed = if is_ahead { len } else { 2 * arrived };
                assert!(held <= allowed + 20 * KIB, "{held} for {arrived}");
            }
            let batch = pair.batches.pop().expect("it is complete");
            let message = batch.get(0).expect("it has one").as_bytes();
            assert!(message == payload, "{len}");
            assert_eq!(message.as_ptr_range().end, place.end, "{len}");
            places.push(message.as_ptr());
            let socket = pair.socket.expect("it is open");
            // The next may be as long: but its beginning would have to be copied.
            assert_eq!(pair.set.read_buffer(socket).len(), 4 * KIB);
        }
        if is_used_again {
            assert_eq!(places[1..], [places[0]; 2]);
        }
        pair.read(&frame(TEXT, b"short"), usize::MAX);
        let socket = pair.socket.expect("it is open");
        assert_eq!(pair.set.read_buffer(socket).len(), 128 * KIB);
    }
}

#[test]
fn what_was_read_into_a_long_message_is_taken_although_the_queue_has_become_full_meanwhile() {
    let settings = Settings {
        inbound: QueueBounds {
            bytes_max: 200 * KIB,
            ..QueueBounds::default()
        },
        batch: BatchPolicy {
            bytes_max: 200 * KIB,
            ..BatchPolicy::default()
        },
        ..Settings::default()
    };
    let mut pair = Pair::with(settings, Hooks::default(), Consumer::Process, 1);
    pair.open();
    pair.stop_asking();
    pair.read(&frame(BINARY, &[b'x'; 200 * KIB]), usize::MAX);
    let first = pair.batches.pop().expect("it is handed out");

    let payload = vec![b'y'; 300 * KIB];
    let stream = frame(BINARY, &payload);
    let mut rest = &stream[..];
    read_once(&mut pair, &mut rest);
    let socket = pair.socket.expect("it is open");
    let buffer = pair.set.read_buffer(socket);
    let len = buffer.len().min(rest.len());
    buffer[..len].copy_from_slice(&rest[..len]);
    let wait = Duration::from_millis(10);
    let again = first.refuse_all(&Verdict::Retry { after: Some(wait) });
    pair.handle(Input::Judged(again));
    assert!(!pair.set.wants_read(socket), "the queue is full");
    assert!(pair.set.handle_read(pair.now, len).is_empty());
    pair.drain();
    rest = &rest[len..];

    pair.ask();
    pair.advance(wait);
    let again = pair.batches.pop().expect("it is handed out again");
    pair.handle(Input::Judged(again.ack()));
    while !rest.is_empty() {
        read_once(&mut pair, &mut rest);
    }
    pair.ask();
    let batch = pair.batches.pop().expect("it is complete");
    assert!(batch.get(0).expect("it has one").as_bytes() == payload);
}

#[test]
fn a_deferred_read_is_taken_later_or_goes_with_its_socket() {
    let mut pair = Pair::opened(Settings::default());
    let socket = pair.socket.expect("it is open");
    let defer = |pair: &mut Pair| {
        let bytes = frame(TEXT, b"later");
        let buffer = pair.set.read_buffer(socket);
        buffer[..bytes.len()].copy_from_slice(&bytes);
        pair.set.defer_read(bytes.len());
        pair.drain();
    };
    defer(&mut pair);
    assert!(pair.batches.is_empty());
    let left = pair.set.handle_deferred(pair.now);
    assert_eq!(left, Some((socket, &[][..])));
    pair.drain();
    let batch = pair.batches.pop().expect("it was handed out");
    assert_eq!(
        batch.get(0).map(ropewalk_core::MessageRef::as_bytes),
        Some(&b"later"[..])
    );
    pair.handle(Input::Judged(batch.ack()));

    pair.ask();
    defer(&mut pair);
    pair.handle(Input::Eof { socket });
    assert!(pair.set.handle_deferred(pair.now).is_some());
    pair.drain();
    assert!(pair.batches.is_empty());
    assert!(pair.set.handle_deferred(pair.now).is_none());
    pair.set.check_invariants();
}

#[test]
fn what_several_sockets_brought_is_told_apart_however_long_it_was_deferred() {
    let mut pair = Pair::opened(Settings::default());
    let mut sockets = vec![pair.socket.expect("it is open")];
    for _ in 0..2 {
        sockets.push(pair.open_another(Settings::default()));
    }
    // Of the second a part is cut off; the third brings so much that the memory goes with it, if nothing else is in it any more.
    let cut = frame(TEXT, b"to be continued");
    let long = frame(BINARY, &[b'x'; 4 * KIB]).repeat(30);
    for round in 0..6_u8 {
        let mut order = [0, 1, 2];
        order.rotate_left(usize::from(round % 3));
        let second = [&frame(TEXT, &[b'a' + round; 3_000])[..], &cut[..9]].concat();
        let streams = [&frame(TEXT, &[b'1' + round])[..], &second, &long];
        let mut last = std::ptr::null()..std::ptr::null();
        for which in order {
            let bytes = streams[which];
            let buffer = pair.set.read_buffer(sockets[which]);
            buffer[..bytes.len()].copy_from_slice(bytes);
            last = buffer[..bytes.len()].as_ptr_range();
            pair.set.defer_read(bytes.len());
        }
        assert!(pair.batches.is_empty());
        for which in order {
            let left = pair.set.handle_deferred(pair.now);
            assert_eq!(left, Some((sockets[which], &[][..])));
            pair.drain();
        }
        pair.batches.sort_by_key(|batch| batch.connection().index());
        let came: Vec<Vec<_>> = pair
            .batches
            .iter()
            .map(|batch| {
                batch
                    .iter()
                    .map(ropewalk_core::MessageRef::as_bytes)
                    .collect()
            })
            .collect();
        assert_eq!(came[0], [[b'1' + round]]);
        assert!(came[1] == [[b'a' + round; 3_000]]);
        assert!(came[2] == [[b'x'; 4 * KIB]; 30]);
        let stays = |message: &&[u8]| last.contains(&message.as_ptr());
        assert_eq!(came[2].iter().all(stays), order[2] == 2);
        pair.batches.clear();

        let rest = &cut[9..];
        pair.set.read_buffer(sockets[1])[..rest.len()].copy_from_slice(rest);
        assert!(pair.set.handle_read(pair.now, rest.len()).is_empty());
        pair.drain();
        let batch = pair.batches.pop().expect("it was handed out");
        assert_eq!(batch.connection(), sockets[1].connection);
        assert_eq!(batch.get(0).unwrap().as_bytes(), b"to be continued");
    }
}
