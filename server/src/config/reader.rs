//! Takes values out of the tree, key by key, and remembers what was found, what was wrong and what was left over.
//!
//! Owns the bookkeeping behind `check`. Must never stop at the first problem: all independent ones are told together.

use std::collections::BTreeSet;

use super::effective::EffectiveValue;
use super::error::{Place, Problem, ProblemKind};
use super::section::Section;
use super::shapes::Shape;
use super::tree::{Entry, Origin, Source};
use super::{NotYet, Warning};

/// Everything that comes out of reading.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) problems: Vec<Problem>,
    pub(super) effective: Vec<EffectiveValue>,
    pub(super) not_yet: Vec<NotYet>,
    pub(super) warnings: Vec<Warning>,
    /// Every key that was asked for, with `NAME` and `METHOD` for the names that a user chooses.
    pub(super) accepted: BTreeSet<String>,
}

/// A value with where it came from.
#[derive(Clone, Debug)]
pub(super) struct Set<T> {
    /// The key that says so; for an inherited value the pool's.
    pub(super) key: String,
    pub(super) value: T,
    pub(super) origin: Origin,
    /// As TOML.
    pub(super) shown: String,
    /// False when what was written could not be read and the default stands in, so that no second problem follows.
    pub(super) sound: bool,
}

impl<T> Set<T> {
    /// The value for a message: without quotes, and marked when nobody wrote it.
    pub(super) fn told(&self) -> String {
        let plain = self.shown.trim_matches('"');
        if self.origin == Origin::Default { format!("{plain}, the default") } else { plain.to_owned() }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source<'a>) -> Self {
        Self {
            source,
            problems: Vec::new(),
            effective: Vec::new(),
            not_yet: Vec::new(),
            warnings: Vec::new(),
            accepted: BTreeSet::new(),
        }
    }

    /// Reads a key, or stands in its default.
    pub(super) fn value<S: Shape>(
        &mut self,
        section: &mut Section,
        key: &'static str,
        shape: &S,
        default: S::Value,
    ) -> Set<S::Value> {
        let path = section.path(key);
        let inherited = Set {
            shown: shape.show(&default),
            key: path,
            value: default,
            origin: Origin::Default,
            sound: true,
        };
        self.value_or(section, key, shape, &inherited)
    }

    /// Reads a key, or inherits the value of another.
    pub(super) fn value_or<S: Shape>(
        &mut self,
        section: &mut Section,
        key: &'static str,
        shape: &S,
        inherited: &Set<S::Value>,
    ) -> Set<S::Value> {
        let path = section.path(key);
        let set = match self.take(section, key) {
            Some(entry) => self.read(path.clone(), &entry, shape, &inherited.value),
            None => inherited.clone(),
        };
        self.tell(path, &set);
        set
    }

    /// Remembers a key that is accepted but has no effect.
    pub(super) fn not_yet(&mut self, key: String, origin: &Origin, note: &'static str) {
        let place = self.source.place(origin);
        self.not_yet.push(NotYet { key, place, note });
    }

    /// Reads an entry that was taken.
    pub(super) fn read<S: Shape>(
        &mut self,
        path: String,
        entry: &Entry,
        shape: &S,
        default: &S::Value,
    ) -> Set<S::Value> {
        let origin = entry.node.origin.clone();
        let (value, sound) = match shape.read(&entry.node) {
            Ok(value) => (value, true),
            Err(wrong) => {
                self.wrong(&path, &entry.node, wrong, shape.can_be_off());
                (default.clone(), false)
            }
        };
        Set { shown: shape.show(&value), key: path, value, origin, sound }
    }

    /// Remembers a problem.
    pub(super) fn problem(&mut self, origin: &Origin, kind: ProblemKind, help: Option<String>) {
        let place = self.source.place(origin);
        self.problems.push(Problem { place, kind, also: None, help });
    }

    /// Remembers a problem between two places.
    pub(super) fn problem_of_two(
        &mut self,
        origin: &Origin,
        other: &Origin,
        kind: ProblemKind,
        help: Option<String>,
    ) {
        let (mut place, mut also) = (self.source.place(origin), self.source.place(other));
        if place == Place::Default {
            std::mem::swap(&mut place, &mut also);
        }
        let also = (also != Place::Default).then_some(also);
        self.problems.push(Problem { place, kind, also, help });
    }

    /// Remembers something that is allowed but probably not meant, of several values; the place is that of the first
    /// that somebody wrote.
    pub(super) fn warn_at_first(&mut self, origins: &[&Origin], message: String) {
        let written = origins.iter().find(|origin| ***origin != Origin::Default);
        self.warn(written.copied().unwrap_or(&Origin::Default), message);
    }

    /// Remembers something that is allowed but probably not meant.
    pub(super) fn warn(&mut self, origin: &Origin, message: String) {
        let place = self.source.place(origin);
        let warning = Warning { place, message };
        // A pool's default warns once, however many methods inherit it.
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}
