//! What a user wants of a connection.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ropewalk_core::hooks::TemplateError;
use ropewalk_core::settings::{Deflate, Keepalive, Order, Overflow, Reconnect, WorkerBounds};
use ropewalk_core::target::Dialler;
#[cfg(feature = "tls")]
use ropewalk_core::target::UrlProblem;
use ropewalk_core::{
    Acknowledge, AttemptRequest, Batch, Bytes, Coalesce, Config, ConfigError, Decode, Disagreement,
    Expect, Hooks, Invalid, Judged, Message, MessageRef, PerKey, Provider, ReadyStep, Renegotiate,
    Renegotiation, Reply, Resume, Settings, Target, TargetError, Template, TlsConfig, Urgency,
    Urgent,
};

use crate::application::{Process, Provide, Transport, guard};
use crate::runtime::Socket;

/// A connection to be opened: where to, what to say first, what to do with its messages, and every
/// setting that differs from its default.
///
/// What can be wrong with a URL, a header or a subprotocol is an error at once. What can be wrong with
/// the rest ([`settings`](Self::settings), a ready script's template) is told by [`check`](Self::check);
/// a value that comes from outside the program should be checked before it is opened.
///
/// Many connections that differ in nothing but their [names](Self::named) and what they do with their messages are
/// best opened from clones of one: they share what it says.
#[derive(Clone, Debug)]
pub struct Connect {
    name: Option<Arc<str>>,
    target: Arc<Target>,
    settings: Settings,
    hooks: Hooks,
    template: Option<TemplateError>,
    process: Option<Process>,
    provide: Option<Provide>,
    transport: Option<Transport>,
    /// What settings and hooks came to, once they were looked at: for this value and all its clones.
    config: Arc<OnceLock<Arc<Config>>>,
}

/// Why a connection cannot be opened as it was described.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConnect {
    /// The URL, a header or a subprotocol.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A `wss://` URL, no [`TlsConfig`] of the application's own, and nobody whom this system trusts.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    NativeRoots(#[from] crate::native_tls::NativeRootsError),
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A message of the ready script.
    #[error("the ready script: {0}")]
    Template(#[from] TemplateError),
}

// Where to.
impl Connect {
    /// A connection to a `ws://` or `wss://` URL, with every default. A `wss` server must have a certificate
    /// from an authority that this system trusts; [`to_with_tls`](Self::to_with_tls) is for others. The
    /// first `wss` URL of a process reads their certificates, and blocks meanwhile.
    ///
    /// # Errors
    /// The text is no URL that can be dialled ([`TargetError`]), or needs roots and the system has none.
    pub fn to(url: &str) -> Result<Self, InvalidConnect> {
        let target = match Target::parse(url) {
            #[cfg(feature = "tls")]
            Err(error) if is_without_tls(&error) => {
                Target::parse_with_tls(url, crate::native_tls::native_tls()?)?
            }
            parsed => parsed?,
        };
        Ok(Self::to_target(target))
    }

    /// A connection to a `ws://` or `wss://` URL, with every default but for TLS: `tls` says which authorities
    /// are trusted, and which client certificate there is, for this URL and all that are added by
    /// [`or`](Self::or).
    ///
    /// Connections to one server should be given clones of one configuration, which resume each other's sessions.
    ///
    /// # Errors
    /// The text is no URL that can be dialled ([`TargetError`]).
    pub fn to_with_tls(url: &str, tls: TlsConfig) -> Result<Self, InvalidConnect> {
        Ok(Self::to_target(Target::parse_with_tls(url, tls)?))
    }

    /// A connection to a target that was put together elsewhere.
    pub fn to_target(target: Target) -> Self {
        Self {
            name: None,
            target: Arc::new(target),
            settings: Settings::default(),
            hooks: Hooks::default(),
            template: None,
            process: None,
            provide: None,
            transport: None,
            config: Arc::default(),
        }
    }

    /// Another URL, tried when the one before has failed.
    ///
    /// # Errors
    /// As [`to`](Self::to).
    pub fn or(self, url: &str) -> Result<Self, InvalidConnect> {
        self.try_target(|target| {
            #[cfg(feature = "tls")]
            let target = match Target::parse(url) {
                Err(error) if target.tls_config().is_none() && is_without_tls(&error) => {
                    target.tls(crate::native_tls::native_tls()?)
                }
                Ok(_) | Err(_) => target,
            };
            Ok(target.or(url)?)
        })
    }

    /// Replaces the TLS of all `wss` URLs, of those before and after this call, and of those that a
    /// [`request`](Self::request) provider asks for. One that asks for `wss` where every other URL is `ws` needs
    /// this; `native_tls` gives the configuration that other URLs have by default.
    #[must_use]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.target = Arc::new(Arc::unwrap_or_clone(self.target).tls(tls));
        self
    }

    /// A header of the upgrade request.
    ///
    /// # Errors
    /// It is no header, is one that the handshake needs for itself, or was given before.
    pub fn header(self, name: &str, value: &str) -> Result<Self, InvalidConnect> {
        self.try_target(|target| Ok(target.header(name, value)?))
    }

    /// A subprotocol to offer, less wanted than those before it.
    ///
    /// # Errors
    /// It is no token (RFC 6455 §4.1), or was given before.
    pub fn subprotocol(self, name: &str) -> Result<Self, InvalidConnect> {
        self.try_target(|target| Ok(target.subprotocol(name)?))
    }

    /// Asks `provider` before each attempt for what to change in the request, such as fresh credentials;
    /// it is told how many attempts in a row have failed. It runs in a task of its own, may take
    /// [`Timeouts::provider`](ropewalk_core::settings::Timeouts::provider), and its failure is the attempt's.
    #[must_use]
    pub fn request<F, E>(mut self, provider: impl Fn(u32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<AttemptRequest, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.forget_config();
        self.provide = Some(Provide(Arc::new(move |failures| {
            let request = provider(failures);
            Box::pin(async move { request.await.map_err(|error| error.to_string().into()) })
        })));
        self
    }

    /// Uses a transport of the application's own in the place of TCP: `dial` is called for each attempt
    /// with the endpoint, without its secrets. No name is resolved.
    ///
    /// The future and the socket are polled on the task that serves other connections too, and must never
    /// block it.
    #[must_use]
    pub fn over<F, S>(mut self, dial: impl Fn(Box<str>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: Socket,
    {
        self.target = Arc::new(Arc::unwrap_or_clone(self.target).dialled_by(Dialler::Application));
        self.transport = Some(Transport(Arc::new(move |endpoint| {
            let socket = dial(endpoint);
            Box::pin(async move { Ok(Box::new(socket.await?) as Box<dyn Socket>) })
        })));
        self
    }

    fn try_target(
        mut self,
        change: impl FnOnce(Target) -> Result<Target, InvalidConnect>,
    ) -> Result<Self, InvalidConnect> {
        self.target = Arc::new(change(Arc::unwrap_or_clone(self.target))?);
        Ok(self)
    }
}

// What to say first, and what to make of messages.
impl Connect {
    /// Sends this text on each new session before anything else: to log in, to subscribe. Several are
    /// sent in order. `${next}` in it is the next sequence number wanted (see [`resume`](Self::resume)),
    /// `$${` a plain `${`.
    #[must_use]
    pub fn ready(mut self, template: &str) -> Self {
        match Template::parse(template) {
            Ok(template) => self.hooks_mut().ready.push(ReadyStep::Send(template)),
            Err(error) => {
                self.template.get_or_insert(error);
            }
        }
        self
    }

    /// Waits at this point of the ready script for a reply that `recognise` accepts. A reply is delivered
    /// like any other message.
    #[must_use]
    pub fn expect(
        mut self,
        recognise: impl Fn(MessageRef<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let expect = Expect::new(recognise);
        self.hooks_mut().ready.push(ReadyStep::Expect(expect));
        self
    }

    /// Says where messages carry a sequence number and which one is the first: then the ready script can
    /// ask each new session for the `${next}` one, and a jump is an event.
    #[must_use]
    pub fn resume(
        mut self,
        start: u64,
        sequence: impl Fn(MessageRef<'_>) -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        self.hooks_mut().resume = Some(Resume::new(start, sequence));
        self
    }

    /// Tells sound messages from those to filter; `Err` says why, and may be made of a text. It is called for every message on
    /// the task that serves other connections too, and must be quick.
    #[must_use]
    pub fn decode(
        mut self,
        decode: impl Fn(MessageRef<'_>) -> Result<(), Invalid> + Send + Sync + 'static,
    ) -> Self {
        self.hooks_mut().decode = Some(Decode::new(decode));
        self
    }

    /// Decides what the next dial offers after the server has sent more messages that [`decode`](Self::decode) refused than
    /// `decode.invalid_max` allows. Without it, the list of subprotocols is walked ([`Renegotiate`]). Called like
    /// [`decode`](Self::decode); a panic stands for [`Renegotiation::Walk`].
    #[must_use]
    pub fn renegotiate(
        mut self,
        decide: impl Fn(&Disagreement) -> Renegotiation + Send + Sync + 'static,
    ) -> Self {
        self.hooks_mut().renegotiate = Some(Renegotiate::new(decide));
        self
    }

    /// Tells messages that are not to wait for others to fill a batch. Called like
    /// [`decode`](Self::decode).
    #[must_use]
    pub fn urgent(
        mut self,
        urgency: impl Fn(MessageRef<'_>) -> Urgency + Send + Sync + 'static,
    ) -> Self {
        self.hooks_mut().urgent = Some(Urgent::new(urgency));
        self
    }

    /// Makes outbound messages of the same key replace one another while they wait
    /// ([`Overflow::Coalesce`](ropewalk_core::settings::Overflow::Coalesce)). Called like [`decode`](Self::decode), for every message sent.
    #[must_use]
    pub fn coalesce(
        mut self,
        key: impl Fn(&Message) -> Option<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.hooks_mut().coalesce = Some(Coalesce::new(key));
        self.settings_mut().outbound.when_full = Overflow::Coalesce;
        self
    }

    /// Matches replies with the messages that ask for them ([`Acknowledge`]): the outcome of a message whose identifier `request`
    /// finds is the inbound message of which `reply` finds the same. Called like [`decode`](Self::decode), for every message.
    #[must_use]
    pub fn acknowledge(
        mut self,
        request: impl Fn(&Message) -> Option<Bytes> + Send + Sync + 'static,
        reply: impl Fn(MessageRef<'_>) -> Option<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.hooks_mut().acknowledge = Some(Acknowledge::new(request, reply));
        self
    }

    /// Gives every batch to `processor`, which returns a verdict on each message: one call at a time unless
    /// [`per_key`](Self::per_key) or [`unordered`](Self::unordered) allow more. It waits for nobody else's: calls run beside the
    /// shard, on as many threads as the runtime gives them, and one that waits for something goes on in a task of its own. Its future is
    /// perhaps polled in another task than at first. A call that blocks its thread should tell the runtime, as tokio's
    /// `block_in_place` does: what it woke last may have to wait for it. Where the runtime has one thread, which cannot be told so, it
    /// holds up all tasks and sockets. A panic rejects its batch.
    ///
    /// A call that is still running when the connection has ended for good is dropped where it waits.
    #[must_use]
    pub fn process<F>(mut self, processor: impl Fn(Batch) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Judged> + Send + 'static,
    {
        self.process = Some(Process::new(processor));
        self
    }

    /// As [`process`](Self::process), with a function that waits for nothing: no future is allocated for its calls. What it does should be
    /// short, such as to update a table or to put something into a queue of the application's.
    #[must_use]
    pub fn process_sync(
        mut self,
        processor: impl Fn(Batch) -> Judged + Send + Sync + 'static,
    ) -> Self {
        self.process = Some(Process::new_sync(processor));
        self
    }
}

// In which order a processor gets its messages.
impl Connect {
    /// Lets calls of the processor run at once, of which each gets the messages of some keys, in the order of their arrival; those
    /// without a key are in order, too. Called like [`decode`](Self::decode), and of no effect without
    /// a processor.
    ///
    /// Calls overlap where they wait, and on as many threads as the runtime has. What keeps all of these busy for long belongs into a
    /// thread of its own that the call waits for.
    #[must_use]
    pub fn per_key<K: Hash>(
        mut self,
        key: impl Fn(MessageRef<'_>) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        self.hooks_mut().per_key = Some(PerKey::new(key));
        self.settings_mut().processor.order = Order::PerKey;
        self
    }

    /// Lets calls of the processor run at once, with messages in any order; else as [`per_key`](Self::per_key).
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.settings_mut().processor.order = Order::None;
        self
    }

    /// Between how many calls of the processor at once to adapt to its latency, where its messages' order allows more than
    /// one. Default: 1 and 4.
    #[must_use]
    pub fn workers(mut self, bounds: WorkerBounds) -> Self {
        self.settings_mut().processor.workers = bounds;
        self
    }
}

// Settings.
impl Connect {
    /// The name in events, letters and reports. Default: a number that counts the fleet's connections.
    /// Nothing keeps two connections from having one name.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Numbers received messages from the one after `last` on: the number of the last message that was received under this name
    /// before. At most 2⁶³. Default: 0.
    #[must_use]
    pub fn numbered_after(mut self, last: u64) -> Self {
        self.hooks_mut().numbered_after = last;
        self
    }

    /// Dials again when no data message came for this long, whatever pings say. Default: off.
    #[must_use]
    pub fn stale_after(mut self, after: Duration) -> Self {
        self.settings_mut().stale_after = Some(after);
        self
    }

    /// Pings a silent server after `interval`, and dials again if there is no sign of life for a further
    /// `timeout`. Default: 20 s each.
    #[must_use]
    pub fn keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.settings_mut().keepalive = Some(Keepalive { interval, timeout });
        self
    }

    /// Offers permessage-deflate (RFC 7692) at each attempt; a server may decline it, and the messages are then
    /// not compressed. Default: it is not offered. [`Deflate`] says what it costs, and what it tells to those
    /// who listen.
    #[must_use]
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.settings_mut().deflate = Some(deflate);
        self
    }

    /// Replaces all settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        *self.settings_mut() = settings;
        self
    }

    /// Replaces everything that the application does in the middle of a connection's work: the ready
    /// script, the decoder, the sequence and urgency functions.
    #[must_use]
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        *self.hooks_mut() = hooks;
        self.template = None;
        self
    }

    /// Finds out whether it can be opened.
    ///
    /// # Errors
    /// [`InvalidConnect::Config`] names the key of a setting that is impossible;
    /// [`InvalidConnect::Template`] says what is wrong with the ready script.
    pub fn check(self) -> Result<Self, InvalidConnect> {
        self.config()?;
        Ok(self)
    }

    /// One session and no more.
    pub(crate) fn once(mut self) -> Self {
        self.settings_mut().reconnect = Reconnect::Never;
        self
    }

    fn settings_mut(&mut self) -> &mut Settings {
        self.forget_config();
        &mut self.settings
    }

    fn hooks_mut(&mut self) -> &mut Hooks {
        self.forget_config();
        &mut self.hooks
    }

    /// What clones have of it stays theirs.
    fn forget_config(&mut self) {
        if let Some(config) = Arc::get_mut(&mut self.config) {
            config.take();
        } else {
            self.config = Arc::default();
        }
    }

    fn config(&self) -> Result<Arc<Config>, InvalidConnect> {
        if let Some(error) = &self.template {
            return Err(error.clone().into());
        }
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let mut hooks = guarded(self.hooks.clone());
        hooks.provider = match self.provide {
            Some(_) => Provider::PerAttempt,
            None => Provider::None,
        };
        let config = Arc::new(Config::new(self.settings.clone(), hooks)?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

/// Whether all that a URL lacks is whom to trust.
#[cfg(feature = "tls")]
fn is_without_tls(error: &TargetError) -> bool {
    matches!(
        error,
        TargetError::Url {
            problem: UrlProblem::TlsNotConfigured,
            ..
        }
    )
}

/// A connection that is known to be sound.
pub(crate) struct Checked {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) target: Arc<Target>,
    pub(crate) config: Arc<Config>,
    pub(crate) process: Option<Process>,
    pub(crate) provide: Option<Provide>,
    pub(crate) transport: Option<Transport>,
}

impl TryFrom<Connect> for Checked {
    type Error = InvalidConnect;

    fn try_from(connect: Connect) -> Result<Self, InvalidConnect> {
        let config = connect.config()?;
        Ok(Self {
            name: connect.name,
            target: connect.target,
            config,
            process: connect.process,
            provide: connect.provide,
            transport: connect.transport,
        })
    }
}

/// The same hooks, with panics turned into the answer that hurts least: the core and the other
/// connections of its shard must not notice.
fn guarded(hooks: Hooks) -> Hooks {
    let Hooks {
        ready,
        resume,
        decode,
        renegotiate,
        urgent,
        coalesce,
        per_key,
        acknowledge,
        numbered_after,
        provider,
    } = hooks;
    Hooks {
        ready: ready.into_iter().map(guarded_step).collect(),
        resume: resume.map(|resume| {
            Resume::new(resume.start, move |message| {
                guard(|| resume.sequence_of(message)).unwrap_or(None)
            })
        }),
        decode: decode.map(|decode| {
            Decode::new(move |message| {
                guard(|| decode.decode(message))
                    .unwrap_or_else(|panicked| Err(format!("the decoder {panicked}").into()))
            })
        }),
        renegotiate: renegotiate.map(|renegotiate| {
            Renegotiate::new(
                move |disagreement| match guard(|| renegotiate.decide(disagreement)) {
                    Ok(Renegotiation::Terms(terms)) => {
                        Renegotiation::Terms(Box::new(terms.map_ready(guarded_step)))
                    }
                    Ok(other) => other,
                    Err(_) => Renegotiation::Walk,
                },
            )
        }),
        urgent: urgent.map(|urgent| {
            Urgent::new(move |message| {
                guard(|| urgent.urgency(message)).unwrap_or(Urgency::CanWait)
            })
        }),
        coalesce: coalesce.map(|coalesce| {
            Coalesce::new(move |message| guard(|| coalesce.key(message)).unwrap_or(None))
        }),
        per_key: per_key
            .map(|per_key| PerKey::new(move |message| guard(|| per_key.hash(message)).ok())),
        acknowledge: acknowledge.map(|acknowledge| {
            let request = acknowledge.clone();
            Acknowledge::new(
                move |message| guard(|| request.request(message)).unwrap_or(None),
                move |message| guard(|| acknowledge.reply(message)).unwrap_or(None),
            )
        }),
        numbered_after,
        provider,
    }
}

fn guarded_step(step: ReadyStep) -> ReadyStep {
    match step {
        ReadyStep::Send(_) => step,
        ReadyStep::Expect(expect) => ReadyStep::Expect(Expect::new(move |message| {
            guard(|| expect.recognise(message)).unwrap_or_else(|panicked| {
                Reply::Refused(format!("the application's check of the reply {panicked}").into())
            })
        })),
    }
}
