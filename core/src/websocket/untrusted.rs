//! Text from the peer, made safe to print.

use std::fmt::{self, Write};

/// Writes `text` with every character escaped that could move a cursor, change a colour or reorder
/// a line. Quotes and backslashes stay as they are: this is for people to read, not to parse again.
pub(crate) fn write_escaped(out: &mut impl Write, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            write!(out, "{}", c.escape_default())?;
        } else {
            out.write_char(c)?;
        }
    }
    Ok(())
}

/// At most `bytes_max` bytes of `bytes`, decoded as far as they are UTF-8 and escaped.
pub(crate) fn excerpt(bytes: &[u8], bytes_max: usize) -> Box<str> {
    let bytes = &bytes[..bytes.len().min(bytes_max)];
    let mut out = String::with_capacity(bytes.len());
    write_escaped(&mut out, &String::from_utf8_lossy(bytes))
        .expect("writing to a String does not fail");
    out.into_boxed_str()
}

/// The longest prefix of `text` that has at most `bytes_max` bytes and ends between characters.
pub(crate) fn prefix(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Line separators, direction overrides and zero-width characters.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_escaped_and_the_rest_kept() {
        assert_eq!(
            &*excerpt("é \"x\" \u{1b}[2J\r\n\u{9b}\u{202e}".as_bytes(), 256),
            "é \"x\" \\u{1b}[2J\\r\\n\\u{9b}\\u{202e}"
        );
        assert_eq!(&*excerpt(b"\xff<html>", 3), "\u{fffd}<h");
    }

    #[test]
    fn a_prefix_never_cuts_a_character() {
        assert_eq!(prefix("aé", 2), "a");
        assert_eq!(prefix("aé", 3), "aé");
        assert_eq!(prefix("aé", 9), "aé");
    }
}
