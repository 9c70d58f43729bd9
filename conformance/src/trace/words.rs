//! The words of traces.

use ropewalk_core::websocket::{ProtocolError, UpgradeError};
use ropewalk_core::{
    Class, CloseReason, EventKind, GaveUpCause, Offering, Outcome, TimerKind, TransportErrorKind,
};

use super::payload;

/// An event's token; `None` for events whose number or place depends on time or chunking.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "events are non-exhaustive: one that has no word yet is not traced"
)]
pub(super) fn event(kind: &EventKind, endpoints: &[String]) -> Option<String> {
    Some(match kind {
        EventKind::State { to, .. } => to.name().to_owned(),
        EventKind::Ready {
            endpoint,
            subprotocol,
            compression,
        } => {
            let mut chosen: Vec<String> = subprotocol.iter().map(ToString::to_string).collect();
            chosen.extend(compression.map(|agreed| agreed.to_string().replace(' ', "")));
            ready(endpoint, chosen, endpoints)
        }
        EventKind::Closed { reason: why, .. } => format!("end({})", reason(why)),
        EventKind::Retrying { attempt, class, .. } => {
            format!("retrying({},{attempt})", class_word(*class))
        }
        EventKind::Renegotiating {
            subprotocols,
            compression,
        } => {
            let mut offer: Vec<String> = subprotocols.iter().map(ToString::to_string).collect();
            if *compression == Offering::Offered {
                offer.push("permessage-deflate".into());
            }
            format!("renegotiating({})", offer.join(","))
        }
        EventKind::Flapping { sessions } => format!("flapping({sessions})"),
        EventKind::GaveUp { cause, .. } => format!("gave_up({})", cause_word(*cause)),
        EventKind::Gap { expected, received } => format!("gap({expected},{received})"),
        _ => return None,
    })
}

fn ready(endpoint: &str, chosen: Vec<String>, endpoints: &[String]) -> String {
    let mut details = Vec::new();
    if endpoints.len() > 1 {
        let index = endpoints
            .iter()
            .position(|url| url.contains(endpoint) || endpoint.contains(url.as_str()));
        details.push(index.map_or("url?".to_owned(), |index| format!("url{}", index + 1)));
    }
    details.extend(chosen);
    if details.is_empty() {
        "ready".into()
    } else {
        format!("ready({})", details.join(","))
    }
}

/// Why a connection ended, without what the system or a library says about it.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "reasons are non-exhaustive; a new one shows itself until it has a word"
)]
pub fn reason(reason: &CloseReason) -> String {
    match reason {
        CloseReason::Local => "local".into(),
        CloseReason::Peer(None) => "peer:none".into(),
        CloseReason::Peer(Some(frame)) if frame.reason.is_empty() => {
            format!("peer:{}", frame.code)
        }
        CloseReason::Peer(Some(frame)) => {
            format!("peer:{}:{}", frame.code, payload::text(&frame.reason))
        }
        CloseReason::Protocol(error) => format!("protocol:{}", protocol(error)),
        CloseReason::InvalidMessages(_) => "invalid_messages".into(),
        CloseReason::Transport(error) => format!("transport:{}", transport(error.kind)),
        CloseReason::Resolve(_) => "resolve".into(),
        CloseReason::Upgrade(error) => format!("upgrade:{}", upgrade(error)),
        CloseReason::SubprotocolMissing => "subprotocol_missing".into(),
        CloseReason::Ready(_) => "ready_refused".into(),
        CloseReason::Provider(_) => "provider".into(),
        CloseReason::Timeout(kind) => format!("timeout:{}", timer(*kind)),
        other => format!("{other:?}").replace(' ', ""),
    }
}

fn protocol(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::ReservedBits => "reserved_bits",
        ProtocolError::ReservedOpcode(_) => "reserved_opcode",
        ProtocolError::MaskedFrame => "masked_frame",
        ProtocolError::FragmentedControl => "fragmented_control",
        ProtocolError::OversizedControl(_) => "oversized_control",
        ProtocolError::UnexpectedContinuation => "unexpected_continuation",
        ProtocolError::ExpectedContinuation => "expected_continuation",
        ProtocolError::NonMinimalLength => "non_minimal_length",
        ProtocolError::LengthOutOfRange => "length_out_of_range",
        ProtocolError::FrameTooBig { .. } => "frame_too_big",
        ProtocolError::MessageTooBig { .. } => "message_too_big",
        ProtocolError::TooManyFragments { .. } => "too_many_fragments",
        ProtocolError::InvalidUtf8 => "invalid_utf8",
        ProtocolError::InvalidDeflate => "invalid_deflate",
        ProtocolError::RatioTooHigh { .. } => "ratio_too_high",
        ProtocolError::InvalidClosePayload => "invalid_close_payload",
        ProtocolError::InvalidCloseCode(_) => "invalid_close_code",
        ProtocolError::InvalidCloseReason => "invalid_close_reason",
    }
}

fn upgrade(error: &UpgradeError) -> String {
    match error {
        UpgradeError::Status(refusal) => return format!("status:{}", refusal.status),
        UpgradeError::NotHttp => "not_http",
        UpgradeError::HttpVersion => "http_version",
        UpgradeError::HeadTooBig { .. } => "head_too_big",
        UpgradeError::LineTooLong { .. } => "line_too_long",
        UpgradeError::TooManyHeaders { .. } => "too_many_headers",
        UpgradeError::TooManyInterim { .. } => "too_many_interim",
        UpgradeError::Malformed(_) => "malformed",
        UpgradeError::MissingUpgrade => "missing_upgrade",
        UpgradeError::MissingConnection => "missing_connection",
        UpgradeError::BadAccept => "bad_accept",
        UpgradeError::UnofferedSubprotocol(_) => "unoffered_subprotocol",
        UpgradeError::UnofferedExtension(_) => "unoffered_extension",
        UpgradeError::RepeatedExtension(_) => "repeated_extension",
        UpgradeError::MalformedExtensions(_) => "malformed_extensions",
        UpgradeError::ExtensionParameter { .. } => "extension_parameter",
        UpgradeError::Eof { .. } => "eof",
    }
    .into()
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "kinds are non-exhaustive; a new one shows itself until it has a word"
)]
fn transport(kind: TransportErrorKind) -> String {
    match kind {
        TransportErrorKind::Refused => "refused".into(),
        TransportErrorKind::Reset => "reset".into(),
        TransportErrorKind::Unreachable => "unreachable".into(),
        TransportErrorKind::Eof => "eof".into(),
        TransportErrorKind::Resource => "resource".into(),
        TransportErrorKind::Denied => "denied".into(),
        TransportErrorKind::SelfConnect => "self_connect".into(),
        TransportErrorKind::Other => "other".into(),
        other => format!("{other:?}"),
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "kinds are non-exhaustive; a new one shows itself until it has a word"
)]
fn timer(kind: TimerKind) -> String {
    match kind {
        TimerKind::Backoff => "backoff".into(),
        TimerKind::Provider => "provider".into(),
        TimerKind::Resolve => "resolve".into(),
        TimerKind::Connect => "connect".into(),
        TimerKind::Upgrade => "upgrade".into(),
        TimerKind::Attempt => "attempt".into(),
        TimerKind::Ready => "ready".into(),
        TimerKind::Keepalive => "keepalive".into(),
        TimerKind::KeepaliveTimeout => "keepalive_timeout".into(),
        TimerKind::Stale => "stale".into(),
        TimerKind::Message => "message".into(),
        TimerKind::WriteProgress => "write_progress".into(),
        TimerKind::FlushBeforeClose => "flush_before_close".into(),
        TimerKind::CloseHandshake => "close_handshake".into(),
        TimerKind::Linger => "linger".into(),
        TimerKind::OutboundLinger => "outbound_linger".into(),
        TimerKind::Retry => "retry".into(),
        TimerKind::Expiry => "expiry".into(),
        TimerKind::Acknowledge => "acknowledge".into(),
        TimerKind::Shutdown => "shutdown".into(),
        other => format!("{other:?}"),
    }
}

fn class_word(class: Class) -> &'static str {
    match class {
        Class::Retry => "retry",
        Class::Resource => "resource",
        Class::Reauth => "reauth",
        Class::Strike => "strike",
        Class::GiveUp => "give_up",
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "causes are non-exhaustive; a new one shows itself until it has a word"
)]
fn cause_word(cause: GaveUpCause) -> String {
    match cause {
        GaveUpCause::Terminal => "terminal".into(),
        GaveUpCause::Reauth => "reauth".into(),
        GaveUpCause::Strikes => "strikes".into(),
        GaveUpCause::Exhausted => "exhausted".into(),
        GaveUpCause::FirstDial => "first_dial".into(),
        GaveUpCause::OneSession => "one_session".into(),
        GaveUpCause::Disagreement => "disagreement".into(),
        other => format!("{other:?}"),
    }
}

pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Dropped(policy) => format!("{}_{}", outcome.name(), policy.name()),
        Outcome::Written
        | Outcome::Acknowledged(_)
        | Outcome::Interrupted
        | Outcome::NotSent
        | Outcome::Expired => outcome.name().to_owned(),
    }
}
