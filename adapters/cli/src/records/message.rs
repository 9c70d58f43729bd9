//! Messages as JSON lines.

use std::io::Write;

use data_encoding::BASE64;
use ropewalk_core::{Kind, MessageRef};

use super::Clock;

/// Writes the messages of one connection.
#[derive(Clone)]
pub(crate) struct MessageRecords {
    /// Everything up to the generation: the same in every record.
    head: Vec<u8>,
    clock: Clock,
}

impl MessageRecords {
    /// The records of the connection of this name.
    pub(crate) fn new(name: &str, clock: Clock) -> Self {
        let mut head = b"{\"connection\":".to_vec();
        write_string(name, &mut head);
        head.extend_from_slice(b",\"generation\":");
        Self { head, clock }
    }

    /// Appends one line.
    pub(crate) fn write(&mut self, generation: u32, message: MessageRef<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        write_number(u64::from(generation), out);
        out.extend_from_slice(b",\"seq\":");
        write_number(message.seq(), out);
        out.extend_from_slice(b",\"received_at\":\"");
        self.clock.write(message.received_at(), out);
        match (message.kind(), message.text()) {
            (Kind::Text, Ok(text)) => {
                out.extend_from_slice(b"\",\"type\":\"text\",\"data\":");
                write_string(text, out);
            }
            (Kind::Text | Kind::Binary, _) => {
                out.extend_from_slice(b"\",\"type\":\"binary\",\"data\":\"");
                write_base64(message.as_bytes(), out);
                out.push(b'"');
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    write!(out, "{number}").expect("a vector takes everything");
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is JSON and a vector takes everything");
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + BASE64.encode_len(bytes.len()), 0);
    BASE64.encode_mut(bytes, &mut out[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk_core::Instant;
    use serde_json::{Value, json};
    use std::time::{Duration, UNIX_EPOCH};

    fn record(kind: Kind, payload: &[u8]) -> String {
        let clock = Clock::new(UNIX_EPOCH + Duration::from_secs(1_798_761_599));
        let at = Instant::from_nanos(1_234_567);
        let mut out = Vec::new();
        MessageRecords::new("a \"b\"", clock).write(
            3,
            MessageRef::new(kind, payload, u64::MAX, at),
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_text_message_is_one_line_of_json() {
        let line = record(Kind::Text, "\u{1}\"\\\n\u{e9}\u{1f600}".as_bytes());
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(
            serde_json::from_str::<Value>(&line).unwrap(),
            json!({
                "connection": "a \"b\"",
                "generation": 3,
                "seq": u64::MAX,
                "received_at": "2026-12-31T23:59:59.001234Z",
                "type": "text",
                "data": "\u{1}\"\\\n\u{e9}\u{1f600}",
            })
        );
    }

    #[test]
    fn a_binary_message_is_in_base64() {
        for (payload, data) in [(&b""[..], ""), (b"\0", "AA=="), (b"\xff\xfe\xfd", "//79")] {
            let record: Value = serde_json::from_str(&record(Kind::Binary, payload)).unwrap();
            assert_eq!(record["type"], "binary");
            assert_eq!(record["data"], data);
        }
    }
}
