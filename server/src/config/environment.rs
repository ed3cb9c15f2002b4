//! `LIFEBOAT__SECTION__KEY`: variables that put a value into the tree, as if the file had said it.
//!
//! Owns the way from a variable's name to a place in the tree. Must never know a key: a place that does not exist is found
//! by the reader, like one in the file. Only names that users choose (pools, methods) are looked up here, since
//! variables cannot spell all of them.

use super::error::{Problem, ProblemKind};
use super::explain::nearest;
use super::tree::{Entry, Node, Origin, Source, Value, variable_value};

/// What the names begin with.
pub(super) const PREFIX: &str = "LIFEBOAT__";

const SEPARATOR: &str = "__";

/// Puts the variables into the tree, the shorter paths first, so that `..__QUEUE` can be refined by
/// `..__QUEUE__MAX_BYTES`.
pub(super) fn apply(
    root: &mut Vec<Entry>,
    variables: &[(String, String)],
    source: &Source<'_>,
) -> Vec<Problem> {
    let mut ours: Vec<_> = variables
        .iter()
        .filter_map(|(name, value)| {
            name.strip_prefix(PREFIX).map(|rest| (rest.split(SEPARATOR).collect::<Vec<_>>(), name, value))
        })
        .collect();
    ours.sort_by(|one, two| (one.0.len(), one.1).cmp(&(two.0.len(), two.1)));
    let mut problems = Vec::new();
    for (segments, name, value) in ours {
        if let Err(refusal) = put(root, &segments, name, value) {
            let (kind, help) = *refusal;
            let place = source.place(&Origin::Variable(name.clone()));
            problems.push(Problem { place, kind, also: None, help: Some(help) });
        }
    }
    problems
}

/// What a segment stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// A key of ours, in lower case.
    Key,
    /// A name of the file, matched without regard to case and with `_` for what a variable cannot spell.
    Name(&'static str),
    /// A variable of a worker, exactly as it is written.
    Exact,
}

fn spelling(path: &[String]) -> Spelling {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["pools"] => Spelling::Name("pool"),
        ["pools", _, "methods"] => Spelling::Name("method"),
        ["pools", _, "env"] => Spelling::Exact,
        _ => Spelling::Key,
    }
}

/// Why a variable has no place, and what to do.
type Refusal = Box<(ProblemKind, String)>;

fn refuse<T>(kind: ProblemKind, help: String) -> Result<T, Refusal> {
    Err(Box::new((kind, help)))
}

fn put(root: &mut Vec<Entry>, segments: &[&str], name: &str, value: &str) -> Result<(), Refusal> {
    if segments.iter().any(|segment| segment.is_empty()) {
        let help = format!("write {PREFIX}SECTION__KEY, such as {PREFIX}BROKER__HTTP");
        return refuse(ProblemKind::BadVariable { name: name.to_owned() }, help);
    }
    let origin = Origin::Variable(name.to_owned());
    let mut entries = root;
    let mut path: Vec<String> = Vec::new();
    for (depth, segment) in segments.iter().enumerate() {
        let key = match spelling(&path) {
            Spelling::Key => segment.to_lowercase(),
            Spelling::Exact => (*segment).to_owned(),
            Spelling::Name(what) => named(entries, segment, what, &path)?,
        };
        path.push(key.clone());
        let last = depth + 1 == segments.len();
        let at = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            let node = Node { origin: origin.clone(), value: Value::Table(Vec::new()), raw: None };
            entries.push(Entry { key, origin: origin.clone(), node });
            entries.len() - 1
        });
        let entry = &mut entries[at];
        if last {
            entry.origin = origin;
            entry.node = variable_value(name, value);
            return Ok(());
        }
        let found = entry.node.value.type_name();
        let Value::Table(inner) = &mut entry.node.value else {
            let kind = ProblemKind::WrongType { key: path.join("."), expected: "a table".to_owned(), found };
            let shorter = segments[..=depth].join(SEPARATOR);
            return refuse(kind, format!("set {PREFIX}{shorter} to replace it"));
        };
        entries = inner;
    }
    Ok(())
}

/// The pool or method of the file that a segment means.
fn named(entries: &[Entry], segment: &str, what: &'static str, path: &[String]) -> Result<String, Refusal> {
    let wanted = folded(segment);
    let mut matching = entries.iter().filter(|entry| folded(&entry.key) == wanted);
    let refusal = |help| {
        let key = format!("{}.{}", path.join("."), segment.to_lowercase());
        refuse(ProblemKind::UnknownKey { key }, help)
    };
    match (matching.next(), matching.next()) {
        (Some(entry), None) => Ok(entry.key.clone()),
        (Some(one), Some(two)) => refusal(format!(
            "a variable cannot tell the {what}s `{}` and `{}` apart; set it in the file",
            one.key, two.key
        )),
        (None, _) => {
            let near = nearest(segment, entries.iter().map(|entry| entry.key.as_str()));
            refusal(match near {
                Some(near) => format!("did you mean the {what} `{near}`?"),
                None => format!("a variable can only change a {what} that the file names"),
            })
        }
    }
}

/// A name as a variable can spell it.
fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}
