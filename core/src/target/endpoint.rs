//! One URL, taken apart and checked.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use url::{ParseError, Url};

use super::credentials::basic_authorization;
use super::{TargetError, UrlProblem};
use crate::tls::TlsConfig;

const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A place to dial, from one URL.
///
/// `Display` and `Debug` show scheme, host, port and path, and of a query only that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    host: Host,
    port: u16,
    authority: Box<str>,
    path_and_query: Box<str>,
    host_key: Arc<str>,
    authorization: Option<Box<str>>,
}

/// The scheme of a URL: whether what is said can be read on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `ws`: as it is, over TCP.
    Ws,
    /// `wss`: over TLS (RFC 6455 §11.1.2).
    Wss,
}

impl Scheme {
    /// The word before `://`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The port where a URL names none (RFC 6455 §3).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name to look up, in ASCII (IDNA where it was international) and lower case, with its
    /// trailing dot if it has one.
    Domain(Box<str>),
    /// An address, which needs no look-up.
    Ip(IpAddr),
}

impl Endpoint {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`TargetError::Url`] if it cannot be dialled, so that no dial fails over it later.
    pub(super) fn parse(text: &str) -> Result<Self, TargetError> {
        Self::parse_parts(text).map_err(|problem| TargetError::Url {
            url: redacted(text),
            problem,
        })
    }

    /// Takes a URL apart that must be usable with this TLS configuration or the lack of it.
    pub(super) fn parse_for(text: &str, tls: Option<&TlsConfig>) -> Result<Self, TargetError> {
        let endpoint = Self::parse(text)?;
        match (endpoint.scheme, tls) {
            (Scheme::Wss, None) => Err(TargetError::Url {
                url: endpoint.to_string().into(),
                problem: UrlProblem::TlsNotConfigured,
            }),
            (Scheme::Wss | Scheme::Ws, _) => Ok(endpoint),
        }
    }

    /// Whether it is dialled over TLS.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host to look up or to dial. Over TLS also the name that the server's certificate must be for.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port; where the URL names none, 80, or 443 with TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header: the host, in brackets if it is an IPv6 address, and the port
    /// unless it is the scheme's own (RFC 6455 §4.1).
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The resource name of the request line, `/` where the URL has no path (RFC 6455 §3). Its query may
    /// be secret.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// `host:port`, alike for all URLs of one server: what dials to it are counted under.
    pub fn host_key(&self) -> &Arc<str> {
        &self.host_key
    }

    /// The value of the `Authorization` header that the URL's user info asks for. It is secret.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    fn parse_parts(text: &str) -> Result<Self, UrlProblem> {
        let scheme = check_text(text)?;
        let url = Url::parse(text).map_err(|error| problem_of(error, text))?;
        if url.fragment().is_some() {
            return Err(UrlProblem::Fragment);
        }
        let host = match url.host() {
            Some(url::Host::Domain(domain)) => Host::domain(domain)?,
            Some(url::Host::Ipv4(address)) => Host::Ip(address.into()),
            Some(url::Host::Ipv6(address)) => Host::Ip(address.into()),
            None => return Err(UrlProblem::NoHost),
        };
        #[cfg(feature = "tls")]
        if scheme == Scheme::Wss && crate::tls::server_name(&host).is_none() {
            return Err(UrlProblem::Host("no certificate can be for it".into()));
        }
        let port = url.port().unwrap_or(scheme.default_port());
        if port == 0 {
            return Err(UrlProblem::Port);
        }
        let has_user_info = !url.username().is_empty() || url.password().is_some();
        let authorization = has_user_info
            .then(|| basic_authorization(url.username(), url.password()))
            .transpose()?;
        Ok(Self {
            scheme,
            authority: if port == scheme.default_port() {
                host.to_string().into()
            } else {
                format!("{host}:{port}").into()
            },
            path_and_query: match url.query() {
                Some(query) => format!("{}?{query}", url.path()).into(),
                None => url.path().into(),
            },
            host_key: host.key(port),
            host,
            port,
            authorization,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, query) = match self.path_and_query.split_once('?') {
            Some((path, _)) => (path, "?…"),
            None => (&*self.path_and_query, ""),
        };
        write!(
            f,
            "{}://{}{path}{query}",
            self.scheme.name(),
            self.authority
        )
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl Host {
    fn domain(domain: &str) -> Result<Self, UrlProblem> {
        let name = domain.strip_suffix('.').unwrap_or(domain);
        if name.is_empty() {
            return Err(UrlProblem::NoHost);
        }
        if name.len() > HOST_BYTES_MAX {
            return Err(UrlProblem::HostTooLong { bytes: name.len() });
        }
        let fits = |label: &str| (1..=LABEL_BYTES_MAX).contains(&label.len());
        if !name.split('.').all(fits) {
            return Err(UrlProblem::HostLabel);
        }
        Ok(Self::Domain(domain.into()))
    }

    /// A trailing dot changes how a name is looked up, not which server it is.
    fn key(&self, port: u16) -> Arc<str> {
        let host = self.to_string();
        let name = host.strip_suffix('.').unwrap_or(&host);
        format!("{name}:{port}").into()
    }
}

/// The host as it stands in a URL: an IPv6 address in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => f.write_str(domain),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Refuses what the URL parser would quietly repair: control characters and spaces, which it strips,
/// backslashes, which it turns, and missing or surplus slashes before the host.
fn check_text(text: &str) -> Result<Scheme, UrlProblem> {
    let out_of_place = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    if let Some(character) = text.chars().find(|&c| out_of_place(c)) {
        return Err(UrlProblem::Character(character));
    }
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        Some(_) | None => return Err(UrlProblem::NoScheme),
    };
    let authority = rest.strip_prefix("//");
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" => Scheme::Ws,
        "wss" if cfg!(feature = "tls") => Scheme::Wss,
        "wss" => return Err(UrlProblem::TlsNotSupported),
        // `localhost:8080` and `example.com:80/path` are a host and a port, not a scheme.
        _ if authority.is_none() => return Err(UrlProblem::NoScheme),
        _ => return Err(UrlProblem::Scheme(scheme.into())),
    };
    match authority {
        Some(authority) if authority.starts_with('/') => Err(UrlProblem::NoHost),
        Some(_) => Ok(scheme),
        None => Err(UrlProblem::NoAuthority),
    }
}

fn problem_of(error: ParseError, text: &str) -> UrlProblem {
    match error {
        ParseError::EmptyHost => UrlProblem::NoHost,
        ParseError::InvalidPort => UrlProblem::Port,
        ParseError::InvalidIpv6Address if has_zone(text) => UrlProblem::Zone,
        ParseError::InvalidIpv6Address
        | ParseError::InvalidIpv4Address
        | ParseError::InvalidDomainCharacter
        | ParseError::IdnaError => UrlProblem::Host(error.to_string().into()),
        ParseError::RelativeUrlWithoutBase => UrlProblem::NoScheme,
        ParseError::RelativeUrlWithCannotBeABaseBase
        | ParseError::SetHostOnCannotBeABaseUrl
        | ParseError::Overflow => UrlProblem::Malformed(error.to_string().into()),
        // The parser's list of errors is open.
        _ => UrlProblem::Malformed(error.to_string().into()),
    }
}

fn has_zone(text: &str) -> bool {
    let inside = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inside.is_some_and(|(address, _)| address.contains('%'))
}

/// A text that is perhaps no URL at all, as it may be shown: no query, nothing before an `@`, nothing
/// that steers a terminal, and not much of it.
fn redacted(text: &str) -> Box<str> {
    const CHARS_MAX: usize = 200;
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['@', '?', '#']) => (Some(scheme), rest),
        Some(_) | None => (None, text),
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (place, hidden) = rest.split_at(end);
    // Where user info ends cannot be told in a malformed URL: all up to the last `@` may belong to it, and
    // an `@` further on may be its end as well as a part of the query.
    let place = place.rsplit_once('@').map_or(place, |(_, after)| after);
    let place = if hidden.contains('@') { "…" } else { place };
    let hint = match hidden.chars().next() {
        Some('?') => "?…",
        Some(_) => "#…",
        None => "",
    };
    let prefix = scheme.map_or(String::new(), |scheme| format!("{scheme}://"));
    let escaped: String = format!("{prefix}{place}")
        .chars()
        .flat_map(char::escape_debug)
        .take(CHARS_MAX)
        .collect();
    format!("{escaped}{hint}").into()
}
