//! Requests that came back and wait, by the worker they avoid.
//!
//! It owns their order: the oldest first. It must never know why one came back.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{RequestId, WorkerId};

/// Requests that came back.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    lines: BTreeMap<Option<WorkerId>, BTreeSet<RequestId>>,
}

impl Returned {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.values().map(BTreeSet::len).sum()
    }

    pub(crate) fn insert(&mut self, id: RequestId, avoid: Option<WorkerId>) {
        self.lines.entry(avoid).or_default().insert(id);
    }

    pub(crate) fn remove(&mut self, id: RequestId, avoid: Option<WorkerId>) {
        if let Some(ids) = self.lines.get_mut(&avoid) {
            ids.remove(&id);
            if ids.is_empty() {
                self.lines.remove(&avoid);
            }
        }
    }

    /// The oldest of those whose avoided worker `allows`.
    pub(crate) fn first(
        &self,
        allows: impl Fn(Option<WorkerId>) -> bool,
    ) -> Option<(RequestId, Option<WorkerId>)> {
        self.lines
            .iter()
            .filter_map(|(avoid, ids)| ids.first().map(|id| (*id, *avoid)))
            .filter(|(_, avoid)| allows(*avoid))
            .min_by_key(|(id, _)| *id)
    }

    /// The oldest of all.
    pub(crate) fn oldest(&self) -> Option<RequestId> {
        self.lines.values().filter_map(BTreeSet::first).min().copied()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RequestId> {
        self.lines.values().flatten().copied()
    }
}
