//! The waits between attempts.

use std::num::NonZeroU32;
use std::time::Duration;

#[cfg(feature = "serde")]
use super::text::{self, DurationText, OrOff};

/// How long a connection waits before it is dialled again, and when it stops trying.
///
/// With `d` = [`initial`](Self::initial) × [`factor`](Self::factor) for each failure in a row after the
/// first, full jitter waits
/// - between 0 and [`first_max`](Self::first_max) after a session that was stable,
/// - between [`floor`](Self::floor) and `d` after a dial that failed, `d` being at most
///   [`max`](Self::max),
/// - between `d / 2` and `d` after a session that ended before it was stable, `d` being at most
///   [`flap_max`](Self::flap_max).
///
/// In a serialised configuration, keys that are not given take the default of the `profile`;
/// `flap_max` follows a given `max` (twice it), and `first_max` never exceeds it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(from = "Given")
)]
pub struct BackoffSettings {
    /// The set of defaults that the other fields started from. Default: [`Profile::Interactive`].
    pub profile: Profile,
    /// The base delay. Default: 500 ms. Shorter finds a restarted server sooner, at the price of more
    /// dials while it is down. At least [`floor`](Self::floor).
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub initial: Duration,
    /// What the delay is multiplied by for each failure in a row, from 1 (no growth) to 1,000.
    /// Default: 2.
    pub factor: f64,
    /// The longest delay after a failed dial. Default: 30 s (`spread`: 120 s). It is also how long a
    /// server that came back may go unnoticed. At least [`initial`](Self::initial).
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub max: Duration,
    /// The longest delay after a session that ended before [`stable_after`](Self::stable_after): a
    /// server that accepts and then closes is dialled more slowly than one that is down. Default: 60 s
    /// (`spread`: 240 s). At least [`max`](Self::max).
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub flap_max: Duration,
    /// The longest delay of the first retry after a stable session. Default: 500 ms (`rfc`: 5 s, as
    /// RFC 6455 §7.2.3 proposes; `spread`: 30 s). Longer spreads the clients of a restarted server; it
    /// is added to every outage. At most [`max`](Self::max).
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub first_max: Duration,
    /// The shortest delay after a failure. Default: 100 ms. It is what keeps a refused dial from
    /// becoming a busy loop.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub floor: Duration,
    /// How delays are drawn. Default: [`JitterKind::Full`].
    pub jitter: JitterKind,
    /// Delays to use in turn instead of `initial × factorⁿ`, each from [`floor`](Self::floor) to
    /// [`max`](Self::max); the last one repeats. Default: empty, exponential.
    #[cfg_attr(feature = "serde", serde(serialize_with = "text::serialize_durations"))]
    pub delays: Vec<Duration>,
    /// How long a session must have been ready, with at least one message or pong received, for its end
    /// to clear the count of failures. Default: 10 s. Too short a time lets a flapping server be dialled
    /// at the pace of a healthy one.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub stable_after: Duration,
    /// How many failures in a row end the connection for good. Default: `None`, never.
    #[cfg_attr(feature = "serde", serde(with = "text::or_off"))]
    pub attempts_max: Option<NonZeroU32>,
    /// How long a row of failures may last before it ends the connection for good. Default: `None`, for
    /// ever.
    #[cfg_attr(feature = "serde", serde(with = "text::duration_or_off"))]
    pub elapsed_max: Option<Duration>,
    /// Whether the very first dial is retried like any other. Default: [`FirstDial::Retry`].
    pub first_dial: FirstDial,
}

/// A set of defaults for [`BackoffSettings`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Profile {
    /// Back within half a second of a single failure: somebody is waiting. The default.
    #[default]
    Interactive,
    /// The first retry within 5 s, as RFC 6455 §7.2.3 proposes.
    Rfc,
    /// The first retry within 30 s and later ones up to 120 s apart: for very many clients of one
    /// server.
    Spread,
}

/// How a delay is drawn from what the schedule allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum JitterKind {
    /// Evenly from the whole range: the least load on a server that comes back. The default.
    #[default]
    Full,
    /// Evenly from the upper half of the range: never much sooner than the schedule says.
    Equal,
    /// Evenly between the floor and three times the delay before: no schedule in common with others.
    Decorrelated,
    /// The schedule's own delay. Connections that were lost together are dialled together, so this
    /// suits few connections and fixed [`delays`](BackoffSettings::delays).
    Fixed,
}

/// What follows if the first dial of a connection fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum FirstDial {
    /// It is retried like any other. The default.
    #[default]
    Retry,
    /// The connection gives up: a wrong address is to be seen at once.
    Fatal,
}

impl BackoffSettings {
    /// A profile's defaults.
    pub fn profile(profile: Profile) -> Self {
        let (first_max, max) = match profile {
            Profile::Interactive => (Duration::from_millis(500), Duration::from_secs(30)),
            Profile::Rfc => (Duration::from_secs(5), Duration::from_secs(30)),
            Profile::Spread => (Duration::from_secs(30), Duration::from_secs(120)),
        };
        Self {
            profile,
            initial: Duration::from_millis(500),
            factor: 2.0,
            max,
            flap_max: flap_max_for(max),
            first_max,
            floor: Duration::from_millis(100),
            jitter: JitterKind::default(),
            delays: Vec::new(),
            stable_after: Duration::from_secs(10),
            attempts_max: None,
            elapsed_max: None,
            first_dial: FirstDial::default(),
        }
    }
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self::profile(Profile::default())
    }
}

fn flap_max_for(max: Duration) -> Duration {
    max.saturating_mul(2)
}

/// The keys that a configuration gave, before the profile fills in the others.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename = "BackoffSettings")]
struct Given {
    profile: Option<Profile>,
    initial: Option<DurationText>,
    factor: Option<f64>,
    max: Option<DurationText>,
    flap_max: Option<DurationText>,
    first_max: Option<DurationText>,
    floor: Option<DurationText>,
    jitter: Option<JitterKind>,
    delays: Option<Vec<DurationText>>,
    stable_after: Option<DurationText>,
    attempts_max: Option<OrOff<NonZeroU32>>,
    elapsed_max: Option<OrOff<DurationText>>,
    first_dial: Option<FirstDial>,
}

#[cfg(feature = "serde")]
impl From<Given> for BackoffSettings {
    fn from(given: Given) -> Self {
        let mut settings = Self::profile(given.profile.unwrap_or_default());
        if let Some(DurationText(max)) = given.max {
            settings.max = max;
            settings.flap_max = flap_max_for(max);
            settings.first_max = settings.first_max.min(max);
        }
        let or = |given: Option<DurationText>, default| given.map_or(default, |text| text.0);
        Self {
            profile: settings.profile,
            initial: or(given.initial, settings.initial),
            factor: given.factor.unwrap_or(settings.factor),
            max: settings.max,
            flap_max: or(given.flap_max, settings.flap_max),
            first_max: or(given.first_max, settings.first_max),
            floor: or(given.floor, settings.floor),
            jitter: given.jitter.unwrap_or(settings.jitter),
            delays: given.delays.map_or(settings.delays, |delays| {
                delays.iter().map(|d| d.0).collect()
            }),
            stable_after: or(given.stable_after, settings.stable_after),
            attempts_max: given
                .attempts_max
                .map_or(settings.attempts_max, |given| given.0),
            elapsed_max: given
                .elapsed_max
                .map_or(settings.elapsed_max, |given| given.0.map(|text| text.0)),
            first_dial: given.first_dial.unwrap_or(settings.first_dial),
        }
    }
}
