//! What the core orders, checked against what it may order.

use lifeboat_core::Core;
use lifeboat_core::action::{Action, Outcome, Settlement};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::ids::{AttemptNumber, ClientId, ProcessKey, RequestId};
use lifeboat_core::reason::{OutcomeKind, RejectWhy};

use super::{Expected, Held, Place, Process, Shadow};
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
            Action::Spawn { process } => self.spawn(*process),
            Action::Dispatch { process, request, attempt, time_left } => {
                let serial = *core.payload(*request).expect("the payload is there at the dispatch");
                self.by_id.insert(*request, serial);
                let left = self.peek(serial).deadline - self.now;
                assert!(*time_left <= left, "{serial}: no more time than its deadline leaves");
                self.dispatch(*process, *request, serial, *attempt, coverage);
            }
            Action::SendCancel { process, request, attempt } => self.cancel(*process, *request, *attempt),
            Action::SendDrain { process } => {
                assert!(self.draining);
                let process = self.known(*process);
                assert!(!process.drained && process.ready_at.is_some(), "a drain frame is sent once");
                process.drained = true;
                process.last_written = None;
            }
            Action::Signal { process, signal } => self.signal(*process, *signal),
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
            Action::Settle { client, tag, settlement } => self.settled(*client, tag.0, settlement),
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

    fn spawn(&mut self, key: ProcessKey) {
        assert!(!self.draining, "nothing is started during a shutdown");
        let pool = self.worker_pools[usize::from(key.worker.0)];
        let worker = &mut self.workers[usize::from(key.worker.0)];
        assert!(!worker.has_process, "{key}: one process per worker");
        if let Some(until) = worker.backoff_until.take() {
            assert!(self.now >= until, "{key}: its worker backs off");
        }
        worker.has_process = true;
        assert!(self.processes.iter().all(|other| other.key != key), "{key}: names are never used again");
        self.processes.push(Process {
            key,
            pool,
            ordered_at: self.now,
            spawned: false,
            ready_at: None,
            line: std::collections::VecDeque::new(),
            last_written: None,
            never_read: None,
            idle_since: 0,
            first_sign: None,
            exited: false,
            violated: false,
            slots_failed: false,
            drained: false,
            signals: Vec::new(),
            signal_facts: 0,
            killed_at: None,
            asked: false,
            collect: false,
            evidence: false,
            answered_ok: false,
            concluded: false,
            unkillable: false,
            newest: 0,
            wait: None,
            oom: lifeboat_core::evidence::OomEvidence::default(),
            stopped: Vec::new(),
        });
    }

    fn dispatch(
        &mut self,
        key: ProcessKey,
        id: RequestId,
        serial: u64,
        attempt: AttemptNumber,
        coverage: &mut Coverage,
    ) {
        if self.expected == Expected::Admission(serial) && self.peek(serial).place == Place::Limbo {
            self.place(serial, Place::Waiting);
        }
        let request = self.peek(serial);
        // A backoff that is over, whose end nobody told the shadow.
        let due = matches!(request.place, Place::Backoff(until) if until <= self.time_told);
        assert!(due || request.place == Place::Waiting, "{serial}: {:?} is dispatched", request.place);
        assert_eq!(request.attempts + 1, attempt.0, "{serial}: attempts are numbered without gaps");
        assert!(attempt.0 <= request.max_attempts, "{serial}: attempts are used up");
        assert!(!request.cancelled && !self.draining);
        assert_eq!(
            self.worker_pools[usize::from(key.worker.0)],
            request.pool,
            "{serial}: it is its own pool's"
        );
        self.check_choice(key, serial, coverage);
        let ticks = self.ticks;
        self.place(serial, Place::Held(key));
        self.request(serial).dispatched = true;
        let process = self.known(key);
        process.idle_since = ticks;
        process.newest = process.newest.max(serial);
        process.last_written = Some(serial);
        process.line.push_back(Held { serial, attempt, started: false, cancel_sent: false });
        if process.line.len() > 1 {
            coverage.see("prefetched dispatch");
        }
        self.by_id.insert(id, serial);
        self.start_front(key);
    }

    fn cancel(&mut self, key: ProcessKey, id: RequestId, attempt: AttemptNumber) {
        let serial = self.by_id[&id];
        let request = self.peek(serial);
        let wanted = request.cancelled || request.limit.is_some() || self.draining;
        assert!(wanted, "{serial}: nobody wants it cancelled");
        let process = self.known(key);
        let held = process.line.iter_mut().find(|held| held.serial == serial && held.attempt == attempt);
        let held = held.unwrap_or_else(|| panic!("{serial}: only what it holds is cancelled at {key}"));
        held.cancel_sent = true;
        process.asked = true;
        process.last_written = None;
    }

    fn signal(&mut self, key: ProcessKey, signal: StopSignal) {
        let now = self.now;
        let process = self.known(key);
        assert!(process.spawned && !process.exited, "{key} can be signalled");
        assert!(!process.signals.contains(&signal), "{key}: each rung once");
        assert!(!process.signals.contains(&StopSignal::Kill), "{key}: nothing comes after SIGKILL");
        process.signals.push(signal);
        assert!(process.signals.len() <= process.signal_facts, "{key}: the intent is told with the signal");
        if signal == StopSignal::Kill {
            process.killed_at = Some(now);
        }
    }

    fn told(&mut self, client: ClientId, serial: u64, outcome: OutcomeKind) {
        self.outcomes_told += 1;
        let request = self.request(serial);
        assert_eq!(request.client, client, "{serial}: the outcome goes to its own client");
        assert!(request.connected, "{serial}: nobody is there to be told");
        assert!(!request.told, "{serial}: one outcome");
        assert_eq!(request.place, Place::Done(outcome), "{serial}: observers and clients hear the same");
        request.told = true;
    }

    fn settled(&mut self, client: ClientId, serial: u64, settlement: &Settlement<u64>) {
        let (now, draining) = (self.now, self.draining);
        let kind = match &settlement.outcome {
            Outcome::Failed { .. } => OutcomeKind::Failed,
            Outcome::Crashed { .. } => OutcomeKind::Crashed,
            Outcome::TimedOut { .. } => OutcomeKind::TimedOut,
            Outcome::Cancelled => OutcomeKind::Cancelled,
            Outcome::Rejected { .. } => OutcomeKind::Rejected,
            Outcome::Closed => OutcomeKind::Closed,
        };
        self.told(client, serial, kind);
        let request = self.peek(serial);
        assert_eq!(settlement.method, request.method);
        assert_eq!(settlement.accepted_at, request.accepted_at);
        let numbers: Vec<u16> = settlement.attempts.iter().map(|record| record.number.0).collect();
        let all: Vec<u16> = (1..=request.attempts).collect();
        assert_eq!(numbers, all, "{serial}: every attempt is in the record");
        for record in &settlement.attempts {
            assert!(record.started_at <= record.ended_at && record.ended_at <= now);
        }
        match &settlement.outcome {
            Outcome::Crashed { max_attempts } => assert_eq!(*max_attempts, request.max_attempts),
            Outcome::TimedOut { which, limit } => {
                assert!(request.limit.is_some());
                let from =
                    if request.limit == Some(*which) { request.accepted_at } else { request.started_at };
                assert!(now >= from + *limit, "{serial}: not before the limit that is named");
            }
            Outcome::Rejected { why, .. } => match why {
                RejectWhy::Draining => assert!(draining),
                RejectWhy::UnknownMethod => assert_eq!(request.method, None),
                RejectWhy::QueueFull => self.check_full(serial),
                RejectWhy::AllWorkersBusy
                | RejectWhy::Tripped
                | RejectWhy::TooLarge
                | RejectWhy::NotAllowed
                | RejectWhy::Quarantined => panic!("not there yet: {why:?}"),
            },
            Outcome::Failed { .. } | Outcome::Cancelled | Outcome::Closed => {}
        }
    }
}
