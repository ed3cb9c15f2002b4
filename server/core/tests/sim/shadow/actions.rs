//! What the core orders, checked against what it may order.

use lifeboat_core::Core;
use lifeboat_core::action::{Action, Outcome};
use lifeboat_core::evidence::{IntentKind, StopSignal};
use lifeboat_core::ids::{AttemptNumber, ProcessKey, RequestId, SlotId};
use lifeboat_core::reason::{KillReason, OutcomeKind};

use super::process::Held;
use super::request::Place;
use super::{Admission, Expected, Shadow, Told};
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(crate) fn action(&mut self, action: &Action<u64>, core: &Core<u64, u64>, coverage: &mut Coverage) {
        if self.finished {
            // The shell may still be told of latecomers and of the unkillable that died.
            let late = matches!(action, Action::Settle { settlement, .. }
                if matches!(settlement.outcome, Outcome::Rejected { .. }));
            let gone = matches!(action, Action::Collect { .. } | Action::Release { .. });
            assert!(late || gone, "nothing is ordered after the end: {action:?}");
        }
        match action {
            Action::Spawn { process } => {
                let process = self.known(*process);
                assert!(!std::mem::replace(&mut process.ordered, true), "{}: ordered once", process.key);
            }
            Action::Dispatch { process, request, attempt, slot, time_left } => {
                let serial = *core.payload(*request).expect("the payload is there at the dispatch");
                self.by_id.insert(*request, serial);
                self.check_time_left(*process, *slot, serial, *time_left);
                self.check_past(serial, core.past(*request), coverage);
                self.dispatch(*process, *slot, serial, *attempt, coverage);
            }
            Action::SendCancel { process, request, attempt, slot } => {
                self.cancel(*process, *request, *attempt, *slot);
            }
            Action::SendDrain { process } => self.drain_frame(*process),
            Action::Signal { process, signal, look } => self.signal(*process, *signal, *look),
            Action::Collect { process } => {
                let process = self.known(*process);
                assert!(process.exited && !process.collect, "collected once, after its exit");
                process.collect = true;
            }
            Action::Release { process } => {
                let place = self.processes.iter().position(|other| other.key == *process);
                let process = self.processes.swap_remove(place.expect("released once"));
                assert!(process.concluded && process.evidence, "released when everything is known");
            }
            Action::Reply { client, tag, attempts, late, .. } => {
                self.told(*client, tag.0, OutcomeKind::Ok);
                assert_eq!(attempts.0, self.peek(tag.0).attempts);
                assert_eq!(*late, self.peek(tag.0).limit.is_some());
            }
            Action::Settle { client, tag, settlement } => self.settled(*client, tag.0, settlement, coverage),
            Action::TellAccepted { client, tag, request, time_left } => {
                self.told_of_acceptance(*client, tag.0, *time_left, coverage);
                self.by_id.insert(*request, tag.0);
            }
            Action::ForwardProgress { client, tag, attempt, note } => {
                self.forwarded(*client, tag.0, *attempt, Told::Progress(*note), coverage);
            }
            Action::ForwardPart { client, tag, attempt, part } => {
                self.forwarded(*client, tag.0, *attempt, Told::Part(*part), coverage);
            }
            Action::TellAttemptFailed { client, tag, attempt, .. } => {
                self.told_of_failure(*client, tag.0, attempt, coverage);
            }
            Action::AnnounceDrain => {
                assert!(self.draining && !self.announced, "announced once");
                self.announced = true;
            }
            Action::Finished => {
                assert!(self.draining && self.open.is_empty(), "finished with everything settled");
                assert!(self.processes.iter().all(|process| process.unkillable), "and nothing left");
                self.finished = true;
            }
        }
    }

    /// What the front of a line is told is its own limit or the rest of its deadline; whoever waits behind, the rest.
    fn check_time_left(&self, key: ProcessKey, slot: SlotId, serial: u64, time_left: std::time::Duration) {
        let request = self.peek(serial);
        let process = self.look(key).expect("it is known");
        let left = request.deadline - self.now;
        let is_front = process.slots[usize::from(slot.0)].line.is_empty();
        let most = request.attempt_limit.filter(|_| is_front).map_or(left, |limit| left.min(limit));
        assert_eq!(time_left, most, "{serial}: the time that it has");
    }

    fn dispatch(
        &mut self,
        key: ProcessKey,
        slot: SlotId,
        serial: u64,
        attempt: AttemptNumber,
        coverage: &mut Coverage,
    ) {
        let admitted =
            matches!(self.expected, Expected::Admission(new, Admission::Dispatched) if new == serial);
        let request = self.peek(serial);
        let new = admitted && request.place == Place::Limbo;
        assert!(new || request.place == Place::Waiting, "{serial}: {:?} is dispatched", request.place);
        assert_eq!(request.attempts + 1, attempt.0, "{serial}: attempts are numbered without gaps");
        assert!(attempt.0 <= request.max_attempts, "{serial}: attempts are used up");
        assert!(!request.cancelled && !self.is_closing(request.pool));
        assert!(request.deadline > self.now, "{serial}: its deadline is over");
        assert!(!self.in_quarantine(serial), "{serial}: its body is in quarantine");
        let pool = request.pool;
        assert_eq!(self.worker_pools[usize::from(key.worker.0)], pool, "{serial}: it is its own pool's");
        let place = self.look_pool(pool);
        assert!(!place.is_open() || place.changed, "{serial}: a tripped pool serves nobody");
        if place.is_half_open() {
            assert!(!self.holds_anything(pool), "{serial}: one request at a time");
        }
        let suspect = request.suspect;
        if suspect {
            self.check_alone(key, serial, coverage);
        } else {
            self.check_choice(key, slot, serial, coverage);
        }
        if !new {
            self.take_turn(serial, coverage);
        }
        let (touched, now) = (self.touch(), self.now);
        self.place(serial, Place::Held(key));
        self.request(serial).dispatched = true;
        let probing = self.look_pool(pool).is_half_open();
        if probing && new {
            self.pool(pool).probe = Some(serial);
        }
        let process = self.known(key);
        process.touched = touched;
        process.active_at = now;
        process.newest = process.newest.max(serial);
        process.last_written = Some(serial);
        process.apart &= !suspect;
        process.freed = false;
        let line = &mut process.slot(slot).line;
        line.push_back(Held { serial, attempt, started: false, moved: false, cancel: None, suspect });
        if line.len() > 1 {
            coverage.see("prefetched dispatch");
        } else {
            self.start_front(key, slot);
        }
    }

    fn cancel(&mut self, key: ProcessKey, id: RequestId, attempt: AttemptNumber, slot: SlotId) {
        let now = self.now;
        let serial = self.by_id[&id];
        let request = self.peek(serial);
        let wanted = request.cancelled || request.limit.is_some();
        let over = self.draining && now >= self.drain_began + self.settings.drain_timeout;
        assert!(wanted || over, "{serial}: nobody wants it cancelled");
        let process = self.known(key);
        let mut line = process.slot(slot).line.iter_mut();
        let held = line.find(|held| held.serial == serial && held.attempt == attempt);
        let held = held.unwrap_or_else(|| panic!("{serial}: only what it holds is cancelled at {key}"));
        held.cancel.get_or_insert(now);
        process.last_written = None;
        if !wanted {
            process.asked_at.get_or_insert(now);
        }
    }

    fn drain_frame(&mut self, key: ProcessKey) {
        let draining = self.draining;
        let process = self.known(key);
        assert!(!process.drained && process.is_ready(), "{key}: a drain frame is sent once");
        assert!(draining || process.load() == 0, "{key} has something to finish");
        assert!(!process.leaving.is_empty(), "{key} is to stay");
        process.drained = true;
        process.last_written = None;
    }

    fn signal(&mut self, key: ProcessKey, signal: StopSignal, look: bool) {
        let process = self.known(key);
        assert!(process.spawned && !process.exited, "{key} can be signalled");
        assert!(!process.signals.contains(&signal), "{key}: each rung once");
        assert!(!process.signals.contains(&StopSignal::Kill), "{key}: nothing comes after SIGKILL");
        let place = process.signals.len();
        assert!(place < process.signal_facts, "{key}: the intent is told with the signal");
        let intent = process.signal_intents[place];
        let hurried = matches!(intent, IntentKind::Stop(_) | IntentKind::Kill(KillReason::MemoryLimit));
        assert_eq!(look, place == 0 && !hurried, "{key}: looked at before its first signal, if it is killed");
        process.signals.push(signal);
    }
}
