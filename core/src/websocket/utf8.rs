//! UTF-8 that arrives in pieces.

/// How far a text that grows at its end has been checked.
///
/// The text itself lives with its owner; all that is kept here is how many of its last bytes, at most
/// three, begin a character whose end has not arrived. The verdict after each byte is that of
/// [`std::str::from_utf8`] on the text so far, so invalid text is refused at its first offending byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Utf8Progress {
    unfinished: u8,
}

/// The text is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Utf8Progress {
    /// Checks `text` after `grown_by` bytes were appended to it.
    pub(crate) fn grow(&mut self, text: &[u8], grown_by: usize) -> Result<(), NotUtf8> {
        let unchecked = usize::from(self.unfinished) + grown_by;
        let tail = &text[text.len() - unchecked..];
        self.unfinished = match std::str::from_utf8(tail) {
            Ok(_) => 0,
            Err(error) if error.error_len().is_some() => return Err(NotUtf8),
            Err(error) => u8::try_from(tail.len() - error.valid_up_to())
                .expect("a character that may still become valid has at most three bytes"),
        };
        Ok(())
    }

    /// Checks that the text ends where a character ends, and is ready for the next text.
    pub(crate) fn finish(&mut self) -> Result<(), NotUtf8> {
        match std::mem::take(&mut self.unfinished) {
            0 => Ok(()),
            _ => Err(NotUtf8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` byte by byte: the number of bytes accepted, and whether it may end there.
    fn byte_by_byte(text: &[u8]) -> (usize, bool) {
        let mut progress = Utf8Progress::default();
        for end in 1..=text.len() {
            if progress.grow(&text[..end], 1).is_err() {
                return (end - 1, false);
            }
        }
        (text.len(), progress.finish().is_ok())
    }

    /// The same from the standard library, one whole prefix at a time.
    fn by_std(text: &[u8]) -> (usize, bool) {
        let refused = |end: &usize| {
            std::str::from_utf8(&text[..*end]).is_err_and(|error| error.error_len().is_some())
        };
        match (1..=text.len()).find(refused) {
            Some(end) => (end - 1, false),
            None => (text.len(), std::str::from_utf8(text).is_ok()),
        }
    }

    #[test]
    fn every_string_of_one_and_two_bytes_is_judged_as_std_judges_it() {
        for text in 0..=u16::MAX {
            let text = text.to_be_bytes();
            assert_eq!(byte_by_byte(&text), by_std(&text), "{text:02x?}");
            assert_eq!(byte_by_byte(&text[..1]), by_std(&text[..1]), "{text:02x?}");
        }
    }

    #[test]
    fn three_and_four_byte_sequences_are_judged_as_std_judges_them_at_every_edge() {
        // The bytes at which any rule of the table in RFC 3629 §4 changes, each with its neighbours.
        const EDGES: [u8; 29] = [
            0x00, 0x41, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xa1, 0xbf, 0xc0, 0xc1,
            0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8,
            0xff,
        ];
        for lead in 0xe0..=0xff {
            for second in EDGES {
                for third in EDGES {
                    let text = [lead, second, third];
                    assert_eq!(byte_by_byte(&text), by_std(&text), "{text:02x?}");
                    for fourth in [0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xff] {
                        let text = [lead, second, third, fourth];
                        assert_eq!(byte_by_byte(&text), by_std(&text), "{text:02x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_three_byte_sequence_with_a_three_byte_lead_is_judged_as_std_judges_it() {
        for lead in 0xe0..=0xef {
            for rest in 0..=u16::MAX {
                let [second, third] = rest.to_be_bytes();
                let text = [lead, second, third];
                let mut progress = Utf8Progress::default();
                let verdict = progress
                    .grow(&text[..2], 2)
                    .and_then(|()| progress.grow(&text, 1))
                    .and_then(|()| progress.finish());
                assert_eq!(
                    verdict.is_ok(),
                    std::str::from_utf8(&text).is_ok(),
                    "{text:02x?}"
                );
            }
        }
    }
}
