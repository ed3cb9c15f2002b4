//! What an attempt leaves for the next one.
//!
//! It owns what is kept of each open request for its next attempt, the bound on it, and what that attempt is told. It must
//! never look into what is saved, and never let anything be saved by an attempt that does not execute now.

use std::collections::BTreeMap;

use crate::action::AttemptRecord;
use crate::core::Core;
use crate::fact::Fact;
use crate::ids::{AttemptNumber, PoolId, ProcessKey, RequestId};

/// What every slot of a pool may have saved, in bytes, beside what the pool's queue may pin: the longest item, and the
/// header that it is pinned with.
pub const SAVED_PER_SLOT: usize = (1 << 20) + (64 << 10);

/// The handles of what is saved, by request.
#[derive(Debug)]
pub(crate) struct Saves<A> {
    kept: BTreeMap<RequestId, A>,
}

impl<A> Saves<A> {
    pub(crate) const fn new() -> Self {
        Self { kept: BTreeMap::new() }
    }

    /// How many requests have something saved.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether a request has something saved.
    pub(crate) fn has(&self, request: RequestId) -> bool {
        self.kept.contains_key(&request)
    }
}

/// What a further attempt is told of those before it.
#[derive(Debug)]
pub struct Past<'a, A> {
    /// They, oldest first.
    pub attempts: &'a [AttemptRecord],
    /// What the last of them that saved something has saved.
    pub saved: Option<&'a A>,
}

impl<Q, A> Core<Q, A> {
    /// What came before the present attempt of an open request.
    #[must_use]
    pub fn past(&self, request: RequestId) -> Option<Past<'_, A>> {
        let record = self.requests.get(request)?;
        Some(Past { attempts: &record.history, saved: self.saves.kept.get(&request) })
    }

    /// A handler saves something: the work moves, and the process has written something. Of an attempt that the process
    /// does not execute it is refused, like an old answer.
    pub(crate) fn saved(
        &mut self,
        key: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
        item: A,
        bytes: usize,
    ) {
        if self.find_process(key).is_none() {
            if self.unkillable.contains_key(&key) {
                self.refuse(key);
            }
            return;
        }
        self.output_seen(key);
        if self.note_moving(key, request, attempt) {
            self.keep(request, item, bytes);
        } else {
            self.refuse(key);
        }
    }

    /// Keeps the latest. Where the pool has no room for it nothing is kept, and there will be no further attempt: it would
    /// begin before what its predecessor has saved.
    fn keep(&mut self, request: RequestId, item: A, bytes: usize) {
        self.forget_saved(request);
        let record = self.requests.open_record(request);
        let (id, method) = (record.pool, record.method);
        let most = self.saved_most(id);
        let pool = &mut self.pools[usize::from(id.0)];
        let is_kept = pool.saved_bytes.saturating_add(bytes) <= most;
        let record = self.requests.open_record(request);
        record.unkept = !is_kept;
        if is_kept {
            record.saved_bytes = bytes;
            record.bytes += bytes;
            pool.saved_bytes += bytes;
            self.saves.kept.insert(request, item);
            self.out.tell(Fact::Saved { pool: id, request });
        } else {
            self.out.tell(Fact::SaveDropped { pool: id, method, request, bytes });
        }
    }

    /// Lets go of what is saved of an open request, if anything is.
    #[cold]
    pub(crate) fn forget_saved(&mut self, request: RequestId) {
        let record = self.requests.open_record(request);
        if record.saved_bytes == 0 {
            return;
        }
        let bytes = std::mem::take(&mut record.saved_bytes);
        record.bytes -= bytes;
        self.pools[usize::from(record.pool.0)].saved_bytes -= bytes;
        self.saves.kept.remove(&request);
    }

    /// The most that a pool's requests may have saved, all together. Twice as many processes as there are workers may
    /// execute: each may be finishing what it holds while its successor serves already.
    pub(crate) fn saved_most(&self, pool: PoolId) -> usize {
        let settings = self.settings.pool(pool);
        let slots = 2 * usize::from(settings.workers.get()) * usize::from(settings.slots.get());
        settings.queue.max_bytes.saturating_add(slots * SAVED_PER_SLOT)
    }
}
