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

/// Whether a whole text is UTF-8.
pub(crate) fn is_utf8(text: &[u8]) -> bool {
    simdutf8::basic::from_utf8(text).is_ok()
}

/// The text is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Utf8Progress {
    /// Checks `text` after `grown_by` bytes were appended to it.
    pub(crate) fn grow(&mut self, text: &[u8], grown_by: usize) -> Result<(), NotUtf8> {
        let unchecked = usize::from(self.unfinished) + grown_by;
        let tail = &text[text.len() - unchecked..];
        self.unfinished = match simdutf8::compat::from_utf8(tail) {
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
