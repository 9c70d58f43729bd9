//! Events, for programs as JSON lines and for people.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use ropewalk_core::settings::format_duration;
use ropewalk_core::websocket::deflate::{Agreement, Context};
use ropewalk_core::{
    Class, Event, EventKind, Fate, GaveUpCause, Instant, Kind, Message, Offering, Reading,
};
use serde::Serialize;

use super::clock::{Clock, wall_text};

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventForm {
    /// All of them, as JSON.
    Json,
    /// Those that a person wants to see pass, in words.
    Human,
}

/// Writes the events of all connections.
pub(crate) struct EventRecords {
    form: EventForm,
    clock: Clock,
}

#[derive(Serialize)]
struct Record<'a> {
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What<'a> {
    State {
        from: &'static str,
        to: &'static str,
    },
    Ready {
        endpoint: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        subprotocol: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        compression: Option<Compression>,
    },
    Closed {
        reason: String,
        uptime_ms: u64,
    },
    Retrying {
        attempt: u32,
        delay_ms: u64,
        retry_at: String,
        class: &'static str,
    },
    Renegotiating {
        subprotocols: &'a [Box<str>],
        compression: bool,
    },
    Flapping {
        sessions: u32,
    },
    GaveUp {
        reason: String,
        cause: &'static str,
    },
    Gap {
        expected: u64,
        received: u64,
    },
    Filtered {
        seq: u64,
        fault: &'static str,
        reason: &'a str,
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        sample: Option<Sample<'a>>,
        total: u64,
    },
    Dropped {
        policy: &'static str,
        total: u64,
    },
    Letter {
        seq: u64,
        direction: &'static str,
        stage: &'static str,
    },
    LetterStored {
        letter: u64,
        seq: u64,
        direction: &'static str,
    },
    LettersNotStored {
        reason: &'a str,
        waiting: u64,
    },
    LettersDropped {
        total: u64,
    },
    Redriven {
        letter: u64,
        fate: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    Scaled {
        from: u16,
        to: u16,
    },
    Reading {
        reading: &'static str,
    },
    ProcessorFailed {
        reason: &'a str,
        unanswered: usize,
    },
    Missed {
        events: u64,
    },
    Other {
        detail: String,
    },
}

/// The beginning of a message, as in the records of messages.
#[derive(Serialize)]
struct Sample<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sample: Cow<'a, str>,
}

impl<'a> From<&'a Message> for Sample<'a> {
    fn from(message: &'a Message) -> Self {
        let text = std::str::from_utf8(message.as_bytes());
        match (message.kind(), text) {
            (Kind::Text, Ok(text)) => Self {
                kind: "text",
                sample: text.into(),
            },
            (Kind::Text | Kind::Binary, _) => Self {
                kind: "binary",
                sample: BASE64.encode(message.as_bytes()).into(),
            },
        }
    }
}

/// What was agreed about compression, by the names of the extension's parameters.
#[derive(Serialize)]
struct Compression {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: u8,
    client_max_window_bits: u8,
}

impl From<Agreement> for Compression {
    fn from(agreed: Agreement) -> Self {
        Self {
            server_no_context_takeover: agreed.server_context == Context::PerMessage,
            client_no_context_takeover: agreed.client_context == Context::PerMessage,
            server_max_window_bits: agreed.server_window.get(),
            client_max_window_bits: agreed.client_window.get(),
        }
    }
}

impl EventRecords {
    /// Records in this form.
    pub(crate) fn new(form: EventForm, clock: Clock) -> Self {
        Self { form, clock }
    }

    /// Appends a line for the event, or nothing if the form leaves it out.
    pub(crate) fn write(&mut self, name: &str, event: &Event, out: &mut Vec<u8>) {
        let what = self.describe(&event.kind);
        let record = Record {
            at: self.clock.text(event.at),
            connection: Some(name),
            generation: Some(event.generation),
            what,
        };
        self.put(&record, out);
    }

    /// Appends a line that says how many events came too fast to be written.
    pub(crate) fn write_missed(&mut self, at: Instant, events: u64, out: &mut Vec<u8>) {
        let record = Record {
            at: self.clock.text(at),
            connection: None,
            generation: None,
            what: What::Missed { events },
        };
        self.put(&record, out);
    }

    /// Appends a line that says why a process of the connection's processor is replaced, and how many messages it was
    /// given have no verdict.
    pub(crate) fn write_processor_failed(
        &self,
        name: &str,
        reason: &str,
        unanswered: usize,
        out: &mut Vec<u8>,
    ) {
        let record = Record {
            at: wall_text(SystemTime::now()),
            connection: Some(name),
            generation: None,
            what: What::ProcessorFailed { reason, unanswered },
        };
        self.put(&record, out);
    }

    fn put(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        match self.form {
            EventForm::Json => {
                serde_json::to_writer(&mut *out, record)
                    .expect("a record is JSON and a vector takes everything");
                out.push(b'\n');
            }
            EventForm::Human => match record.what {
                What::State { .. }
                | What::Scaled { .. }
                | What::Reading { .. }
                | What::LetterStored { .. } => {}
                What::Ready { .. }
                | What::Closed { .. }
                | What::Retrying { .. }
                | What::Renegotiating { .. }
                | What::Flapping { .. }
                | What::GaveUp { .. }
                | What::Gap { .. }
                | What::Filtered { .. }
                | What::Dropped { .. }
                | What::Letter { .. }
                | What::LettersNotStored { .. }
                | What::LettersDropped { .. }
                | What::Redriven { .. }
                | What::ProcessorFailed { .. }
                | What::Missed { .. }
                | What::Other { .. } => {
                    writeln!(out, "{record}").expect("a vector takes everything");
                }
            },
        }
    }

    fn describe<'a>(&mut self, kind: &'a EventKind) -> What<'a> {
        match kind {
            EventKind::State { from, to } => What::State {
                from: from.name(),
                to: to.name(),
            },
            EventKind::Ready {
                endpoint,
                subprotocol,
                compression,
            } => What::Ready {
                endpoint,
                subprotocol: subprotocol.as_deref(),
                compression: compression.map(Compression::from),
            },
            EventKind::Closed { reason, uptime } => What::Closed {
                reason: reason.to_string(),
                uptime_ms: millis(*uptime),
            },
            EventKind::Retrying {
                attempt,
                delay,
                at,
                class,
            } => What::Retrying {
                attempt: *attempt,
                delay_ms: millis(*delay),
                retry_at: self.clock.text(*at),
                class: class_name(*class),
            },
            EventKind::Renegotiating {
                subprotocols,
                compression,
            } => What::Renegotiating {
                subprotocols,
                compression: *compression == Offering::Offered,
            },
            EventKind::Flapping { sessions } => What::Flapping {
                sessions: *sessions,
            },
            EventKind::GaveUp { reason, cause } => What::GaveUp {
                reason: reason.to_string(),
                cause: cause_name(*cause),
            },
            EventKind::Gap { expected, received } => What::Gap {
                expected: *expected,
                received: *received,
            },
            EventKind::Filtered {
                seq,
                kind,
                reason,
                sample,
                total,
            } => What::Filtered {
                seq: *seq,
                fault: kind.name(),
                reason,
                sample: sample.as_ref().map(Sample::from),
                total: *total,
            },
            EventKind::Dropped { policy, total } => What::Dropped {
                policy: policy.name(),
                total: *total,
            },
            EventKind::Letter {
                seq,
                direction,
                stage,
            } => What::Letter {
                seq: *seq,
                direction: direction.name(),
                stage: stage.name(),
            },
            EventKind::LetterStored {
                letter,
                seq,
                direction,
            } => What::LetterStored {
                letter: *letter,
                seq: *seq,
                direction: direction.name(),
            },
            EventKind::LettersNotStored { reason, waiting } => What::LettersNotStored {
                reason,
                waiting: *waiting,
            },
            EventKind::LettersDropped { total } => What::LettersDropped { total: *total },
            EventKind::Redriven { letter, fate } => What::Redriven {
                letter: *letter,
                fate: match fate {
                    Fate::Delivered => "delivered",
                    Fate::Failed { .. } => "failed",
                },
                reason: match fate {
                    Fate::Delivered => None,
                    Fate::Failed { reason, .. } => Some(reason),
                },
            },
            EventKind::Scaled { from, to } => What::Scaled {
                from: *from,
                to: *to,
            },
            EventKind::Reading(reading) => What::Reading {
                reading: match reading {
                    Reading::Paused => "paused",
                    Reading::Resumed => "resumed",
                },
            },
            other => What::Other {
                detail: format!("{other:?}"),
            },
        }
    }
}

/// For people: the time of day is enough, and the words say the rest.
impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time_of_day = self.at.get(11..23).unwrap_or(&self.at);
        write!(f, "{time_of_day} ")?;
        if let Some(connection) = self.connection {
            write!(f, "{}", connection.escape_debug())?;
            if let Some(generation) = self.generation {
                write!(f, " ({generation})")?;
            }
            f.write_str(": ")?;
        }
        match &self.what {
            What::State { from, to } => write!(f, "{from}, now {to}"),
            What::Ready {
                endpoint,
                subprotocol,
                compression,
            } => {
                write!(f, "ready, {endpoint}")?;
                if let Some(subprotocol) = subprotocol {
                    write!(f, ", subprotocol {}", subprotocol.escape_debug())?;
                }
                match compression {
                    Some(_) => f.write_str(", compressed"),
                    None => Ok(()),
                }
            }
            What::Closed {
                reason,
                uptime_ms: 0,
            } => write!(f, "failed: {reason}"),
            What::Closed { reason, uptime_ms } => {
                write!(f, "lost after {}: {reason}", millis_text(*uptime_ms))
            }
            What::Retrying {
                attempt, delay_ms, ..
            } => {
                write!(f, "next attempt in {}", millis_text(*delay_ms))?;
                match attempt {
                    0 | 1 => Ok(()),
                    failures => write!(f, ", {failures} failures in a row"),
                }
            }
            What::Renegotiating {
                subprotocols,
                compression,
            } => {
                let compressed = match compression {
                    true => ", compressed",
                    false => "",
                };
                match subprotocols.is_empty() {
                    true => write!(f, "next offer: no subprotocol{compressed}"),
                    false => {
                        let names = subprotocols.join(", ");
                        write!(f, "next offer: {}{compressed}", names.escape_debug())
                    }
                }
            }
            What::Flapping { sessions } => {
                write!(f, "flapping: {sessions} short sessions in a row")
            }
            What::GaveUp { reason, cause } => write!(f, "gave up ({cause}): {reason}"),
            What::Gap { expected, received } => {
                write!(f, "gap: {expected} was to come, {received} came")
            }
            What::Filtered {
                seq,
                reason,
                sample,
                total,
                ..
            } => {
                write!(
                    f,
                    "message {seq} filtered: {}, {total} so far",
                    reason.escape_debug()
                )?;
                match sample {
                    Some(sample) => write!(f, ": {}", sample.sample.escape_debug()),
                    None => Ok(()),
                }
            }
            What::Dropped { policy, total } => {
                write!(
                    f,
                    "the outbound queue was full: {policy} message dropped, {total} so far"
                )
            }
            What::Letter {
                seq,
                direction,
                stage,
            } => write!(f, "dead letter: {direction} message {seq} ({stage})"),
            What::LetterStored {
                letter,
                seq,
                direction,
            } => write!(f, "{direction} message {seq} is stored as letter {letter}"),
            What::LettersNotStored { reason, waiting } => write!(
                f,
                "letters cannot be stored: {}, {waiting} wait",
                reason.escape_debug()
            ),
            What::LettersDropped { total } => {
                write!(f, "letters were given up, {total} so far")
            }
            What::Redriven {
                letter,
                fate,
                reason,
            } => {
                write!(f, "letter {letter} went back: {fate}")?;
                match reason {
                    Some(reason) => write!(f, ", {}", reason.escape_debug()),
                    None => Ok(()),
                }
            }
            What::ProcessorFailed { reason, unanswered } => write!(
                f,
                "{}, {unanswered} messages without a verdict",
                reason.escape_debug()
            ),
            What::Scaled { from, to } => write!(f, "{from} calls at once, now {to}"),
            What::Reading { reading } => write!(f, "reading {reading}"),
            What::Missed { events } => write!(f, "{events} events were too fast to be shown"),
            What::Other { detail } => f.write_str(detail),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn millis_text(millis: u64) -> String {
    format_duration(match millis {
        0..10_000 => Duration::from_millis(millis),
        _ => Duration::from_secs(millis / 1_000),
    })
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Retry => "retry",
        Class::Resource => "resource",
        Class::Reauth => "reauth",
        Class::Strike => "strike",
        Class::GiveUp => "give_up",
    }
}

fn cause_name(cause: GaveUpCause) -> &'static str {
    match cause {
        GaveUpCause::Terminal => "terminal",
        GaveUpCause::Reauth => "reauth",
        GaveUpCause::Strikes => "strikes",
        GaveUpCause::Exhausted => "exhausted",
        GaveUpCause::FirstDial => "first_dial",
        GaveUpCause::OneSession => "one_session",
        GaveUpCause::Disagreement => "disagreement",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
