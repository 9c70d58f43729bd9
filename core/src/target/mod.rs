//! What to dial, and what to say first.

mod credentials;
mod endpoint;
mod error;

use std::fmt;

pub use endpoint::{Endpoint, Host, Scheme};
pub use error::{TargetError, UrlProblem};

use crate::tls::TlsConfig;
use crate::websocket::{check_header, check_subprotocols};

/// Where a connection goes: one or more URLs, tried in order, and what the upgrade request carries.
///
/// Everything is checked here, so that no dial can fail over what was configured. `Debug` shows neither
/// credentials, nor query values, nor header values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    endpoints: Vec<Endpoint>,
    fields: Fields,
    requirement: SubprotocolRequirement,
    dialler: Dialler,
    tls: Option<TlsConfig>,
}

/// Who opens the sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialler {
    /// The host is resolved and dialled over TCP. The default.
    #[default]
    Network,
    /// The application brings the transport: nothing is resolved, and the URL only says what to ask for.
    Application,
}

/// Whether a server must choose one of the offered subprotocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SubprotocolRequirement {
    /// It may choose none. The default.
    #[default]
    Optional,
    /// It must choose one, or the connection gives up. Where none is offered, there is nothing to
    /// choose and nothing required.
    Required,
}

impl Target {
    /// A target with one URL: `ws://[user:password@]host[:port][/path][?query]`. User info becomes basic
    /// credentials (RFC 7617). International host names are encoded for the look-up.
    ///
    /// # Errors
    /// [`TargetError::Url`] for a text that is no such URL; `wss` needs [`parse_with_tls`](Self::parse_with_tls).
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        Self::parse_for(url, None)
    }

    /// A target with one URL, `ws` as with [`parse`](Self::parse) or `wss`, and what `wss` needs: whom to
    /// trust. So no `wss` URL of a target is without.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with_tls(url: &str, tls: TlsConfig) -> Result<Self, TargetError> {
        Self::parse_for(url, Some(tls))
    }

    fn parse_for(url: &str, tls: Option<TlsConfig>) -> Result<Self, TargetError> {
        Ok(Self {
            endpoints: vec![Endpoint::parse_for(url, tls.as_ref())?],
            fields: Fields::default(),
            requirement: SubprotocolRequirement::default(),
            dialler: Dialler::default(),
            tls,
        })
    }

    /// Replaces the TLS configuration of all `wss` URLs, those of a request provider included.
    #[must_use]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Adds a URL to try after those before it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and [`TargetError::TwoCredentials`] if the URL has user info and an
    /// `Authorization` header was given.
    pub fn or(mut self, url: &str) -> Result<Self, TargetError> {
        self.endpoints
            .push(Endpoint::parse_for(url, self.tls.as_ref())?);
        self.check_credentials()?;
        Ok(self)
    }

    /// Adds a header to the upgrade request.
    ///
    /// # Errors
    /// [`TargetError::Header`] for a name or value that no header can have, or one that the handshake
    /// writes itself; [`TargetError::RepeatedHeader`] for a name that was given before, whatever its
    /// case; [`TargetError::TwoCredentials`] for an `Authorization` beside a URL's user info.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, TargetError> {
        self.fields.add_header(name, value)?;
        self.check_credentials()?;
        Ok(self)
    }

    /// Offers a subprotocol, less wanted than those before it (RFC 6455 §4.1).
    ///
    /// # Errors
    /// [`TargetError::Header`] for a name that is no token or was offered before.
    pub fn subprotocol(mut self, name: &str) -> Result<Self, TargetError> {
        self.fields.add_subprotocol(name)?;
        Ok(self)
    }

    /// Makes the connection give up if the server chooses none of the offered subprotocols.
    #[must_use]
    pub fn require_subprotocol(mut self) -> Self {
        self.requirement = SubprotocolRequirement::Required;
        self
    }

    /// Says who opens the sockets.
    #[must_use]
    pub fn dialled_by(mut self, dialler: Dialler) -> Self {
        self.dialler = dialler;
        self
    }

    /// Whom `wss` URLs trust; `None` if there are none in the target and none can come of a provider.
    pub fn tls_config(&self) -> Option<&TlsConfig> {
        self.tls.as_ref()
    }

    /// Who opens the sockets.
    pub fn dialler(&self) -> Dialler {
        self.dialler
    }

    /// The URLs, in the order in which they are tried; never empty.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The headers, in the order in which they were given, without the credentials of a URL.
    pub fn headers(&self) -> &[(Box<str>, Box<str>)] {
        &self.fields.headers
    }

    /// The offered subprotocols, the most wanted first.
    pub fn subprotocols(&self) -> &[Box<str>] {
        &self.fields.subprotocols
    }

    /// Whether the server must choose one of the subprotocols.
    pub fn subprotocol_requirement(&self) -> SubprotocolRequirement {
        self.requirement
    }

    /// What one attempt dials and sends: the endpoint at `index`, counted from 0 and around, with what
    /// `request` puts in its place.
    pub fn attempt(&self, index: usize, request: AttemptRequest) -> Attempt {
        let AttemptRequest { endpoint, fields } = request;
        let endpoint =
            endpoint.unwrap_or_else(|| self.endpoints[index % self.endpoints.len()].clone());
        let mut headers = self.fields.headers.clone();
        // Target and request each name credentials once at most, so a header of the target can only stand
        // beside the user info of the request's URL, which goes before it.
        if let (Some(authorization), None) = (endpoint.authorization(), fields.authorization()) {
            headers.retain(|(name, _)| !is_authorization(name));
            headers.push((AUTHORIZATION.into(), authorization.into()));
        }
        headers.retain(|(name, _)| !fields.has_header(name));
        headers.extend(fields.headers);
        Attempt {
            endpoint,
            fields: Fields {
                headers,
                subprotocols: if fields.subprotocols.is_empty() {
                    self.fields.subprotocols.clone()
                } else {
                    fields.subprotocols
                },
            },
        }
    }

    fn check_credentials(&self) -> Result<(), TargetError> {
        let with_user_info = self
            .endpoints
            .iter()
            .find(|endpoint| endpoint.authorization().is_some());
        two_credentials(with_user_info, &self.fields)
    }
}

/// What an application's request provider puts in the place of the target's own, for one attempt. What
/// it leaves out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptRequest {
    endpoint: Option<Endpoint>,
    fields: Fields,
}

impl AttemptRequest {
    /// Dials this URL. Its user info is used before any credentials of the target. A `wss` URL needs a target
    /// with a TLS configuration; without one the connection gives up, and nothing is dialled.
    ///
    /// # Errors
    /// As [`Target::parse`], and [`TargetError::TwoCredentials`] if the URL has user info and an
    /// `Authorization` header was given.
    pub fn url(mut self, url: &str) -> Result<Self, TargetError> {
        self.endpoint = Some(Endpoint::parse(url)?);
        self.check_credentials()?;
        Ok(self)
    }

    /// Sends this header, in place of one of the target with the same name, whatever its case.
    /// An `Authorization` also replaces the user info of the target's URL.
    ///
    /// # Errors
    /// As [`Target::header`].
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, TargetError> {
        self.fields.add_header(name, value)?;
        self.check_credentials()?;
        Ok(self)
    }

    /// Offers this subprotocol. The first one replaces all those of the target, and more are less
    /// wanted than those before them.
    ///
    /// # Errors
    /// As [`Target::subprotocol`].
    pub fn subprotocol(mut self, name: &str) -> Result<Self, TargetError> {
        self.fields.add_subprotocol(name)?;
        Ok(self)
    }

    fn check_credentials(&self) -> Result<(), TargetError> {
        let with_user_info = self
            .endpoint
            .as_ref()
            .filter(|endpoint| endpoint.authorization().is_some());
        two_credentials(with_user_info, &self.fields)
    }
}

/// What one attempt dials and sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    endpoint: Endpoint,
    fields: Fields,
}

impl Attempt {
    /// The same, with these subprotocols, which have been checked.
    pub(crate) fn offering(mut self, subprotocols: Vec<Box<str>>) -> Self {
        self.fields.subprotocols = subprotocols;
        self
    }

    /// Where it goes.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// All headers beside those that the handshake writes itself, credentials included. No name occurs
    /// twice.
    pub fn headers(&self) -> &[(Box<str>, Box<str>)] {
        &self.fields.headers
    }

    /// The subprotocols to offer, the most wanted first.
    pub fn subprotocols(&self) -> &[Box<str>] {
        &self.fields.subprotocols
    }
}

const AUTHORIZATION: &str = "Authorization";

/// Headers and subprotocols that have been checked.
#[derive(Clone, Default, PartialEq, Eq)]
struct Fields {
    headers: Vec<(Box<str>, Box<str>)>,
    subprotocols: Vec<Box<str>>,
}

impl Fields {
    fn add_header(&mut self, name: &str, value: &str) -> Result<(), TargetError> {
        check_header(name, value)?;
        if self.has_header(name) {
            return Err(TargetError::RepeatedHeader { name: name.into() });
        }
        self.headers.push((name.into(), value.into()));
        Ok(())
    }

    fn add_subprotocol(&mut self, name: &str) -> Result<(), TargetError> {
        self.subprotocols.push(name.into());
        check_subprotocols(&self.subprotocols)?;
        Ok(())
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
    }

    fn authorization(&self) -> Option<&str> {
        self.headers
            .iter()
            .find(|(name, _)| is_authorization(name))
            .map(|(_, value)| &**value)
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Fields")
            .field("headers", &names)
            .field("subprotocols", &self.subprotocols)
            .finish()
    }
}

fn is_authorization(name: &str) -> bool {
    name.eq_ignore_ascii_case(AUTHORIZATION)
}

fn two_credentials(with_user_info: Option<&Endpoint>, fields: &Fields) -> Result<(), TargetError> {
    match (with_user_info, fields.authorization()) {
        (Some(endpoint), Some(_)) => Err(TargetError::TwoCredentials {
            url: endpoint.to_string().into(),
        }),
        (Some(_) | None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
