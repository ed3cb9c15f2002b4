//! Which bodies have crashed what, and that those that did so too often get no further process.

use lifeboat_core::Core;
use lifeboat_core::fact::Death;
use lifeboat_core::ids::{Digest, MethodId, ReportId};
use lifeboat_core::reason::{Confidence, CrashReason, KillReason};
use lifeboat_core::time::Timestamp;
use lifeboat_core::view::QuarantineView;

use super::Shadow;
use super::request::Place;
use crate::sim::coverage::Coverage;

/// A body that has crashed something.
#[derive(Debug)]
pub(super) struct Culprit {
    method: MethodId,
    digest: Digest,
    crashes: u32,
    last: Timestamp,
    report: Option<ReportId>,
}

impl Shadow {
    /// Where a request's body stands among the culprits.
    fn culprit(&self, serial: u64) -> Option<usize> {
        let request = self.peek(serial);
        let (method, digest) = request.method.zip(request.digest)?;
        self.culprits.iter().position(|culprit| culprit.method == method && culprit.digest == digest)
    }

    fn until(&self, culprit: &Culprit) -> Timestamp {
        culprit.last + self.settings.method(culprit.method).quarantine.expect("it is watched").expiry
    }

    fn row(&self, culprit: &Culprit) -> Option<QuarantineView> {
        let method = self.settings.method(culprit.method);
        let enough = culprit.crashes >= method.quarantine?.crash_limit.get();
        let until = self.until(culprit);
        (enough && until > self.now).then_some(QuarantineView {
            pool: method.pool,
            method: culprit.method,
            digest: culprit.digest,
            crashes: culprit.crashes,
            last_crash: culprit.last,
            until,
            report: culprit.report,
        })
    }

    pub(super) fn quarantine_of(&self, serial: u64) -> Option<QuarantineView> {
        self.culprit(serial).and_then(|place| self.row(&self.culprits[place]))
    }

    pub(super) fn in_quarantine(&self, serial: u64) -> bool {
        self.quarantine_of(serial).is_some()
    }

    /// A process died of what it executed alone.
    pub(super) fn count_death(&mut self, executing: &[u64], death: &Death, coverage: &mut Coverage) {
        let of_others = matches!(
            death.reason,
            CrashReason::KilledFromOutside
                | CrashReason::StoppedFromOutside { .. }
                | CrashReason::Killed(_)
                | CrashReason::Unresponsive
                | CrashReason::CpuLimit
        );
        let own = !of_others || death.reason == CrashReason::Killed(KillReason::MemoryLimit);
        let inferred = death.reason == CrashReason::Oom && death.confidence == Confidence::Inferred;
        let sure = !inferred && death.confidence != Confidence::Unknown;
        let alone = self.look(death.process).expect("it is known").cleared.is_empty();
        if executing.len() == 1 && !alone {
            coverage.see("alone on a recorder's word");
        }
        if let [serial] = executing
            && own
            && sure
            && alone
        {
            self.count_crash(*serial, Some(death.report), coverage);
        }
    }

    pub(super) fn count_crash(&mut self, serial: u64, report: Option<ReportId>, coverage: &mut Coverage) {
        let request = self.peek(serial);
        let Some((method, digest)) = request.method.zip(request.digest) else { return };
        if self.settings.method(method).quarantine.is_none() {
            return;
        }
        let stood = self.in_quarantine(serial);
        let before = self.culprit(serial).map(|place| self.culprits.remove(place));
        let over = before.as_ref().is_some_and(|culprit| self.until(culprit) <= self.now);
        if over {
            coverage.see("a crash is too long ago to count");
        }
        let before = before.filter(|_| !over);
        let crashes = before.as_ref().map_or(0, |culprit| culprit.crashes) + 1;
        let report = report.or_else(|| before?.report);
        self.culprits.push(Culprit { method, digest, crashes, last: self.now, report });
        if self.culprits.len() > self.settings.quarantine_room {
            let worth = |culprit: &Culprit| (self.row(culprit).is_some(), self.until(culprit) > self.now);
            let least = (0..self.culprits.len()).min_by_key(|place| worth(&self.culprits[*place]));
            self.culprits.remove(least.expect("there are some"));
            coverage.see("a body forgotten for room");
        }
        if stood {
            coverage.see("crashed in quarantine");
        } else if let Some(row) = self.quarantine_of(serial) {
            assert!(self.must_quarantine.replace(row).is_none(), "one crash at a time");
            let waits = |place| matches!(place, Place::Waiting | Place::Backoff(_));
            let theirs = self.open.iter().copied().filter(|serial| {
                let request = self.peek(*serial);
                waits(request.place) && (request.method, request.digest) == (Some(method), Some(digest))
            });
            self.must_end.extend(theirs.collect::<Vec<u64>>());
        }
    }

    /// A body was answered `ok`: its crashes are forgotten, unless it is in quarantine.
    pub(super) fn forgive(&mut self, serial: u64, coverage: &mut Coverage) {
        let Some(place) = self.culprit(serial) else { return };
        if self.in_quarantine(serial) {
            coverage.see("a quarantine stands after an ok");
        } else {
            self.culprits.remove(place);
            coverage.see("crashes forgotten for an ok");
        }
    }

    pub(super) fn quarantined(&mut self, told: &QuarantineView, coverage: &mut Coverage) {
        assert_eq!(self.must_quarantine.take().as_ref(), Some(told), "what its crash leads to");
        coverage.see("quarantined");
    }

    /// A person lets one body go, or all.
    pub(super) fn let_go(&mut self, which: Option<Digest>) {
        let all = self.culprits.iter().filter_map(|culprit| self.row(culprit));
        let all: Vec<QuarantineView> =
            all.filter(|row| which.is_none_or(|digest| digest == row.digest)).collect();
        self.culprits.retain(|culprit| {
            !all.iter().any(|row| (row.method, row.digest) == (culprit.method, culprit.digest))
        });
        self.must_release = all;
    }

    pub(super) fn released(&mut self, told: &QuarantineView, coverage: &mut Coverage) {
        assert_eq!(self.must_release.pop().as_ref(), Some(told), "the last one first");
        coverage.see("released from quarantine");
    }

    pub(super) fn check_quarantine(&self, core: &Core<u64, u64>) {
        assert_eq!(self.must_quarantine, None, "nobody was told of the quarantine");
        assert!(self.must_release.is_empty(), "nobody was told of {:?}", self.must_release);
        let mine: Vec<QuarantineView> =
            self.culprits.iter().rev().filter_map(|culprit| self.row(culprit)).collect();
        assert_eq!(core.quarantine(self.now), mine, "the bodies in quarantine");
    }

    /// How many bodies of a pool are in quarantine.
    pub(super) fn quarantined_in(&self, pool: lifeboat_core::ids::PoolId) -> usize {
        self.culprits.iter().filter_map(|culprit| self.row(culprit)).filter(|row| row.pool == pool).count()
    }

    /// A request ends refused for its body.
    pub(super) fn check_refused(&self, serial: u64, coverage: &mut Coverage) {
        let request = self.peek(serial);
        assert!(self.in_quarantine(serial), "{serial}: its body is not in quarantine");
        assert!(
            request.ended == 0 || request.last_end == Some(lifeboat_core::reason::AttemptEnd::Failed),
            "{serial}: it ran, and ends as it did"
        );
        coverage.see(match request.place {
            Place::Held(_) => "quarantined: given back",
            _ if request.ended > 0 => "quarantined: refused after a failure",
            Place::Waiting | Place::Backoff(_) | Place::Limbo | Place::Done(_) => {
                "quarantined: refused while it waited"
            }
        });
    }
}
