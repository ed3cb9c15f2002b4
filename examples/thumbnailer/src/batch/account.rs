//! The account at the end: a table of what has no thumbnail and why, and a line that counts.
//!
//! Owns how ends are shown. Must never print a control character that a file's name or a decoder's text brought along.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use comfy_table::presets::ASCII_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use super::{End, Label};

/// In fewer columns a table says less than lines that the terminal breaks.
const NARROWEST: u16 = 60;

/// What became of all files.
#[derive(Clone, Debug)]
pub struct Account {
    ends: Vec<End>,
    took: Duration,
    lost: bool,
}

impl Account {
    pub(super) fn new(mut ends: Vec<End>, took: Duration, lost: bool) -> Self {
        ends.sort_by(|one, two| one.file.cmp(&two.file));
        Self { ends, took, lost }
    }

    /// Every file's end, in the order of their names.
    #[must_use]
    pub fn ends(&self) -> &[End] {
        &self.ends
    }

    /// Whether every file has a thumbnail.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.without().next().is_none()
    }

    /// Whether the broker was lost on the way, so that files were not sent at all.
    #[must_use]
    pub const fn broker_lost(&self) -> bool {
        self.lost
    }

    fn without(&self) -> impl Iterator<Item = &End> {
        self.ends.iter().filter(|end| end.label != Label::Ok)
    }

    /// The files that have no thumbnail, as a table; none if all have one. It is as wide as the terminal, if there is
    /// one.
    #[must_use]
    pub fn table(&self) -> Option<String> {
        if self.is_complete() {
            return None;
        }
        let mut table = Table::new();
        table.load_style(ASCII_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
        if table.width().is_some_and(|width| width < NARROWEST) {
            table.set_width(NARROWEST);
        }
        table.set_header(["file", "outcome", "reason", "attempts"]);
        for end in self.without() {
            let (file, reason) = (shown_path(&end.file), shown(&end.reason));
            table.add_row([file, end.label.to_string(), reason, end.attempts.to_string()]);
        }
        Some(table.trim_fmt())
    }

    /// One line: how many files have a thumbnail, how many have none and why, and how long it took.
    #[must_use]
    pub fn summary(&self) -> String {
        let all = self.ends.len();
        let mut counts: BTreeMap<Label, usize> = BTreeMap::new();
        for end in &self.ends {
            *counts.entry(end.label).or_default() += 1;
        }
        let made = counts.remove(&Label::Ok).unwrap_or(0);
        let rest: Vec<_> = counts.iter().map(|(label, count)| format!("{count} {label}")).collect();
        let rest = if rest.is_empty() { String::new() } else { format!("; {}", rest.join(", ")) };
        let files = if all == 1 { "file" } else { "files" };
        format!("{made} of {all} {files} have a thumbnail{rest}; {:.1} s", self.took.as_secs_f64())
    }
}

/// A path for people.
fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

/// A text for people, on one line.
fn shown(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_shows_what_has_no_thumbnail_and_counts_everything() {
        let ends = vec![
            End { label: Label::Crashed, ..End::not_sent("z\u{1b}[31m.png".into(), "signal: SIGSEGV") },
            End::ok("a.png".into(), 1),
            End::not_sent("b\n.png".into(), "a loop"),
        ];
        let account = Account::new(ends, Duration::from_millis(1250), false);
        let table = account.table().expect("two have no thumbnail");
        assert!(table.contains(r"b\n.png") && table.contains(r"z\u{1b}[31m.png"), "{table}");
        assert!(!table.contains("a.png") && !table.contains('\u{1b}'), "{table}");
        assert_eq!(account.summary(), "1 of 3 files have a thumbnail; 1 crashed, 1 not_sent; 1.2 s");
        assert!(!account.is_complete());
    }

    #[test]
    fn nothing_to_tell_is_no_table() {
        let account = Account::new(vec![End::ok("a".into(), 1)], Duration::ZERO, false);
        assert_eq!((account.table(), account.is_complete()), (None, true));
        assert_eq!(account.summary(), "1 of 1 file have a thumbnail; 0.0 s");
    }
}
