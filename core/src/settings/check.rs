//! What makes settings impossible.

use std::fmt;
use std::time::Duration;

use super::{
    BackoffSettings, BatchPolicy, ClassificationSettings, Deflate, InvalidPolicy, Keepalive,
    Limits, ProcessorSettings, QueueBounds, RetryPolicy, Settings, Timeouts, WorkerBounds,
    format_bytes, format_duration,
};
use crate::websocket::CloseCode;
use crate::websocket::deflate::WindowBits;

/// A configuration that cannot work, and the key at fault.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{key}` {problem}")]
pub struct ConfigError {
    /// Where the value stands, such as `backoff.max`: the key of a serialised configuration.
    pub key: String,
    /// What is wrong with it.
    pub problem: ConfigProblem,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// It is zero, which would mean either never or without end.
    #[error("must not be zero")]
    Zero,
    /// It is below another value that it must not be below.
    #[error("must not be smaller than `{than}` ({limit}): it is {value}")]
    Smaller {
        /// The value.
        value: Quantity,
        /// The key of the other value.
        than: String,
        /// The other value.
        limit: Quantity,
    },
    /// It is above another value that it must not exceed.
    #[error("must not be greater than `{than}` ({limit}): it is {value}")]
    Greater {
        /// The value.
        value: Quantity,
        /// The key of the other value.
        than: String,
        /// The other value.
        limit: Quantity,
    },
    /// It is beyond what makes sense for any program.
    #[error("must not be greater than {limit}: it is {value}")]
    TooGreat {
        /// The value.
        value: Quantity,
        /// The most that is accepted.
        limit: Quantity,
    },
    /// A factor that is no number, infinite, below 1 or above the most that is accepted.
    #[error("must be a number from 1 to {limit}: it is {value}")]
    Factor {
        /// The value.
        value: f64,
        /// The most that is accepted.
        limit: f64,
    },
    /// A number beyond the few that have a meaning.
    #[error("must be from {min} to {max}: it is {value}")]
    Range {
        /// The value.
        value: u8,
        /// The least that is accepted.
        min: u8,
        /// The most that is accepted.
        max: u8,
    },
    /// A close code that never comes from a peer.
    #[error("is not a close code that a peer may send, nor 1005 or 1006")]
    CloseCode,
    /// A status that is never the final one of a refused upgrade.
    #[error("is not a status from 200 to 999")]
    Status,
    /// Messages are to replace those of the same key and nothing finds keys.
    #[error("is `coalesce`, but no `coalesce` hook finds the keys of messages")]
    NothingToCoalesce,
    /// Messages are to keep their order by key and nothing finds keys.
    #[error("is `per_key`, but no `per_key` hook finds the keys of messages")]
    NothingToOrderBy,
    /// A message of the ready script asks for the next number and nothing finds numbers.
    #[error("uses `${{next}}`, but no `resume` says where messages carry their number")]
    NothingToResume,
}

/// A configured value, as it is shown to people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantity {
    /// A length of time.
    Time(Duration),
    /// A number of bytes.
    Bytes(usize),
    /// A number of things.
    Count(u64),
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Time(duration) => f.write_str(&format_duration(duration)),
            Self::Bytes(bytes) => f.write_str(&format_bytes(bytes)),
            Self::Count(count) => count.fmt(f),
        }
    }
}

/// Ten years: longer waits are mistakes, and shorter ones fit any arithmetic.
const TIME_MAX: Duration = Duration::from_secs(3_650 * 86_400);
/// What a 32-bit offset can name.
const BYTES_MAX: usize = 1 << 31;
const COUNT_MAX: u64 = 1 << 30;
/// An event is not the place for whole messages.
const SAMPLE_BYTES_MAX: usize = 4 << 10;
/// Calls at once of one connection's processor: each may have a lane of its own.
const WORKERS_MAX: u64 = 256;
const FACTOR_MAX: f64 = 1_000.0;
/// tungstenite parses a response into an array of this many fields.
const HEADERS_MAX: u64 = 124;

type Checked = Result<(), ConfigError>;

impl Settings {
    pub(super) fn check(&self) -> Checked {
        let Self {
            reconnect: _,
            stale_after,
            keepalive,
            backoff,
            timeouts,
            limits,
            deflate,
            inbound,
            outbound,
            batch,
            processor,
            retry,
            invalid,
            classification,
        } = self;
        if let Some(stale_after) = *stale_after {
            time("stale_after", stale_after)?;
        }
        if let Some(keepalive) = keepalive {
            check_keepalive(keepalive)?;
        }
        check_backoff(backoff)?;
        check_timeouts(timeouts)?;
        check_limits(limits)?;
        if let Some(deflate) = deflate {
            check_deflate(deflate)?;
        }
        check_queue("inbound", inbound)?;
        check_queue("outbound", &outbound.bounds())?;
        let linger = Quantity::Time(outbound.linger);
        not_beyond("outbound.linger", linger, Quantity::Time(TIME_MAX))?;
        check_batch(batch, inbound)?;
        check_processor(processor)?;
        check_retry(retry)?;
        check_invalid(invalid)?;
        check_classification(classification)
    }
}

fn check_keepalive(&Keepalive { interval, timeout }: &Keepalive) -> Checked {
    time("keepalive.interval", interval)?;
    time("keepalive.timeout", timeout)
}

fn check_backoff(backoff: &BackoffSettings) -> Checked {
    let BackoffSettings {
        profile: _,
        initial,
        factor: growth,
        max,
        flap_max,
        first_max,
        floor,
        jitter: _,
        delays,
        stable_after,
        attempts_max: _,
        elapsed_max,
        first_dial: _,
    } = backoff;
    let floor = ("backoff.floor", Quantity::Time(*floor));
    let initial = ("backoff.initial", Quantity::Time(*initial));
    let max = ("backoff.max", Quantity::Time(*max));
    let flap_max = ("backoff.flap_max", Quantity::Time(*flap_max));
    let first_max = ("backoff.first_max", Quantity::Time(*first_max));
    for (key, value) in [initial, max, flap_max, first_max, floor] {
        in_range(key, value)?;
    }
    factor("backoff.factor", *growth)?;
    at_least(initial, floor)?;
    at_least(max, initial)?;
    at_least(flap_max, max)?;
    at_most(first_max, max)?;
    for (index, delay) in delays.iter().enumerate() {
        let key = format!("backoff.delays[{index}]");
        let delay = (key.as_str(), Quantity::Time(*delay));
        at_least(delay, floor)?;
        at_most(delay, max)?;
    }
    time("backoff.stable_after", *stable_after)?;
    match *elapsed_max {
        Some(elapsed_max) => time("backoff.elapsed_max", elapsed_max),
        None => Ok(()),
    }
}

fn check_timeouts(timeouts: &Timeouts) -> Checked {
    let Timeouts {
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
    } = *timeouts;
    time("timeouts.attempt", attempt)?;
    let attempt = ("timeouts.attempt", Quantity::Time(attempt));
    for (key, stage) in [
        ("timeouts.resolve", resolve),
        ("timeouts.connect", connect),
        ("timeouts.tls", tls),
        ("timeouts.upgrade", upgrade),
    ] {
        time(key, stage)?;
        at_most((key, Quantity::Time(stage)), attempt)?;
    }
    time("timeouts.provider", provider)?;
    time("timeouts.ready", ready)?;
    time("timeouts.close", close)?;
    time("timeouts.flush_before_close", flush_before_close)?;
    time("timeouts.write_progress", write_progress)?;
    time("timeouts.acknowledge", acknowledge)?;
    match message {
        Some(message) => time("timeouts.message", message),
        None => Ok(()),
    }
}

fn check_limits(limits: &Limits) -> Checked {
    let Limits {
        message_bytes_max,
        frame_bytes_max,
        fragments_max,
        header_bytes_max,
        headers_max,
        interim_max,
    } = *limits;
    bytes("limits.message_bytes_max", message_bytes_max)?;
    bytes("limits.frame_bytes_max", frame_bytes_max)?;
    count("limits.fragments_max", u64::from(fragments_max))?;
    bytes("limits.header_bytes_max", header_bytes_max)?;
    let headers = Quantity::Count(headers_max as u64);
    in_range("limits.headers_max", headers)?;
    not_beyond("limits.headers_max", headers, Quantity::Count(HEADERS_MAX))?;
    count("limits.interim_max", u64::from(interim_max))
}

fn check_deflate(deflate: &Deflate) -> Checked {
    let Deflate {
        server_no_context_takeover: _,
        client_no_context_takeover: _,
        server_max_window_bits,
        client_max_window_bits,
        threshold,
        level,
        ratio_max: _,
        free_when_idle: _,
    } = *deflate;
    let (min, max) = (WindowBits::MIN.get(), WindowBits::MAX.get());
    within(
        "deflate.server_max_window_bits",
        server_max_window_bits,
        (min, max),
    )?;
    within(
        "deflate.client_max_window_bits",
        client_max_window_bits,
        (min, max),
    )?;
    not_beyond(
        "deflate.threshold",
        Quantity::Bytes(threshold),
        Quantity::Bytes(BYTES_MAX),
    )?;
    within("deflate.level", level, (1, 9))
}

fn check_queue(name: &str, queue: &QueueBounds) -> Checked {
    let QueueBounds {
        items_max,
        bytes_max,
    } = *queue;
    count(&format!("{name}.items_max"), items_max as u64)?;
    bytes(&format!("{name}.bytes_max"), bytes_max)
}

fn check_batch(batch: &BatchPolicy, inbound: &QueueBounds) -> Checked {
    let BatchPolicy {
        count_max,
        bytes_max,
        linger,
        idle: _,
    } = *batch;
    count("batch.count_max", count_max as u64)?;
    at_most(
        ("batch.count_max", Quantity::Count(count_max as u64)),
        (
            "inbound.items_max",
            Quantity::Count(inbound.items_max as u64),
        ),
    )?;
    bytes("batch.bytes_max", bytes_max)?;
    at_most(
        ("batch.bytes_max", Quantity::Bytes(bytes_max)),
        ("inbound.bytes_max", Quantity::Bytes(inbound.bytes_max)),
    )?;
    not_beyond(
        "batch.linger",
        Quantity::Time(linger),
        Quantity::Time(TIME_MAX),
    )
}

fn check_processor(processor: &ProcessorSettings) -> Checked {
    let ProcessorSettings {
        workers: WorkerBounds { min, max },
        order: _,
    } = *processor;
    let min = ("processor.workers.min", Quantity::Count(min.into()));
    let max = ("processor.workers.max", Quantity::Count(max.into()));
    in_range(min.0, min.1)?;
    in_range(max.0, max.1)?;
    not_beyond(max.0, max.1, Quantity::Count(WORKERS_MAX))?;
    at_least(max, min)
}

fn check_retry(retry: &RetryPolicy) -> Checked {
    let RetryPolicy {
        initial,
        factor: growth,
        max,
        attempts_max,
    } = *retry;
    time("retry.initial", initial)?;
    factor("retry.factor", growth)?;
    time("retry.max", max)?;
    at_least(
        ("retry.max", Quantity::Time(max)),
        ("retry.initial", Quantity::Time(initial)),
    )?;
    count("retry.attempts_max", u64::from(attempts_max))
}

fn check_invalid(invalid: &InvalidPolicy) -> Checked {
    let InvalidPolicy {
        invalid_max,
        invalid_window,
        dead_letter: _,
        sample_bytes,
    } = *invalid;
    count("decode.invalid_max", u64::from(invalid_max))?;
    time("decode.invalid_window", invalid_window)?;
    let limit = Quantity::Bytes(SAMPLE_BYTES_MAX);
    not_beyond("decode.sample_bytes", Quantity::Bytes(sample_bytes), limit)
}

fn check_classification(classification: &ClassificationSettings) -> Checked {
    let ClassificationSettings { close, status } = classification;
    for &code in close.keys() {
        let close_code = CloseCode::from_u16(code);
        let stands_for_none = [CloseCode::NO_STATUS, CloseCode::ABNORMAL].contains(&close_code);
        if !close_code.may_be_received() && !stands_for_none {
            return Err(ConfigError {
                key: format!("classification.close.{code}"),
                problem: ConfigProblem::CloseCode,
            });
        }
    }
    for status in status.keys() {
        if !(200..=999).contains(status) {
            return Err(ConfigError {
                key: format!("classification.status.{status}"),
                problem: ConfigProblem::Status,
            });
        }
    }
    Ok(())
}

fn time(key: &str, value: Duration) -> Checked {
    in_range(key, Quantity::Time(value))
}

fn within(key: &str, value: u8, (min, max): (u8, u8)) -> Checked {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError {
        key: key.to_owned(),
        problem: ConfigProblem::Range { value, min, max },
    })
}

fn bytes(key: &str, value: usize) -> Checked {
    in_range(key, Quantity::Bytes(value))
}

fn count(key: &str, value: u64) -> Checked {
    in_range(key, Quantity::Count(value))
}

fn factor(key: &str, value: f64) -> Checked {
    // NaN is in no range.
    if (1.0..=FACTOR_MAX).contains(&value) {
        return Ok(());
    }
    Err(ConfigError {
        key: key.to_owned(),
        problem: ConfigProblem::Factor {
            value,
            limit: FACTOR_MAX,
        },
    })
}

/// Above zero, and not beyond what makes sense for its kind.
fn in_range(key: &str, value: Quantity) -> Checked {
    let limit = match value {
        Quantity::Time(_) => Quantity::Time(TIME_MAX),
        Quantity::Bytes(_) => Quantity::Bytes(BYTES_MAX),
        Quantity::Count(_) => Quantity::Count(COUNT_MAX),
    };
    if size_of_value(value) == 0 {
        return Err(ConfigError {
            key: key.to_owned(),
            problem: ConfigProblem::Zero,
        });
    }
    not_beyond(key, value, limit)
}

pub(crate) fn not_beyond(key: &str, value: Quantity, limit: Quantity) -> Checked {
    if size_of_value(value) <= size_of_value(limit) {
        return Ok(());
    }
    Err(ConfigError {
        key: key.to_owned(),
        problem: ConfigProblem::TooGreat { value, limit },
    })
}

fn at_least((key, value): (&str, Quantity), (than, limit): (&str, Quantity)) -> Checked {
    if size_of_value(value) >= size_of_value(limit) {
        return Ok(());
    }
    Err(ConfigError {
        key: key.to_owned(),
        problem: ConfigProblem::Smaller {
            value,
            than: than.to_owned(),
            limit,
        },
    })
}

fn at_most((key, value): (&str, Quantity), (than, limit): (&str, Quantity)) -> Checked {
    if size_of_value(value) <= size_of_value(limit) {
        return Ok(());
    }
    Err(ConfigError {
        key: key.to_owned(),
        problem: ConfigProblem::Greater {
            value,
            than: than.to_owned(),
            limit,
        },
    })
}

/// Comparable among quantities of one kind.
fn size_of_value(quantity: Quantity) -> u128 {
    match quantity {
        Quantity::Time(duration) => duration.as_nanos(),
        Quantity::Bytes(bytes) => bytes as u128,
        Quantity::Count(count) => u128::from(count),
    }
}
