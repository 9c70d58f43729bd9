//! Lines of a scenario, cut into words.

/// A word of a line: plain, or a quoted string with its escapes resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The bytes; those of a plain word are UTF-8.
    pub(crate) bytes: Vec<u8>,
    /// Whether it stood in quotes.
    pub(crate) form: Form,
}

/// How a word was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Without quotes.
    Plain,
    /// In quotes, perhaps followed by `*N`.
    Quoted,
}

impl Word {
    /// The text of a plain word.
    pub(crate) fn plain(&self) -> Option<&str> {
        match self.form {
            Form::Plain => std::str::from_utf8(&self.bytes).ok(),
            Form::Quoted => None,
        }
    }
}

/// Cuts a line into words at white space; `#` at the start of a word begins a comment.
///
/// A quoted string knows `\n`, `\r`, `\t`, `\\`, `\"` and `\xNN`, and `"ab"*3` is `"ababab"`.
pub(crate) fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let word;
        if let Some(quoted) = rest.strip_prefix('"') {
            (word, rest) = quoted_word(quoted)?;
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            word = Word {
                bytes: rest.as_bytes()[..end].to_vec(),
                form: Form::Plain,
            };
            rest = &rest[end..];
        }
        words.push(word);
        rest = rest.trim_start();
    }
    Ok(words)
}

/// Reads the string whose opening quote was just before `text`; returns it and what follows.
fn quoted_word(text: &str) -> Result<(Word, &str), String> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices();
    let end = loop {
        match chars.next() {
            None => return Err("a quote is not closed".into()),
            Some((at, '"')) => break at,
            Some((_, '\\')) => match chars.next().map(|(_, c)| c) {
                Some('n') => bytes.push(b'\n'),
                Some('r') => bytes.push(b'\r'),
                Some('t') => bytes.push(b'\t'),
                Some('\\') => bytes.push(b'\\'),
                Some('"') => bytes.push(b'"'),
                Some('x') => {
                    let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                    bytes.push(hex_byte(&digits)?);
                }
                Some(other) => return Err(format!("unknown escape `\\{other}`")),
                None => return Err("a quote is not closed".into()),
            },
            Some((_, c)) => {
                let mut utf8 = [0; 4];
                bytes.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            }
        }
    };
    let mut rest = &text[end + 1..];
    if let Some(times) = rest.strip_prefix('*') {
        let end = times.find(char::is_whitespace).unwrap_or(times.len());
        let count: usize = times[..end]
            .parse()
            .map_err(|_| format!("`{}` is not a number of repetitions", &times[..end]))?;
        bytes = bytes.repeat(count);
        rest = &times[end..];
    }
    if rest.starts_with(|c: char| !c.is_whitespace()) {
        return Err("a quote is followed by something else than white space".into());
    }
    let form = Form::Quoted;
    Ok((Word { bytes, form }, rest))
}

/// Reads bytes from words of hexadecimal digits, two a byte.
pub(crate) fn hex(words: &[Word]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for word in words {
        match word.form {
            Form::Quoted => bytes.extend_from_slice(&word.bytes),
            Form::Plain => {
                for pair in word.bytes.chunks(2) {
                    bytes.push(hex_byte(&String::from_utf8_lossy(pair))?);
                }
            }
        }
    }
    Ok(bytes)
}

fn hex_byte(digits: &str) -> Result<u8, String> {
    if digits.len() != 2 {
        return Err(format!(
            "`{digits}` is not a byte of two hexadecimal digits"
        ));
    }
    u8::from_str_radix(digits, 16)
        .map_err(|_| format!("`{digits}` is not a byte of two hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<Vec<u8>> {
        words(line).unwrap().into_iter().map(|w| w.bytes).collect()
    }

    #[test]
    fn quotes_escapes_repetition_and_comments_are_understood() {
        assert_eq!(
            texts(r#"  send text "a \"b\"\x00" "ab"*3  # the rest"#),
            [
                b"send".to_vec(),
                b"text".to_vec(),
                b"a \"b\"\0".to_vec(),
                b"ababab".to_vec()
            ]
        );
        assert!(words("# only a comment").unwrap().is_empty());
    }

    #[test]
    fn malformed_quotes_are_refused() {
        for line in [r#""open"#, r#""a\q""#, r#""a"b"#, r#""a"*x"#, r#""\x4""#] {
            assert!(words(line).is_err(), "{line}");
        }
    }

    #[test]
    fn hexadecimal_words_and_quotes_make_bytes() {
        let line = words(r#"81 85aa "xy""#).unwrap();
        assert_eq!(hex(&line).unwrap(), [0x81, 0x85, 0xaa, b'x', b'y']);
        assert!(hex(&words("8").unwrap()).is_err());
    }
}
