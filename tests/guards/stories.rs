//! The failure stories of `docs/stories.md` and the tests that prove them agree.

use std::collections::BTreeMap;
use std::fs;

use lifeboat_tests::harness::workspace;

use crate::source::rust_files;

const DOCUMENT: &str = "docs/stories.md";

/// The stories that need something which is not there. Whoever proves one takes it from this list.
const NOT_YET: [usize; 0] = [];

/// The stories whose tests prove all but what the document names.
const IN_PART: [usize; 0] = [];

/// What a row says instead of tests, and behind tests that do not prove all of it.
const SAYS_NOT_YET: &str = "**not yet**: ";
const SAYS_IN_PART: &str = "**in part**: ";

/// How the names of tests begin that prove a story.
const PREFIX: &str = "story_";

/// Where tests with real processes are.
const PLACES: [&str; 4] = ["tests/promises", "client/tests", "worker-sdk/tests", "server/tests"];

/// The numbers of all stories. Those between are of programs that know nothing of Lifeboat.
fn numbers() -> Vec<usize> {
    (1..=39).chain([44]).collect()
}

/// A story, as its row tells it.
#[derive(Debug)]
struct Story {
    number: usize,
    keys: Vec<String>,
    tests: Vec<String>,
    /// Its last column.
    proof: String,
}

fn document() -> String {
    fs::read_to_string(workspace().join(DOCUMENT)).unwrap_or_else(|error| panic!("{DOCUMENT}: {error}"))
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of all tables, in order.
fn stories(document: &str) -> Vec<Story> {
    let row = |line: &str| {
        let columns: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let number = columns.first()?.parse().ok()?;
        let [_, story, does, keys, proof] = columns[..] else { panic!("a story has five columns: {line}") };
        assert!(!story.is_empty() && !does.is_empty(), "a story says what happens and what is done: {line}");
        Some(Story { number, keys: quoted(keys), tests: quoted(proof), proof: proof.to_owned() })
    };
    document.lines().filter(|line| line.starts_with('|')).filter_map(row).collect()
}

/// The number in a test's name.
fn number_of(test: &str) -> Option<usize> {
    let (digits, rest) = test.strip_prefix(PREFIX)?.split_at_checked(2)?;
    rest.strip_prefix('_').filter(|words| !words.is_empty())?;
    digits.parse().ok()
}

/// The functions of a file's code whose names begin like those of tests that prove a story, and whether each is a test.
fn named_in(code: &str) -> Vec<(String, bool)> {
    let mut before = "";
    let mut named = Vec::new();
    for line in code.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some((_, rest)) = line.split_once("fn ") {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let is_test = before == "#[test]" || before.starts_with("#[tokio::test");
            named.push((rest[..end].to_owned(), is_test));
        }
        before = line;
    }
    named.retain(|(name, _)| name.starts_with(PREFIX));
    named
}

/// Every test that proves a story, and the file that it is in.
fn tests() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for file in rust_files("") {
        for (name, is_test) in named_in(&file.code()) {
            assert!(is_test, "{}: {name} is no test, or `#[test]` is not right above it", file.name);
            assert!(number_of(&name).is_some(), "{}: {name} is not `{PREFIX}NN_what_it_shows`", file.name);
            assert!(
                PLACES.iter().any(|place| file.name.starts_with(&format!("{place}/"))),
                "{}: {name} proves nothing there: only tests with real processes do, in {PLACES:?}",
                file.name
            );
            let twice = found.insert(name.clone(), file.name.clone());
            assert!(twice.is_none(), "{name} is in {} and in {twice:?}: no two may have one name", file.name);
        }
    }
    found
}

#[test]
fn every_story_is_told_once() {
    let told: Vec<_> = stories(&document()).iter().map(|story| story.number).collect();
    assert_eq!(told, numbers(), "{DOCUMENT}: each number once, in order");
}

#[test]
fn every_story_has_a_test_or_says_that_it_is_not_yet_true() {
    for Story { number, tests, proof, .. } in stories(&document()) {
        let (not_yet, in_part) = (NOT_YET.contains(&number), IN_PART.contains(&number));
        assert_eq!(
            proof.starts_with(SAYS_NOT_YET),
            not_yet,
            "{DOCUMENT}: story {number} and the list here differ"
        );
        assert_eq!(
            proof.contains(SAYS_IN_PART),
            in_part,
            "{DOCUMENT}: story {number} and the list here differ"
        );
        assert_eq!(
            tests.is_empty(),
            not_yet,
            "{DOCUMENT}: story {number} has tests, or is `{SAYS_NOT_YET}..`"
        );
        if let Some((_, missing)) = proof.split_once("**: ") {
            assert!(missing.len() > 10, "{DOCUMENT}: story {number} must say what is missing");
        }
    }
}

#[test]
fn the_tests_of_stories_are_there_and_no_others_are() {
    let tests = tests();
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for story in stories(&document()) {
        for test in story.tests {
            assert!(tests.contains_key(&test), "{DOCUMENT}: story {}: there is no test {test}", story.number);
            assert_eq!(number_of(&test), Some(story.number), "{DOCUMENT}: {test} is beside another story");
            let twice = named.insert(test.clone(), story.number);
            assert!(twice.is_none(), "{DOCUMENT}: {test} is named twice");
        }
    }
    let unnamed: Vec<_> = tests.iter().filter(|(test, _)| !named.contains_key(*test)).collect();
    assert!(unnamed.is_empty(), "{DOCUMENT} must name these beside their stories: {unnamed:#?}");
}

#[test]
fn the_keys_of_stories_are_documented() {
    let configuration = fs::read_to_string(workspace().join("docs/configuration.md")).expect("it is there");
    for story in stories(&document()) {
        for key in story.keys {
            assert!(
                configuration.contains(&format!("| `{key}` |")),
                "{DOCUMENT}: story {}: docs/configuration.md has no row `{key}`",
                story.number
            );
        }
    }
}

/// The option itself says what it asks of a method.
#[test]
fn retry_says_that_it_is_for_idempotent_methods() {
    let configuration = fs::read_to_string(workspace().join("docs/configuration.md")).expect("it is there");
    let row = configuration.lines().find(|line| line.starts_with("| `POLICY.retry` |"));
    assert!(row.is_some_and(|row| row.contains("only idempotent methods")), "{row:?}");
}

#[test]
fn rows_and_names_are_read() {
    let text = "| | when | does | keys | tests |\n|---|---|---|---|---|\n\
                | 7 | it dies | tells | `a.b` | `story_07_x`<br>`story_07_y` |\n";
    let [story] = &stories(text)[..] else { panic!("one row") };
    assert_eq!((story.number, &story.keys[..], story.tests.len()), (7, &["a.b".to_owned()][..], 2));
    assert_eq!(number_of("story_07_x"), Some(7));
    for bad in ["story_7_x", "story_07", "story_07_", "story_ab_x", "other_07_x"] {
        assert_eq!(number_of(bad), None, "{bad}");
    }
    let code = "#[tokio::test]\nasync fn story_07_x() {}\n\nfn story_07_y() {}\nfn other() {}";
    assert_eq!(named_in(code), [("story_07_x".to_owned(), true), ("story_07_y".to_owned(), false)]);
}
