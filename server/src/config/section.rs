//! Tables: their keys are taken one by one, and what nobody took is unknown.
//!
//! Owns which keys a table has. Must never read a value: `reader` does.

use super::error::ProblemKind;
use super::explain::{listed, nearest, suggestion};
use super::reader::Reader;
use super::texts::quote;
use super::tree::{Entry, Origin, Value};

/// A table whose keys are taken one by one; what is left at the end is unknown.
#[derive(Debug)]
pub(super) struct Section {
    /// Its own name, without quotes.
    pub(super) name: String,
    /// As it is written, with quotes where needed.
    path: String,
    /// The same with `NAME` and `METHOD`.
    pattern: String,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
    /// Where the table was named.
    pub(super) origin: Origin,
}

impl Section {
    /// The whole file.
    pub(super) fn root(entries: Vec<Entry>) -> Self {
        let (path, pattern) = (String::new(), String::new());
        Self { name: String::new(), path, pattern, entries, known: Vec::new(), origin: Origin::Default }
    }

    /// The path of one of its keys.
    pub(super) fn path(&self, key: &str) -> String {
        join(&self.path, &bare_or_quoted(key))
    }

    /// Puts a key back that was taken, to be read in another shape.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    fn remove(&mut self, key: &'static str) -> Option<Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }
}

impl Reader<'_> {
    /// A table within a table; empty when it is absent or no table.
    pub(super) fn section(&mut self, parent: &mut Section, key: &'static str) -> Section {
        let entry = parent.remove(key);
        self.subsection(parent, key, key, entry)
    }

    /// The tables of a table whose keys the user chooses.
    pub(super) fn named_sections(
        &mut self,
        parent: &mut Section,
        key: &'static str,
        placeholder: &'static str,
    ) -> Vec<Section> {
        let (named, entries) = self.named_values(parent, key);
        entries
            .into_iter()
            .map(|entry| self.subsection(&named, &entry.key.clone(), placeholder, Some(entry)))
            .collect()
    }

    /// The entries of a table whose keys the user chooses.
    pub(super) fn named_values(&mut self, parent: &mut Section, key: &'static str) -> (Section, Vec<Entry>) {
        let mut named = self.section(parent, key);
        let entries = std::mem::take(&mut named.entries);
        (named, entries)
    }

    fn subsection(&mut self, parent: &Section, key: &str, known: &str, entry: Option<Entry>) -> Section {
        let (path, pattern) = (parent.path(key), join(&parent.pattern, known));
        let mut section = Section {
            name: key.to_owned(),
            path,
            pattern,
            entries: Vec::new(),
            known: Vec::new(),
            origin: Origin::Default,
        };
        let Some(entry) = entry else { return section };
        section.origin = entry.origin;
        let found = entry.node.value.type_name();
        if let Value::Table(entries) = entry.node.value {
            section.entries = entries;
        } else {
            let kind =
                ProblemKind::WrongType { key: section.path.clone(), expected: "a table".to_owned(), found };
            self.problem(&entry.node.origin, kind, None);
        }
        section
    }

    /// Removes a key from its table; for values of more than one shape.
    pub(super) fn take(&mut self, section: &mut Section, key: &'static str) -> Option<Entry> {
        self.accepted.insert(join(&section.pattern, key));
        section.remove(key)
    }

    /// Tells what is left in a table, with the nearest key that exists; `elsewhere` may know where a key belongs.
    pub(super) fn finish(&mut self, section: Section, elsewhere: impl Fn(&str) -> Option<String>) {
        for entry in &section.entries {
            let near = nearest(&entry.key, section.known.iter().copied());
            let help = elsewhere(&entry.key)
                .or_else(|| near.map(|near| suggestion(&entry.origin, &entry.key, near)))
                .or_else(|| Some(format!("the keys here are {}", listed(&section.known))));
            let kind = ProblemKind::UnknownKey { key: section.path(&entry.key) };
            self.problem(&entry.origin, kind, help);
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { quote(key) }
}
