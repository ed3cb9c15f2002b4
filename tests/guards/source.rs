//! The repository's files, and Rust source without its comments and texts.

use std::fs;
use std::path::{Path, PathBuf};

use lifeboat_tests::harness::workspace;

/// Directories that hold no source of the project.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// A file of the repository.
pub(crate) struct File {
    /// Relative to the root, with slashes.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
}

impl File {
    /// Its code alone: comments, texts and characters are blanked, line breaks stay.
    pub(crate) fn code(&self) -> String {
        code_of(&self.text)
    }
}

/// Every text file under a directory of the repository, in order.
pub(crate) fn files(under: &str) -> Vec<File> {
    let mut found = Vec::new();
    walk(&workspace().join(under), &mut found);
    found.sort();
    let file = |path: PathBuf| {
        let text = fs::read_to_string(&path).ok()?;
        let name = path.strip_prefix(workspace()).expect("it was found there").to_string_lossy().into_owned();
        Some(File { name, text })
    };
    let files: Vec<_> = found.into_iter().filter_map(file).collect();
    assert!(!files.is_empty(), "nothing under {under}: the guards look in the wrong place");
    files
}

/// Every Rust file under a directory of the repository.
pub(crate) fn rust_files(under: &str) -> Vec<File> {
    let mut files = files(under);
    files.retain(|file| Path::new(&file.name).extension().is_some_and(|it| it == "rs"));
    files
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            if !SKIPPED.iter().any(|skipped| path.ends_with(skipped)) {
                walk(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

/// Blanks comments, texts and characters.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = comment(rest).or_else(|| literal(rest, &code)).unwrap_or(0);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment that the text begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    Some(text.len())
}

/// The length of the text or character that the source begins with; `before` is the code so far.
fn literal(text: &str, before: &str) -> Option<usize> {
    let in_word = before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
    if text.starts_with('"') {
        return Some(quoted(text, '"'));
    }
    if !in_word && (text.starts_with("r\"") || text.starts_with("r#") || text.starts_with("br")) {
        let marks = text.trim_start_matches(['b', 'r']);
        let hashes = marks.len() - marks.trim_start_matches('#').len();
        if marks[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let opening = text.len() - marks.len() + hashes + 1;
            return Some(text[opening..].find(&end).map_or(text.len(), |at| opening + at + end.len()));
        }
    }
    // A character, and not a lifetime: it ends with a quote after one character or an escape.
    let mut chars = text.strip_prefix('\'')?.chars();
    let is_character = match chars.next()? {
        '\\' => true,
        _ => chars.next() == Some('\''),
    };
    is_character.then(|| quoted(text, '\''))
}

/// The length of what stands between two quotes, quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn comments_texts_and_characters_are_blanked() {
    let source = r##"let a = "x // y"; // "gone"
let b: &'static str = r#"use crate::x"#; /* a /* nested */ one */ let c = '"'; let d = '\''; let e = b"z";"##;
    let code = code_of(source);
    for gone in ["gone", "crate", "nested", "one", "x //", "z"] {
        assert!(!code.contains(gone), "{gone} is in {code}");
    }
    for kept in ["let a", "let b", "&'static str", "let c", "let d", "let e"] {
        assert!(code.contains(kept), "{kept} is not in {code}");
    }
    assert_eq!(code.lines().count(), source.lines().count());
}
