use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn waits(
    settings: &BackoffSettings,
    jitter: &mut Jitter,
    ended: Ended,
    count: usize,
) -> Vec<Duration> {
    let mut backoff = Backoff::new();
    (0..count)
        .map(|_| backoff.next_delay(settings, jitter, ended, Class::Retry, Hint::None))
        .collect()
}

/// The range that `failures` failures in a row lead to, found by many draws of the real thing.
fn extremes(settings: &BackoffSettings, ended: Ended, failures: usize) -> (Duration, Duration) {
    let draws: Vec<_> = (0..2_000)
        .map(|seed| waits(settings, &mut Jitter::from_state(seed), ended, failures)[failures - 1])
        .collect();
    (
        *draws.iter().min().expect("there are draws"),
        *draws.iter().max().expect("there are draws"),
    )
}

/// Both ends of a range are nearly reached and never passed.
fn check_range(
    settings: &BackoffSettings,
    ended: Ended,
    failures: usize,
    low: Duration,
    high: Duration,
) {
    let (least, most) = extremes(settings, ended, failures);
    let margin = (high - low) / 50;
    let context = format!("{ended:?} after {failures}: {least:?} to {most:?}");
    assert!(least >= low && least <= low + margin, "{context}");
    assert!(most <= high && most >= high - margin, "{context}");
}

#[test]
fn waits_after_failed_dials_are_drawn_from_the_floor_to_a_doubling_bound() {
    let settings = BackoffSettings::default();
    let bounds = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
    for (earlier, bound) in bounds.into_iter().enumerate() {
        check_range(
            &settings,
            Ended::FailedDial,
            earlier + 1,
            ms(100),
            ms(bound),
        );
    }
}

#[test]
fn waits_after_short_sessions_are_at_least_half_the_bound_and_may_reach_a_minute() {
    let settings = BackoffSettings::default();
    let bounds = [
        500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000,
    ];
    for (earlier, bound) in bounds.into_iter().enumerate() {
        check_range(
            &settings,
            Ended::ShortSession,
            earlier + 1,
            ms(bound / 2),
            ms(bound),
        );
    }
}

#[test]
fn the_first_wait_after_a_stable_session_is_short_and_failures_start_again() {
    let settings = BackoffSettings::default();
    check_range(&settings, Ended::StableSession, 1, Duration::ZERO, ms(500));

    let mut backoff = Backoff::new();
    let mut jitter = Jitter::from_state(1);
    let mut end =
        |ended| backoff.next_delay(&settings, &mut jitter, ended, Class::Retry, Hint::None);
    for _ in 0..20 {
        end(Ended::ShortSession);
    }
    end(Ended::StableSession);
    assert!(end(Ended::FailedDial) <= ms(500));
    assert_eq!(backoff.failures(), 1);
    assert!(!backoff.is_flapping());
}

#[test]
fn the_profiles_draw_their_first_wait_from_their_own_range() {
    use crate::settings::Profile;
    for (profile, first, cap) in [
        (Profile::Interactive, 500, 30_000),
        (Profile::Rfc, 5_000, 30_000),
        (Profile::Spread, 30_000, 120_000),
    ] {
        let settings = BackoffSettings::profile(profile);
        check_range(
            &settings,
            Ended::StableSession,
            1,
            Duration::ZERO,
            ms(first),
        );
        check_range(&settings, Ended::FailedDial, 30, ms(100), ms(cap));
    }
}

#[test]
fn the_draw_is_made_inside_the_cap_and_not_clamped_to_it() {
    let settings = BackoffSettings::default();
    let all = waits(
        &settings,
        &mut Jitter::from_state(3),
        Ended::FailedDial,
        5_000,
    );
    let late = &all[10..];
    assert!(late.iter().all(|wait| *wait < settings.max));
    let mean = late.iter().sum::<Duration>() / u32::try_from(late.len()).expect("a few thousand");
    // The middle of [0.1 s, 30 s].
    assert!((ms(14_500)..ms(15_600)).contains(&mean), "{mean:?}");
    let upper = late.iter().filter(|wait| **wait > ms(27_000)).count();
    assert!(
        (400..600).contains(&upper),
        "a tenth lies in the highest tenth: {upper}"
    );
}

#[test]
fn a_flapping_endpoint_is_dialled_at_most_eight_times_in_half_a_minute_and_thirty_in_ten() {
    let settings = BackoffSettings::default();
    for (hint, before) in [
        (Hint::None, None),
        (Hint::None, Some(Ended::StableSession)),
        (Hint::RESTART, None),
    ] {
        for seed in 0..2_000 {
            let mut jitter = Jitter::from_state(seed);
            let mut backoff = Backoff::new();
            let mut next =
                |ended| backoff.next_delay(&settings, &mut jitter, ended, Class::Retry, hint);
            if let Some(ended) = before {
                next(ended);
            }
            // Each session ends at once; `at` is when the next dial is made.
            let (mut at, mut soon, mut all) = (Duration::ZERO, 0, 0);
            while at <= ms(600_000) {
                all += 1;
                soon += u32::from(at <= ms(30_000));
                at += next(Ended::ShortSession);
            }
            assert!(soon <= 8, "seed {seed}: {soon} dials in 30 s");
            assert!(all <= 30, "seed {seed}: {all} dials in ten minutes");
            assert!(backoff.is_flapping());
        }
    }
}

#[test]
fn the_shortest_possible_draws_keep_the_bounds_of_a_flapping_endpoint() {
    let settings = BackoffSettings::default();
    let mut backoff = Backoff::new();
    let (mut at, mut soon, mut all) = (Duration::ZERO, 0, 0);
    while at <= ms(600_000) {
        all += 1;
        soon += u32::from(at <= ms(30_000));
        backoff.count(Ended::ShortSession, Class::Retry);
        at += backoff.range(&settings, Ended::ShortSession).0;
    }
    assert!(
        soon <= 8 && all <= 30,
        "{soon} dials in 30 s, {all} in ten minutes"
    );
}

#[test]
fn flapping_is_noticed_at_the_third_short_session() {
    let settings = BackoffSettings::default();
    let mut jitter = Jitter::from_state(1);
    let mut backoff = Backoff::new();
    for (ended, flapping) in [
        (Ended::ShortSession, false),
        (Ended::ShortSession, false),
        (Ended::FailedDial, false),
        (Ended::ShortSession, true),
        (Ended::FailedDial, true),
        (Ended::StableSession, false),
    ] {
        backoff.next_delay(&settings, &mut jitter, ended, Class::Retry, Hint::None);
        assert_eq!(backoff.is_flapping(), flapping);
    }
}

#[test]
fn a_lack_of_local_resources_waits_a_second_and_blames_nobody() {
    let settings = BackoffSettings::default();
    let mut backoff = Backoff::new();
    for seed in 0..1_000 {
        let mut jitter = Jitter::from_state(seed);
        let ended = Ended::FailedDial;
        let wait = backoff.next_delay(&settings, &mut jitter, ended, Class::Resource, Hint::None);
        assert!((ms(1_000)..=ms(2_000)).contains(&wait), "{wait:?}");
    }
    assert_eq!(backoff.failures(), 0);
    assert!(!backoff.is_flapping());
}

#[test]
fn equal_jitter_keeps_half_of_the_bound() {
    let settings = BackoffSettings {
        jitter: JitterKind::Equal,
        ..BackoffSettings::default()
    };
    check_range(&settings, Ended::FailedDial, 4, ms(2_000), ms(4_000));
    check_range(&settings, Ended::FailedDial, 40, ms(15_000), ms(30_000));
}

#[test]
fn decorrelated_jitter_grows_from_the_last_wait_and_stays_in_the_cap() {
    let settings = BackoffSettings {
        jitter: JitterKind::Decorrelated,
        ..BackoffSettings::default()
    };
    check_range(&settings, Ended::FailedDial, 1, ms(100), ms(1_500));
    for seed in 0..1_000 {
        let mut previous = ms(500);
        for wait in waits(
            &settings,
            &mut Jitter::from_state(seed),
            Ended::FailedDial,
            50,
        ) {
            assert!(wait >= ms(100) && wait <= (previous * 3).min(ms(30_000)));
            previous = wait.max(ms(500));
        }
    }
}

#[test]
fn a_fixed_list_is_followed_to_its_last_entry_without_jitter() {
    let settings = BackoffSettings {
        jitter: JitterKind::Fixed,
        delays: vec![ms(200), ms(1_000), ms(90_000)],
        ..BackoffSettings::default()
    };
    for ended in [Ended::FailedDial, Ended::ShortSession] {
        assert_eq!(
            waits(&settings, &mut Jitter::from_state(1), ended, 5),
            [ms(200), ms(1_000), ms(90_000), ms(90_000), ms(90_000)]
        );
    }
}

#[test]
fn a_retry_after_is_waited_for_and_spread_and_never_shortens_the_backoff() {
    let settings = BackoffSettings::default();
    let mut longest = Duration::ZERO;
    for seed in 0..1_000 {
        for (seconds, most) in [(0, 1_000), (10, 13_000), (3_600, 4_321_000)] {
            let mut jitter = Jitter::from_state(seed);
            let hint = Hint::NotBefore {
                at_least: Duration::from_secs(seconds),
            };
            let mut backoff = Backoff::new();
            let ended = Ended::FailedDial;
            let wait = backoff.next_delay(&settings, &mut jitter, ended, Class::Retry, hint);
            let own = waits(&settings, &mut Jitter::from_state(seed), ended, 1)[0];
            assert!(wait >= Duration::from_secs(seconds) && wait >= own);
            assert!(wait <= ms(most), "{seconds} s: {wait:?}");
            longest = longest.max(wait);
        }
    }
    assert!(
        longest > ms(4_300_000),
        "the spread reaches a fifth: {longest:?}"
    );
}

#[test]
fn a_restarting_service_is_dialled_after_five_to_thirty_seconds() {
    let settings = BackoffSettings::default();
    let draws: Vec<_> = (0..2_000)
        .map(|seed| {
            let mut jitter = Jitter::from_state(seed);
            let ended = Ended::StableSession;
            Backoff::new().next_delay(&settings, &mut jitter, ended, Class::Retry, Hint::RESTART)
        })
        .collect();
    assert!(
        draws
            .iter()
            .all(|wait| (ms(5_000)..=ms(30_000)).contains(wait))
    );
    assert!(draws.iter().any(|wait| *wait < ms(5_200)));
    assert!(draws.iter().any(|wait| *wait > ms(29_800)));
}

#[test]
fn an_overloaded_server_gets_half_a_minute_and_the_backoff() {
    let settings = BackoffSettings::default();
    for seed in 0..1_000 {
        let ended = Ended::ShortSession;
        let own = waits(&settings, &mut Jitter::from_state(seed), ended, 1)[0];
        let mut jitter = Jitter::from_state(seed);
        let wait = Backoff::new().next_delay(
            &settings,
            &mut jitter,
            ended,
            Class::Retry,
            Hint::OVERLOADED,
        );
        assert_eq!(wait, ms(30_000) + own);
    }
}

#[test]
fn attempts_and_time_run_out_exactly_at_their_limits() {
    let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
    let settings = BackoffSettings {
        attempts_max: NonZeroU32::new(2),
        elapsed_max: Some(Duration::from_secs(60)),
        ..BackoffSettings::default()
    };
    let mut backoff = Backoff::new();
    assert!(
        !backoff.is_exhausted(&settings, at(100), at(0)),
        "nothing failed yet"
    );
    let mut fail = || {
        let mut jitter = Jitter::from_state(1);
        let ended = Ended::FailedDial;
        backoff.next_delay(&settings, &mut jitter, ended, Class::Retry, Hint::None);
        backoff.clone()
    };
    let once = fail();
    assert!(!once.is_exhausted(&settings, at(59), at(0)));
    assert!(once.is_exhausted(&settings, at(60), at(0)));
    assert!(fail().is_exhausted(&settings, at(0), at(0)));
    let endless = BackoffSettings::default();
    assert!(!backoff.is_exhausted(&endless, Instant::FAR_FUTURE, at(0)));
}

#[test]
fn two_connections_of_one_process_do_not_move_in_step() {
    let settings = BackoffSettings::default();
    let one = waits(&settings, &mut Jitter::from_state(1), Ended::FailedDial, 20);
    let other = waits(&settings, &mut Jitter::from_state(2), Ended::FailedDial, 20);
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
}

proptest! {
    #[test]
    fn every_wait_is_in_its_range_for_any_count_and_any_settings(
        failures in prop_oneof![0..100_u32, any::<u32>()],
        (floor, initial, max, flap_max) in (0..10_u64.pow(10), 0..10_u64.pow(10), 0..10_u64.pow(18), 0..10_u64.pow(18)),
        factor in prop_oneof![Just(1.0), 1.0..10.0, Just(f64::MAX)],
        kind in 0..4_usize,
        seed in any::<u64>(),
    ) {
        let settings = BackoffSettings {
            floor: Duration::from_nanos(floor),
            initial: Duration::from_nanos(floor + initial),
            max: Duration::from_nanos(floor + initial + max),
            flap_max: Duration::from_nanos(floor + initial + max + flap_max),
            factor,
            jitter: [JitterKind::Full, JitterKind::Equal, JitterKind::Decorrelated, JitterKind::Fixed][kind],
            ..BackoffSettings::default()
        };
        let mut jitter = Jitter::from_state(seed);
        for (ended, cap) in [(Ended::FailedDial, settings.max), (Ended::ShortSession, settings.flap_max)] {
            let mut backoff = Backoff { failures, ..Backoff::new() };
            for _ in 0..3 {
                let wait = backoff.next_delay(&settings, &mut jitter, ended, Class::Retry, Hint::None);
                prop_assert!(wait >= settings.floor && wait <= cap, "{wait:?}");
            }
            prop_assert_eq!(backoff.failures(), failures.saturating_add(3));
        }
    }

    #[test]
    fn the_bound_never_shrinks_as_failures_add_up(failures in 0..200_u32, factor in 1.0..4.0) {
        let settings = BackoffSettings { factor, ..BackoffSettings::default() };
        let bound = |failures| Backoff { failures, ..Backoff::new() }.grown(&settings, settings.max);
        prop_assert!(bound(failures + 1) >= bound(failures));
    }
}
