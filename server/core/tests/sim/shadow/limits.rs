//! Limits and silence: nothing fires early, nothing is forgotten.

use lifeboat_core::ids::ProcessKey;
use lifeboat_core::time::Timestamp;
use lifeboat_core::view::{EXIT_GRACE, OUTPUT_LAG};

use super::Shadow;
use super::process::{Held, Process};
use super::rules::SLACK;
use crate::sim::coverage::Coverage;

/// From here on the shell's tick is no reason to bear a process's silence.
const COARSE: std::time::Duration = std::time::Duration::from_millis(40);

impl Shadow {
    /// When a process has been silent for too long.
    fn silence_ends(&self, process: &Process) -> Option<Timestamp> {
        let heartbeat = self.pool_settings(process.pool).heartbeat.filter(|_| process.heartbeats)?;
        Some((process.heard_at + heartbeat.patience()).max(process.borne_until))
    }

    /// The time is told. The silence of a process is borne for longer if the first look at it comes late. What was learnt
    /// later than it was says nothing of when the first look was due.
    pub(super) fn bear_silence(&mut self, place: usize, told_before: Timestamp, coverage: &mut Coverage) {
        let (now, process) = (self.now, &self.processes[place]);
        let Some(heartbeat) = self.pool_settings(process.pool).heartbeat else { return };
        let Some(ends) = self.silence_ends(process).filter(|_| process.works() && !process.heard_later)
        else {
            return;
        };
        if told_before < ends && ends <= now && now - ends > heartbeat.interval / 2 {
            coverage.see("silence borne for the broker's own delay");
            self.processes[place].borne_until = now + heartbeat.interval;
        }
    }

    /// Whether it is too early to call a process unresponsive: `None` if it has no heartbeat.
    pub(super) fn is_late_for_a_heartbeat(&self, key: ProcessKey) -> Option<bool> {
        let process = self.look(key)?;
        self.silence_ends(process).map(|ends| ends > self.now)
    }

    /// Every limit whose time had come when the time was last told has fired.
    pub(super) fn check_limits(&self) {
        let told = self.time_told;
        if let Some((at, serial)) = self.deadlines.first() {
            assert!(*at > told, "{serial}: its deadline did not fire");
        }
        for pool in &self.pools {
            if let Some((at, serial)) = pool.queue_ends.first() {
                assert!(*at > told, "{serial} has waited for too long");
            }
        }
        for process in &self.processes {
            self.check_silence(process);
            self.check_deadline_kill(process);
            if process.works() {
                for held in process.executing().filter(|held| held.cancel.is_none()) {
                    self.check_attempt(process, held);
                }
            }
        }
    }

    /// An executing attempt whose limit is over was told to stop.
    fn check_attempt(&self, process: &Process, held: &Held) {
        let (told, serial) = (self.time_told, held.serial);
        let request = self.peek(serial);
        if !request.is_held_by(process.key)
            || process.drained && request.limit.is_none() && self.asks(process)
        {
            return;
        }
        let over = |from: Timestamp, limit: Option<_>| limit.is_some_and(|limit| from + limit <= told);
        let started = request.started_at;
        assert!(!over(started, request.attempt_limit), "{serial}: its attempt takes too long");
        assert!(!over(request.progress_at, request.progress_limit), "{serial} stalls");
        let wrote = process.output_at.max(started);
        assert!(
            !over(wrote, request.output_limit.map(|limit| limit + OUTPUT_LAG)),
            "{serial}: its process writes nothing"
        );
    }

    /// The drain timeout has asked what runs to stop.
    fn asks(&self, process: &Process) -> bool {
        process.asked_at.is_some()
    }

    /// At its deadline what executes is killed at once.
    fn check_deadline_kill(&self, process: &Process) {
        if process.exited || process.concluded || !process.spawned || process.killed_at.is_some() {
            return;
        }
        let running = process.executing().map(|held| held.serial).chain(process.stopped.iter().copied());
        for serial in running.filter(|serial| self.peek(*serial).is_held_by(process.key)) {
            assert!(self.peek(serial).deadline > self.time_told, "{serial} runs on past its deadline");
        }
    }

    /// A silent process is not left alone.
    fn check_silence(&self, process: &Process) {
        let Some(heartbeat) = self.pool_settings(process.pool).heartbeat else { return };
        let Some(ends) = self.silence_ends(process).filter(|_| process.works()) else { return };
        if heartbeat.interval >= COARSE {
            assert!(ends > self.time_told, "{} is silent and lives: {process:?}", process.key);
        }
    }

    /// The latest moment for an outcome has not passed.
    pub(super) fn check_bounds(&self) {
        if let Some((bound, serial)) = self.bounds.first() {
            assert!(self.now <= *bound, "{serial} has no outcome by its deadline and kill_timeout");
        }
        if self.draining {
            self.check_drain();
        }
    }

    /// A shutdown ends: what does not leave is killed when the drain timeout and the graces are over.
    fn check_drain(&self) {
        let timeout = self.settings.drain_timeout;
        for process in self.processes.iter().filter(|process| process.is_ready()) {
            let settings = self.pool_settings(process.pool);
            let slots = u32::from(settings.slots.get());
            let graces = settings.cancel_grace * (slots + 1) + settings.stop_grace.max(EXIT_GRACE);
            let over = self.now > self.drain_began + timeout + graces + SLACK;
            let ended = process.exited || process.concluded || process.killed_at.is_some();
            assert!(!over || ended, "{} outlives the drain timeout: {process:?}", process.key);
        }
    }
}
