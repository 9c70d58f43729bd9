//! `KEY=VALUE` on a connection's lines: the keys of the configuration file.

use ropewalk_core::Settings;

/// What a scenario's connections have unless it says otherwise: waits short enough for a test over sockets, and long
/// enough that a server that refused a dial listens again before the next.
const DEFAULTS: [(&str, &str); 9] = [
    ("backoff.initial", "100ms"),
    ("backoff.floor", "100ms"),
    ("backoff.first_max", "100ms"),
    ("backoff.max", "150ms"),
    ("backoff.flap_max", "200ms"),
    ("backoff.factor", "1.0"),
    ("timeouts.close", "500ms"),
    ("timeouts.flush_before_close", "200ms"),
    ("batch.linger", "1ms"),
];

/// The settings of one connection, as they were written.
#[derive(Debug)]
pub(super) struct SettingLines {
    first_line: usize,
    given: Vec<(usize, String, String)>,
}

impl SettingLines {
    /// No setting yet; the connection's first line is this.
    pub(super) fn new(first_line: usize) -> Self {
        Self {
            first_line,
            given: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, line: usize, key: &str, value: &str) {
        match (key, value.split_once('/')) {
            ("keepalive", Some((interval, timeout))) => {
                self.set(line, "keepalive.interval", interval);
                self.set(line, "keepalive.timeout", timeout);
            }
            _ => self.set(line, key, value),
        }
    }

    fn set(&mut self, line: usize, key: &str, value: &str) {
        self.given.retain(|(_, known, _)| known != key);
        self.given.push((line, key.into(), value.into()));
    }

    /// The line to blame for what the settings do wrong together.
    pub(super) fn first_line(&self) -> usize {
        self.first_line
    }

    /// Reads the settings; an error names the line of the setting at fault.
    pub(super) fn settings(&self) -> Result<Settings, (usize, String)> {
        let mut text = String::new();
        for (key, value) in DEFAULTS {
            if !self.given.iter().any(|(_, given, _)| given == key) {
                text.push_str(&toml_line(key, value));
            }
        }
        for (line, key, value) in &self.given {
            // Each by itself first, so that the error can name its line.
            let one = toml_line(key, value);
            toml::from_str::<Settings>(&one)
                .map_err(|error| (*line, format!("`{key}={value}`: {}", error.message())))?;
            text.push_str(&one);
        }
        toml::from_str(&text).map_err(|error| (self.first_line, error.message().to_owned()))
    }
}

fn toml_line(key: &str, value: &str) -> String {
    let is_bare = value.parse::<f64>().is_ok()
        || value == "true"
        || value == "false"
        || value.starts_with('[');
    if is_bare {
        format!("{key} = {value}\n")
    } else {
        format!("{key} = \"{value}\"\n")
    }
}
