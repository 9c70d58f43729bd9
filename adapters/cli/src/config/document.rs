//! A TOML document that knows on which line each of its keys stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table};

use super::error::{ConfigError, Place};

/// A file's contents.
#[derive(Debug)]
pub(crate) struct Document {
    file: PathBuf,
    /// From a key's path, such as `connection[0].backoff.max`, to its line.
    lines: BTreeMap<String, usize>,
    table: Table,
}

impl Document {
    /// Reads a file.
    pub(crate) fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(file, &text)
    }

    /// Reads the text of a file.
    pub(crate) fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let syntax = |error: &toml::de::Error| ConfigError::Syntax {
            place: Place {
                file: file.to_owned(),
                line: line_at(text, error.span().map_or(0, |span| span.start)),
            },
            problem: error.message().to_owned(),
        };
        let spanned = DeTable::parse(text).map_err(|error| syntax(&error))?;
        let table = toml::from_str(text).map_err(|error| syntax(&error))?;
        let mut lines = BTreeMap::new();
        note_table(text, "", spanned.get_ref(), &mut lines);
        Ok(Self {
            file: file.to_owned(),
            lines,
            table,
        })
    }

    /// The values.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Whether the file itself has this key.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.lines.contains_key(path)
    }

    /// Where a key stands; for one that the file does not have, where the innermost table or list around it does.
    pub(crate) fn place(&self, path: &str) -> Place {
        let mut around = path;
        let line = loop {
            if let Some(line) = self.lines.get(around) {
                break *line;
            }
            match around.rfind(['.', '[']) {
                Some(end) => around = &around[..end],
                None => break 1,
            }
        };
        Place {
            file: self.file.clone(),
            line,
        }
    }
}

fn note_table(text: &str, path: &str, table: &DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = match path {
            "" => key.get_ref().to_string(),
            path => format!("{path}.{}", key.get_ref()),
        };
        lines.insert(path.clone(), line_at(text, key.span().start));
        note_value(text, &path, value, lines);
    }
}

fn note_value(
    text: &str,
    path: &str,
    value: &Spanned<DeValue<'_>>,
    lines: &mut BTreeMap<String, usize>,
) {
    match value.get_ref() {
        DeValue::Table(table) => note_table(text, path, table, lines),
        DeValue::Array(array) => {
            for (index, item) in array.iter().enumerate() {
                let path = format!("{path}[{index}]");
                lines.insert(path.clone(), line_at(text, item.span().start));
                note_value(text, &path, item, lines);
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "runtime = \"smol\"\n\n[defaults.backoff]\nmax = \"1s\"\n\n[[connection]]\nurl = [\n  \"ws://a\",\n  \"ws://b\",\n]\nkeepalive = { interval = \"1s\" }\n\n[[connection]]\nurl = \"ws://c\"\n";

    #[test]
    fn every_key_has_its_line() {
        let document = Document::parse(Path::new("f.toml"), TEXT).unwrap();
        let table = [
            ("runtime", 1),
            ("defaults.backoff", 3),
            ("defaults.backoff.max", 4),
            ("connection[0]", 6),
            ("connection[0].url", 7),
            ("connection[0].url[1]", 9),
            ("connection[0].keepalive.interval", 11),
            ("connection[1].url", 14),
            ("connection[1].backoff.max", 13),
            ("nothing.like.it", 1),
        ];
        for (path, line) in table {
            assert_eq!(document.place(path).line, line, "{path}");
        }
        assert!(document.has("connection[0].url") && !document.has("connection[1].backoff"));
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let error = Document::parse(Path::new("f.toml"), "a = 1\nb = \n").unwrap_err();
        assert!(error.to_string().starts_with("f.toml:2: "), "{error}");
        let error = Document::parse(Path::new("f.toml"), "a = 1\nc = 2\na = 3\n").unwrap_err();
        assert!(error.to_string().starts_with("f.toml:3: "), "{error}");
    }
}
