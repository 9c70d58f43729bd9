//! The table of classes as data.

use std::fmt;

use super::{Cause, Class};
use crate::reason::TransportErrorKind;
use crate::settings::ClassificationSettings;
use crate::websocket::CloseCode;

/// The whole table in the order in which it is searched: the user's rows, then the default's.
pub fn table(overrides: &ClassificationSettings) -> impl Iterator<Item = Row> + '_ {
    let close = overrides.close.iter().map(|(code, class)| Row {
        class: *class,
        what: What::Close(*code, *code),
    });
    let status = overrides.status.iter().map(|(status, class)| Row {
        class: *class,
        what: What::Status(*status, *status),
    });
    close.chain(status).chain(DEFAULTS.iter().copied())
}

/// One row of the table; `Display` shows it as a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// What follows such an end.
    pub class: Class,
    /// The ends that the row is about.
    pub what: What,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9} {}", self.class, self.what)
    }
}

/// The ends that a row of the table is about. Ranges are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// Close codes. 1006 is what has no close frame: a reset, or the end of the stream (RFC 6455 §7.1.5).
    Close(u16, u16),
    /// HTTP statuses of the opening handshake.
    Status(u16, u16),
    /// A single cause.
    Cause(Cause),
}

impl What {
    /// Whether the row is about this cause.
    pub fn includes(self, cause: Cause) -> bool {
        match (self, cause) {
            (Self::Cause(own), cause) => own == cause,
            (Self::Close(first, last), Cause::Close(code)) => (first..=last).contains(&code),
            (
                Self::Close(first, last),
                Cause::Transport(TransportErrorKind::Eof | TransportErrorKind::Reset),
            ) => (first..=last).contains(&CloseCode::ABNORMAL.as_u16()),
            (Self::Status(first, last), Cause::Status(status)) => (first..=last).contains(&status),
            (Self::Close(..) | Self::Status(..), _) => false,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, first, last) = match *self {
            Self::Cause(cause) => return cause.fmt(f),
            Self::Close(1006, 1006) => {
                return f.write_str("close 1006: reset, or the stream ended without a close frame");
            }
            Self::Close(first, last) => ("close", first, last),
            Self::Status(first, last) => ("HTTP", first, last),
        };
        match (first, last) {
            (u16::MIN, u16::MAX) => write!(f, "{name}, any other"),
            _ if first == last => write!(f, "{name} {first}"),
            _ => write!(f, "{name} {first} to {last}"),
        }
    }
}

const fn row(class: Class, what: What) -> Row {
    Row { class, what }
}

const fn close(class: Class, code: u16) -> Row {
    row(class, What::Close(code, code))
}

const fn status(class: Class, status: u16) -> Row {
    row(class, What::Status(status, status))
}

const fn cause(class: Class, cause: Cause) -> Row {
    row(class, What::Cause(cause))
}

const fn transport(class: Class, kind: TransportErrorKind) -> Row {
    cause(class, Cause::Transport(kind))
}

/// The default table.
///
/// Close codes 3001 to 3999 belong to libraries and frameworks. What is not known to be a matter of
/// credentials is retried like the application's own codes from 4000: 3008, for one, is a timeout.
const DEFAULTS: &[Row] = &[
    cause(Class::Retry, Cause::Resolve),
    close(Class::Retry, 1006),
    transport(Class::Retry, TransportErrorKind::Refused),
    transport(Class::Retry, TransportErrorKind::Unreachable),
    transport(Class::Retry, TransportErrorKind::SelfConnect),
    transport(Class::Retry, TransportErrorKind::Other),
    cause(Class::Retry, Cause::Timeout),
    cause(Class::Retry, Cause::Ready),
    cause(Class::Retry, Cause::Provider),
    status(Class::Retry, 408),
    status(Class::Retry, 425),
    status(Class::Retry, 429),
    status(Class::Retry, 500),
    row(Class::Retry, What::Status(502, 504)),
    row(Class::Retry, What::Status(520, 529)),
    row(Class::Retry, What::Close(1000, 1001)),
    close(Class::Retry, 1005),
    row(Class::Retry, What::Close(1011, 1014)),
    transport(Class::Resource, TransportErrorKind::Resource),
    status(Class::Reauth, 401),
    status(Class::Reauth, 407),
    cause(Class::Reauth, Cause::ClientCertificate),
    close(Class::Reauth, 1008),
    close(Class::Reauth, 3000),
    close(Class::Reauth, 3003),
    row(Class::Retry, What::Close(3001, 4999)),
    transport(Class::Strike, TransportErrorKind::Denied),
    cause(Class::Strike, Cause::TlsAlert),
    cause(Class::Strike, Cause::TlsProtocol),
    cause(Class::Strike, Cause::MalformedUpgrade),
    cause(Class::Strike, Cause::Protocol),
    cause(Class::Strike, Cause::InvalidMessages),
    row(Class::Strike, What::Close(1002, 1003)),
    close(Class::Strike, 1007),
    row(Class::Strike, What::Close(1009, 1010)),
    status(Class::Strike, 404),
    status(Class::Strike, 426),
    row(Class::GiveUp, What::Status(301, 303)),
    row(Class::GiveUp, What::Status(307, 308)),
    status(Class::GiveUp, 400),
    status(Class::GiveUp, 403),
    status(Class::GiveUp, 405),
    status(Class::GiveUp, 410),
    status(Class::GiveUp, 414),
    status(Class::GiveUp, 431),
    cause(Class::GiveUp, Cause::ServerCertificate),
    cause(Class::GiveUp, Cause::TlsNotConfigured),
    cause(Class::GiveUp, Cause::SubprotocolMissing),
    row(Class::Strike, What::Close(u16::MIN, u16::MAX)),
    row(Class::Strike, What::Status(u16::MIN, u16::MAX)),
];
