//! Quarantine: bodies that have crashed so many processes that they get no further one.
//!
//! It owns the ledger of crashes by method and digest of body, what counts, and who is refused for it. It must never see a
//! body, and costs nothing for methods without it. Nothing is armed: what has expired is found out when it is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::Outcome;
use crate::core::Core;
use crate::fact::{Death, Fact};
use crate::ids::{Digest, MethodId, PoolId, ReportId, RequestId};
use crate::reason::{Confidence, CrashReason, KillReason, RejectWhy};
use crate::settings::{QuarantineSettings, Settings};
use crate::slot::Held;
use crate::time::Timestamp;
use crate::view::QuarantineView;

/// A body of a method, by its digest.
pub(crate) type Body = (MethodId, Digest);

/// The crashes of one body.
#[derive(Clone, Copy, Debug)]
struct Crashes {
    count: u32,
    /// When it crashed last.
    last: Timestamp,
    /// Which crash of all that is: the order in which bodies are forgotten.
    order: u64,
    report: Option<ReportId>,
}

/// Bodies that have crashed processes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    bodies: BTreeMap<Body, Crashes>,
    /// Crashes that were ever counted.
    order: u64,
}

impl Ledger {
    /// How many bodies are known.
    pub(crate) fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Counts a crash, and forgets whoever has to make room for it: what has expired first, then what is in no quarantine,
    /// and of those the one that crashed longest ago.
    fn count(&mut self, body: Body, report: Option<ReportId>, now: Timestamp, settings: &Settings) {
        self.order += 1;
        let before = self.bodies.get(&body).filter(|crashes| !has_expired(crashes, now, settings, body));
        let count = before.map_or(0, |crashes| crashes.count).saturating_add(1);
        let report = report.or_else(|| before?.report);
        self.bodies.insert(body, Crashes { count, last: now, order: self.order, report });
        if self.bodies.len() > settings.quarantine_room {
            let worth = |(body, crashes): &(&Body, &Crashes)| {
                let stands = view(**body, crashes, now, settings).is_some();
                (stands, !has_expired(crashes, now, settings, **body), crashes.order)
            };
            let least = self.bodies.iter().min_by_key(worth).map(|(body, _)| *body);
            self.bodies.remove(&least.unwrap_or(body));
        }
    }

    /// What is told of a body that is in quarantine.
    fn quarantined(&self, body: Body, now: Timestamp, settings: &Settings) -> Option<QuarantineView> {
        let crashes = self.bodies.get(&body)?;
        view(body, crashes, now, settings)
    }
}

/// The expiry counts from the last crash, also for a body that is not in quarantine yet.
fn has_expired(crashes: &Crashes, now: Timestamp, settings: &Settings, (method, _): Body) -> bool {
    settings.method(method).quarantine.is_none_or(|ours| now >= crashes.last + ours.expiry)
}

fn view(body: Body, crashes: &Crashes, now: Timestamp, settings: &Settings) -> Option<QuarantineView> {
    let QuarantineSettings { crash_limit, expiry } = settings.method(body.0).quarantine?;
    let stands = crashes.count >= crash_limit.get() && !has_expired(crashes, now, settings, body);
    stands.then(|| QuarantineView {
        pool: settings.method(body.0).pool,
        method: body.0,
        digest: body.1,
        crashes: crashes.count,
        last_crash: crashes.last,
        until: crashes.last + expiry,
        report: crashes.report,
    })
}

/// Whether a death says of the one attempt that was executing that its body did it.
fn is_its_own(death: &Death) -> bool {
    let by_itself = match &death.reason {
        CrashReason::KilledFromOutside
        | CrashReason::StoppedFromOutside { .. }
        | CrashReason::SpawnFailed(_)
        | CrashReason::StartFailed(_)
        // A machine that pauses or swaps makes processes unresponsive, and CPU time is used up by all of a life's bodies.
        | CrashReason::Unresponsive
        | CrashReason::CpuLimit => false,
        CrashReason::Killed(why) => *why == KillReason::MemoryLimit,
        // It may have been somebody else's memory.
        CrashReason::Oom => death.confidence == Confidence::Proven,
        CrashReason::Exit { .. }
        | CrashReason::Signal { .. }
        | CrashReason::FileSizeLimit
        | CrashReason::SandboxViolation
        | CrashReason::ConnectionClosed
        | CrashReason::ConnectionError { .. }
        | CrashReason::ProtocolViolation(_)
        | CrashReason::SlotsExhausted(_)
        | CrashReason::SlotPanicked { .. } => true,
    };
    by_itself && death.confidence != Confidence::Unknown
}

impl<Q, A> Core<Q, A> {
    /// A process died: its crash is counted against what it executed, if that was certainly it. Who is `spared` on the
    /// process's own word may have been its neighbour all the same.
    pub(crate) fn count_death(&mut self, executing: &[Held], spared: bool, death: &Death) {
        if let [held] = executing
            && !spared
            && is_its_own(death)
        {
            self.count_crash(*held, Some(death.report));
        }
    }

    /// Counts a crash against the body of an attempt. From `crash_limit` of them on it is in quarantine, and those that
    /// wait with the same body are ended.
    pub(crate) fn count_crash(&mut self, held: Held, report: Option<ReportId>) {
        let Some(body) = held.body else { return };
        let stood = self.quarantined(Some(body)).is_some();
        self.ledger.count(body, report, self.now, &self.settings);
        let Some(quarantined) = self.quarantined(Some(body)).filter(|_| !stood) else { return };
        let pool = quarantined.pool;
        self.out.tell(Fact::Quarantined(quarantined));
        for id in self.pools[usize::from(pool.0)].queue.everyone(&self.requests) {
            if self.requests.open_record(id).body == Some(body) {
                let outcome = self.outcome_while_quarantined(id);
                self.end_request(id, outcome);
            }
        }
    }

    /// A body was answered `ok`: what was counted is forgotten. A quarantine stands until it expires or a person ends it.
    pub(crate) fn forgive_body(&mut self, held: &Held) {
        if let Some(body) = held.body
            && self.ledger.quarantined(body, self.now, &self.settings).is_none()
        {
            self.ledger.bodies.remove(&body);
        }
    }

    /// The body of a new request, if its method has a quarantine.
    pub(crate) fn body(&self, method: MethodId, digest: Option<Digest>) -> Option<Body> {
        self.settings.method(method).quarantine.and(digest).map(|digest| (method, digest))
    }

    /// A body's quarantine, if it is in one.
    pub(crate) fn quarantined(&self, body: Option<Body>) -> Option<QuarantineView> {
        self.ledger.quarantined(body?, self.now, &self.settings)
    }

    /// Whether a request may not be given to a process any more.
    pub(crate) fn is_quarantined(&self, id: RequestId) -> bool {
        self.quarantined(self.requests.get(id).and_then(|record| record.body)).is_some()
    }

    /// The outcome of a request that would wait with a body in quarantine: as its last attempt ended, and refused where
    /// none did that says so.
    pub(crate) fn outcome_while_quarantined(&mut self, id: RequestId) -> Outcome<A> {
        if let Some(outcome) = self.outcome_of_last_attempt(id) {
            return outcome;
        }
        let body = self.requests.open_record(id).body;
        let retry_after = self.quarantined(body).map(|quarantined| self.time_left(&quarantined));
        Outcome::Rejected { why: RejectWhy::Quarantined, retry_after }
    }

    /// How long a quarantine stands from now.
    pub(crate) fn time_left(&self, quarantined: &QuarantineView) -> Duration {
        quarantined.until.since(self.now)
    }

    /// A person lets one body run again, or all of them. Those that are not in quarantine keep their counts.
    pub(crate) fn release_bodies(&mut self, which: Option<Digest>) {
        for released in self.quarantine(self.now) {
            if which.is_none_or(|digest| digest == released.digest) {
                self.ledger.bodies.remove(&(released.method, released.digest));
                self.out.tell(Fact::QuarantineReleased(released));
            }
        }
    }

    /// The bodies in quarantine, the last crash first.
    #[must_use]
    pub fn quarantine(&self, now: Timestamp) -> Vec<QuarantineView> {
        let mut all: Vec<(u64, QuarantineView)> = self.in_quarantine(self.now.max(now)).collect();
        all.sort_unstable_by_key(|(order, _)| std::cmp::Reverse(*order));
        all.into_iter().map(|(_, view)| view).collect()
    }

    /// How many bodies of a pool are in quarantine.
    pub(crate) fn quarantined_in(&self, pool: PoolId, now: Timestamp) -> usize {
        self.in_quarantine(self.now.max(now)).filter(|(_, view)| view.pool == pool).count()
    }

    /// The bodies in quarantine, each with the place of its last crash in the order of all.
    fn in_quarantine(&self, now: Timestamp) -> impl Iterator<Item = (u64, QuarantineView)> {
        let bodies = self.ledger.bodies.iter();
        bodies.filter_map(move |(body, crashes)| {
            Some((crashes.order, view(*body, crashes, now, &self.settings)?))
        })
    }
}
