//! The kernel's out-of-memory counters, and which death each of their rises may explain.
//!
//! It owns the counters' last values. A process with a cgroup of its own has a counter of its own, which `cgroup` keeps. These
//! here are for those without, and they are shared (the broker's own cgroup, the whole system), so a rise
//! is a hint: it explains at most one death by SIGKILL, and only one soon after it. A process that the broker killed
//! itself leaves the rise for another, whom the kernel killed. A rise that nobody claims was a descendant's or a
//! stranger's, and must not name the next death.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::{Duration, Instant};

use lifeboat_core::evidence::{OomEvidence, WaitStatus};

use super::cgroup::{self, Kind};

/// How long after its rise a counter may explain a death. Dying takes about 0.1 ms per MB of memory, so this covers
/// a process of some 100 GB.
const EXPLAINS_FOR: Duration = Duration::from_secs(10);

/// How often the system's counter, whose reading takes some 0.4 ms, is read without a cause.
const SYSTEM_INTERVAL: Duration = Duration::from_secs(10);

/// The counters that this broker can read.
#[derive(Debug)]
pub(super) struct OomWatch {
    cgroup: Option<Counter>,
    /// That counts what is killed in the cgroups below it too, as in version 2.
    counts_below: bool,
    system: Option<Counter>,
    system_read_at: Instant,
}

impl OomWatch {
    /// Finds and reads the counters. Must be called inside the broker's cgroup.
    pub(super) fn new() -> Self {
        let own = cgroup::own_cgroups();
        let mut counters =
            own.iter().filter_map(|it| Some((it.kind, cgroup::oom_counter(it.kind, &it.own)?)));
        let found = counters.find(|(_, file)| file.exists());
        let counts_below = found.as_ref().is_some_and(|(kind, _)| *kind == Kind::Unified);
        let cgroup = found.and_then(|(_, file)| Counter::open(&file));
        if cgroup.is_none() {
            tracing::debug!("the broker's cgroup has no readable out-of-memory counter");
        }
        let system = Counter::open(Path::new("/proc/vmstat"));
        Self { cgroup, counts_below, system, system_read_at: Instant::now() }
    }

    /// Notes rises, so that none is taken for news when the next worker dies.
    pub(super) fn refresh(&mut self) {
        let now = Instant::now();
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.refresh(now);
        }
        if now.duration_since(self.system_read_at) >= SYSTEM_INTERVAL {
            self.refresh_system(now);
        }
    }

    fn refresh_system(&mut self, now: Instant) {
        self.system_read_at = now;
        if let Some(system) = &mut self.system {
            system.refresh(now);
        }
    }

    /// So many were killed that a counter of their own has told of: as many rises here are explained.
    pub(super) fn claim(&mut self, killed: u64) {
        if killed == 0 {
            return;
        }
        let now = Instant::now();
        self.refresh_system(now);
        let above = self.cgroup.as_mut().filter(|_| self.counts_below);
        above.into_iter().chain(&mut self.system).for_each(|counter| counter.claim(now, killed));
    }

    /// What the counters say of a death. The kernel raises them before the death can be seen.
    ///
    /// Only a SIGKILL that the broker did not send claims a rise, and only for one is the system's counter read;
    /// every other death just looks at what is there.
    pub(super) fn judge(&mut self, status: WaitStatus, kill_sent: bool) -> OomEvidence {
        if self.cgroup.is_none() && self.system.is_none() {
            return OomEvidence::NotWatched;
        }
        let now = Instant::now();
        let killed = matches!(status, WaitStatus::Signaled { signal: libc::SIGKILL, .. });
        let claims = killed && !kill_sent;
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.refresh(now);
        }
        if claims {
            self.refresh_system(now);
        }
        let in_cgroup = self.cgroup.as_mut().is_some_and(|counter| counter.explains(now, claims));
        let in_system = killed && self.system.as_mut().is_some_and(|counter| counter.explains(now, claims));
        if in_cgroup || in_system { OomEvidence::SharedCounterRose } else { OomEvidence::NotSeen }
    }
}

/// One counter and its rises that no death has claimed.
#[derive(Debug)]
struct Counter {
    file: File,
    text: Vec<u8>,
    last: u64,
    rises: VecDeque<Instant>,
}

impl Counter {
    fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let mut counter = Self { file, text: Vec::new(), last: 0, rises: VecDeque::new() };
        counter.last = counter.read()?;
        Some(counter)
    }

    fn read(&mut self) -> Option<u64> {
        self.text.clear();
        self.file.rewind().ok()?;
        self.file.read_to_end(&mut self.text).ok()?;
        cgroup::oom_kills(std::str::from_utf8(&self.text).ok()?)
    }

    fn refresh(&mut self, now: Instant) {
        self.forget_stale(now);
        let Some(value) = self.read() else { return };
        // More rises at once than there are workers to explain are of no use.
        let new = value.saturating_sub(self.last).min(1024);
        self.rises.extend((0..new).map(|_| now));
        self.last = value;
    }

    fn forget_stale(&mut self, now: Instant) {
        self.rises.retain(|risen_at| now.duration_since(*risen_at) < EXPLAINS_FOR);
    }

    /// Takes away so many rises, if there are.
    fn claim(&mut self, now: Instant, count: u64) {
        self.refresh(now);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.rises.drain(..count.min(self.rises.len()));
    }

    /// Whether a rise noted so far may explain a death now; a death that claims it takes it away.
    fn explains(&mut self, now: Instant, claims: bool) -> bool {
        self.forget_stale(now);
        if claims { self.rises.pop_front().is_some() } else { !self.rises.is_empty() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn counter(path: &Path, value: u64) -> Counter {
        fs::write(path, format!("oom_kill {value}\n")).expect("a temporary file");
        Counter::open(path).expect("just written")
    }

    #[test]
    fn one_rise_explains_one_death_and_only_one_by_sigkill_claims_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("counter");
        let mut watch = OomWatch { cgroup: Some(counter(&path, 7)), ..blind() };
        let killed = WaitStatus::Signaled { signal: libc::SIGKILL, core_dumped: false };
        assert_eq!(watch.judge(killed, false), OomEvidence::NotSeen);
        fs::write(&path, "oom_kill 8\n").expect("writable");
        assert_eq!(watch.judge(WaitStatus::Exited { code: 1 }, false), OomEvidence::SharedCounterRose);
        assert_eq!(watch.judge(killed, false), OomEvidence::SharedCounterRose);
        assert_eq!(watch.judge(killed, false), OomEvidence::NotSeen);
    }

    fn blind() -> OomWatch {
        OomWatch { cgroup: None, counts_below: false, system: None, system_read_at: Instant::now() }
    }

    #[test]
    fn what_a_counter_of_its_own_has_told_explains_nobody_else_s_death() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (ours, whole) = (dir.path().join("cgroup"), dir.path().join("system"));
        let killed = WaitStatus::Signaled { signal: libc::SIGKILL, core_dumped: false };
        for counts_below in [true, false] {
            let (cgroup, system) = (Some(counter(&ours, 0)), Some(counter(&whole, 0)));
            let mut watch = OomWatch { cgroup, counts_below, system, ..blind() };
            // The kernel has killed a whole tree of two in a cgroup of its own.
            fs::write(&whole, "oom_kill 2\n").expect("writable");
            fs::write(&ours, if counts_below { "oom_kill 2\n" } else { "oom_kill 0\n" }).expect("writable");
            watch.claim(2);
            assert_eq!(watch.judge(killed, false), OomEvidence::NotSeen);
            // And one beside the broker.
            fs::write(&ours, if counts_below { "oom_kill 3\n" } else { "oom_kill 1\n" }).expect("writable");
            watch.claim(0);
            assert_eq!(watch.judge(killed, false), OomEvidence::SharedCounterRose);
            assert_eq!(watch.judge(killed, false), OomEvidence::NotSeen);
        }
    }

    #[test]
    fn a_death_by_the_broker_s_hand_leaves_the_rise_to_another() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (ours, whole) = (dir.path().join("cgroup"), dir.path().join("system"));
        let killed = WaitStatus::Signaled { signal: libc::SIGKILL, core_dumped: false };
        let mut watch =
            OomWatch { cgroup: Some(counter(&ours, 0)), system: Some(counter(&whole, 0)), ..blind() };
        fs::write(&ours, "oom_kill 1\n").expect("writable");
        fs::write(&whole, "oom_kill 1\n").expect("writable");
        for _ in 0..2 {
            assert_eq!(watch.judge(killed, true), OomEvidence::SharedCounterRose);
        }
        assert_eq!(watch.judge(killed, false), OomEvidence::SharedCounterRose);
        assert_eq!(watch.judge(killed, false), OomEvidence::NotSeen, "claimed in both counters");
        assert_eq!(watch.judge(killed, true), OomEvidence::NotSeen);
    }

    #[test]
    fn without_counters_nothing_is_watched() {
        let killed = WaitStatus::Signaled { signal: libc::SIGKILL, core_dumped: false };
        assert_eq!(blind().judge(killed, false), OomEvidence::NotWatched);
    }

    #[test]
    fn a_rise_that_nobody_claims_goes_stale() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("counter");
        let mut counter = counter(&path, 0);
        fs::write(&path, "oom_kill 1\n").expect("writable");
        let now = Instant::now();
        counter.refresh(now);
        assert_eq!(counter.rises.len(), 1);
        assert!(counter.explains(now, false));
        assert!(!counter.explains(now + EXPLAINS_FOR, false));
        assert!(!counter.explains(now + EXPLAINS_FOR, true));
    }
}
