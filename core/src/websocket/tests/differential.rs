//! Random streams, read by this decoder and by tungstenite's `WebSocketContext`: the same messages and the
//! same verdict, but for what `differences.toml` gives a reason for.
//!
//! Both parse headers with tungstenite's own parser; `headers.rs` judges that one by itself.

use std::collections::{BTreeMap, VecDeque};

use tungstenite::error::{CapacityError, ProtocolError as TheirProtocolError};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, WebSocket};

use super::oracle::{Pieces, item};
use super::streams::{Case, random_case};
use super::*;
use crate::websocket::CloseCode;

const DIFFERENCES: &str = include_str!("differences.toml");

/// What kind of fault ended a stream, in words that both readers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    ReservedBits,
    ReservedOpcode,
    Masked,
    FragmentedControl,
    OversizedControl,
    UnexpectedContinuation,
    ExpectedContinuation,
    TooBig,
    NotUtf8,
    HalfACloseCode,
    // What only this decoder refuses.
    Length,
    LengthOutOfRange,
    CloseCode,
    Fragments,
}

/// What became of a stream: its items, and the fault that ended it if one did.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reading {
    items: Vec<Got>,
    fault: Option<Fault>,
}

impl Reading {
    /// Whether `other` has these items, and perhaps more.
    fn leads(&self, other: &Self) -> bool {
        other.items.starts_with(&self.items)
    }
}

fn ours(case: &Case, stream: &[u8], limits: &Limits) -> Reading {
    let mut items = decode(limits, case.cut(stream));
    let fault = match items.last() {
        Some(Got::Failed(error)) => Some(our_fault(error)),
        Some(Got::Message(..) | Got::Ping(_) | Got::Pong(_) | Got::Close(_)) | None => None,
    };
    if fault.is_some() {
        items.pop();
    }
    Reading { items, fault }
}

fn theirs<'a>(case: &'a Case, pieces: impl Iterator<Item = &'a [u8]>, limits: &Limits) -> Reading {
    let config = WebSocketConfig::default()
        .read_buffer_size(case.read_buffer_bytes)
        .write_buffer_size(0)
        .max_message_size(Some(limits.message_bytes_max))
        .max_frame_size(Some(limits.frame_bytes_max));
    let pieces: VecDeque<Vec<u8>> = pieces.map(<[u8]>::to_vec).collect();
    let mut socket = WebSocket::from_raw_socket(Pieces::new(pieces), Role::Client, Some(config));
    let mut items = Vec::new();
    let fault = loop {
        match socket.read() {
            Ok(message) => {
                items.push(item(message));
                if let Some(Got::Close(_)) = items.last() {
                    break None;
                }
            }
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => break None,
            Err(error) => break Some(their_fault(&error)),
        }
    };
    Reading { items, fault }
}

fn our_fault(error: &ProtocolError) -> Fault {
    match error {
        ProtocolError::ReservedBits => Fault::ReservedBits,
        ProtocolError::ReservedOpcode(_) => Fault::ReservedOpcode,
        ProtocolError::MaskedFrame => Fault::Masked,
        ProtocolError::FragmentedControl => Fault::FragmentedControl,
        ProtocolError::OversizedControl(_) => Fault::OversizedControl,
        ProtocolError::UnexpectedContinuation => Fault::UnexpectedContinuation,
        ProtocolError::ExpectedContinuation => Fault::ExpectedContinuation,
        ProtocolError::NonMinimalLength => Fault::Length,
        ProtocolError::LengthOutOfRange => Fault::LengthOutOfRange,
        ProtocolError::FrameTooBig { .. } | ProtocolError::MessageTooBig { .. } => Fault::TooBig,
        ProtocolError::TooManyFragments { .. } => Fault::Fragments,
        ProtocolError::InvalidUtf8 | ProtocolError::InvalidCloseReason => Fault::NotUtf8,
        ProtocolError::InvalidClosePayload => Fault::HalfACloseCode,
        ProtocolError::InvalidCloseCode(_) => Fault::CloseCode,
        ProtocolError::InvalidDeflate | ProtocolError::RatioTooHigh { .. } => {
            panic!("nothing is compressed here")
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other errors are those of other operations"
)]
fn their_fault(error: &Error) -> Fault {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Fault::TooBig,
        Error::Utf8(_) => Fault::NotUtf8,
        Error::Protocol(error) => match error {
            TheirProtocolError::NonZeroReservedBits => Fault::ReservedBits,
            TheirProtocolError::InvalidOpcode(_) => Fault::ReservedOpcode,
            TheirProtocolError::MaskedFrameFromServer => Fault::Masked,
            TheirProtocolError::FragmentedControlFrame => Fault::FragmentedControl,
            TheirProtocolError::ControlFrameTooBig => Fault::OversizedControl,
            TheirProtocolError::UnexpectedContinueFrame => Fault::UnexpectedContinuation,
            TheirProtocolError::ExpectedFragment(_) => Fault::ExpectedContinuation,
            TheirProtocolError::InvalidCloseSequence => Fault::HalfACloseCode,
            other => panic!("no fault of a stream: {other}"),
        },
        other => panic!("no fault of a stream: {other}"),
    }
}

/// The id of the entry that explains why the readings differ; `Err` with both if none does.
fn explain(case: &Case) -> Result<Option<&'static str>, String> {
    let ours = ours(case, &case.stream, &case.limits);
    let theirs = theirs(case, case.cut(&case.stream), &case.limits);
    if ours == theirs {
        return Ok(None);
    }
    let difference = Difference {
        case,
        limits: case.limits,
        ours: &ours,
        theirs: &theirs,
    };
    match difference.id() {
        Some(id) => Ok(Some(id)),
        None => Err(format!("ours   {ours:02x?}\ntheirs {theirs:02x?}")),
    }
}

struct Difference<'a> {
    case: &'a Case,
    limits: Limits,
    ours: &'a Reading,
    theirs: &'a Reading,
}

impl Difference<'_> {
    /// Each entry of `differences.toml` is recognised by all that it says, so that none of them can
    /// excuse something else.
    fn id(&self) -> Option<&'static str> {
        let Self { ours, theirs, .. } = self;
        match (ours.fault, theirs.fault) {
            (_, Some(Fault::TooBig)) if self.is_control_beyond_their_limit() => {
                Some("control-frame-beyond-the-frame-limit")
            }
            // Whatever they made of it later, until there they read the same.
            (Some(Fault::Length), _) => ours.leads(theirs).then_some("length-not-minimal"),
            (Some(Fault::Fragments), _) if self.is_explained_by_the_fragment_limit() => {
                Some("too-many-fragments")
            }
            (Some(Fault::CloseCode), None) => self
                .they_report_1002_next()
                .then_some("close-code-forbidden"),
            (None, None) => self.is_close_1014().then_some("close-code-1014"),
            (Some(Fault::LengthOutOfRange), Some(Fault::TooBig)) => {
                (ours.items == theirs.items).then_some("length-out-of-range")
            }
            (Some(ours_first), Some(theirs_first)) => {
                let is_known = theirs_first == Fault::TooBig && ours_first != Fault::TooBig
                    || (ours_first, theirs_first) == (Fault::CloseCode, Fault::NotUtf8);
                (ours.items == theirs.items && is_known).then_some("first-fault-named")
            }
            (Some(Fault::NotUtf8), None) => self
                .they_agree_in_the_end()
                .then_some("text-refused-where-it-breaks"),
            (Some(_), None) => self
                .they_agree_in_the_end()
                .then_some("fault-told-by-the-header"),
            (None, Some(_)) => None,
        }
    }

    /// Whether they have waited for the rest of a frame and find the same fault when it is there. With the
    /// rest of a header may come that the frame is too big for them, which they say first.
    fn they_agree_in_the_end(&self) -> bool {
        let rest = vec![0; self.limits.frame_bytes_max.max(0xffff) + 14];
        let pieces = self.case.cut(&self.case.stream).chain([&rest[..]]);
        let in_the_end = theirs(self.case, pieces, &self.limits);
        let is_same =
            in_the_end.fault == self.ours.fault || in_the_end.fault == Some(Fault::TooBig);
        in_the_end.items == self.ours.items && self.theirs.items == self.ours.items && is_same
    }

    /// Whether without that limit the streams are read alike, or differ for another reason.
    fn is_explained_by_the_fragment_limit(&self) -> bool {
        let limits = Limits {
            fragments_max: u32::MAX,
            ..self.limits
        };
        let unlimited = ours(self.case, &self.case.stream, &limits);
        let difference = Difference {
            case: self.case,
            limits,
            ours: &unlimited,
            theirs: self.theirs,
        };
        self.ours.leads(self.theirs)
            && self.ours.leads(&unlimited)
            && (unlimited == *self.theirs || difference.id().is_some())
    }

    /// Whether they give up at a control frame of up to 125 bytes, which ours takes or judges by its
    /// content.
    fn is_control_beyond_their_limit(&self) -> bool {
        let limit = self.limits.frame_bytes_max;
        if limit >= 125 || !self.theirs.leads(self.ours) {
            return false;
        }
        let stream = [&self.case.stream[..], &[0; 125]].concat();
        let ours = ours(self.case, &stream, &self.limits);
        match ours.items.get(self.theirs.items.len()) {
            Some(Got::Ping(payload) | Got::Pong(payload)) => payload.len() > limit,
            Some(Got::Close(Some(frame))) => frame.reason.len() + 2 > limit,
            Some(Got::Close(None) | Got::Message(..) | Got::Failed(_)) => false,
            None => matches!(ours.fault, Some(Fault::CloseCode | Fault::NotUtf8)),
        }
    }

    fn they_report_1002_next(&self) -> bool {
        let [before @ .., Got::Close(Some(frame))] = &self.theirs.items[..] else {
            return false;
        };
        before == self.ours.items && *frame == their_1002()
    }

    fn is_close_1014(&self) -> bool {
        let [before @ .., Got::Close(Some(frame))] = &self.theirs.items[..] else {
            return false;
        };
        let [ours_before @ .., Got::Close(Some(ours))] = &self.ours.items[..] else {
            return false;
        };
        before == ours_before && *frame == their_1002() && ours.code == CloseCode::BAD_GATEWAY
    }
}

pub(super) fn their_1002() -> CloseFrame {
    CloseFrame::new(CloseCode::PROTOCOL, "Protocol violation")
}

/// Plays as many cases and checks that every entry has occurred.
fn check_cases(first_seed: u64, count: u64) {
    let table: toml::Table = DIFFERENCES.parse().expect("the file is TOML");
    let entries = table["difference"].as_array().expect("a list of entries");
    let mut occurred: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in entries {
        for key in ["id", "differs", "rfc", "why"] {
            let value = entry[key].as_str().expect("a text");
            assert!(!value.is_empty(), "an entry has no {key}");
        }
        assert!(entry["rfc"].as_str().unwrap().contains('§'));
        let id = entry["id"].as_str().expect("a text");
        assert!(occurred.insert(id, 0).is_none(), "{id} stands there twice");
    }
    let mut same = 0;
    for seed in first_seed..first_seed + count {
        let case = random_case(seed);
        match explain(&case) {
            Ok(None) => same += 1,
            Ok(Some(id)) => {
                let times = occurred.get_mut(id);
                *times.unwrap_or_else(|| panic!("no entry {id}: seed {seed}")) += 1;
            }
            Err(readings) => {
                panic!("a difference without an entry: seed {seed}, {case:02x?}\n{readings}")
            }
        }
    }
    println!("{same} of {count} streams are read alike; {occurred:?}");
    for (id, times) in &occurred {
        assert!(*times > 0, "{id} never occurred in {count} streams");
    }
    assert!(same > count / 2, "too few streams are read alike: {same}");
}

#[test]
fn random_streams_are_read_as_tungstenite_reads_them_or_differ_for_a_known_reason() {
    check_cases(0, 20_000);
}

#[test]
#[ignore = "a million streams: `.ci/run` plays them in release"]
fn a_million_random_streams_are_read_as_tungstenite_reads_them_or_differ_for_a_known_reason() {
    check_cases(1 << 32, 1_000_000);
}
