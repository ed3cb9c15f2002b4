//! Reports: what is kept of each crash, and of the last requests that did not end `ok`.
//!
//! It owns what is kept, for how long, and under which names. The store is the data plane's own and answers without
//! waiting; what is written to files is handed over by a bounded queue to the [`keeper`], on the control plane. It must never
//! let a crash loop push out a rare crash, nor a disk hold up anything but its file.

mod build;
mod calls;
mod doing;
mod failed;
mod folder;
mod keeper;
mod lives;
mod report;
mod shelf;
mod signature;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lifeboat_core::fact::{Death, Fact};
use lifeboat_core::reason::OutcomeKind;
use lifeboat_core::time::Timestamp;
use tokio::sync::mpsc;

pub(super) use self::doing::doing;
use self::failed::Failed;
pub use self::failed::FailedRequest;
pub use self::folder::ReportFolder;
pub use self::keeper::{Filed, keep_reports};
use self::lives::Lives;
pub use self::report::{
    Climbed, Decided, Executed, Findings, Life, Reason, RecordedSlot, Recorder, Report, ReportHead,
    Signature, Snapshot, Thread,
};
use self::shelf::{Kept, Shelf};
use super::LimitsInForce;
use super::names::Names;
use super::wall_clock::WallClock;

/// So many reports may wait to be written.
const WAITING: usize = 64;

/// A report as it is kept.
#[derive(Debug)]
struct Entry {
    head: ReportHead,
    json: Arc<str>,
}

/// The data plane's store.
#[derive(Debug)]
pub(super) struct Reports {
    shelf: Shelf<Entry>,
    lives: Lives,
    failed: Failed,
    files: Option<mpsc::Sender<Filed>>,
    /// Reports that were not written.
    dropped: Arc<AtomicU64>,
}

impl Reports {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            shelf: Shelf::new(),
            lives: Lives::new(workers),
            failed: Failed::new(),
            files: None,
            dropped: Arc::default(),
        }
    }

    /// Takes in what an earlier broker has left, the oldest first, and hands over what comes. `dropped` counts what could not
    /// be handed over.
    pub(super) fn keep_in_files(
        &mut self,
        left: Vec<Report>,
        dropped: Arc<AtomicU64>,
    ) -> mpsc::Receiver<Filed> {
        for report in left {
            self.put(&report);
        }
        let (files, filed) = mpsc::channel(WAITING);
        self.files = Some(files);
        self.dropped = dropped;
        filed
    }

    /// Takes note of a fact.
    #[inline]
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is kept of is the exception")]
    pub(super) fn note(
        &mut self,
        fact: &Fact,
        now: Timestamp,
        names: &Names,
        clock: &WallClock,
        limits: &[LimitsInForce],
    ) {
        match fact {
            Fact::RequestEnded(ended) if ended.outcome != OutcomeKind::Ok => self.failed.note(ended, now),
            Fact::WorkerStarting { .. } | Fact::WorkerStopped { .. } => self.lives.note(fact, now, clock),
            Fact::WorkerCrashed(death) => {
                self.lives.note(fact, now, clock);
                self.file(death, names, clock, limits.get(usize::from(death.pool.0)));
            }
            _ => {}
        }
    }

    /// What is kept, the newest first.
    pub(super) fn heads(&self) -> impl Iterator<Item = &ReportHead> {
        self.shelf.newest_first().map(|kept| &kept.item.head)
    }

    /// The report of this name, as JSON.
    pub(super) fn find(&self, id: &str) -> Option<Arc<str>> {
        let found = self.shelf.newest_first().find(|kept| kept.item.head.id == id)?;
        Some(Arc::clone(&found.item.json))
    }

    pub(super) fn failed(&self, now: Timestamp, names: &Names) -> Vec<FailedRequest> {
        self.failed.rows(now, names)
    }

    #[cold]
    fn file(&mut self, death: &Death, names: &Names, clock: &WallClock, limits: Option<&LimitsInForce>) {
        let mut report = build::build(death, names, clock, limits);
        report.history = self.lives.of(death.process);
        let signature = &mut report.signature;
        // The newest of a signature outlives the others, so that it knows of them all.
        if let Some(last) = self.heads().find(|head| head.signature.id == signature.id) {
            signature.count = last.signature.count.saturating_add(1);
            signature.first_at = last.signature.first_at;
        }
        if let Some(json) = self.put(&report) {
            self.hand_over(Filed { id: report.id, signature: report.signature.id, json });
        }
    }

    fn put(&mut self, report: &Report) -> Option<Arc<str>> {
        let json: Arc<str> = match report.to_json() {
            Ok(json) => json.into(),
            Err(error) => {
                tracing::error!(%error, "a report cannot be written as JSON; this is a bug");
                return None;
            }
        };
        let head = report.head();
        let signature = head.signature.id.clone();
        self.shelf.push(Kept { signature, bytes: json.len(), item: Entry { head, json: Arc::clone(&json) } });
        Some(json)
    }

    /// Never waits: where the disk does not keep up, that report has no file and is counted; the keeper tells it.
    fn hand_over(&self, filed: Filed) {
        if let Some(files) = &self.files
            && files.try_send(filed).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
