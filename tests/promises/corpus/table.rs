//! The account of all deaths, and the table of it in `docs/stories.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use lifeboat_tests::harness::workspace;

use super::cause::Cause;
use super::verdict::{PLANNED, Verdict};

const DOCUMENT: &str = "docs/stories.md";

pub(super) const COMMAND: &str =
    "LIFEBOAT_BLESS=1 LIFEBOAT_CORPUS=1000 cargo test -p lifeboat-tests --test promises -- corpus::";

const BEGIN: &str = "<!-- The corpus begins. -->\n";
const END: &str = "<!-- The corpus ends. -->\n";

/// The columns of counts.
const COLUMNS: [&str; 4] = ["proven", "inferred", "unknown", PLANNED];

/// So many deaths were found to be what.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<(&'static str, Verdict), usize>);

impl Table {
    /// One more.
    pub(super) fn add(&mut self, cause: &Cause, verdict: &Verdict) {
        *self.0.entry((cause.words, verdict.clone())).or_default() += 1;
    }

    /// All of them.
    pub(super) fn deaths(&self) -> usize {
        self.0.values().sum()
    }

    fn count(&self, cause: &Cause, verdict: &Verdict) -> usize {
        self.0.get(&(cause.words, verdict.clone())).copied().unwrap_or_default()
    }

    /// A row for each cause and each verdict that is right; its last column counts the others.
    pub(super) fn text(&self, causes: &[Cause]) -> String {
        let mut text = format!(
            "{BEGIN}{} deaths, each made on purpose and counted by what it was found to be, beside calls that go on:\n\n\
             | true cause | verdict | {} | wrong |\n|---|---|---|---|---|---|---|\n",
            self.deaths(),
            COLUMNS.join(" | ")
        );
        for cause in causes {
            let of_cause = self.0.iter().filter(|((words, _), _)| *words == cause.words);
            let wrong = of_cause.filter(|((_, verdict), _)| !cause.right.contains(verdict));
            let wrong: usize = wrong.map(|(_, count)| count).sum();
            for right in &cause.right {
                let count = self.count(cause, right);
                let cell =
                    |column| if column == right.confidence { count.to_string() } else { String::new() };
                let counts = COLUMNS.map(cell).join(" | ");
                writeln!(text, "{} | {counts} | {wrong} |", head(cause, right))
                    .expect("a text takes any text");
            }
        }
        text + END
    }

    /// Writes it into the document.
    pub(super) fn bless(&self, causes: &[Cause]) {
        let (before, _, after) = document();
        fs::write(workspace().join(DOCUMENT), before + &self.text(causes) + &after)
            .expect("it can be written");
    }
}

/// The columns that do not count.
fn head(cause: &Cause, right: &Verdict) -> String {
    let detail = Some(&right.detail).filter(|detail| !detail.is_empty());
    let detail = detail.map(|detail| format!(", {detail}")).unwrap_or_default();
    format!("| {} | `{}`{detail}", cause.words, right.reason)
}

/// The document before, in and behind the table.
fn document() -> (String, String, String) {
    let text = fs::read_to_string(workspace().join(DOCUMENT)).expect("it is there");
    let (before, rest) = text.split_once(BEGIN).expect("the document says where the table begins");
    let (table, after) = rest.split_once(END).expect("the document says where the table ends");
    (before.to_owned(), table.to_owned(), after.to_owned())
}

/// The table that was written last has a row for each cause, found to be what it was and nothing else.
pub(super) fn check_document(causes: &[Cause]) {
    let (_, table, _) = document();
    let mut rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    let mut deaths = 0;
    for cause in causes {
        for right in &cause.right {
            let row = rows.next().unwrap_or_else(|| panic!("no row of {:?}; {COMMAND}", cause.words));
            let head = head(cause, right);
            let counts =
                row.strip_prefix(&*head).unwrap_or_else(|| panic!("{row}\nis not of {head}; {COMMAND}"));
            let counts: Vec<_> = counts.split('|').skip(1).map(str::trim).collect();
            let column = COLUMNS.iter().position(|column| *column == right.confidence);
            let column = column.expect("each confidence has a column");
            for (at, count) in counts[..COLUMNS.len()].iter().enumerate() {
                assert_eq!(at == column, !count.is_empty(), "{row}");
            }
            let count: usize = counts[column].parse().unwrap_or_else(|_| panic!("no count: {row}"));
            assert!(count > 0 || cause.right.len() > 1, "it was never made: {row}");
            assert_eq!(counts[COLUMNS.len()], "0", "judged wrongly: {row}");
            deaths += count;
        }
    }
    assert_eq!(rows.next(), None, "a row of no cause; {COMMAND}");
    assert!(deaths >= 1_000, "the table is of {deaths} deaths; {COMMAND}");
}
