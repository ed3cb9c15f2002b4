//! The last bytes of an output stream. Must stay bounded, whatever is written.

use std::collections::VecDeque;

/// How much of each stream is kept: enough for a panic message with its backtrace.
pub(super) const TAIL_BYTES: usize = 16 * 1024;

/// The last [`TAIL_BYTES`] of a stream. Allocates nothing until the first byte.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.0.len() + bytes.len()).saturating_sub(TAIL_BYTES);
        self.0.drain(..excess);
        self.0.extend(bytes);
    }

    /// The bytes as text; what is no UTF-8 is replaced.
    pub(super) fn text(&mut self) -> String {
        let mut bytes: &[u8] = self.0.make_contiguous();
        if bytes.len() == TAIL_BYTES {
            // The ring may begin in the middle of a character.
            let cut = bytes.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
            bytes = &bytes[cut..];
        }
        let text = String::from_utf8_lossy(bytes);
        // A replacement character is longer than the byte it stands for.
        let start = text.len().saturating_sub(TAIL_BYTES);
        let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text[start..].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_bytes_only() {
        let mut tail = Tail::default();
        tail.push(&vec![b'a'; TAIL_BYTES - 1]);
        tail.push(b"bc");
        assert_eq!(tail.0.len(), TAIL_BYTES);
        assert!(tail.text().ends_with("aabc"));
        tail.push(&vec![b'd'; 3 * TAIL_BYTES]);
        assert_eq!(tail.text(), "d".repeat(TAIL_BYTES));
    }

    #[test]
    fn the_text_is_bounded_and_begins_with_a_whole_character() {
        let mut tail = Tail::default();
        tail.push("€".repeat(TAIL_BYTES).as_bytes());
        let text = tail.text();
        assert!(text.chars().all(|char| char == '€'), "{:?}", text.chars().next());
        assert!(text.len() > TAIL_BYTES - 3);
        tail.push(&vec![0xFF; TAIL_BYTES]);
        assert!(tail.text().len() <= TAIL_BYTES);
        assert!(tail.text().chars().all(|char| char == char::REPLACEMENT_CHARACTER));
    }
}
