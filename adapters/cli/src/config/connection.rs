//! What a file or the command line says of one connection.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use ropewalk_core::settings::{Overflow, ProcessorSettings};
use ropewalk_core::{
    Acknowledge, Coalesce, Config, Decode, Expect, Hooks, Invalid, InvalidKind, MessageRef, PerKey,
    ReadyStep, Resume, Settings, Target, Template,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::pointer::Pointer;
use super::processor::{ProcessorKeys, ProcessorPlan};
use super::reader::{Reader, Section};
use super::tls::{Tls, TlsKeys};
use crate::names::Names;

/// One connection, checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionPlan {
    /// What records and tables call it.
    pub(crate) name: String,
    /// In the order in which they are tried.
    pub(crate) urls: Vec<String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) subprotocols: Vec<String>,
    pub(super) subprotocol_required: bool,
    pub(super) ready: Vec<Step>,
    pub(super) resume: Option<ResumeKeys>,
    pub(super) format: Format,
    /// Where a message carries what it is about: a newer one replaces the waiting one.
    pub(super) coalesce: Option<String>,
    pub(super) acknowledge: Option<AcknowledgeKeys>,
    /// Of defaults, it may be one without a command.
    pub(super) processor: Option<ProcessorKeys>,
    pub(super) tls: Arc<Tls>,
    pub(super) settings: Settings,
}

/// A step of the ready script.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(
    untagged,
    expecting = "expected a text to send, or a table { expect = \"…\" }"
)]
pub(super) enum Step {
    Send(String),
    Expect(ExpectKeys),
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectKeys {
    /// A text that the reply contains.
    expect: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeKeys {
    /// Where a message carries its number.
    sequence: String,
    /// The number that the first session asks for.
    #[serde(default = "one")]
    start: u64,
}

/// Where requests and their replies carry what they have in common.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AcknowledgeKeys {
    request: String,
    reply: String,
}

fn one() -> u64 {
    1
}

/// What a message must be to be valid.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Anything.
    #[default]
    None,
    /// A text message.
    Text,
    /// A text or binary message that holds JSON.
    Json,
}

/// One URL or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a URL or a list of URLs")]
enum Urls {
    One(String),
    Several(Vec<String>),
}

/// Something that can be dialled: the parts that the library takes.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) target: Target,
    pub(crate) settings: Settings,
    pub(crate) hooks: Hooks,
}

/// A key with a value that cannot be, and what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    key: String,
    problem: String,
}

impl Refusal {
    pub(super) fn new(key: impl Into<String>, problem: impl Display) -> Self {
        Self {
            key: key.into(),
            problem: format!("is wrong: {problem}"),
        }
    }
}

/// Every `[[connection]]` of a document.
pub(super) fn read_all(
    reader: &Reader<'_>,
    names: &mut Names,
) -> Result<Vec<ConnectionPlan>, ConfigError> {
    let mut plans: Vec<ConnectionPlan> = Vec::new();
    for mut section in reader.connections()? {
        let mut plan = read_connection(&mut section, names)?;
        // Those that say the same share what is made of it: certificates, and sessions to resume.
        if let Some(same) = plans.iter().find(|other| other.tls.keys == plan.tls.keys) {
            plan.tls = Arc::clone(&same.tls);
        }
        match plan.checked_parts() {
            Ok(_) => plans.push(plan),
            Err(refusal) => return Err(section.refuse(&refusal.key, refusal.problem)),
        }
    }
    Ok(plans)
}

/// `[defaults]` alone.
pub(super) fn read_defaults(reader: &Reader<'_>) -> Result<ConnectionPlan, ConfigError> {
    read_common(&mut reader.defaults()?)
}

fn read_connection(
    section: &mut Section<'_>,
    names: &mut Names,
) -> Result<ConnectionPlan, ConfigError> {
    let name: Option<String> = section.take("name")?;
    let urls = match section.take("url")? {
        Some(Urls::One(url)) => vec![url],
        Some(Urls::Several(urls)) if !urls.is_empty() => urls,
        Some(Urls::Several(_)) => return Err(section.refuse("url", "must not be an empty list")),
        None => return Err(section.refuse("url", "is missing: what to connect to")),
    };
    let name = match name {
        Some(name) if name.is_empty() => return Err(section.refuse("name", "must not be empty")),
        Some(name) if names.take(&name) => name,
        Some(name) => {
            let problem = format!("is wrong: another connection is called `{name}`");
            return Err(section.refuse("name", problem));
        }
        None => names.derive(&urls[0]),
    };
    let mut plan = ConnectionPlan {
        name,
        urls,
        ..read_common(section)?
    };
    if let Some(processor) = plan.processor.take_if(|keys| !keys.has_command()) {
        // What lies in the defaults may be for others.
        if section.has("processor") {
            let problem = "is missing: the program to run, and its arguments";
            return Err(section.refuse("processor.command", problem));
        }
        drop(processor);
        plan.settings.processor = ProcessorSettings::default();
    }
    Ok(plan)
}

fn read_common(section: &mut Section<'_>) -> Result<ConnectionPlan, ConfigError> {
    let mut plan = ConnectionPlan {
        name: String::new(),
        urls: Vec::new(),
        headers: section.take("headers")?.unwrap_or_default(),
        subprotocols: section.take("subprotocols")?.unwrap_or_default(),
        subprotocol_required: section.take("subprotocol_required")?.unwrap_or_default(),
        ready: section.take("ready")?.unwrap_or_default(),
        resume: section.take("resume")?,
        format: section.take_from("decode", "format")?.unwrap_or_default(),
        coalesce: section.take_from("outbound", "coalesce")?,
        acknowledge: section.take_from("outbound", "acknowledge")?,
        processor: section.take("processor")?,
        tls: Arc::new(Tls::new(
            section.take::<TlsKeys>("tls")?.unwrap_or_default(),
        )),
        settings: section.rest()?,
    };
    if let Some(processor) = &plan.processor {
        plan.settings.processor = processor.settings();
        if let Err(refusal) = processor.check() {
            return Err(section.refuse(&refusal.key, refusal.problem));
        }
    }
    // The defaults may need what only their connections say: where numbers and keys are found.
    let hooks = Hooks {
        coalesce: Some(Coalesce::new(|_| None)),
        per_key: Some(PerKey::new(|_| None::<()>)),
        ..Hooks::default()
    };
    match Config::new(plan.settings.clone(), hooks) {
        Ok(_) => Ok(plan),
        Err(error) => Err(section.refuse(&error.key, error.problem)),
    }
}

impl ConnectionPlan {
    /// A connection of the command line, with these defaults.
    pub(crate) fn to_url(&self, name: String, url: String) -> Self {
        Self {
            name,
            urls: vec![url],
            ..self.clone()
        }
    }

    /// The command that judges its messages, if there is one.
    pub(crate) fn processor(&self) -> Option<ProcessorPlan> {
        self.processor
            .as_ref()?
            .plan(&self.name, &self.settings.retry)
    }

    /// What the library takes, or what is wrong.
    pub(crate) fn parts(&self) -> Result<Parts, String> {
        self.checked_parts()
            .map_err(|refusal| format!("`{}`: `{}` {}", self.name, refusal.key, refusal.problem))
    }

    fn checked_parts(&self) -> Result<Parts, Refusal> {
        let hooks = self.hooks()?;
        let config =
            Config::new(self.settings.clone(), hooks.clone()).map_err(|error| Refusal {
                key: error.key,
                problem: error.problem.to_string(),
            })?;
        Ok(Parts {
            target: self.target()?,
            settings: config.settings().clone(),
            hooks,
        })
    }

    fn target(&self) -> Result<Target, Refusal> {
        let is_secure = |url: &String| {
            url.get(..6)
                .is_some_and(|s| s.eq_ignore_ascii_case("wss://"))
        };
        let tls = match self.urls.iter().any(is_secure) || self.tls.is_given() {
            true => Some(self.tls.config()?),
            false => None,
        };
        let mut target: Option<Target> = None;
        for (index, url) in self.urls.iter().enumerate() {
            let next = match target {
                Some(target) => target.or(url),
                None => match &tls {
                    Some(tls) => Target::parse_with_tls(url, tls.clone()),
                    None => Target::parse(url),
                },
            };
            let key = match self.urls.len() {
                1 => "url".to_owned(),
                _ => format!("url[{index}]"),
            };
            target = Some(next.map_err(|error| Refusal::new(key, error))?);
        }
        let mut target = target.ok_or_else(|| Refusal::new("url", "there is none"))?;
        for (name, value) in &self.headers {
            target = target
                .header(name, value)
                .map_err(|error| Refusal::new(format!("headers.{name}"), error))?;
        }
        for (index, name) in self.subprotocols.iter().enumerate() {
            target = target
                .subprotocol(name)
                .map_err(|error| Refusal::new(format!("subprotocols[{index}]"), error))?;
        }
        Ok(
            match (self.subprotocol_required, self.subprotocols.is_empty()) {
                (true, true) => {
                    let problem = "no `subprotocols` are offered";
                    return Err(Refusal::new("subprotocol_required", problem));
                }
                (true, false) => target.require_subprotocol(),
                (false, _) => target,
            },
        )
    }

    fn hooks(&self) -> Result<Hooks, Refusal> {
        let steps = self
            .ready
            .iter()
            .enumerate()
            .map(|(index, step)| match step {
                Step::Send(text) => Template::parse(text)
                    .map(ReadyStep::Send)
                    .map_err(|error| Refusal::new(format!("ready[{index}]"), error)),
                Step::Expect(keys) => Ok(ReadyStep::Expect(Expect::contains(keys.expect.as_str()))),
            });
        let resume = self.resume.as_ref().map(|keys| {
            Pointer::parse(&keys.sequence)
                .map(|pointer| {
                    Resume::new(keys.start, move |message| {
                        pointer.number_in(message.as_bytes())
                    })
                })
                .map_err(|error| Refusal::new("resume.sequence", error))
        });
        if self.coalesce.is_some() && self.settings.outbound.when_full != Overflow::Coalesce {
            let problem = "it needs `when_full = \"coalesce\"` beside it";
            return Err(Refusal::new("outbound.coalesce", problem));
        }
        Ok(Hooks {
            coalesce: match &self.coalesce {
                Some(text) => {
                    let pointer = pointer("outbound.coalesce", text)?;
                    Some(Coalesce::new(move |message| {
                        pointer.key_in(message.as_bytes())
                    }))
                }
                None => None,
            },
            acknowledge: match &self.acknowledge {
                Some(keys) => {
                    let request = pointer("outbound.acknowledge.request", &keys.request)?;
                    let reply = pointer("outbound.acknowledge.reply", &keys.reply)?;
                    Some(Acknowledge::new(
                        move |message| request.key_in(message.as_bytes()),
                        move |message| reply.key_in(message.as_bytes()),
                    ))
                }
                None => None,
            },
            per_key: match &self.processor {
                Some(processor) => processor.per_key()?,
                None => None,
            },
            ready: steps.collect::<Result<_, _>>()?,
            resume: resume.transpose()?,
            decode: match self.format {
                Format::None => None,
                Format::Text => Some(Decode::new(|message| match message.text() {
                    Ok(_) => Ok(()),
                    Err(error) => Err(Invalid::new(InvalidKind::WrongType, error.to_string())),
                })),
                Format::Json => Some(Decode::new(decode_json)),
            },
            ..Hooks::default()
        })
    }
}

fn pointer(key: &str, text: &str) -> Result<Pointer, Refusal> {
    Pointer::parse(text).map_err(|error| Refusal::new(key, error))
}

fn decode_json(message: MessageRef<'_>) -> Result<(), Invalid> {
    match serde_json::from_slice::<IgnoredAny>(message.as_bytes()) {
        Ok(IgnoredAny) => Ok(()),
        Err(error) => Err(format!("not JSON: {error}").into()),
    }
}
