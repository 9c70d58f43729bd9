mod random;
#[cfg(feature = "serde")]
mod serialised;

use std::num::NonZeroU32;

use super::*;
use crate::classify::Class;
use crate::hooks::Hooks;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn check(settings: Settings) -> Result<Config, ConfigError> {
    Config::new(settings, Hooks::default())
}

#[test]
fn the_defaults_are_those_that_are_documented_and_are_valid() {
    let defaults = Settings {
        reconnect: Reconnect::Always,
        stale_after: None,
        keepalive: Some(Keepalive {
            interval: secs(20),
            timeout: secs(20),
        }),
        backoff: BackoffSettings {
            profile: Profile::Interactive,
            initial: ms(500),
            factor: 2.0,
            max: secs(30),
            flap_max: secs(60),
            first_max: ms(500),
            floor: ms(100),
            jitter: JitterKind::Full,
            delays: vec![],
            stable_after: secs(10),
            attempts_max: None,
            elapsed_max: None,
            first_dial: FirstDial::Retry,
        },
        timeouts: Timeouts {
            resolve: secs(5),
            connect: secs(5),
            tls: secs(5),
            upgrade: secs(5),
            attempt: secs(10),
            provider: secs(10),
            ready: secs(10),
            close: secs(5),
            flush_before_close: secs(1),
            write_progress: secs(30),
            acknowledge: secs(10),
            message: None,
        },
        limits: Limits {
            message_bytes_max: 16_777_216,
            frame_bytes_max: 16_777_216,
            fragments_max: 4_096,
            header_bytes_max: 16_384,
            headers_max: 100,
            interim_max: 8,
        },
        deflate: None,
        inbound: QueueBounds {
            items_max: 1_024,
            bytes_max: 1_048_576,
        },
        outbound: OutboundSettings {
            items_max: 1_024,
            bytes_max: 1_048_576,
            when_full: Overflow::Wait,
            linger: Duration::ZERO,
        },
        batch: BatchPolicy {
            count_max: 1_024,
            bytes_max: 262_144,
            linger: ms(5),
            idle: IdleFlush::AtOnce,
        },
        processor: ProcessorSettings {
            workers: WorkerBounds { min: 1, max: 4 },
            order: Order::Strict,
        },
        retry: RetryPolicy {
            initial: ms(100),
            factor: 2.0,
            max: secs(10),
            attempts_max: 3,
        },
        invalid: InvalidPolicy {
            invalid_max: 100,
            invalid_window: secs(60),
            dead_letter: InvalidFate::Count,
            sample_bytes: 0,
        },
        classification: ClassificationSettings::default(),
    };
    assert_eq!(Settings::default(), defaults);
    assert_eq!(Config::default().settings(), &defaults);
    assert_eq!(check(defaults.clone()).unwrap().settings(), &defaults);
}

#[test]
fn each_profile_spreads_its_retries_as_documented() {
    for (profile, first_max, max, flap_max) in [
        (Profile::Interactive, ms(500), secs(30), secs(60)),
        (Profile::Rfc, secs(5), secs(30), secs(60)),
        (Profile::Spread, secs(30), secs(120), secs(240)),
    ] {
        let backoff = BackoffSettings::profile(profile);
        let expected = BackoffSettings {
            profile,
            first_max,
            max,
            flap_max,
            ..BackoffSettings::default()
        };
        assert_eq!(backoff, expected);
        assert!(
            check(Settings {
                backoff,
                ..Settings::default()
            })
            .is_ok()
        );
    }
}

/// A change to the default settings, and the key or the whole message that it is refused with.
type Refusal = (fn(&mut Settings), &'static str);

fn assert_refused(table: &[Refusal]) {
    for (change, message) in table {
        let mut settings = Settings::default();
        change(&mut settings);
        assert_eq!(check(settings).unwrap_err().to_string(), *message);
    }
}

#[test]
fn every_zero_is_refused_by_name() {
    const ZERO: Duration = Duration::ZERO;
    let table: &[Refusal] = &[
        (|s| s.stale_after = Some(ZERO), "stale_after"),
        (|s| keepalive(s).interval = ZERO, "keepalive.interval"),
        (|s| keepalive(s).timeout = ZERO, "keepalive.timeout"),
        (|s| s.backoff.initial = ZERO, "backoff.initial"),
        (|s| s.backoff.max = ZERO, "backoff.max"),
        (|s| s.backoff.flap_max = ZERO, "backoff.flap_max"),
        (|s| s.backoff.first_max = ZERO, "backoff.first_max"),
        (|s| s.backoff.floor = ZERO, "backoff.floor"),
        (|s| s.backoff.stable_after = ZERO, "backoff.stable_after"),
        (
            |s| s.backoff.elapsed_max = Some(ZERO),
            "backoff.elapsed_max",
        ),
        (|s| s.timeouts.resolve = ZERO, "timeouts.resolve"),
        (|s| s.timeouts.connect = ZERO, "timeouts.connect"),
        (|s| s.timeouts.tls = ZERO, "timeouts.tls"),
        (|s| s.timeouts.upgrade = ZERO, "timeouts.upgrade"),
        (|s| s.timeouts.attempt = ZERO, "timeouts.attempt"),
        (|s| s.timeouts.provider = ZERO, "timeouts.provider"),
        (|s| s.timeouts.ready = ZERO, "timeouts.ready"),
        (|s| s.timeouts.close = ZERO, "timeouts.close"),
        (
            |s| s.timeouts.flush_before_close = ZERO,
            "timeouts.flush_before_close",
        ),
        (|s| s.timeouts.acknowledge = ZERO, "timeouts.acknowledge"),
        (
            |s| s.timeouts.write_progress = ZERO,
            "timeouts.write_progress",
        ),
        (|s| s.timeouts.message = Some(ZERO), "timeouts.message"),
        (
            |s| s.limits.message_bytes_max = 0,
            "limits.message_bytes_max",
        ),
        (|s| s.limits.frame_bytes_max = 0, "limits.frame_bytes_max"),
        (|s| s.limits.fragments_max = 0, "limits.fragments_max"),
        (|s| s.limits.header_bytes_max = 0, "limits.header_bytes_max"),
        (|s| s.limits.headers_max = 0, "limits.headers_max"),
        (|s| s.limits.interim_max = 0, "limits.interim_max"),
        (|s| s.inbound.items_max = 0, "inbound.items_max"),
        (|s| s.inbound.bytes_max = 0, "inbound.bytes_max"),
        (|s| s.outbound.items_max = 0, "outbound.items_max"),
        (|s| s.outbound.bytes_max = 0, "outbound.bytes_max"),
        (|s| s.batch.count_max = 0, "batch.count_max"),
        (|s| s.processor.workers.min = 0, "processor.workers.min"),
        (|s| s.processor.workers.max = 0, "processor.workers.max"),
        (|s| s.batch.bytes_max = 0, "batch.bytes_max"),
        (|s| s.retry.initial = ZERO, "retry.initial"),
        (|s| s.retry.max = ZERO, "retry.max"),
        (|s| s.retry.attempts_max = 0, "retry.attempts_max"),
        (|s| s.invalid.invalid_max = 0, "decode.invalid_max"),
        (|s| s.invalid.invalid_window = ZERO, "decode.invalid_window"),
    ];
    for (change, key) in table {
        let mut settings = Settings::default();
        change(&mut settings);
        let error = check(settings).unwrap_err();
        assert_eq!(error.to_string(), format!("`{key}` must not be zero"));
        assert_eq!(error.key, *key);
    }
}

#[test]
fn a_sample_of_more_than_4_kib_is_refused_by_name() {
    let mut settings = Settings::default();
    settings.invalid.sample_bytes = 4_096;
    assert!(check(settings.clone()).is_ok());
    settings.invalid.sample_bytes = 4_097;
    assert_eq!(check(settings).unwrap_err().key, "decode.sample_bytes");
}

fn keepalive(settings: &mut Settings) -> &mut Keepalive {
    settings.keepalive.get_or_insert_default()
}

#[test]
fn every_duration_beyond_ten_years_is_refused_by_name() {
    const LONG: Duration = Duration::MAX;
    let table: &[Refusal] = &[
        (|s| s.stale_after = Some(LONG), "stale_after"),
        (|s| keepalive(s).interval = LONG, "keepalive.interval"),
        (|s| keepalive(s).timeout = LONG, "keepalive.timeout"),
        (|s| s.backoff.initial = LONG, "backoff.initial"),
        (|s| s.backoff.max = LONG, "backoff.max"),
        (|s| s.backoff.flap_max = LONG, "backoff.flap_max"),
        (|s| s.backoff.first_max = LONG, "backoff.first_max"),
        (|s| s.backoff.floor = LONG, "backoff.floor"),
        (|s| s.backoff.stable_after = LONG, "backoff.stable_after"),
        (
            |s| s.backoff.elapsed_max = Some(LONG),
            "backoff.elapsed_max",
        ),
        (|s| s.timeouts.resolve = LONG, "timeouts.resolve"),
        (|s| s.timeouts.connect = LONG, "timeouts.connect"),
        (|s| s.timeouts.tls = LONG, "timeouts.tls"),
        (|s| s.timeouts.upgrade = LONG, "timeouts.upgrade"),
        (|s| s.timeouts.attempt = LONG, "timeouts.attempt"),
        (|s| s.timeouts.provider = LONG, "timeouts.provider"),
        (|s| s.timeouts.ready = LONG, "timeouts.ready"),
        (|s| s.timeouts.close = LONG, "timeouts.close"),
        (
            |s| s.timeouts.flush_before_close = LONG,
            "timeouts.flush_before_close",
        ),
        (|s| s.timeouts.acknowledge = LONG, "timeouts.acknowledge"),
        (
            |s| s.timeouts.write_progress = LONG,
            "timeouts.write_progress",
        ),
        (|s| s.timeouts.message = Some(LONG), "timeouts.message"),
        (|s| s.batch.linger = LONG, "batch.linger"),
        (|s| s.outbound.linger = LONG, "outbound.linger"),
        (|s| s.retry.initial = LONG, "retry.initial"),
        (|s| s.retry.max = LONG, "retry.max"),
        (|s| s.invalid.invalid_window = LONG, "decode.invalid_window"),
    ];
    for (change, key) in table {
        let mut settings = Settings::default();
        change(&mut settings);
        let error = check(settings).unwrap_err();
        let message = error.to_string();
        let wanted = format!("`{key}` must not be greater than 3650d: it is ");
        assert!(message.starts_with(&wanted), "{message}");
    }
}

fn deflate(settings: &mut Settings) -> &mut Deflate {
    settings.deflate.get_or_insert_default()
}

#[test]
fn compression_defaults_to_what_its_documentation_says() {
    let expected = Deflate {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
        threshold: 64,
        level: 6,
        ratio_max: None,
        free_when_idle: false,
    };
    assert_eq!(Deflate::default(), expected);
}

#[test]
fn what_compression_cannot_do_is_refused_by_name() {
    assert_refused(&[
        (
            |s| deflate(s).server_max_window_bits = 7,
            "`deflate.server_max_window_bits` must be from 8 to 15: it is 7",
        ),
        (
            |s| deflate(s).client_max_window_bits = 16,
            "`deflate.client_max_window_bits` must be from 8 to 15: it is 16",
        ),
        (
            |s| deflate(s).threshold = (1 << 31) + 1,
            "`deflate.threshold` must not be greater than 2GiB: it is 2147483649B",
        ),
        (
            |s| deflate(s).level = 0,
            "`deflate.level` must be from 1 to 9: it is 0",
        ),
        (
            |s| deflate(s).level = 10,
            "`deflate.level` must be from 1 to 9: it is 10",
        ),
    ]);
    for bits in 8..=15 {
        let mut settings = Settings::default();
        deflate(&mut settings).server_max_window_bits = bits;
        deflate(&mut settings).client_max_window_bits = bits;
        deflate(&mut settings).threshold = 0;
        assert!(check(settings).is_ok(), "{bits}");
    }
}

#[test]
fn a_value_out_of_order_with_another_is_refused_with_both() {
    assert_refused(&[
        (
            |s| s.backoff.initial = ms(50),
            "`backoff.initial` must not be smaller than `backoff.floor` (100ms): it is 50ms",
        ),
        (
            |s| s.backoff.max = ms(200),
            "`backoff.max` must not be smaller than `backoff.initial` (500ms): it is 200ms",
        ),
        (
            |s| s.backoff.flap_max = secs(29),
            "`backoff.flap_max` must not be smaller than `backoff.max` (30s): it is 29s",
        ),
        (
            |s| s.backoff.first_max = secs(31),
            "`backoff.first_max` must not be greater than `backoff.max` (30s): it is 31s",
        ),
        (
            |s| s.backoff.delays = vec![secs(1), Duration::ZERO],
            "`backoff.delays[1]` must not be smaller than `backoff.floor` (100ms): it is 0s",
        ),
        (
            |s| s.backoff.delays = vec![secs(60)],
            "`backoff.delays[0]` must not be greater than `backoff.max` (30s): it is 1m",
        ),
        (
            |s| s.timeouts.connect = secs(11),
            "`timeouts.connect` must not be greater than `timeouts.attempt` (10s): it is 11s",
        ),
        (
            |s| s.timeouts.attempt = secs(3),
            "`timeouts.resolve` must not be greater than `timeouts.attempt` (3s): it is 5s",
        ),
        (
            |s| s.timeouts.upgrade = secs(60),
            "`timeouts.upgrade` must not be greater than `timeouts.attempt` (10s): it is 1m",
        ),
        (
            |s| s.batch.count_max = 1_025,
            "`batch.count_max` must not be greater than `inbound.items_max` (1024): it is 1025",
        ),
        (
            |s| s.processor.workers.min = 5,
            "`processor.workers.max` must not be smaller than `processor.workers.min` (5): it is 4",
        ),
        (
            |s| s.processor.workers.max = 257,
            "`processor.workers.max` must not be greater than 256: it is 257",
        ),
        (
            |s| s.processor.order = Order::PerKey,
            "`processor.order` is `per_key`, but no `per_key` hook finds the keys of messages",
        ),
        (
            |s| s.inbound.bytes_max = 1_000,
            "`batch.bytes_max` must not be greater than `inbound.bytes_max` (1000B): it is 256KiB",
        ),
        (
            |s| s.retry.max = ms(99),
            "`retry.max` must not be smaller than `retry.initial` (100ms): it is 99ms",
        ),
    ]);
}

#[test]
fn a_number_that_no_program_means_is_refused() {
    assert_refused(&[
        (
            |s| s.backoff.factor = f64::NAN,
            "`backoff.factor` must be a number from 1 to 1000: it is NaN",
        ),
        (
            |s| s.backoff.factor = f64::INFINITY,
            "`backoff.factor` must be a number from 1 to 1000: it is inf",
        ),
        (
            |s| s.backoff.factor = 0.99,
            "`backoff.factor` must be a number from 1 to 1000: it is 0.99",
        ),
        (
            |s| s.retry.factor = -2.0,
            "`retry.factor` must be a number from 1 to 1000: it is -2",
        ),
        (
            |s| s.limits.message_bytes_max = (1 << 31) + 1,
            "`limits.message_bytes_max` must not be greater than 2GiB: it is 2147483649B",
        ),
        (
            |s| s.limits.headers_max = 125,
            "`limits.headers_max` must not be greater than 124: it is 125",
        ),
        (
            |s| s.outbound.items_max = 1 << 31,
            "`outbound.items_max` must not be greater than 1073741824: it is 2147483648",
        ),
        (
            |s| s.classification.close = [(1004, Class::Retry)].into(),
            "`classification.close.1004` is not a close code that a peer may send, nor 1005 or 1006",
        ),
        (
            |s| s.classification.close = [(1008, Class::Retry), (5000, Class::Retry)].into(),
            "`classification.close.5000` is not a close code that a peer may send, nor 1005 or 1006",
        ),
        (
            |s| s.classification.status = [(101, Class::Retry)].into(),
            "`classification.status.101` is not a status from 200 to 999",
        ),
    ]);
}

#[test]
fn values_at_the_edges_of_what_is_allowed_are_accepted() {
    let table: &[fn(&mut Settings)] = &[
        |s| s.batch.linger = Duration::ZERO,
        |s| s.backoff.factor = 1.0,
        |s| s.backoff.factor = 1_000.0,
        |s| s.backoff.initial = ms(100),
        |s| s.backoff.flap_max = secs(30),
        |s| s.backoff.first_max = secs(30),
        |s| s.backoff.delays = vec![ms(100), secs(30)],
        |s| s.stale_after = Some(secs(3_650 * 86_400)),
        |s| s.keepalive = None,
        |s| s.limits.message_bytes_max = 1 << 31,
        |s| s.limits.headers_max = 124,
        |s| {
            let codes = [1000, 1003, 1005, 1006, 1014, 3000, 4999];
            s.classification.close = codes.map(|code| (code, Class::GiveUp)).into();
            s.classification.status = [200, 999].map(|status| (status, Class::Strike)).into();
        },
    ];
    for change in table {
        let mut settings = Settings::default();
        change(&mut settings);
        assert_eq!(check(settings.clone()).unwrap().settings(), &settings);
    }
}
