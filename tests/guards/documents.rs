//! What is written about the project is true: examples are lines of files that compile, lists are complete.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lifeboat_core::reason::CrashReason;
use lifeboat_tests::harness::workspace;

/// What stands before a fenced block of lines of a file.
const MARK: &str = "<!-- file: ";

/// The examples that the README must show.
const SHOWN: [&str; 2] = ["client/examples/call.rs", "worker-sdk/examples/echo.rs"];

fn read(name: &str) -> String {
    fs::read_to_string(workspace().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The fenced blocks of a document that name a file: the file and the block.
fn shown(document: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(file) = line.trim().strip_prefix(MARK).and_then(|rest| rest.strip_suffix("-->")) else {
            continue;
        };
        let file = file.trim().to_owned();
        let fence = lines.by_ref().find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(fence.starts_with("```"), "after `{line}` comes no fenced block");
        let block: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        blocks.push((file, block.join("\n")));
    }
    blocks
}

#[test]
fn code_in_documents_is_code_that_compiles() {
    let readme = shown(&read("README.md"));
    for example in SHOWN {
        assert!(
            readme.iter().any(|(file, _)| file == example),
            "README.md must show {example}, after `{MARK}{example} -->`"
        );
    }
    let mut documents = vec!["README.md".to_owned()];
    let docs = fs::read_dir(workspace().join("docs")).expect("there is a directory docs");
    documents.extend(docs.filter_map(|entry| {
        let name = entry.ok()?.file_name().to_string_lossy().into_owned();
        name.ends_with(".md").then(|| format!("docs/{name}"))
    }));
    for document in documents {
        for (file, block) in shown(&read(&document)) {
            assert!(is_part_of(&block, &read(&file)), "{document} shows what is not in {file}:\n{block}");
        }
    }
}

/// Whether a block is a file, or some lines of it in a row, however they are indented.
fn is_part_of(block: &str, file: &str) -> bool {
    let (block, file): (Vec<_>, Vec<_>) = (outdented(block.trim_matches('\n')), file.lines().collect());
    block.len() <= file.len()
        && !block.iter().all(String::is_empty)
        && file.windows(block.len()).any(|window| outdented(&window.join("\n")) == block)
}

/// The lines without what all of them are indented by, and without spaces at their ends.
fn outdented(text: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let common = text.lines().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or_default();
    text.lines().map(|line| line.get(common..).unwrap_or_default().trim_end().to_owned()).collect()
}

#[test]
fn a_block_is_lines_of_its_file_in_a_row() {
    let file = "fn main() {\n    one();\n\n    two();\n}\n";
    for part in ["one();\n\ntwo();", "    one();", file] {
        assert!(is_part_of(part, file), "{part}");
    }
    for other in ["one();\ntwo();", "two();\none();", "on();", ""] {
        assert!(!is_part_of(other, file), "{other}");
    }
}

#[test]
fn marked_blocks_are_found() {
    let document = "text\n<!-- file: a/b.rs -->\n\n```rust\none\n\ntwo\n```\n```\nother\n```\n";
    assert_eq!(shown(document), [("a/b.rs".to_owned(), "one\n\ntwo".to_owned())]);
}

#[test]
fn every_crash_reason_is_documented() {
    let document = read("docs/metrics.md");
    let missing: Vec<_> =
        CrashReason::LABELS.iter().filter(|label| !document.contains(&format!("`{label}`"))).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not name {missing:?}");
}

#[test]
fn there_is_a_glossary() {
    let glossary = read("docs/glossary.md");
    for word in ["**request**", "**attempt**", "**outcome**", "**incarnation**", "**crash**"] {
        assert!(glossary.contains(word), "docs/glossary.md does not explain {word}");
    }
}

#[test]
fn the_checks_can_be_run() {
    for name in ["tests/run", ".ci/run"] {
        let mode = fs::metadata(workspace().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .permissions();
        assert!(mode.mode() & 0o111 == 0o111, "{name} is not executable");
    }
    assert!(read(".ci/run").contains("tests/run"), "every check is in tests/run; .ci/run only calls it");
}
