//! From the bytes of an output stream to lines that are fit for a log.
//!
//! It owns the line that is not complete yet. Must keep no more than one line of [`LINE_BYTES`], and let nothing
//! through by which a worker could forge or colour a line of the log.

use super::gate::Gate;

/// How much of a line is kept; the rest of it is cut off.
pub(super) const LINE_BYTES: usize = 8 * 1024;

/// What a line ends in that was cut.
const CUT_MARK: &str = "… (cut)";

/// Lines that may pass into the log.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<String>,
    /// How many were dropped before them.
    pub(super) dropped: u64,
}

/// Splits one stream into lines. Allocates nothing until a line comes in parts.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of the line that is not complete yet.
    partial: Vec<u8>,
    /// More of that line came than is kept.
    is_cut: bool,
}

impl Lines {
    /// Takes what was read; the lines that it completes go into the batch as far as the gate lets them.
    pub(super) fn push(&mut self, mut bytes: &[u8], gate: &mut Gate, batch: &mut Batch) {
        while gate.is_open()
            && let Some(end) = bytes.iter().position(is_newline)
        {
            let line = self.complete(&bytes[..end]);
            batch.dropped += gate.pass();
            batch.lines.push(line);
            bytes = &bytes[end + 1..];
        }
        // Lines beyond the limit are only counted: a flood must not cost more than its reading.
        if let Some(end) = bytes.iter().rposition(is_newline) {
            let (lines, rest) = bytes.split_at(end + 1);
            gate.drop_lines(lines.iter().filter(|byte| is_newline(byte)).count() as u64);
            self.clear();
            bytes = rest;
        }
        self.keep(bytes);
    }

    /// The same for a last line without an end.
    pub(super) fn finish(&mut self, gate: &mut Gate, batch: &mut Batch) {
        if self.partial.is_empty() {
            return;
        }
        if gate.is_open() {
            batch.dropped += gate.pass();
            batch.lines.push(self.complete(&[]));
        } else {
            gate.drop_lines(1);
            self.clear();
        }
    }

    /// The line that ends with these bytes.
    fn complete(&mut self, end: &[u8]) -> String {
        if self.partial.is_empty() && end.len() <= LINE_BYTES {
            return text(end, false);
        }
        self.keep(end);
        let line = text(&self.partial, self.is_cut);
        self.clear();
        line
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES - self.partial.len();
        self.is_cut |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn clear(&mut self) {
        self.partial.clear();
        self.is_cut = false;
    }
}

fn is_newline(byte: &u8) -> bool {
    *byte == b'\n'
}

/// A line as text of at most [`LINE_BYTES`], mark aside. What is no UTF-8 is replaced; what a terminal or a viewer
/// would act on is escaped as in Rust's literals (`\u{1b}`). A tab stays.
fn text(line: &[u8], is_cut: bool) -> String {
    let line = if is_cut { without_half_a_character(line) } else { line.strip_suffix(b"\r").unwrap_or(line) };
    let mut text = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        let replaced = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        for char in chunk.valid().chars().chain(replaced) {
            let start = text.len();
            if is_active(char) {
                text.extend(char.escape_default());
            } else {
                text.push(char);
            }
            if text.len() > LINE_BYTES {
                text.truncate(start);
                return text + CUT_MARK;
            }
        }
    }
    if is_cut { text + CUT_MARK } else { text }
}

/// A line that was cut, without the character that the cut went through.
fn without_half_a_character(line: &[u8]) -> &[u8] {
    let half = line.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len());
    &line[..line.len() - half]
}

/// Whether a terminal or a viewer of text would act on a character instead of showing it: controls, line and
/// paragraph separators, what turns the direction of writing.
fn is_active(char: char) -> bool {
    let turns = matches!(char, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (char.is_control() && char != '\t') || matches!(char, '\u{2028}'..='\u{2029}') || turns
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    fn open_gate(burst: u32) -> Gate {
        Gate::new(burst, 0, Instant::now())
    }

    /// The lines of a stream that is read in these parts.
    fn lines<'a>(parts: impl IntoIterator<Item = &'a [u8]>, burst: u32) -> (Vec<String>, u64) {
        let (mut lines, mut gate, mut batch) = (Lines::default(), open_gate(burst), Batch::default());
        for part in parts {
            lines.push(part, &mut gate, &mut batch);
            assert!(lines.partial.capacity() <= 2 * LINE_BYTES);
        }
        lines.finish(&mut gate, &mut batch);
        assert_eq!(batch.dropped, 0);
        (batch.lines, gate.take_untold())
    }

    fn line(bytes: &[u8]) -> String {
        let (mut lines, dropped) = lines([bytes], 2);
        assert_eq!((lines.len(), dropped), (1, 0));
        lines.remove(0)
    }

    #[test]
    fn lines_end_in_either_way() {
        assert_eq!(lines([&b"a\r\n\nb\rc\nlast"[..]], 9).0, ["a", "", "b\\rc", "last"]);
        assert_eq!(lines([&b"\n"[..]], 9).0, [""]);
        assert_eq!(lines([&b""[..]], 9).0, [""; 0]);
    }

    #[test]
    fn what_a_terminal_would_act_on_is_shown() {
        assert_eq!(line(b"\x1b[31mred\x1b[0m\x07\x00\x7f\tx"), r"\u{1b}[31mred\u{1b}[0m\u{7}\u{0}\u{7f}	x");
        assert_eq!(line("a\u{85}b\u{9b}2Jc".as_bytes()), r"a\u{85}b\u{9b}2Jc");
        assert_eq!(
            line("x\u{2028}y\u{202e}z\u{2066}\u{200f}".as_bytes()),
            r"x\u{2028}y\u{202e}z\u{2066}\u{200f}"
        );
        assert_eq!(line(r"C:\new ünï → 漢字 🚣".as_bytes()), r"C:\new ünï → 漢字 🚣");
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        assert_eq!(line(b"a\xff\xfeb\xc3"), "a\u{fffd}\u{fffd}b\u{fffd}");
        // The first byte of a control character in eight bits, and a surrogate.
        assert_eq!(line(b"\x9b31m\xed\xa0\x80"), "\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_long_line_is_cut() {
        let long = |unit: &str, bytes: usize| unit.repeat(bytes / unit.len() + 1).into_bytes();
        let whole = vec![b'x'; LINE_BYTES];
        assert_eq!(line(&whole), "x".repeat(LINE_BYTES));
        assert_eq!(line(&long("x", LINE_BYTES)), "x".repeat(LINE_BYTES) + CUT_MARK);
        // In the middle of a character of three bytes.
        assert_eq!(line(&long("€", LINE_BYTES)), "€".repeat(LINE_BYTES / 3) + CUT_MARK);
        // Short enough as it came, too long as it is shown.
        assert_eq!(line(&vec![0x1b; 4000]), r"\u{1b}".repeat(LINE_BYTES / 6) + CUT_MARK);
        let shown = line(&vec![0xff; LINE_BYTES]);
        assert_eq!(shown, "\u{fffd}".repeat(LINE_BYTES / 3) + CUT_MARK);
        // What follows is whole again.
        let mut bytes = long("x", 10 * LINE_BYTES);
        bytes.extend(b"\nnext\n");
        let (lines, _) = lines(bytes.chunks(1000), 9);
        assert_eq!(lines, ["x".repeat(LINE_BYTES) + CUT_MARK, String::from("next")]);
    }

    #[test]
    fn lines_beyond_the_gate_are_counted() {
        let parts = [&b"1\n2\n3"[..], b"\n4\n5\n", b"6", b"\n7"];
        assert_eq!(lines(parts, 2), (vec![String::from("1"), String::from("2")], 5));
        assert_eq!(lines(parts, 0), (vec![], 7));
        assert_eq!(lines(parts, 7).1, 0);
    }

    proptest! {
        /// However a stream is cut into reads, its lines are the same.
        #[test]
        fn reads_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![3 => Just(b'\n'), 1 => Just(b'\r'), 9 => any::<u8>()], 0..300),
            cuts in prop::collection::vec(0..300_usize, 0..9),
            burst in 0..40_u32,
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let in_parts = lines(cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]), burst);
            prop_assert_eq!(&in_parts, &lines([&bytes[..]], burst));
            for line in &in_parts.0 {
                prop_assert!(!line.chars().any(is_active), "{:?}", line);
            }
        }
    }
}
