//! Settings of any kind, as likely to be refused as not.

use proptest::prelude::*;

use super::*;
use crate::time::Instant;

/// Any duration, with those that matter more often than chance would have it.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..5_u64).prop_map(secs),
        (0..1_000_000_u64).prop_map(ms),
        Just(Duration::MAX),
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n)),
    ]
}

fn backoff() -> impl Strategy<Value = BackoffSettings> {
    (
        (duration(), any::<f64>(), duration(), duration(), duration()),
        (
            duration(),
            prop::collection::vec(duration(), 0..3),
            duration(),
            any::<Option<NonZeroU32>>(),
            prop::option::of(duration()),
        ),
    )
        .prop_map(|((initial, factor, max, flap_max, first_max), more)| {
            let (floor, delays, stable_after, attempts_max, elapsed_max) = more;
            BackoffSettings {
                initial,
                factor,
                max,
                flap_max,
                first_max,
                floor,
                delays,
                stable_after,
                attempts_max,
                elapsed_max,
                ..BackoffSettings::default()
            }
        })
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let required = prop::array::uniform11(duration());
    (required, prop::option::of(duration())).prop_map(
        |(
            [
                resolve,
                connect,
                tls,
                upgrade,
                attempt,
                provider,
                ready,
                close,
                flush_before_close,
                write_progress,
                acknowledge,
            ],
            message,
        )| Timeouts {
            resolve,
            connect,
            tls,
            upgrade,
            attempt,
            provider,
            ready,
            close,
            flush_before_close,
            write_progress,
            acknowledge,
            message,
        },
    )
}

pub(super) fn settings() -> impl Strategy<Value = Settings> {
    let keepalive =
        (duration(), duration()).prop_map(|(interval, timeout)| Keepalive { interval, timeout });
    let number = || prop_oneof![0..10_usize, any::<usize>()];
    let queue = move || {
        (number(), number()).prop_map(|(items_max, bytes_max)| QueueBounds {
            items_max,
            bytes_max,
        })
    };
    let batch =
        (number(), number(), duration()).prop_map(|(count_max, bytes_max, linger)| BatchPolicy {
            count_max,
            bytes_max,
            linger,
            idle: IdleFlush::Linger,
        });
    let retry = (duration(), any::<f64>(), duration(), any::<u32>()).prop_map(
        |(initial, factor, max, attempts_max)| RetryPolicy {
            initial,
            factor,
            max,
            attempts_max,
        },
    );
    let codes = || prop::collection::btree_map(any::<u16>(), Just(Class::Retry), 0..3);
    let deflate = (
        any::<[bool; 3]>(),
        any::<[u8; 3]>(),
        number(),
        any::<Option<NonZeroU32>>(),
    );
    let deflate = deflate.prop_map(|(flags, bits, threshold, ratio_max)| Deflate {
        server_no_context_takeover: flags[0],
        client_no_context_takeover: flags[1],
        server_max_window_bits: bits[0] % 20,
        client_max_window_bits: bits[1] % 20,
        threshold,
        level: bits[2] % 12,
        ratio_max,
        free_when_idle: flags[2],
    });
    let numbers = (
        prop::array::uniform4(number()),
        any::<[u32; 3]>(),
        duration(),
    );
    // Each part is left at its default now and then, so that the checks of later ones are reached.
    (
        (
            prop::option::of(duration()),
            prop::option::of(keepalive),
            prop::option::of(backoff()),
            prop::option::of(timeouts()),
        ),
        prop::option::of((queue(), (queue(), overflow(), duration()), batch, retry)),
        prop::option::of(numbers),
        prop::option::of((codes(), codes())),
        prop::option::of(deflate),
    )
        .prop_map(
            |((stale_after, keepalive, backoff, timeouts), flow, numbers, codes, deflate)| {
                let mut settings = Settings {
                    stale_after,
                    keepalive,
                    backoff: backoff.unwrap_or_default(),
                    timeouts: timeouts.unwrap_or_default(),
                    deflate,
                    ..Settings::default()
                };
                if let Some((inbound, (outbound, when_full, linger), batch, retry)) = flow {
                    settings = Settings {
                        inbound,
                        outbound: OutboundSettings {
                            items_max: outbound.items_max,
                            bytes_max: outbound.bytes_max,
                            when_full,
                            linger,
                        },
                        batch,
                        retry,
                        ..settings
                    };
                }
                if let Some((sizes, counts, window)) = numbers {
                    let [
                        message_bytes_max,
                        frame_bytes_max,
                        header_bytes_max,
                        headers_max,
                    ] = sizes;
                    settings.limits = Limits {
                        message_bytes_max,
                        frame_bytes_max,
                        fragments_max: counts[0],
                        header_bytes_max,
                        headers_max,
                        interim_max: counts[1],
                    };
                    settings.invalid.invalid_max = counts[2];
                    settings.invalid.invalid_window = window;
                }
                if let Some((close, status)) = codes {
                    settings.classification = ClassificationSettings { close, status };
                }
                settings
            },
        )
}

/// Lengths of time in order, from a millisecond to ten years.
fn ordered<const N: usize>() -> impl Strategy<Value = [Duration; N]> {
    prop::collection::vec(1..315_360_000_000_u64, N).prop_map(|mut millis| {
        millis.sort_unstable();
        std::array::from_fn(|at| ms(millis[at]))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_settings_make_the_check_panic_and_what_passes_is_in_order(settings in settings()) {
        let shown = format!("{settings:?}");
        let config = match check(settings) {
            Ok(config) => config,
            Err(error) => {
                // The key leads to a field; `decode` is the one with another name.
                let field = error.key.split(['.', '[']).next().unwrap_or_default();
                let field = field.replace("decode", "invalid");
                prop_assert!(shown.contains(&format!("{field}: ")), "{}", error);
                return Ok(());
            }
        };
        let Settings { backoff, timeouts, limits, inbound, outbound, batch, retry, .. } = config.settings();
        prop_assert!(backoff.floor > Duration::ZERO && backoff.floor <= backoff.initial);
        prop_assert!(backoff.initial <= backoff.max && backoff.max <= backoff.flap_max);
        prop_assert!(backoff.first_max <= backoff.max);
        prop_assert!(backoff.delays.iter().all(|d| (backoff.floor..=backoff.max).contains(d)));
        prop_assert!(backoff.factor >= 1.0 && backoff.factor.is_finite());
        prop_assert!(timeouts.connect <= timeouts.attempt);
        prop_assert!(limits.headers_max > 0 && limits.message_bytes_max > 0);
        prop_assert!(batch.count_max <= inbound.items_max && batch.bytes_max <= inbound.bytes_max);
        prop_assert!(retry.initial <= retry.max);
        let latest = Instant::ORIGIN + backoff.flap_max + timeouts.attempt + batch.linger + outbound.linger + retry.max;
        prop_assert!(latest < Instant::FAR_FUTURE);
    }

    #[test]
    fn whatever_is_in_order_passes(
        [floor, initial, max, flap_max] in ordered::<4>(),
        [resolve, connect, tls, upgrade, attempt] in ordered::<5>(),
        [retry_initial, retry_max, stable_after] in ordered::<3>(),
        factor in 1.0..=1_000.0_f64,
        (items_max, bytes_max) in (1..1_000_000_usize, 1..1_000_000_usize),
    ) {
        let settings = Settings {
            backoff: BackoffSettings {
                initial, factor, max, flap_max, floor, stable_after,
                first_max: max,
                delays: vec![floor, initial, max],
                ..BackoffSettings::default()
            },
            timeouts: Timeouts { resolve, connect, tls, upgrade, attempt, ..Timeouts::default() },
            inbound: QueueBounds { items_max, bytes_max },
            batch: BatchPolicy { count_max: items_max, bytes_max, ..BatchPolicy::default() },
            retry: RetryPolicy { initial: retry_initial, max: retry_max, factor, attempts_max: 1 },
            ..Settings::default()
        };
        prop_assert!(check(settings).is_ok());
    }
}

fn overflow() -> impl Strategy<Value = Overflow> {
    prop::sample::select(vec![
        Overflow::Wait,
        Overflow::Reject,
        Overflow::DropOldest,
        Overflow::DropNewest,
        Overflow::Coalesce,
    ])
}
