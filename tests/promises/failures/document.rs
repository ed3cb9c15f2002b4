//! `docs/failures.md`: the rows in words.

use std::fmt::Write as _;
use std::fs;

use lifeboat_tests::harness::workspace;

use super::row::{Caller, Fate, Row};

const DOCUMENT: &str = "docs/failures.md";

/// Has the document written instead of compared.
const BLESS: &str = "LIFEBOAT_BLESS";

const COMMAND: &str = "LIFEBOAT_BLESS=1 cargo test -p lifeboat-tests --test promises -- failures::document";

const HEAD: &str = "\
# When a worker fails

What becomes of a request and of the worker that executes it, for everything that a worker can do wrong. Each row is a test
that makes it happen with a real broker, a caller of that worker and another pool whose calls go on without a single
error meanwhile. The words are those of the [glossary](glossary.md), the labels are in [metrics](metrics.md#labels).

No row has a retry: what is told is what one attempt comes to. *Configured* names the limits that the row depends on; they
are short because the tests wait for them, and so are the graces.

A worker that is **replaced** is dead when its caller is told, and so is every process that it had started. A productive one
is replaced at once; others wait first, longer each time.

";

/// The whole file.
fn text(rows: &[Row]) -> String {
    let mut text =
        format!("<!-- Written from the rows of tests/promises/failures.rs by: {COMMAND} -->\n\n{HEAD}");
    text.push_str("| The worker … | configured | its caller gets | its death is counted as | then the worker … |\n|---|---|---|---|---|\n");
    for row in rows {
        let configured: Vec<_> = row
            .broker
            .iter()
            .chain(&row.restart)
            .chain(&row.pool)
            .chain(&row.policy)
            .map(|line| format!("`{line}`"))
            .collect();
        let reason = row.reason.map(|reason| format!("`{reason}`")).unwrap_or_default();
        writeln!(
            text,
            "| {} | {} | {} | {reason} | {} |",
            row.does,
            configured.join("<br>"),
            caller(row.caller),
            fate(row.fate)
        )
        .expect("a text takes any text");
    }
    text
}

fn caller(caller: Caller) -> String {
    match caller {
        Caller::Answered => "the answer".to_owned(),
        Caller::AnsweredLate => "the answer, marked late".to_owned(),
        Caller::Failed => "`Failed`".to_owned(),
        Caller::Crashed(label) => format!("`WorkerCrashed`, reason `{label}`"),
        Caller::TimedOut(which) => format!("`TimedOut`, `{which}`"),
        Caller::Refused => "`Rejected`, `tripped`, and why; it never ran".to_owned(),
        Caller::NeverRan => "`TimedOut`, `deadline`; it never ran".to_owned(),
    }
}

const fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::ServesOn => "serves on",
        Fate::Degraded => "serves on with its other slots",
        Fate::Replaced => "is replaced at once",
        Fate::ReplacedAfterAWait => "is replaced after a wait",
        Fate::StartsOver => "is started again and again, with waits between",
        Fate::Trips => "is tried again by itself, one process and one request at a time",
    }
}

#[test]
fn the_document_says_what_the_rows_say() {
    let (file, text) = (workspace().join(DOCUMENT), text(&super::rows()));
    if std::env::var(BLESS).is_ok_and(|it| it == "1") {
        fs::write(&file, &text).expect("the document can be written");
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    let differs = written.lines().zip(text.lines()).position(|(old, new)| old != new);
    assert!(
        written == text,
        "{DOCUMENT} is not what the rows say (first at line {}); have it written anew with\n  {COMMAND}",
        differs.unwrap_or_else(|| written.lines().count().min(text.lines().count())) + 1
    );
}

#[test]
fn rows_have_words_of_their_own() {
    let rows = super::rows();
    for (at, row) in rows.iter().enumerate() {
        assert!(!row.does.is_empty() && !row.does.contains('|'), "{row:?}");
        assert!(rows[..at].iter().all(|other| other.does != row.does), "two rows say: {}", row.does);
        assert_eq!(
            row.reason.is_some(),
            row.fate.is_death(),
            "a death has a reason, and nothing else has one: {}",
            row.name
        );
    }
}
