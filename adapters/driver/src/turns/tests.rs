//! Turns, beside a model of them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Six places.
fn turns() -> Turns {
    let mut turns = Turns::new();
    for _ in 0..6 {
        turns.add_place();
    }
    turns
}

/// All who have a turn now, as they are announced.
fn all(turns: &mut Turns) -> Vec<u32> {
    let mut all = Vec::new();
    while turns.any() {
        all.push(turns.next().expect("there is one"));
    }
    assert_eq!(turns.next(), None);
    all
}

#[test]
fn each_place_is_listed_once_and_in_order() {
    let mut turns = turns();
    for index in [3, 1, 3, 2, 1] {
        turns.schedule(index);
    }
    assert!(turns.any());
    assert_eq!(all(&mut turns), [3, 1, 2]);
    turns.schedule(3);
    assert_eq!(all(&mut turns), [3]);
}

#[test]
fn who_stalls_while_everybody_is_read_has_a_reason_of_its_own() {
    let mut turns = turns();
    turns.stall(1);
    assert_eq!(all(&mut turns), []);
}

#[test]
fn the_stalled_wait_until_everybody_is_read_and_may_stall_again() {
    let mut turns = turns();
    turns.set_reading(Reading::Paused);
    for index in [4, 2, 0] {
        turns.stall(index);
    }
    turns.stall(4);
    assert!(!turns.any());
    assert_eq!(turns.next(), None);

    turns.set_reading(Reading::Resumed);
    assert!(turns.any());
    assert_eq!(turns.next(), Some(4));
    turns.set_reading(Reading::Paused);
    turns.stall(4);
    assert!(!turns.any());

    turns.set_reading(Reading::Resumed);
    assert_eq!(all(&mut turns), [2, 0, 4]);
}

#[test]
fn the_stalled_and_the_others_take_turns() {
    let mut turns = turns();
    turns.set_reading(Reading::Paused);
    for index in [0, 1, 2] {
        turns.stall(index);
    }
    turns.set_reading(Reading::Resumed);
    for index in [3, 4, 5] {
        turns.schedule(index);
    }
    assert_eq!(all(&mut turns), [3, 0, 4, 1, 5, 2]);
}

#[test]
fn a_stalled_place_that_is_scheduled_has_one_turn() {
    for stalls_again in [false, true] {
        let mut turns = turns();
        turns.set_reading(Reading::Paused);
        turns.stall(1);
        turns.stall(2);
        turns.schedule(1);
        assert_eq!(all(&mut turns), [1]);
        if stalls_again {
            turns.stall(1);
        }
        turns.schedule(2);
        turns.set_reading(Reading::Resumed);
        let expected: &[u32] = if stalls_again { &[2, 1] } else { &[2] };
        assert_eq!(all(&mut turns), expected);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Schedule(u32),
    Stall(u32),
    Set(Reading),
    Next,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u32).prop_map(Step::Schedule),
        (0..6u32).prop_map(Step::Stall),
        Just(Step::Set(Reading::Paused)),
        Just(Step::Set(Reading::Resumed)),
        Just(Step::Next),
        Just(Step::Next),
    ]
}

proptest! {
    #[test]
    fn whoever_is_due_has_one_turn_and_nobody_else(steps in vec(step(), 0..60)) {
        let mut turns = turns();
        let mut reading = Reading::Resumed;
        let (mut ready, mut stalled) = ([false; 6], [false; 6]);
        let end = [Step::Set(Reading::Resumed)].into_iter().chain([Step::Next; 7]);
        for step in steps.into_iter().chain(end) {
            match step {
                Step::Schedule(index) => {
                    turns.schedule(index);
                    ready[index as usize] = true;
                }
                Step::Stall(index) => {
                    turns.stall(index);
                    stalled[index as usize] |= reading == Reading::Paused;
                }
                Step::Set(now) => {
                    turns.set_reading(now);
                    reading = now;
                }
                Step::Next => {
                    let is_resumed = reading == Reading::Resumed;
                    let is_due = |index: usize| ready[index] || (is_resumed && stalled[index]);
                    prop_assert_eq!(turns.any(), (0..6).any(is_due));
                    let next = turns.next().map(|it| it as usize);
                    prop_assert_eq!(next.is_some(), (0..6).any(is_due));
                    if let Some(index) = next {
                        prop_assert!(is_due(index));
                        (ready[index], stalled[index]) = (false, false);
                    }
                }
            }
        }
        prop_assert_eq!((ready, stalled), ([false; 6], [false; 6]));
    }
}
