//! Standard input, line by line, no faster than lines are taken.

use std::io::{self, BufRead, Read};
use std::thread;

use smol::channel::{Receiver, bounded};

/// The longest line, in bytes.
const LINE_MAX: u64 = 16 << 20;

/// A line of the input, without its end.
#[derive(Debug)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) text: String,
}

/// Why no further line is read.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("line {0} is longer than {max} bytes", max = LINE_MAX)]
    TooLong(u64),
    #[error("line {0} is not UTF-8")]
    NotText(u64),
    #[error("cannot read line {0}: {1}")]
    Read(u64, #[source] io::Error),
}

/// Reads `input` on a thread of its own, which holds one line more than was taken.
pub(super) fn lines(
    input: impl Read + Send + 'static,
) -> io::Result<Receiver<Result<Line, InputError>>> {
    let (sender, receiver) = bounded(1);
    thread::Builder::new()
        .name("ropewalk-input".into())
        .spawn(move || {
            let mut input = io::BufReader::new(input);
            for number in 1.. {
                let Some(line) = read_line(&mut input, number).transpose() else {
                    return;
                };
                let is_last = line.is_err();
                if sender.send_blocking(line).is_err() || is_last {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// The next line; `None` at the end of the input.
fn read_line(input: &mut impl BufRead, number: u64) -> Result<Option<Line>, InputError> {
    let mut line = Vec::new();
    // With the longest ending, `\r\n`.
    let read = input.take(LINE_MAX + 2).read_until(b'\n', &mut line);
    match read.map_err(|error| InputError::Read(number, error))? {
        0 => return Ok(None),
        _ if line.ends_with(b"\r\n") => line.truncate(line.len() - 2),
        _ if line.ends_with(b"\n") => line.truncate(line.len() - 1),
        _ => {}
    }
    if line.len() as u64 > LINE_MAX {
        return Err(InputError::TooLong(number));
    }
    match String::from_utf8(line) {
        Ok(text) => Ok(Some(Line { number, text })),
        Err(_) => Err(InputError::NotText(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: impl Read + Send + 'static) -> (Vec<String>, Option<String>) {
        let receiver = lines(input).unwrap();
        let mut texts = Vec::new();
        while let Ok(line) = receiver.recv_blocking() {
            match line {
                Ok(line) => {
                    assert_eq!(line.number, texts.len() as u64 + 1);
                    texts.push(line.text);
                }
                Err(error) => return (texts, Some(error.to_string())),
            }
        }
        (texts, None)
    }

    #[test]
    fn lines_end_as_they_do_on_any_system_and_the_last_need_not() {
        let (texts, error) = read(&b"a\nb\r\n\n\r\nc\rd"[..]);
        assert_eq!(texts, ["a", "b", "", "", "c\rd"]);
        assert_eq!(error, None);
        assert_eq!(read(&b""[..]), (vec![], None));
    }

    #[test]
    fn what_cannot_be_a_message_is_named_by_its_line() {
        let (texts, error) = read(&b"a\n\xff\nb\n"[..]);
        assert_eq!(texts, ["a"]);
        assert_eq!(error.as_deref(), Some("line 2 is not UTF-8"));

        let longest = || io::repeat(b'x').take(LINE_MAX);
        let input = longest()
            .chain(&b"\r\n"[..])
            .chain(longest())
            .chain(&b"x\n"[..]);
        let (texts, error) = read(input);
        assert_eq!(texts.len(), 1);
        assert_eq!(
            error.as_deref(),
            Some("line 2 is longer than 16777216 bytes")
        );
    }
}
