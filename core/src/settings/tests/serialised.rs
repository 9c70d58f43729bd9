//! The settings of a TOML file.

use proptest::prelude::*;

use super::random::settings;
use super::*;

fn read(text: &str) -> Settings {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    toml::from_str::<Settings>(text).unwrap_err().to_string()
}

#[test]
fn every_key_is_read() {
    let text = r#"
        reconnect = "never"
        stale_after = "1m30s"
        [keepalive]
        interval = "15s"
        timeout = "7s"
        [backoff]
        profile = "rfc"
        initial = "200ms"
        factor = 1.5
        max = "20s"
        flap_max = "25s"
        first_max = "3s"
        floor = "50ms"
        jitter = "decorrelated"
        delays = ["1s", "2s"]
        stable_after = "11s"
        attempts_max = 9
        elapsed_max = "1h"
        first_dial = "fatal"
        [timeouts]
        resolve = "1s"
        connect = "2s"
        tls = "2500ms"
        upgrade = "3s"
        attempt = "4s"
        provider = "5s"
        ready = "6s"
        close = "7s"
        flush_before_close = "8s"
        write_progress = "9s"
        acknowledge = "12s"
        message = "10s"
        [limits]
        message_bytes_max = "1MiB"
        frame_bytes_max = "512KiB"
        fragments_max = 10
        header_bytes_max = 4096
        headers_max = 20
        interim_max = 3
        [deflate]
        server_no_context_takeover = true
        client_no_context_takeover = true
        server_max_window_bits = 10
        client_max_window_bits = 11
        threshold = "1KiB"
        level = 3
        ratio_max = 200
        free_when_idle = true
        [inbound]
        items_max = 100
        bytes_max = "100KiB"
        [outbound]
        items_max = 200
        bytes_max = 2000
        when_full = "drop_oldest"
        linger = "2ms"
        [batch]
        count_max = 50
        bytes_max = "50KiB"
        linger = "0s"
        idle = "linger"
        [processor]
        workers = { min = 2, max = 8 }
        order = "none"
        [retry]
        initial = "1ms"
        factor = 3
        max = "2ms"
        attempts_max = 4
        [decode]
        invalid_max = 5
        invalid_window = "2m"
        dead_letter = true
        sample_bytes = "1KiB"
        [classification]
        close = { 1008 = "retry", 4000 = "give_up" }
        status = { 404 = "reauth", 503 = "strike" }
    "#;
    let expected = Settings {
        reconnect: Reconnect::Never,
        stale_after: Some(secs(90)),
        keepalive: Some(Keepalive {
            interval: secs(15),
            timeout: secs(7),
        }),
        backoff: BackoffSettings {
            profile: Profile::Rfc,
            initial: ms(200),
            factor: 1.5,
            max: secs(20),
            flap_max: secs(25),
            first_max: secs(3),
            floor: ms(50),
            jitter: JitterKind::Decorrelated,
            delays: vec![secs(1), secs(2)],
            stable_after: secs(11),
            attempts_max: NonZeroU32::new(9),
            elapsed_max: Some(secs(3_600)),
            first_dial: FirstDial::Fatal,
        },
        timeouts: Timeouts {
            resolve: secs(1),
            connect: secs(2),
            tls: Duration::from_millis(2_500),
            upgrade: secs(3),
            attempt: secs(4),
            provider: secs(5),
            ready: secs(6),
            close: secs(7),
            flush_before_close: secs(8),
            write_progress: secs(9),
            acknowledge: secs(12),
            message: Some(secs(10)),
        },
        limits: Limits {
            message_bytes_max: 1 << 20,
            frame_bytes_max: 512 << 10,
            fragments_max: 10,
            header_bytes_max: 4_096,
            headers_max: 20,
            interim_max: 3,
        },
        deflate: Some(Deflate {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 10,
            client_max_window_bits: 11,
            threshold: 1_024,
            level: 3,
            ratio_max: NonZeroU32::new(200),
            free_when_idle: true,
        }),
        inbound: QueueBounds {
            items_max: 100,
            bytes_max: 100 << 10,
        },
        outbound: OutboundSettings {
            items_max: 200,
            bytes_max: 2_000,
            when_full: Overflow::DropOldest,
            linger: Duration::from_millis(2),
        },
        batch: BatchPolicy {
            count_max: 50,
            bytes_max: 50 << 10,
            linger: Duration::ZERO,
            idle: IdleFlush::Linger,
        },
        processor: ProcessorSettings {
            workers: WorkerBounds { min: 2, max: 8 },
            order: Order::None,
        },
        retry: RetryPolicy {
            initial: ms(1),
            factor: 3.0,
            max: ms(2),
            attempts_max: 4,
        },
        invalid: InvalidPolicy {
            invalid_max: 5,
            invalid_window: secs(120),
            dead_letter: InvalidFate::DeadLetter,
            sample_bytes: 1_024,
        },
        classification: ClassificationSettings {
            close: [(1008, Class::Retry), (4000, Class::GiveUp)].into(),
            status: [(404, Class::Reauth), (503, Class::Strike)].into(),
        },
    };
    let settings = read(text);
    assert_eq!(settings, expected);
    assert!(check(settings).is_ok());
}

#[test]
fn an_absent_key_has_its_default() {
    assert_eq!(read(""), Settings::default());
    assert_eq!(
        read("[keepalive]\ninterval = \"5s\"").keepalive,
        Some(Keepalive {
            interval: secs(5),
            timeout: secs(20),
        })
    );
    assert_eq!(read("[deflate]").deflate, Some(Deflate::default()));
    assert_eq!(
        read("[deflate]\nthreshold = \"64B\"\nratio_max = \"off\"").deflate,
        Some(Deflate::default())
    );
    let sections = "[backoff]\n[timeouts]\n[limits]\n[batch]\n[decode]\n[keepalive]\n";
    assert_eq!(read(sections), Settings::default());
}

#[test]
fn a_profile_gives_the_defaults_of_the_keys_that_are_absent() {
    let backoff = |text: &str| read(&format!("[backoff]\n{text}")).backoff;
    assert_eq!(
        backoff("profile = \"spread\""),
        BackoffSettings::profile(Profile::Spread)
    );
    assert_eq!(
        backoff("profile = \"spread\"\nfirst_max = \"1s\""),
        BackoffSettings {
            first_max: secs(1),
            ..BackoffSettings::profile(Profile::Spread)
        }
    );
    // A cap carries the one for flapping with it, and holds for the first retry.
    let capped = backoff("profile = \"rfc\"\nmax = \"2s\"");
    assert_eq!(
        (capped.first_max, capped.max, capped.flap_max),
        (secs(2), secs(2), secs(4))
    );
    // What is given is never changed, so that the check can name it.
    let given = backoff("max = \"2s\"\nflap_max = \"1s\"\nfirst_max = \"3s\"");
    assert_eq!((given.flap_max, given.first_max), (secs(1), secs(3)));
}

#[test]
fn a_short_attempt_shortens_the_stages_that_are_absent() {
    let timeouts = read("[timeouts]\nattempt = \"3s\"\nupgrade = \"4s\"").timeouts;
    assert_eq!(
        timeouts,
        Timeouts {
            resolve: secs(3),
            connect: secs(3),
            tls: secs(3),
            upgrade: secs(4),
            attempt: secs(3),
            ..Timeouts::default()
        }
    );
}

#[test]
fn what_is_optional_can_be_off() {
    let settings = read(
        "keepalive = \"off\"\ndeflate = \"off\"\nstale_after = \"off\"\n\
         [backoff]\nattempts_max = \"off\"\nelapsed_max = \"off\"",
    );
    assert_eq!(
        settings,
        Settings {
            keepalive: None,
            ..Settings::default()
        }
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place_and_what_is_wanted() {
    let table = [
        ("colour = 1", "line 1, column 1", "unknown field `colour`"),
        (
            "\n[backoff]\nmaxx = 1",
            "line 3, column 1",
            "expected one of `profile`",
        ),
        (
            "[timeouts]\ndns = 1",
            "line 2, column 1",
            "unknown field `dns`",
        ),
        (
            "[keepalive]\nevery = 1",
            "line 2, column 1",
            "unknown field `every`",
        ),
        ("keepalive = true", "line 1, column 13", "or \"off\""),
        (
            "keepalive = \"none\"",
            "line 1, column 13",
            "invalid type: string \"none\"",
        ),
        ("stale_after = 5", "line 1, column 15", "such as \"500ms\""),
        (
            "stale_after = \"5\"",
            "line 1, column 15",
            "not a duration: `5` has no unit",
        ),
        (
            "[backoff]\nmax = \"1 s\"",
            "line 2, column 7",
            "not a duration",
        ),
        (
            "[backoff]\nmax = 30",
            "line 2, column 7",
            "such as \"500ms\"",
        ),
        (
            "[backoff]\nattempts_max = 0",
            "line 2, column 16",
            "nonzero",
        ),
        (
            "[backoff]\njitter = \"ful\"",
            "line 2, column 10",
            "`decorrelated`",
        ),
        (
            "[backoff]\nprofile = \"fast\"",
            "line 2, column 11",
            "`interactive`",
        ),
        (
            "[limits]\nmessage_bytes_max = \"16MB\"",
            "line 2, column 21",
            "not a size: `MB` is not a unit",
        ),
        (
            "[limits]\nmessage_bytes_max = -1",
            "line 2, column 21",
            "such as 4096 or \"64KiB\"",
        ),
        ("deflate = true", "line 1, column 11", "or \"off\""),
        ("[deflate]\nratio_max = 0", "line 2, column 13", "nonzero"),
        (
            "[deflate]\nwindow = 9",
            "line 2, column 1",
            "unknown field `window`",
        ),
        (
            "[decode]\ndead_letter = \"yes\"",
            "line 2, column 15",
            "expected a boolean",
        ),
        (
            "[classification]\nclose = { 01008 = \"retry\" }",
            "line 2, column 11",
            "a number from 0 to 65535",
        ),
        (
            "[classification.status]\n503 = \"ignore\"",
            "line 2, column 7",
            "`give_up`",
        ),
    ];
    for (text, place, wanted) in table {
        let message = refused(text);
        assert!(message.contains(place), "{text}: {message}");
        assert!(message.contains(wanted), "{text}: {message}");
    }
}

#[test]
fn the_defaults_are_written_in_full_and_read_back() {
    let text = toml::to_string(&Settings::default()).unwrap();
    for line in [
        "[keepalive]\ninterval = \"20s\"",
        "stale_after = \"off\"",
        "attempts_max = \"off\"",
        "stable_after = \"10s\"",
        "message_bytes_max = \"16MiB\"",
        "bytes_max = \"256KiB\"",
        "linger = \"5ms\"",
        "invalid_window = \"1m\"",
        "dead_letter = false",
        "sample_bytes = \"0B\"",
        "jitter = \"full\"",
        "deflate = \"off\"",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(read(&text), Settings::default());
    let off = Settings {
        keepalive: None,
        ..Settings::default()
    };
    assert_eq!(read(&toml::to_string(&off).unwrap()), off);
}

proptest! {
    #[test]
    fn whatever_is_written_reads_back_the_same(mut settings in settings()) {
        // TOML has no integers beyond 63 bits, and NaN equals nothing.
        settings.inbound.items_max >>= 1;
        settings.outbound.items_max >>= 1;
        settings.batch.count_max >>= 1;
        settings.limits.headers_max >>= 1;
        for factor in [&mut settings.backoff.factor, &mut settings.retry.factor] {
            if factor.is_nan() {
                *factor = f64::INFINITY;
            }
        }
        let text = toml::to_string(&settings).expect("settings are values and tables");
        prop_assert_eq!(read(&text), settings);
    }
}
