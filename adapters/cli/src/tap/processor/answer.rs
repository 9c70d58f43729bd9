//! What a child answers: one verdict a line.

use std::time::Duration;

use serde::Deserialize;

/// A line of a child, understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) seq: u64,
    pub(super) opinion: Opinion,
    pub(super) reason: Option<String>,
}

/// What a child thinks of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Opinion {
    Ack,
    Retry { after: Option<Duration> },
    Reject,
}

/// A line that is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Nonsense {
    #[error("`{line}` is no verdict: {problem}")]
    Unreadable { line: String, problem: String },
    #[error("message {0} was not asked about")]
    Unasked(u64),
    #[error("message {0} had a verdict already")]
    Twice(u64),
    #[error("a line is longer than {LINE_MAX} bytes")]
    TooLong,
    #[error("it spoke without being asked")]
    Unprompted,
}

/// Longer lines are nonsense, in bytes.
pub(super) const LINE_MAX: usize = 64 << 10;

/// How much of a bad line is shown, in characters.
const SHOWN_MAX: usize = 80;

/// The line's object. It may have other keys too, such as those of the message.
#[derive(Deserialize)]
struct Line {
    seq: u64,
    verdict: Word,
    after_ms: Option<f64>,
    reason: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Ack,
    Retry,
    Reject,
}

impl Answer {
    /// Reads a line without its end.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Nonsense> {
        let unreadable = |problem: String| Nonsense::Unreadable {
            line: shown(line),
            problem,
        };
        let Line {
            seq,
            verdict,
            after_ms,
            reason,
        } = serde_json::from_slice(line).map_err(|error| unreadable(error.to_string()))?;
        let after = after_ms
            .map(|millis| Duration::try_from_secs_f64(millis / 1e3))
            .transpose()
            .map_err(|_| unreadable("`after_ms` is no time to wait".to_owned()))?;
        Ok(Self {
            seq,
            opinion: match verdict {
                Word::Ack => Opinion::Ack,
                Word::Retry => Opinion::Retry { after },
                Word::Reject => Opinion::Reject,
            },
            reason,
        })
    }
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut start: String = text.chars().take(SHOWN_MAX).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion(line: &str) -> Option<Opinion> {
        Some(Answer::parse(line.as_bytes()).ok()?.opinion)
    }

    #[test]
    fn a_line_is_a_verdict_on_a_message() {
        let retry = |after| Some(Opinion::Retry { after });
        let table = [
            (r#"{"seq":1,"verdict":"ack"}"#, Some(Opinion::Ack)),
            (r#"{"seq":1,"verdict":"reject"}"#, Some(Opinion::Reject)),
            (r#"{"seq":1,"verdict":"retry"}"#, retry(None)),
            (
                r#"{"seq":1,"verdict":"retry","after_ms":1500}"#,
                retry(Some(Duration::from_millis(1500))),
            ),
            (
                r#"{"seq":1,"verdict":"retry","after_ms":0.5}"#,
                retry(Some(Duration::from_micros(500))),
            ),
            (
                r#"{"seq":1,"verdict":"retry","after_ms":null}"#,
                retry(None),
            ),
            (
                "{\"type\":\"text\",\"seq\":1,\"verdict\":\"ack\"}\r",
                Some(Opinion::Ack),
            ),
            (r#"{"seq":1,"verdict":"retry","after_ms":-1}"#, None),
            (r#"{"seq":1,"verdict":"retry","after_ms":"1"}"#, None),
            (r#"{"seq":1,"verdict":"nack"}"#, None),
            (r#"{"seq":1}"#, None),
            (r#"{"verdict":"ack"}"#, None),
            (r#"{"seq":"1","verdict":"ack"}"#, None),
            (r#"{"seq":1,"seq":2,"verdict":"ack"}"#, None),
            (r#"{"seq":1,"verdict":"ack"} x"#, None),
            ("[1]", None),
            ("ack", None),
            ("", None),
        ];
        for (line, expected) in table {
            assert_eq!(opinion(line), expected, "{line}");
        }
        let answer = Answer::parse(br#"{"seq":7,"verdict":"reject","reason":"too old"}"#).unwrap();
        assert_eq!((answer.seq, answer.reason.as_deref()), (7, Some("too old")));
    }

    #[test]
    fn a_bad_line_is_shown_in_part() {
        let long = format!("\u{1b}{}", "x".repeat(1000));
        let told = Answer::parse(long.as_bytes()).unwrap_err().to_string();
        assert!(
            told.starts_with("`\\u{1b}xxx") && told.len() < 200,
            "{told}"
        );
    }
}
