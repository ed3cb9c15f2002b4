//! How a wrong value and an unknown key are explained, and what is suggested instead.
//!
//! Owns the help lines. Must never accept or refuse anything itself.

use super::error::ProblemKind;
use super::reader::Reader;
use super::shapes::Wrong;
use super::tree::{Node, Origin, Value};

impl Reader<'_> {
    /// Remembers what is wrong with a value.
    pub(super) fn wrong(&mut self, key: &str, node: &Node, wrong: Wrong, can_be_off: bool) {
        let zero = |least: &str| {
            let off = if can_be_off { "\"unlimited\" for no limit, or " } else { "" };
            Some(format!("write {off}at least {least}"))
        };
        let key = key.to_owned();
        let (kind, help) = match wrong {
            Wrong::Part { node: part, wrong } => return self.wrong(&key, &part, *wrong, can_be_off),
            Wrong::Type(_) if can_be_off && matches!(node.value, Value::Integer(0)) => {
                (ProblemKind::Zero { key }, Some("write \"unlimited\" for no limit".to_owned()))
            }
            Wrong::Type(expected) => {
                let help = type_help(&expected, &node.value);
                (ProblemKind::WrongType { key, expected, found: node.value.type_name() }, help)
            }
            Wrong::Text { expected, found } => {
                let word = ["off", "none", "never", "infinite", "disabled"].contains(&found.as_str());
                let help = if can_be_off && word {
                    Some("write \"unlimited\" for no limit".to_owned())
                } else {
                    (found == "unlimited").then(|| NO_WORD.to_owned())
                };
                (ProblemKind::BadValue { key, expected, found }, help)
            }
            Wrong::Zero { least } => (ProblemKind::Zero { key }, zero(&least)),
            Wrong::Range { found, least, most } => {
                (ProblemKind::OutOfRange { key, found, least, most }, None)
            }
        };
        self.problem(&node.origin, kind, help);
    }
}

fn type_help(expected: &str, found: &Value) -> Option<String> {
    let number = matches!(found, Value::Integer(_) | Value::Float(_));
    if number && (expected.starts_with("a duration") || expected.starts_with("a size")) {
        Some("write it in quotes, with its unit".to_owned())
    } else {
        matches!(found, Value::Text(text) if text == "unlimited").then(|| NO_WORD.to_owned())
    }
}

/// What "unlimited" gets where it is no answer.
const NO_WORD: &str = "this limit is always on; choose a large value";

/// The nearest of some words, when one is near enough to be a slip.
pub(super) fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let lower = word.to_lowercase();
    words
        .map(|each| (strsim::damerau_levenshtein(&lower, &each.to_lowercase()), each))
        .filter(|(distance, each)| *distance <= 1 + each.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, each)| each)
}

pub(super) fn suggestion(origin: &Origin, wrong: &str, near: &str) -> String {
    match origin {
        Origin::Variable(name) if name.to_lowercase().ends_with(&format!("__{}", wrong.to_lowercase())) => {
            let stem = name.get(..name.len().saturating_sub(wrong.len())).unwrap_or_default();
            format!("did you mean {stem}{}?", near.to_uppercase())
        }
        Origin::Variable(_) | Origin::File(_) | Origin::Default => format!("did you mean `{near}`?"),
    }
}

pub(super) fn listed(keys: &[&str]) -> String {
    let quoted: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    quoted.join(", ")
}
