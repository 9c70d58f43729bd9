//! An attempt: from a slot of the admission to an established WebSocket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::admission::{self, Dial};
use crate::event::{EventKind, State};
use crate::io::{AdmissionRequest, Output, Peer};
use crate::reason::{CloseReason, TimerKind, TransportError};
use crate::renegotiate::Offering;
use crate::settings::Deflate;
use crate::target::{
    self, AttemptRequest, Dialler, Endpoint, Host, Scheme, SubprotocolRequirement,
};
use crate::time::Instant;
use crate::tls::{TlsError, TlsErrorKind};
use crate::websocket::{
    Accepted, Progress, ResponseReader, UpgradeLimits, UpgradeRequest, write_request,
};

use super::renegotiation::{Agreed, ready_steps};
use super::session::{Script, Session};
use super::tls::Tls;
use super::{Connection, Step};

/// More answers than this from a resolver are ignored.
pub(crate) const ADDRESSES_MAX: usize = 32;

/// What is needed only until the WebSocket is established.
#[derive(Debug)]
pub(crate) struct Attempt {
    stage: Stage,
    /// Where it goes and what it says first, with what the provider changed.
    dialled: target::Attempt,
    /// The subprotocols that it would offer if the sides had never disagreed.
    configured: Vec<Box<str>>,
    /// Addresses that were not tried yet, the next one last.
    addresses: Vec<SocketAddr>,
    /// When the present stage has taken too long, and which it is.
    stage_deadline: (Instant, TimerKind),
    /// When the attempt as a whole has.
    deadline: Instant,
    request: Vec<u8>,
    request_written: usize,
    reader: Option<ResponseReader>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Providing,
    Resolving,
    /// The address is known and its turn has not come.
    Queueing,
    Dialling,
    Handshaking,
    Upgrading,
}

impl Attempt {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.dialled.endpoint()
    }

    pub(crate) fn has_socket(&self) -> bool {
        matches!(
            self.stage,
            Stage::Dialling | Stage::Handshaking | Stage::Upgrading
        )
    }

    pub(crate) fn take_reader(&mut self) -> Option<ResponseReader> {
        self.reader.take()
    }

    pub(crate) fn next_deadline(&self) -> (Instant, TimerKind) {
        let whole = (self.deadline, TimerKind::Attempt);
        self.stage_deadline.min(whole)
    }

    pub(crate) fn unsent_request(&self) -> &[u8] {
        &self.request[self.request_written..]
    }

    pub(crate) fn request_wrote(&mut self, bytes: usize) {
        self.request_written += bytes;
        if self.request_written == self.request.len() {
            self.request = Vec::new();
            self.request_written = 0;
        }
    }
}

impl Connection {
    /// Asks for a slot. The attempt itself begins when it is granted.
    pub(super) fn start_dial(&mut self, step: &mut Step<'_>, dial: Dial) {
        let moved = self.life.move_to_waiting_for_slot();
        self.moved(step, moved);
        let host = Arc::clone(self.current_endpoint().host_key());
        step.out
            .push_back(Output::Admission(AdmissionRequest::Request {
                connection: self.id,
                host,
                dial,
            }));
    }

    pub(crate) fn admitted(&mut self, step: &mut Step<'_>, stage: admission::Stage) {
        match (stage, self.life.state(), &self.attempt) {
            (admission::Stage::Resolve, State::WaitingForSlot, _) => self.begin_attempt(step),
            (admission::Stage::Connect, State::Resolving | State::Connecting, Some(attempt))
                if attempt.stage == Stage::Queueing =>
            {
                self.dial_next_address(step);
            }
            // The grant crossed with our release of it.
            (admission::Stage::Resolve | admission::Stage::Connect, _, _) => {
                self.count_stale_input();
            }
        }
    }

    fn begin_attempt(&mut self, step: &mut Step<'_>) {
        self.generation = self.generation.wrapping_add(1);
        let moved = self.life.move_to_resolving();
        self.moved(step, moved);
        let timeouts = self.settings().timeouts;
        let is_asked = self.config.hooks().provider == crate::hooks::Provider::PerAttempt;
        let (stage, limit) = if is_asked {
            (Stage::Providing, (timeouts.provider, TimerKind::Provider))
        } else {
            (Stage::Resolving, (timeouts.resolve, TimerKind::Resolve))
        };
        let (dialled, configured) = self.negotiated(AttemptRequest::default());
        self.attempt = Some(Box::new(Attempt {
            stage,
            dialled,
            configured,
            addresses: Vec::new(),
            stage_deadline: (step.now + limit.0, limit.1),
            // A provider may need longer than all the rest together: its time is its own.
            deadline: if is_asked {
                Instant::FAR_FUTURE
            } else {
                step.now + timeouts.attempt
            },
            request: Vec::new(),
            request_written: 0,
            reader: None,
        }));
        if is_asked {
            step.out.push_back(Output::Provide {
                connection: self.id,
                generation: self.generation,
                failures: self.backoff.failures(),
            });
        } else {
            self.resolve(step);
        }
    }

    pub(crate) fn provided(
        &mut self,
        step: &mut Step<'_>,
        generation: u32,
        result: Result<AttemptRequest, Box<str>>,
    ) {
        if !self.is_at(generation, Stage::Providing) {
            return self.count_stale_input();
        }
        let request = match result {
            Ok(request) => request,
            Err(reason) => return self.attempt_failed(step, CloseReason::Provider(reason)),
        };
        let (dialled, configured) = self.negotiated(request);
        if dialled.endpoint().scheme() == Scheme::Wss && self.target.tls_config().is_none() {
            let error = TlsError::new(TlsErrorKind::NotConfigured, dialled.endpoint());
            return self.attempt_failed(step, CloseReason::Tls(error));
        }
        let timeouts = self.settings().timeouts;
        if let Some(attempt) = &mut self.attempt {
            attempt.dialled = dialled;
            attempt.configured = configured;
            attempt.stage = Stage::Resolving;
            attempt.stage_deadline = (step.now + timeouts.resolve, TimerKind::Resolve);
            attempt.deadline = step.now + timeouts.attempt;
        }
        self.resolve(step);
    }

    /// What is dialled, and the subprotocols as they were configured for it.
    fn negotiated(&self, request: AttemptRequest) -> (target::Attempt, Vec<Box<str>>) {
        let dialled = self.target.attempt(usize::from(self.endpoint), request);
        let configured = dialled.subprotocols().to_vec();
        match self.negotiation() {
            Some(negotiation) => {
                let offer = negotiation.subprotocols(&configured);
                (dialled.offering(offer), configured)
            }
            None => (dialled, configured),
        }
    }

    fn resolve(&mut self, step: &mut Step<'_>) {
        let Some(attempt) = &self.attempt else {
            return;
        };
        let endpoint = attempt.endpoint();
        let port = endpoint.port();
        if self.target.dialler() == Dialler::Application {
            let peer = Peer::Transport(endpoint.to_string().into());
            return self.dial(step, peer);
        }
        match endpoint.host() {
            Host::Ip(address) => {
                let address = SocketAddr::new(*address, port);
                self.try_addresses(step, vec![address]);
            }
            Host::Domain(name) => step.out.push_back(Output::Resolve {
                connection: self.id,
                generation: self.generation,
                host: name.clone(),
                port,
            }),
        }
    }

    pub(crate) fn resolved(
        &mut self,
        step: &mut Step<'_>,
        generation: u32,
        result: Result<Vec<SocketAddr>, Box<str>>,
    ) {
        if !self.is_at(generation, Stage::Resolving) {
            return self.count_stale_input();
        }
        match result {
            Ok(addresses) if addresses.is_empty() => {
                let reason = CloseReason::Resolve("the name has no address".into());
                self.attempt_failed(step, reason);
            }
            Ok(mut addresses) => {
                addresses.truncate(ADDRESSES_MAX);
                self.try_addresses(step, addresses);
            }
            Err(reason) => self.attempt_failed(step, CloseReason::Resolve(reason)),
        }
    }

    fn try_addresses(&mut self, step: &mut Step<'_>, mut addresses: Vec<SocketAddr>) {
        addresses.reverse();
        if let Some(attempt) = &mut self.attempt {
            attempt.addresses = addresses;
        }
        self.queue_for_next_address(step);
    }

    fn queue_for_next_address(&mut self, step: &mut Step<'_>) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let Some(&address) = attempt.addresses.last() else {
            return;
        };
        attempt.stage = Stage::Queueing;
        // Waiting for a turn is not the server's fault: no deadline runs.
        attempt.stage_deadline = (Instant::FAR_FUTURE, TimerKind::Connect);
        attempt.deadline = Instant::FAR_FUTURE;
        step.out
            .push_back(Output::Admission(AdmissionRequest::Narrow {
                connection: self.id,
                address,
            }));
    }

    fn dial_next_address(&mut self, step: &mut Step<'_>) {
        let Some(address) = self.attempt.as_mut().and_then(|a| a.addresses.pop()) else {
            return;
        };
        self.dial(step, Peer::Address(address));
    }

    fn dial(&mut self, step: &mut Step<'_>, peer: Peer) {
        if self.life.state() == State::Connecting {
            self.generation = self.generation.wrapping_add(1);
        } else {
            let moved = self.life.move_to_connecting();
            self.moved(step, moved);
        }
        self.tally.dials = self.tally.dials.saturating_add(1);
        let timeouts = self.settings().timeouts;
        if let Some(attempt) = &mut self.attempt {
            // The addresses that remain share what remains of the time.
            let share = timeouts.connect / u32::try_from(attempt.addresses.len() + 1).unwrap_or(1);
            attempt.stage = Stage::Dialling;
            attempt.stage_deadline = (step.now + share, TimerKind::Connect);
            attempt.deadline = step.now + timeouts.attempt;
        }
        step.out.push_back(Output::Connect {
            socket: self.socket(),
            peer,
        });
    }

    /// The transport is there: the TLS handshake begins, or the opening handshake.
    pub(crate) fn connected(&mut self, step: &mut Step<'_>) {
        if self.life.state() != State::Connecting {
            return self.count_stale_input();
        }
        let endpoint = self.attempt.as_ref().map(|attempt| attempt.endpoint());
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.scheme() == Scheme::Wss) else {
            return self.start_upgrade(step);
        };
        let config = self.target.tls_config();
        let records = config
            .expect("an attempt over TLS begins only with a configuration")
            .connect(endpoint.host());
        match records {
            Ok(records) => {
                self.tls = Some(Box::new(Tls::new(records)));
                let moved = self.life.move_to_tls_handshaking();
                self.moved(step, moved);
                let limit = self.settings().timeouts.tls;
                if let Some(attempt) = &mut self.attempt {
                    attempt.stage = Stage::Handshaking;
                    attempt.stage_deadline = (step.now + limit, TimerKind::Tls);
                }
            }
            Err(error) => self.attempt_failed(step, CloseReason::Tls(error)),
        }
    }

    /// The way to the server is there, and with TLS the server is verified: the upgrade request goes out
    /// (RFC 6455 §4.1).
    pub(super) fn start_upgrade(&mut self, step: &mut Step<'_>) {
        let moved = self.life.move_to_upgrading();
        self.moved(step, moved);
        let limit = self.settings().timeouts.upgrade;
        let nonce = step.secrets.handshake_nonce();
        let deflate = match self.compression_offered() {
            Offering::Offered => self.settings().deflate.as_ref().map(Deflate::offer),
            Offering::LeftOut => None,
        };
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let mut request = Vec::new();
        let key = write_request(
            &mut request,
            &UpgradeRequest {
                host: attempt.dialled.endpoint().authority(),
                path_and_query: attempt.dialled.endpoint().path_and_query(),
                headers: attempt.dialled.headers(),
                subprotocols: attempt.dialled.subprotocols(),
                deflate,
            },
            nonce,
        );
        attempt.stage = Stage::Upgrading;
        attempt.stage_deadline = (step.now + limit, TimerKind::Upgrade);
        attempt.request = request;
        attempt.reader = Some(ResponseReader::new(key).deflate(deflate));
    }

    /// Takes bytes of the upgrade response; what follows it belongs to the session.
    pub(super) fn receive_response(&mut self, step: &mut Step<'_>, bytes: &[u8]) -> usize {
        let limits = self.settings().limits;
        let limits = UpgradeLimits {
            header_bytes_max: limits.header_bytes_max,
            headers_max: limits.headers_max,
            interim_max: limits.interim_max,
        };
        let Some(attempt) = &mut self.attempt else {
            return bytes.len();
        };
        let Some(reader) = &mut attempt.reader else {
            return bytes.len();
        };
        let offered = attempt.dialled.subprotocols();
        match reader.read(&limits, offered, bytes) {
            Ok(Progress::NeedMore) => bytes.len(),
            Ok(Progress::Done { consumed, accepted }) => {
                let is_required = !offered.is_empty()
                    && self.target.subprotocol_requirement() == SubprotocolRequirement::Required;
                if accepted.subprotocol.is_none() && is_required {
                    self.attempt_failed(step, CloseReason::SubprotocolMissing);
                    return bytes.len();
                }
                self.established(step, accepted);
                consumed
            }
            Err(error) => {
                self.attempt_failed(step, CloseReason::Upgrade(error));
                bytes.len()
            }
        }
    }

    fn established(&mut self, step: &mut Step<'_>, accepted: Accepted) {
        let attempt = self.attempt.take();
        self.release_slot(step);
        let mut session = Session::new(step.now);
        if let (Some(attempt), Some(_)) = (attempt, &self.config.hooks().decode) {
            self.remember(Agreed::new(attempt.configured, &accepted));
        }
        if let (Some(deflate), Some(agreement)) = (&self.settings().deflate, &accepted.deflate) {
            session.compress(deflate, agreement);
        }
        if ready_steps(&self.config, self.history.as_deref()).is_empty() {
            self.session = Some(session);
            self.become_ready(step, accepted);
        } else {
            let limit = self.settings().timeouts.ready;
            session.script = Some(Box::new(Script {
                next: 0,
                unsent: VecDeque::new(),
                deadline: step.now + limit,
                accepted,
            }));
            self.session = Some(session);
            let moved = self.life.move_to_readying();
            self.moved(step, moved);
            self.advance_script(step);
        }
    }

    pub(super) fn become_ready(&mut self, step: &mut Step<'_>, accepted: Accepted) {
        let moved = self.life.move_to_open();
        self.moved(step, moved);
        self.tally.sessions = self.tally.sessions.saturating_add(1);
        self.was_ever_ready = true;
        let spread = self.settings().keepalive.map(|k| {
            self.jitter
                .between(std::time::Duration::ZERO, k.interval / 2)
        });
        let endpoint = self.endpoint_shown();
        let Some(session) = &mut self.session else {
            return;
        };
        session.ready(step.now, spread.unwrap_or_default());
        let kind = EventKind::Ready {
            endpoint,
            subprotocol: accepted.subprotocol,
            compression: accepted.deflate,
        };
        self.emit(step, kind);
    }

    /// The transport of an attempt failed: the next address, if there is one, or the end of the attempt.
    pub(super) fn dial_failed(&mut self, step: &mut Step<'_>, error: TransportError) {
        let has_another = self.life.state() == State::Connecting
            && self
                .attempt
                .as_ref()
                .is_some_and(|a| !a.addresses.is_empty());
        if has_another {
            self.queue_for_next_address(step);
        } else {
            self.attempt_failed_without_socket(step, CloseReason::Transport(error));
        }
    }

    /// The deadline of the attempt's stage has passed.
    pub(super) fn attempt_timed_out(&mut self, step: &mut Step<'_>, kind: TimerKind) {
        let has_another = kind == TimerKind::Connect
            && self
                .attempt
                .as_ref()
                .is_some_and(|a| !a.addresses.is_empty());
        if has_another {
            step.out.push_back(Output::Abort {
                socket: self.socket(),
            });
            self.queue_for_next_address(step);
        } else {
            self.attempt_failed(step, CloseReason::Timeout(kind));
        }
    }

    pub(super) fn release_slot(&mut self, step: &mut Step<'_>) {
        step.out
            .push_back(Output::Admission(AdmissionRequest::Release {
                connection: self.id,
            }));
    }

    fn is_at(&self, generation: u32, stage: Stage) -> bool {
        self.generation == generation && self.attempt.as_ref().is_some_and(|a| a.stage == stage)
    }
}
