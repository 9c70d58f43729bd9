//! A status other than 101, and the hints that come with it.

use std::fmt;
use std::time::Duration;

use tungstenite::handshake::client::Response;
use tungstenite::http::header::{self, HeaderMap, HeaderName};

use crate::websocket::untrusted;

/// The most bytes of a refusal's body that are kept, before they are escaped.
pub const BODY_BYTES_MAX: usize = 256;

/// A final status other than 101: the server speaks HTTP and does not open a WebSocket.
///
/// `Debug` and `Display` show the location without user info, query and fragment, which may be
/// secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status: 200 to 999.
    pub status: u16,
    /// `Retry-After` as the server gave it, unbounded: seconds, or a date less the response's own
    /// `Date`, so that nobody's clock matters. Zero if it lies in the past; `None` if there is none,
    /// or it makes no sense, or it is a date and the response has none.
    pub retry_after: Option<Duration>,
    /// `Location`, as it came.
    pub location: Option<Box<str>>,
    /// What had arrived of the body with the end of the head, at most [`BODY_BYTES_MAX`] bytes of
    /// it, escaped.
    pub body: Box<str>,
}

impl Refusal {
    pub(super) fn new(response: &Response, body: &[u8]) -> Self {
        let headers = response.headers();
        Self {
            status: response.status().as_u16(),
            retry_after: retry_after(headers),
            location: text(headers, &header::LOCATION).map(Into::into),
            body: untrusted::excerpt(body, BODY_BYTES_MAX),
        }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = self.location.as_deref().map(redacted);
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("location", &location)
            .field("body", &self.body)
            .finish()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered HTTP {}", self.status)?;
        if let Some(location) = &self.location {
            write!(f, ", location {}", redacted(location))?;
        }
        if let Some(after) = self.retry_after {
            write!(f, ", retry after {} s", after.as_secs())?;
        }
        if !self.body.is_empty() {
            write!(f, ": {}", self.body)?;
        }
        Ok(())
    }
}

/// RFC 9110 §10.2.3.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, &header::RETRY_AFTER)?;
    let (digits, is_negative) = match value.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (value, false),
    };
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = if is_negative {
            0
        } else {
            // All digits: what does not parse is too large.
            digits.parse().unwrap_or(u64::MAX)
        };
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    let now = httpdate::parse_http_date(text(headers, &header::DATE)?).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let value = headers.get(name)?.as_bytes();
    std::str::from_utf8(value).ok().map(str::trim)
}

/// A URL or reference without user info, query and fragment, escaped.
fn redacted(location: &str) -> Box<str> {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let shown = &location[..end];
    let (scheme, rest) = match shown.find("//") {
        Some(slashes) => shown.split_at(slashes + 2),
        None => ("", shown),
    };
    let authority = rest.find('/').unwrap_or(rest.len());
    let host = rest[..authority].rfind('@').map_or(0, |at| at + 1);
    let shown = [scheme, &rest[host..]].concat();
    untrusted::excerpt(shown.as_bytes(), BODY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(HeaderName, &str)], expected: Option<u64>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        let expected = expected.map(Duration::from_secs);
        assert_eq!(retry_after(&map), expected, "{headers:?}");
    }

    #[test]
    fn retry_after_is_measured_by_the_servers_own_clock() {
        const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        let after = |value| (header::RETRY_AFTER, value);
        let date = |value| (header::DATE, value);
        check(&[], None);
        check(&[after("120")], Some(120));
        check(&[after("0")], Some(0));
        check(&[after("-5")], Some(0));
        check(&[after("99999999999999999999999")], Some(u64::MAX));
        for garbage in ["", "-", "soon", "1.5", "1e3", "+7", "1 2", "\u{663}"] {
            check(&[after(garbage), date(DATE)], None);
        }
        check(
            &[after("Sun, 06 Nov 1994 08:50:37 GMT"), date(DATE)],
            Some(60),
        );
        check(
            &[after("Sunday, 06-Nov-94 08:50:37 GMT"), date(DATE)],
            Some(60),
        );
        check(&[after("Sun Nov  6 08:50:37 1994"), date(DATE)], Some(60));
        check(
            &[after("Sun, 06 Nov 1994 08:48:37 GMT"), date(DATE)],
            Some(0),
        );
        check(&[after("Sun, 06 Nov 1994 08:50:37 GMT")], None);
        check(
            &[after("Sun, 06 Nov 1994 08:50:37 GMT"), date("today")],
            None,
        );
        check(
            &[after("Fri, 31 Dec 9999 23:59:59 GMT"), date(DATE)],
            Some(253_402_300_799 - 784_111_777),
        );
        check(&[after("Sun, 31 Feb 1994 08:50:37 GMT"), date(DATE)], None);
    }

    #[test]
    fn a_location_is_shown_without_its_secrets() {
        for (location, shown) in [
            (
                "https://user:pw@a.example/b?token=1#x",
                "https://a.example/b",
            ),
            ("https://u@p@a.example", "https://a.example"),
            ("//u:p@a.example/@b", "//a.example/@b"),
            ("/login?next=/x", "/login"),
            ("wss://a.example?t=//u@h", "wss://a.example"),
        ] {
            assert_eq!(&*redacted(location), shown);
            let refusal = Refusal {
                status: 302,
                retry_after: None,
                location: Some(location.into()),
                body: "".into(),
            };
            assert_eq!(
                refusal.to_string(),
                format!("the server answered HTTP 302, location {shown}")
            );
            assert!(format!("{refusal:?}").contains(&format!("{shown:?}")));
        }
    }
}
