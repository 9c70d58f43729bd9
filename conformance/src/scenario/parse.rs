//! The lines of a scenario.

use std::path::Path;

use ropewalk_core::Consumer;

use super::settings::SettingLines;
use super::{
    ConnectionPlan, Consuming, Need, Place, ReadyLine, Scenario, ScenarioError, server, story,
};
use crate::trace::{Aspect, Trace};
use crate::words::{Form, Word, words};

/// Words that begin a line of the expected trace.
const ASPECTS: [&str; 6] = [
    "trace", "received", "outcomes", "letters", "server", "report",
];

pub(super) fn scenario(file: &Path, text: &str) -> Result<Scenario, ScenarioError> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut reader = Reader {
        scenario: Scenario {
            name: name.into_owned(),
            title: String::new(),
            place: Place::Everywhere,
            connections: Vec::new(),
            story: Vec::new(),
            expected: Trace::default(),
        },
        settings: Vec::new(),
    };
    let fail = |line, problem| ScenarioError {
        file: file.to_owned(),
        line,
        problem,
    };
    for (index, line) in text.lines().enumerate() {
        reader
            .line(index + 1, line)
            .map_err(|problem| fail(index + 1, problem))?;
    }
    reader
        .finish()
        .map_err(|(line, problem)| fail(line, problem))
}

struct Reader {
    scenario: Scenario,
    /// One for each connection.
    settings: Vec<SettingLines>,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some((strand, tokens)) = strand_line(line) {
            return self.expectation(strand, tokens);
        }
        let line = words(line)?;
        let Some((first, rest)) = line.split_first() else {
            return Ok(());
        };
        let verb = first
            .plain()
            .ok_or("a line begins with a word, not a quote")?;
        match verb {
            "title" => self.scenario.title = text(rest, "a quoted title")?,
            "sim-only" => {
                self.scenario.place = Place::SimulatorOnly(text(rest, "a quoted reason")?);
            }
            "connection" => self.connection(number, rest)?,
            "header" => {
                let (plan, rest) = self.known(rest)?;
                let [name, value] = rest else {
                    return Err("expected `header CONNECTION \"NAME\" \"VALUE\"`".into());
                };
                plan.headers.push((quoted(name)?, quoted(value)?));
            }
            "subprotocol" => {
                let (plan, rest) = self.known(rest)?;
                for word in rest {
                    match word.plain() {
                        Some("required") => plan.subprotocol_need = Need::Required,
                        Some(name) => plan.subprotocols.push(name.into()),
                        None => return Err("a subprotocol is a word".into()),
                    }
                }
            }
            "ready" => self.ready(rest)?,
            "on" => server::line(&mut self.scenario.connections, rest)?,
            _ => {
                let action = story::action(&self.scenario, verb, rest)?;
                self.scenario.story.push(super::StoryStep {
                    line: number,
                    action,
                });
            }
        }
        Ok(())
    }

    fn connection(&mut self, line: usize, rest: &[Word]) -> Result<(), String> {
        let (name, rest) = rest.split_first().ok_or("a connection needs a name")?;
        let name = name.plain().ok_or("a connection's name is a word")?;
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(format!(
                "`{name}` is not a name of letters, digits and hyphens"
            ));
        }
        let known = self
            .scenario
            .connections
            .iter()
            .position(|p| p.name == name);
        let index = known.unwrap_or_else(|| {
            self.scenario.connections.push(new_plan(name));
            self.settings.push(SettingLines::new(line));
            self.settings.len() - 1
        });
        let plan = &mut self.scenario.connections[index];
        for word in rest {
            let word = word.plain().ok_or("a setting is `KEY=VALUE`")?;
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("`{word}` is not `KEY=VALUE`"))?;
            match key {
                "urls" => {
                    plan.endpoints = value
                        .parse()
                        .ok()
                        .filter(|n| (1..=9).contains(n))
                        .ok_or_else(|| format!("`{value}` is not a number of URLs from 1 to 9"))?;
                }
                "host" => plan.host = Some(value.into()),
                "at" => plan.shares = Some(value.into()),
                "invalid" => plan.invalid = Some(value.into()),
                "coalesce" => plan.coalesce = Some(value.into()),
                "acknowledge" => plan.acknowledge = Some(value.into()),
                "resume" => {
                    let start = value
                        .parse()
                        .map_err(|_| format!("`{value}` is not a number"))?;
                    plan.resume = Some(start);
                }
                "consumer" => match value {
                    "pull" => plan.consumer = Consumer::Pull,
                    "process" => plan.consumer = Consumer::Process,
                    "held" => plan.consuming = Consuming::Held,
                    _ => return Err(format!("`{value}` is none of pull, process, held")),
                },
                key => self.settings[index].push(line, key, value),
            }
        }
        Ok(())
    }

    fn ready(&mut self, rest: &[Word]) -> Result<(), String> {
        let (plan, rest) = self.known(rest)?;
        let usage =
            "expected `ready CONNECTION send \"TEXT\"` or `… expect \"TEXT\" [refused \"TEXT\"]`";
        let (verb, rest) = rest.split_first().ok_or(usage)?;
        let line = match (verb.plain(), rest) {
            (Some("send"), [template]) => {
                let template = quoted(template)?;
                ropewalk_core::Template::parse(&template).map_err(|error| error.to_string())?;
                ReadyLine::Send(template)
            }
            (Some("expect"), [wanted]) => ReadyLine::Expect(quoted(wanted)?, None),
            (Some("expect"), [wanted, refused, refusal]) if refused.plain() == Some("refused") => {
                ReadyLine::Expect(quoted(wanted)?, Some(quoted(refusal)?))
            }
            _ => return Err(usage.into()),
        };
        plan.ready.push(line);
        Ok(())
    }

    fn expectation(&mut self, strand: &str, tokens: &str) -> Result<(), String> {
        let (aspect, name) = strand
            .split_once(' ')
            .ok_or("expected `ASPECT CONNECTION:`")?;
        let (name, dial) = match name.split_once('#') {
            Some((name, dial)) => (name, Some(dial)),
            None => (name, None),
        };
        if self.scenario.connection(name).is_none() {
            return Err(format!("there is no connection `{name}`"));
        }
        let aspect = match (aspect, dial) {
            ("trace", None) => Aspect::States,
            ("received", None) => Aspect::Received,
            ("outcomes", None) => Aspect::Outcomes,
            ("letters", None) => Aspect::Letters,
            ("report", None) => Aspect::Report,
            ("server", Some(dial)) => Aspect::Server(
                dial.parse()
                    .map_err(|_| format!("`{dial}` is not a number"))?,
            ),
            _ => return Err(format!("`{strand}` names no strand of a trace")),
        };
        for token in tokens_of(tokens) {
            self.scenario.expected.push(name, aspect, token);
        }
        Ok(())
    }

    /// The plan of the connection that the first word names, and the words after it.
    fn known<'w>(&mut self, rest: &'w [Word]) -> Result<(&mut ConnectionPlan, &'w [Word]), String> {
        let (name, rest) = rest.split_first().ok_or("a connection's name is missing")?;
        let name = name.plain().ok_or("a connection's name is a word")?;
        let plan = self
            .scenario
            .connections
            .iter_mut()
            .find(|p| p.name == name);
        Ok((
            plan.ok_or_else(|| format!("there is no connection `{name}`"))?,
            rest,
        ))
    }

    fn finish(mut self) -> Result<Scenario, (usize, String)> {
        let scenario = &mut self.scenario;
        if scenario.title.is_empty() {
            return Err((0, "the scenario has no `title`".into()));
        }
        if scenario.connections.is_empty() {
            return Err((0, "the scenario has no `connection`".into()));
        }
        for (plan, lines) in scenario.connections.iter_mut().zip(&self.settings) {
            plan.settings = lines.settings()?;
            plan.config()
                .map_err(|problem| (lines.first_line(), problem))?;
            let simulated = plan.host.is_some() || plan.shares.is_some();
            if simulated && scenario.place == Place::Everywhere {
                let problem = "`host` and `at` need `sim-only` with a reason".into();
                return Err((lines.first_line(), problem));
            }
            server::check_place(plan, &scenario.place).map_err(|problem| (0, problem))?;
        }
        Ok(self.scenario)
    }
}

fn new_plan(name: &str) -> ConnectionPlan {
    ConnectionPlan {
        name: name.into(),
        settings: ropewalk_core::Settings::default(),
        endpoints: 1,
        host: None,
        shares: None,
        headers: Vec::new(),
        subprotocols: Vec::new(),
        subprotocol_need: Need::Optional,
        ready: Vec::new(),
        resume: None,
        invalid: None,
        coalesce: None,
        acknowledge: None,
        consumer: Consumer::Pull,
        consuming: Consuming::Yes,
        dials: Vec::new(),
    }
}

/// A line of the expected trace: `ASPECT NAME: TOKEN…`.
fn strand_line(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (strand, tokens) = line.split_once(':')?;
    let (aspect, name) = strand.split_once(' ')?;
    (ASPECTS.contains(&aspect) && !name.contains(' ')).then_some((strand, tokens))
}

/// Cuts the tokens of a trace at white space outside of quotes.
fn tokens_of(line: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    let (mut in_quotes, mut escaped) = (false, false);
    for c in line.chars() {
        if c.is_whitespace() && !in_quotes {
            if !token.is_empty() {
                tokens.push(std::mem::take(&mut token));
            }
            continue;
        }
        if c == '"' && !escaped {
            in_quotes = !in_quotes;
        }
        escaped = c == '\\' && !escaped;
        token.push(c);
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    tokens
}

/// The text of a word in quotes.
pub(super) fn quoted(word: &Word) -> Result<String, String> {
    match word.form {
        Form::Quoted => String::from_utf8(word.bytes.clone()).map_err(|_| "not UTF-8".into()),
        Form::Plain => Err("expected text in quotes".into()),
    }
}

/// The text of the only word of a line's rest.
pub(super) fn text(rest: &[Word], what: &str) -> Result<String, String> {
    match rest {
        [word] => quoted(word).map_err(|_| format!("expected {what}")),
        _ => Err(format!("expected {what} and nothing else")),
    }
}
