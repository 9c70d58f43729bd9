//! What can be configured of a connection only as code.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::MessageRef;
use crate::message::Message;
use crate::renegotiate::{Invalid, Renegotiate};
use crate::settings::{ConfigError, ConfigProblem, Quantity, not_beyond};

/// The application's own part in a connection. Everything is optional, and `Hooks::default()` is
/// nothing. Cloning shares the functions.
///
/// The functions are called in the middle of the connection's work: they must be quick and must not
/// block, or every connection of the same shard waits.
#[derive(Clone, Default)]
pub struct Hooks {
    /// What to do with a new session before the application's own messages may leave, such as to log in
    /// and to subscribe: messages to send and replies to wait for, in order. Default: nothing, the
    /// session is ready at once.
    pub ready: Vec<ReadyStep>,
    /// Where messages carry a number, so that a new session can continue after the last one.
    pub resume: Option<Resume>,
    /// Which messages are sound. Default: all.
    pub decode: Option<Decode>,
    /// What the next dial offers after too many messages were not. Default: the offer is walked. Of no effect without
    /// [`decode`](Self::decode).
    pub renegotiate: Option<Renegotiate>,
    /// Which messages do not wait for others to fill a batch. Default: none.
    pub urgent: Option<Urgent>,
    /// Which outbound messages replace one another while they wait. Needed with
    /// [`Overflow::Coalesce`](crate::settings::Overflow::Coalesce), and of no effect without.
    pub coalesce: Option<Coalesce>,
    /// Which inbound messages keep their order among themselves. Needed with
    /// [`Order::PerKey`](crate::settings::Order::PerKey), and of no effect without.
    pub per_key: Option<PerKey>,
    /// Which inbound message answers which outbound one. Default: none does, and a message's way ends with the kernel.
    pub acknowledge: Option<Acknowledge>,
    /// The number of the last message that the application had of this connection before, in another process for example: received
    /// messages are numbered from the next on ([`MessageRef::seq`]). Default: 0; at most 2⁶³.
    pub numbered_after: u64,
    /// Whether each attempt's request is asked for. Default: [`Provider::None`].
    pub provider: Provider,
}

/// A step of the ready script.
#[derive(Clone, Debug)]
pub enum ReadyStep {
    /// Sends a text message.
    Send(Template),
    /// Waits for a reply.
    Expect(Expect),
}

impl ReadyStep {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Send(own), Self::Send(other)) => own == other,
            (Self::Expect(own), Self::Expect(other)) => Arc::ptr_eq(&own.0, &other.0),
            (Self::Send(_), Self::Expect(_)) | (Self::Expect(_), Self::Send(_)) => false,
        }
    }
}

/// A text in which `${next}` stands for the next number wanted; `$${` stands for `${`.
///
/// Its `Debug` form shows no text, which may hold credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Next,
}

/// A template that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A name between `${` and `}` that stands for nothing.
    #[error("`${{{name}}}` stands for nothing: only `${{next}}` does, and `$${{` is a plain `${{`")]
    UnknownName {
        /// The name.
        name: Box<str>,
    },
    /// A `${` without its `}`.
    #[error("a `${{` at byte {at} has no `}}`: a plain `${{` is written `$${{`")]
    Unclosed {
        /// Where it stands, in bytes from the start.
        at: usize,
    },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] if a `${` is not closed or what it names is not `next`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, from_dollar) = rest.split_at(dollar);
            plain.push_str(before);
            if let Some(after) = from_dollar.strip_prefix("$${") {
                plain.push_str("${");
                rest = after;
            } else if let Some(inside) = from_dollar.strip_prefix("${") {
                let at = text.len() - from_dollar.len();
                let (name, after) = inside
                    .split_once('}')
                    .ok_or(TemplateError::Unclosed { at })?;
                if name != "next" {
                    return Err(TemplateError::UnknownName { name: name.into() });
                }
                push_text(&mut parts, &mut plain);
                parts.push(Part::Next);
                rest = after;
            } else {
                plain.push('$');
                rest = &from_dollar[1..];
            }
        }
        plain.push_str(rest);
        push_text(&mut parts, &mut plain);
        Ok(Self {
            parts: parts.into(),
        })
    }

    /// The text, with `next` in its place.
    pub fn render(&self, next: u64) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.to_string(),
                Part::Next => next.to_string(),
            })
            .collect()
    }

    /// Whether `${next}` occurs in it.
    pub fn uses_next(&self) -> bool {
        self.parts.contains(&Part::Next)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Next => 0,
        };
        f.debug_struct("Template")
            .field("text_bytes", &self.parts.iter().map(bytes).sum::<usize>())
            .field("uses_next", &self.uses_next())
            .finish()
    }
}

fn push_text(parts: &mut Vec<Part>, plain: &mut String) {
    if !plain.is_empty() {
        parts.push(Part::Text(std::mem::take(plain).into()));
    }
}

/// Recognises the reply to a ready script's message.
#[derive(Clone)]
pub struct Expect(Arc<dyn Fn(MessageRef<'_>) -> Reply + Send + Sync>);

/// What a message says to a ready script that waits for a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is something else: the script keeps waiting.
    Other,
    /// It is the reply, and good: the script goes on.
    Accepted,
    /// It is the reply, and a refusal, for this reason: the session ends, and another is tried.
    Refused(Box<str>),
}

impl Expect {
    /// A reply that `recognise` knows.
    pub fn new(recognise: impl Fn(MessageRef<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self(Arc::new(recognise))
    }

    /// Any text message that contains `text`, and nothing that refuses.
    pub fn contains(text: impl Into<Box<str>>) -> Self {
        let wanted = text.into();
        Self::new(move |message| match message.text() {
            Ok(text) if text.contains(&*wanted) => Reply::Accepted,
            Ok(_) | Err(_) => Reply::Other,
        })
    }

    /// What `message` says.
    pub fn recognise(&self, message: MessageRef<'_>) -> Reply {
        (self.0)(message)
    }
}

impl fmt::Debug for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expect(..)")
    }
}

/// Where messages carry a number, and the first one wanted.
#[derive(Clone)]
pub struct Resume {
    /// Finds a message's number; `None` if it has none.
    pub sequence: Arc<dyn Fn(MessageRef<'_>) -> Option<u64> + Send + Sync>,
    /// What the first session asks for. Later ones ask for the last number received, plus one.
    pub start: u64,
}

impl Resume {
    /// Finds numbers by `sequence`, and asks for `start` first.
    pub fn new(
        start: u64,
        sequence: impl Fn(MessageRef<'_>) -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        Self {
            start,
            sequence: Arc::new(sequence),
        }
    }

    /// The number of `message`.
    pub fn sequence_of(&self, message: MessageRef<'_>) -> Option<u64> {
        (self.sequence)(message)
    }
}

impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resume")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// Tells sound messages from those to filter.
#[derive(Clone)]
pub struct Decode(Arc<Decoder>);

type Decoder = dyn Fn(MessageRef<'_>) -> Result<(), Invalid> + Send + Sync;

impl Decode {
    /// `Err` says why a message is not sound; it is then not delivered. A reason alone, `Err("not JSON".into())`, stands for
    /// [`InvalidKind::Malformed`](crate::InvalidKind::Malformed).
    pub fn new(
        decode: impl Fn(MessageRef<'_>) -> Result<(), Invalid> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(decode))
    }

    /// Whether `message` is sound.
    ///
    /// # Errors
    /// Why it is not.
    pub fn decode(&self, message: MessageRef<'_>) -> Result<(), Invalid> {
        (self.0)(message)
    }
}

impl fmt::Debug for Decode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decode(..)")
    }
}

/// Tells messages that cannot wait for a batch to fill.
#[derive(Clone)]
pub struct Urgent(Arc<dyn Fn(MessageRef<'_>) -> Urgency + Send + Sync>);

/// Finds what an outbound message is about, such as the instrument of an order or the room of a presence.
#[derive(Clone)]
pub struct Coalesce(Arc<Keyed>);

type Keyed = dyn Fn(&Message) -> Option<Bytes> + Send + Sync;

impl Coalesce {
    /// Messages for which `key` finds equal keys replace one another; a message without a key is replaced by none.
    pub fn new(key: impl Fn(&Message) -> Option<Bytes> + Send + Sync + 'static) -> Self {
        Self(Arc::new(key))
    }

    /// The key of `message`.
    pub fn key(&self, message: &Message) -> Option<Bytes> {
        (self.0)(message)
    }
}

impl fmt::Debug for Coalesce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Coalesce(..)")
    }
}

/// Finds what an inbound message is about, so that a processor gets all that is about one thing in the order of its
/// arrival.
#[derive(Clone)]
pub struct PerKey(Arc<dyn Fn(MessageRef<'_>) -> u64 + Send + Sync>);

impl PerKey {
    /// Messages for which `key` finds equal keys keep their order; those without a key keep theirs, too.
    pub fn new<K: Hash>(key: impl Fn(MessageRef<'_>) -> Option<K> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |message| hash(&key(message))))
    }

    /// The same, for keys that are a part of the message: nothing is copied.
    pub fn part(
        key: impl for<'m> Fn(MessageRef<'m>) -> Option<&'m [u8]> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |message| hash(&key(message))))
    }

    /// A hash of the key of `message`.
    pub fn hash(&self, message: MessageRef<'_>) -> u64 {
        (self.0)(message)
    }
}

/// The same in every run: it decides in which order outputs come.
fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl fmt::Debug for PerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerKey(..)")
    }
}

/// Finds what a request and its reply have in common, such as the `id` of JSON-RPC.
///
/// A written message that has an identifier waits for the message that has the same:
/// [`Outcome::Acknowledged`](crate::Outcome::Acknowledged), with the reply, which is delivered like any other, too. Without a reply within
/// [`Timeouts::acknowledge`](crate::settings::Timeouts::acknowledge), or before the socket is lost, its outcome is
/// [`Outcome::Written`](crate::Outcome::Written); an idempotent one goes out again on the next socket instead, if it was the socket that was
/// lost.
#[derive(Clone)]
pub struct Acknowledge {
    request: Arc<Keyed>,
    reply: Arc<Replied>,
}

type Replied = dyn Fn(MessageRef<'_>) -> Option<Bytes> + Send + Sync;

impl Acknowledge {
    /// `request` finds the identifier of an outbound message, `reply` that of an inbound one; `None` where there is none.
    /// An identifier that a message in flight has already takes the reply from it.
    pub fn new(
        request: impl Fn(&Message) -> Option<Bytes> + Send + Sync + 'static,
        reply: impl Fn(MessageRef<'_>) -> Option<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self {
            request: Arc::new(request),
            reply: Arc::new(reply),
        }
    }

    /// What the reply to `message` is known by.
    pub fn request(&self, message: &Message) -> Option<Bytes> {
        (self.request)(message)
    }

    /// What the request that `message` answers is known by.
    pub fn reply(&self, message: MessageRef<'_>) -> Option<Bytes> {
        (self.reply)(message)
    }
}

impl fmt::Debug for Acknowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acknowledge(..)")
    }
}

/// Whether a message may wait for others to fill its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Urgency {
    /// It may, as long as the batch policy lets it.
    CanWait,
    /// It may not: its batch is handed over with it.
    AtOnce,
}

impl Urgent {
    /// Messages are as urgent as `urgency` says.
    pub fn new(urgency: impl Fn(MessageRef<'_>) -> Urgency + Send + Sync + 'static) -> Self {
        Self(Arc::new(urgency))
    }

    /// How urgent `message` is.
    pub fn urgency(&self, message: MessageRef<'_>) -> Urgency {
        (self.0)(message)
    }
}

impl fmt::Debug for Urgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Urgent(..)")
    }
}

/// Whether the request of each attempt comes from the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// No: it is the target's. The default.
    #[default]
    None,
    /// Each attempt first asks for an [`AttemptRequest`](crate::AttemptRequest), such as fresh
    /// credentials.
    PerAttempt,
}

impl Hooks {
    /// Whether there is any of which nobody can tell what it does.
    pub(crate) fn have_code(&self) -> bool {
        let Self {
            ready,
            resume,
            decode,
            renegotiate,
            urgent,
            coalesce,
            per_key,
            acknowledge,
            numbered_after: _,
            provider: _,
        } = self;
        !ready.is_empty()
            || resume.is_some()
            || decode.is_some()
            || renegotiate.is_some()
            || urgent.is_some()
            || coalesce.is_some()
            || per_key.is_some()
            || acknowledge.is_some()
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        not_beyond(
            "numbered_after",
            Quantity::Count(self.numbered_after),
            Quantity::Count(1 << 63),
        )?;
        let asks_for_next = |step: &ReadyStep| match step {
            ReadyStep::Send(template) => template.uses_next(),
            ReadyStep::Expect(_) => false,
        };
        match self.ready.iter().position(asks_for_next) {
            Some(index) if self.resume.is_none() => Err(ConfigError {
                key: format!("ready[{index}]"),
                problem: ConfigProblem::NothingToResume,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
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
        } = self;
        f.debug_struct("Hooks")
            .field("ready", ready)
            .field("resume", resume)
            .field("decode", decode)
            .field("renegotiate", renegotiate)
            .field("urgent", urgent)
            .field("coalesce", coalesce)
            .field("per_key", per_key)
            .field("acknowledge", acknowledge)
            .field("numbered_after", numbered_after)
            .field("provider", provider)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Kind;
    use crate::settings::{Config, Settings};
    use crate::time::Instant;

    fn text(payload: &str) -> MessageRef<'_> {
        MessageRef::new(Kind::Text, payload.as_bytes(), 1, Instant::ORIGIN)
    }

    #[test]
    fn a_template_puts_the_next_number_where_it_is_named() {
        let table = [
            ("", "", false),
            ("plain", "plain", false),
            ("${next}", "42", true),
            (r#"{"from":${next}}"#, r#"{"from":42}"#, true),
            ("${next}-${next}", "42-42", true),
            ("$${next}", "${next}", false),
            ("$$${next}", "$${next}", false),
            ("$${${next}}", "${42}", true),
            ("costs 5$", "costs 5$", false),
            ("$next $$ $é", "$next $$ $é", false),
        ];
        for (template, rendered, uses_next) in table {
            let parsed = Template::parse(template).unwrap();
            assert_eq!(parsed.render(42), rendered, "{template}");
            assert_eq!(parsed.uses_next(), uses_next, "{template}");
        }
    }

    #[test]
    fn a_template_with_an_unknown_or_unclosed_name_is_refused() {
        let table = [
            (
                "${token}",
                "`${token}` stands for nothing: only `${next}` does, and `$${` is a plain `${`",
            ),
            (
                "${ next }",
                "`${ next }` stands for nothing: only `${next}` does, and `$${` is a plain `${`",
            ),
            (
                "é${next",
                "a `${` at byte 2 has no `}`: a plain `${` is written `$${`",
            ),
        ];
        for (template, message) in table {
            assert_eq!(Template::parse(template).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_script_that_asks_for_the_next_number_needs_to_know_where_numbers_are() {
        let mut hooks = Hooks {
            ready: vec![
                ReadyStep::Send(Template::parse("hello").unwrap()),
                ReadyStep::Expect(Expect::contains("welcome")),
                ReadyStep::Send(Template::parse("from ${next}").unwrap()),
            ],
            ..Hooks::default()
        };
        let error = Config::new(Settings::default(), hooks.clone()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`ready[2]` uses `${next}`, but no `resume` says where messages carry their number"
        );
        hooks.resume = Some(Resume::new(1, |message| message.text().ok()?.parse().ok()));
        let config = Config::new(Settings::default(), hooks).unwrap();
        let resume = config.hooks().resume.as_ref().unwrap();
        assert_eq!(resume.start, 1);
        assert_eq!(resume.sequence_of(text("17")), Some(17));
        assert_eq!(resume.sequence_of(text("x")), None);
    }

    #[test]
    fn an_expected_text_is_found_in_text_messages_only() {
        let expect = Expect::contains("ok");
        assert_eq!(expect.recognise(text("all ok")), Reply::Accepted);
        assert_eq!(expect.recognise(text("no")), Reply::Other);
        let binary = MessageRef::new(Kind::Binary, b"ok", 1, Instant::ORIGIN);
        assert_eq!(expect.recognise(binary), Reply::Other);
    }

    #[test]
    fn hooks_are_asked_for_every_message() {
        let decode = Decode::new(|message| match message.as_bytes() {
            b"good" => Ok(()),
            _ => Err("not good".into()),
        });
        assert_eq!(decode.decode(text("good")), Ok(()));
        assert_eq!(decode.decode(text("bad")), Err("not good".into()));
        let urgent = Urgent::new(|message| match message.as_bytes().len() {
            0 => Urgency::AtOnce,
            _ => Urgency::CanWait,
        });
        assert_eq!(urgent.urgency(text("")), Urgency::AtOnce);
        assert_eq!(urgent.urgency(text("x")), Urgency::CanWait);
    }

    #[test]
    fn what_a_script_sends_is_never_shown() {
        let hooks = Hooks {
            ready: vec![
                ReadyStep::Send(Template::parse("login canary-1 ${next}").unwrap()),
                ReadyStep::Expect(Expect::contains("canary-2")),
            ],
            ..Hooks::default()
        };
        let shown = format!("{hooks:?}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("text_bytes: 15"), "{shown}");
    }
}
