//! Bounds, the line of those who wait, and what is left for the shard.

use super::*;
use crate::oneshot::{Awaited, oneshot};
use ropewalk_core::Lane;

impl Room {
    fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        self.lock().take(Load::one(bytes), self.bounds)
    }
}

fn room(items_max: usize, bytes_max: usize) -> Arc<Room> {
    Arc::new(Room::new(OutboundSettings {
        items_max,
        bytes_max,
        ..OutboundSettings::default()
    }))
}

fn poll(wait: &mut TakeRoom) -> Poll<Result<(), NoRoom>> {
    Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn room_is_bounded_in_items_and_bytes_and_a_larger_message_goes_alone() {
    let room = room(2, 10);
    assert_eq!(room.take(100), Ok(()));
    assert_eq!(room.take(0), Err(NoRoom::Full));
    room.give(1, 100);
    assert_eq!(room.take(6), Ok(()));
    assert_eq!(room.take(5), Err(NoRoom::Full));
    assert_eq!(room.take(4), Ok(()));
    assert_eq!(room.take(0), Err(NoRoom::Full));
}

#[test]
fn whoever_waits_longest_is_first_and_nobody_overtakes() {
    let room = room(4, 10);
    assert_eq!(room.take(8), Ok(()));
    let (mut large, mut small) = (room.wait(Load::one(9)), room.wait(Load::one(1)));
    assert!(poll(&mut large).is_pending());
    assert!(poll(&mut small).is_pending());
    assert_eq!(room.take(1), Err(NoRoom::Full));
    room.give(1, 8);
    assert_eq!(poll(&mut small), Poll::Ready(Ok(())));
    assert_eq!(poll(&mut large), Poll::Ready(Ok(())));
}

#[test]
fn a_wait_that_is_dropped_gives_its_place_and_its_grant_back() {
    let room = room(1, 10);
    assert_eq!(room.take(1), Ok(()));
    let (mut first, mut second, mut third) = (
        room.wait(Load::one(1)),
        room.wait(Load::one(1)),
        room.wait(Load::one(1)),
    );
    for wait in [&mut first, &mut second, &mut third] {
        assert!(poll(wait).is_pending());
    }
    drop(second);
    room.give(1, 1);
    drop(first);
    assert_eq!(poll(&mut third), Poll::Ready(Ok(())));
    room.give(1, 1);
    assert_eq!(room.take(1), Ok(()));
}

fn posted(text: &str) -> (Posted, Awaited<Outcome>) {
    let (promise, awaited) = oneshot();
    let posted = Posted {
        message: text.into(),
        outcome: Some(promise),
    };
    (posted, awaited)
}

fn texts(posted: VecDeque<Post>) -> Vec<String> {
    let messages = posted.into_iter().flat_map(|post| match post {
        Post::One(posted) => vec![posted.message],
        Post::Packed(packed) => packed.messages().collect(),
    });
    let text = |message: Message| String::from_utf8(message.as_bytes().to_vec()).unwrap();
    messages.map(text).collect()
}

#[test]
fn a_row_goes_on_when_many_were_taken_and_begins_anew_when_few_were() {
    let room = room(10_000, usize::MAX);
    let post = |count| {
        let message = || Posted {
            message: "x".into(),
            outcome: None,
        };
        let thens: Vec<_> = (0..count).map(|_| room.post(message()).unwrap()).collect();
        assert_eq!(thens.first(), Some(&Then::Tell));
        let posted = room.take_posted();
        let packed = posted.iter().filter_map(|post| match post {
            Post::Packed(packed) => Some(packed.len()),
            Post::One(_) => None,
        });
        (posted.len(), packed.collect::<Vec<_>>())
    };
    assert_eq!(post(ROW + MANY), (ROW + 1, vec![MANY]));
    assert_eq!(post(ROW + MANY + 1), (ROW + 1, vec![MANY + 1]));
    assert_eq!(post(MANY + 1), (1, vec![MANY + 1]));
    assert_eq!(post(2), (1, vec![2]));
    assert_eq!(post(2), (2, vec![]));
}

#[test]
fn long_rows_are_packed_and_order_is_kept_whatever_comes_between() {
    let room = room(10_000, usize::MAX);
    let mut expected = Vec::new();
    let (promise, receipt) = oneshot();
    let mut promise = Some(promise);
    let mut post = |message: Message, outcome| {
        let text = String::from_utf8(message.as_bytes().to_vec()).unwrap();
        expected.push(text);
        let _ = room.post(Posted { message, outcome }).unwrap();
    };
    for number in 0..2_000 {
        post(number.to_string().into(), None);
        match number {
            500 => post("asked for".into(), promise.take()),
            600 => post(Message::text("x".repeat(5_000)), None),
            700 => post(Message::text("priority").lane(Lane::Priority), None),
            _ => {}
        }
    }
    for number in 0..200 {
        post(Message::text(format!("{number}{}", "y".repeat(500))), None);
    }
    for number in 0..20 {
        let text = number.to_string();
        let packed = room.post_bytes(Kind::Text, text.as_bytes());
        assert_eq!(packed, Some(Then::Nothing));
        expected.push(text);
    }
    assert_eq!(room.post_bytes(Kind::Text, &[b'z'; 2049]), None);
    let posted = room.take_posted();
    assert_eq!(room.post_bytes(Kind::Text, b"alone"), None);
    let is_packed = |post: &&Post| matches!(post, Post::Packed(_));
    // Four rows, of which the last goes on in a second pack.
    assert_eq!(posted.iter().filter(is_packed).count(), 5);
    assert_eq!(posted.len(), 5 + 3 + 4 * ROW);
    assert_eq!(texts(posted), expected);
    drop(receipt);
}

#[test]
fn a_message_whose_receipt_is_dropped_is_packed_when_the_next_comes() {
    let room = room(10_000, usize::MAX);
    let mut kept = Vec::new();
    for number in 0..100 {
        let (posted, receipt) = posted(&number.to_string());
        let _ = room.post(posted).unwrap();
        match number {
            50 => kept.push(receipt),
            _ => drop(receipt),
        }
    }
    let posted = room.take_posted();
    // Both rows, the message between them, and the last, which nobody has looked at.
    assert_eq!(posted.len(), (ROW + 1) + 1 + (ROW + 1) + 1);
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(texts(posted), expected);
    let mut cx = Context::from_waker(Waker::noop());
    let awaited = Pin::new(&mut kept[0]).poll(&mut cx);
    assert!(awaited.is_ready(), "its promise was dropped with it");
}

#[test]
fn the_shard_is_told_of_the_first_message_that_it_has_not_taken() {
    let room = room(4, 10);
    for text in ["a", "b"] {
        assert_eq!(room.post(posted(text).0).unwrap(), Then::Tell);
        assert_eq!(room.post(posted(text).0).unwrap(), Then::Nothing);
        assert_eq!(texts(room.take_posted()), [text, text]);
    }
    // What was taken has not left.
    let (refused, no_room) = room.post(posted("c").0).unwrap_err();
    assert_eq!((refused.message, no_room), ("c".into(), NoRoom::Full));
}

fn pack(texts: &[&str]) -> Packed {
    let mut packed = Packed::default();
    for text in texts {
        assert!(packed.push_bytes(Kind::Text, text.as_bytes()));
    }
    packed
}

#[test]
fn a_pack_has_room_for_all_of_it_or_waits_as_one() {
    let room = room(4, 10);
    let then = room.post_packed(pack(&["a", "b", "c"])).unwrap();
    assert_eq!(then, Then::Tell);
    let (more, no_room) = room.post_packed(pack(&["d", "e"])).unwrap_err();
    assert_eq!((more.len(), no_room), (2, NoRoom::Full));
    let (mut first, mut second) = (room.wait(Load::of(&more)), room.wait(Load::of(&more)));
    assert!(poll(&mut first).is_pending());
    assert!(poll(&mut second).is_pending());
    // Not even one that fits overtakes them.
    let (_, no_room) = room.post_packed(pack(&["f"])).unwrap_err();
    assert_eq!(no_room, NoRoom::Full);
    room.give(1, 1);
    assert!(poll(&mut second).is_pending());
    drop(first);
    assert_eq!(poll(&mut second), Poll::Ready(Ok(())));
    let then = room.post_packed_charged(more).unwrap();
    assert_eq!(then, Then::Nothing);
    assert_eq!(texts(room.take_posted()), ["a", "b", "c", "d", "e"]);
    assert_eq!(room.take(0), Err(NoRoom::Full));
    room.give(4, 4);
    assert_eq!(room.take(10), Ok(()));

    room.abandon();
    let too_late = room.post_packed_charged(pack(&["g"]));
    assert_eq!(too_late.unwrap_err(), NoRoom::Closed);
    assert_eq!(
        room.post_packed(pack(&["h"])).unwrap_err().1,
        NoRoom::Closed
    );
}

#[test]
fn a_message_overtakes_nobody_who_waits() {
    let room = room(2, 10);
    assert_eq!(room.take(8), Ok(()));
    let mut large = room.wait(Load::one(9));
    assert!(poll(&mut large).is_pending());
    assert_eq!(room.post(posted("x").0).unwrap_err().1, NoRoom::Full);
}

#[test]
fn what_is_left_for_a_shard_that_has_ended_is_not_sent() {
    let room = room(4, 10);
    let (before, mut outcome) = posted("before");
    assert_eq!(room.post(before).unwrap(), Then::Tell);
    assert_eq!(room.take(4), Ok(()));
    room.close();
    // It has its room, so it may still come.
    let (late, mut late_outcome) = posted("lat");
    assert_eq!(room.post_charged(late, 1).unwrap(), Then::Nothing);
    room.abandon();
    let mut cx = Context::from_waker(Waker::noop());
    for outcome in [&mut outcome, &mut late_outcome] {
        let is = Pin::new(outcome).poll(&mut cx);
        assert_eq!(is, Poll::Ready(Some(Outcome::NotSent)));
    }
    let too_late = room.post_charged(posted("too late").0, 0).unwrap_err();
    assert_eq!(too_late.message, "too late".into());
    assert_eq!(room.post(posted("x").0).unwrap_err().1, NoRoom::Closed);
    room.close();
    assert!(room.post_charged(posted("y").0, 0).is_err());
    assert_eq!(room.take_posted().len(), 0);
}

#[test]
fn nobody_waits_for_a_closed_queue() {
    let room = room(1, 10);
    assert_eq!(room.take(1), Ok(()));
    let mut wait = room.wait(Load::one(1));
    assert!(poll(&mut wait).is_pending());
    room.close();
    assert_eq!(poll(&mut wait), Poll::Ready(Err(NoRoom::Closed)));
    assert_eq!(room.take(1), Err(NoRoom::Closed));
}
