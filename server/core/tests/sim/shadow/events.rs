//! What the core is told, as the shadow sees it.

use lifeboat_core::event::{Event, NewRequest};
use lifeboat_core::evidence::ConnectionEnd;
use lifeboat_core::ids::{ClientId, MethodId, PoolId, ProcessKey};
use lifeboat_core::reason::{KillReason, RejectWhy, StopReason};
use lifeboat_core::settings::{OnBusy, OnDisconnect};
use lifeboat_core::time::Timestamp;

use super::pool::Trip;
use super::request::{Place, Request};
use super::suspects::Blame;
use super::{Admission, Expected, Shadow};
use crate::sim::coverage::Coverage;

impl Shadow {
    /// The time is told, and everything due happens.
    pub(crate) fn time_told(&mut self, now: Timestamp, coverage: &mut Coverage) {
        self.begin(now);
        self.telling_time = true;
        let told_before = std::mem::replace(&mut self.time_told, now);
        while let Some((_, serial)) = self.backoffs.first().copied().filter(|(until, _)| *until <= now) {
            self.place(serial, Place::Waiting);
        }
        self.avoid_no_more(coverage);
        for worker in &mut self.workers {
            worker.backoff_until = worker.backoff_until.filter(|until| *until > now);
        }
        for place in 0..self.processes.len() {
            let start_timeout = self.pool_settings(self.processes[place].pool).start_timeout;
            let process = &mut self.processes[place];
            if process.is_starting() && process.ordered_at + start_timeout <= now {
                process.doomed = true;
                process.just_doomed = true;
            }
            self.bear_silence(place, told_before, coverage);
            self.become_stable(place);
        }
    }

    /// A process that has been ready for `stable_after` is productive.
    fn become_stable(&mut self, place: usize) {
        let now = self.now;
        let process = &mut self.processes[place];
        if process.is_stable || process.stable_at.is_none_or(|at| at > now) {
            return;
        }
        process.is_stable = true;
        let (key, pool) = (process.key, process.pool);
        self.worker(key.worker).row = 0;
        self.stable.push((pool, key));
    }

    /// An event is told.
    pub(crate) fn event(&mut self, now: Timestamp, event: &Event<u64, u64>, coverage: &mut Coverage) {
        self.begin(now);
        match event {
            Event::ClientOpened { .. } => {}
            Event::ClientClosed { client } => self.client_closed(*client),
            Event::RequestReceived(new) => self.received(new),
            Event::CancelReceived { client, tag } => {
                if usize::try_from(tag.0).unwrap() <= self.requests.len() && tag.0 > 0 {
                    self.cancelled(*client, tag.0, coverage);
                }
            }
            Event::Spawned { process, .. } => self.known(*process).spawned = true,
            Event::SpawnFailed { process, .. } => {
                let process = self.known(*process);
                process.exited = true;
                process.evidence = true;
                process.first_sign = Some(now);
            }
            Event::Ready { process, heartbeats } => self.ready(*process, *heartbeats, coverage),
            Event::HeartbeatReceived { process, ago } => self.was_scheduled(*process, *ago),
            Event::ProgressReceived { process, request, attempt, note } => {
                self.progressed(*process, *request, *attempt, super::Told::Progress(*note));
            }
            Event::PartReceived { process, request, attempt, part } => {
                self.wrote(*process);
                self.progressed(*process, *request, *attempt, super::Told::Part(*part));
            }
            Event::Saved { process, request, attempt, item, bytes } => {
                self.wrote(*process);
                self.saved(*process, *request, *attempt, (*item, *bytes), coverage);
            }
            Event::OutputSeen { process } => self.wrote(*process),
            Event::Answered { process, request, attempt, answer } => {
                self.answered(*process, *request, *attempt, answer, coverage);
            }
            Event::WorkersFailed { process, .. } => {
                self.heard(*process);
                if let Some(process) = self.process(*process).filter(|process| !process.concluded) {
                    process.no_slots.get_or_insert(now);
                    process.first_sign.get_or_insert(now);
                }
            }
            Event::ConnectionEnded { process, how } => self.connection_ended(*process, how),
            Event::Exited { process, unread } => self.exited(*process, *unread, coverage),
            Event::EvidenceGathered { process, evidence } => {
                if let Some(recording) = &evidence.recorder {
                    self.heed(*process, recording, coverage);
                }
                if let Some(process) = self.process(*process) {
                    assert!(process.collect, "evidence is only given when asked for");
                    process.evidence = true;
                    process.wait = Some(evidence.wait);
                    process.oom = evidence.oom;
                    process.exiting_before_kill = evidence.exiting_before_kill;
                }
            }
            Event::MemoryExceeded { process, .. } => {
                if let Some(process) = self.process(*process) {
                    process.may_be_killed_for(KillReason::MemoryLimit);
                }
            }
            Event::MemoryHigh { process } => self.memory_high(*process),
            Event::RetireReceived { process } => self.asked_to_retire(*process),
            Event::Operated { operation, target } => self.operated(*operation, *target, coverage),
            Event::QuarantineReleased { which } => self.let_go(*which),
            Event::ShutdownRequested => self.shut_down(),
            Event::ShutdownHurried => {
                self.shut_down();
                self.hurried = true;
            }
        }
    }

    fn begin(&mut self, now: Timestamp) {
        self.now = now;
        self.telling_time = false;
        self.expected = Expected::Nothing;
        self.ticks += 1;
    }

    fn shut_down(&mut self) {
        if !self.draining {
            self.drain_began = self.now;
            for place in 0..self.pools.len() {
                self.pools[place].forget();
            }
        }
        self.draining = true;
        for worker in &mut self.workers {
            worker.backoff_until = None;
            worker.must_back_off = None;
        }
        for process in &mut self.processes {
            process.doomed |= process.is_starting();
            process.leaving.push(StopReason::Shutdown);
        }
    }

    /// A process serves; if it is a successor, the one before it is given nothing more.
    fn ready(&mut self, key: ProcessKey, heartbeats: bool, coverage: &mut Coverage) {
        let (now, touched) = (self.now, self.touch());
        let pool = self.worker_pools[usize::from(key.worker.0)];
        let stable_after = self.pool_settings(pool).restart.stable_after;
        let Some(process) = self.process(key).filter(|process| process.is_starting()) else { return };
        process.ready_at = Some(now);
        process.stable_at = Some(now + stable_after);
        process.heartbeats = heartbeats;
        process.heard_at = now;
        process.borne_until = now;
        process.active_at = now;
        process.touched = touched;
        let worker = self.worker(key.worker);
        if worker.successor == Some(key) {
            worker.successor = None;
            worker.successor_row = 0;
            let old = worker.present.replace(key);
            let reason = worker.due.take().unwrap_or(StopReason::Operator);
            if let Some(old) = old {
                let process = self.known(old);
                process.leaving.push(reason);
                if process.load() > 0 {
                    coverage.see("the old one goes on with what it held");
                }
            }
        }
    }

    fn connection_ended(&mut self, key: ProcessKey, how: &ConnectionEnd) {
        let (now, busy) = (self.now, self.has_open_requests(key));
        let Some(process) = self.process(key).filter(|process| !process.concluded) else { return };
        process.first_sign.get_or_insert(now);
        let dying = process.signal_facts > 0 || process.no_slots.is_some();
        if matches!(how, ConnectionEnd::Violation(_)) {
            process.violated = true;
        } else if !dying && (process.asked_at.is_none() || busy) {
            process.lost_at.get_or_insert(now);
        }
    }

    fn received(&mut self, new: &NewRequest<u64>) {
        let serial = new.tag.0;
        assert_eq!(serial, self.requests.len() as u64 + 1, "the world numbers its requests");
        let method = new.method.map(|id| self.settings.method(id).clone());
        let (now, limits) = (self.now, new.limits);
        let least = |ours: Option<_>, theirs: Option<_>| match (ours, theirs) {
            (Some(a), Some(b)) => Some(std::cmp::min(a, b)),
            (a, b) => a.or(b),
        };
        let ours = method.as_ref();
        let deadline = ours.map(|method| method.deadline);
        let most = ours.map_or(1, |method| method.retry.max_attempts().get());
        self.requests.push(Request {
            client: new.client,
            connected: true,
            method: new.method,
            pool: ours.map_or(PoolId(0), |method| method.pool),
            bytes: new.bytes,
            digest: new.digest,
            accepted_at: now,
            deadline: now + least(deadline, limits.timeout).unwrap_or_default(),
            queue_limit: least(ours.and_then(|method| method.queue_timeout), limits.queue_timeout),
            attempt_limit: least(ours.and_then(|method| method.attempt_timeout), limits.attempt_timeout),
            progress_limit: least(ours.and_then(|method| method.progress_timeout), limits.progress_timeout),
            output_limit: least(ours.and_then(|method| method.output_timeout), limits.output_timeout),
            max_attempts: limits.max_attempts.map_or(most, |wish| wish.get().min(most)),
            retry_on: limits.retry_on,
            stream: new.stream,
            restartable: new.restartable,
            place: Place::Limbo,
            attempts: 0,
            ended: 0,
            started_at: now,
            progress_at: now,
            last_worker: None,
            avoids_until: None,
            blame: Blame::Nobody,
            suspect: false,
            last_end: None,
            last_limit: None,
            dispatched: false,
            cancelled: false,
            limit: None,
            saved: None,
            unkept: false,
            told_part: false,
            may_have_started: false,
            spared: 0,
            told: false,
        });
        self.received += 1;
        let admission = self.admission(serial);
        let accepted = !matches!(admission, Admission::Refused(_));
        self.must_tell_accepted = Some(serial).filter(|_| new.stream && accepted);
        self.expected = Expected::Admission(serial, admission);
        self.open.insert(serial);
        let deadline = self.peek(serial).deadline;
        self.bounds.insert((deadline + self.kill_timeout(new.method) + super::rules::SLACK, serial));
        self.deadlines.insert((deadline, serial));
    }

    /// What must become of a new request.
    fn admission(&self, serial: u64) -> Admission {
        let request = self.peek(serial);
        let Some(_) = request.method else { return Admission::Refused(RejectWhy::UnknownMethod) };
        let (pool, settings) = (self.look_pool(request.pool), self.pool_settings(request.pool));
        if self.is_closing(request.pool) {
            return Admission::Refused(RejectWhy::Draining);
        }
        if self.in_quarantine(serial) {
            return Admission::Refused(RejectWhy::Quarantined);
        }
        let room = self.somebody_has_room(request.pool);
        let chance = room && pool.probe.is_none_or(|probe| self.peek(probe).is_done());
        match pool.trip {
            Trip::Closed => {}
            Trip::HalfOpen(_) if chance && !self.holds_anything(request.pool) => {}
            Trip::HalfOpen(_) | Trip::Open(_) => return Admission::Refused(RejectWhy::Tripped),
        }
        if !room && settings.on_busy == OnBusy::Reject {
            return Admission::Refused(RejectWhy::AllWorkersBusy);
        }
        let (depth, bytes) = pool.depth;
        let full = depth >= settings.queue.max_requests || bytes + request.bytes > settings.queue.max_bytes;
        if full && !room || self.open.len() >= self.settings.max_open_requests as usize {
            return Admission::Refused(RejectWhy::QueueFull);
        }
        if room { Admission::Dispatched } else { Admission::Waits }
    }

    fn kill_timeout(&self, method: Option<MethodId>) -> std::time::Duration {
        method.map_or_else(Default::default, |id| {
            self.pool_settings(self.settings.method(id).pool).kill_timeout
        })
    }

    fn client_closed(&mut self, client: ClientId) {
        let theirs: Vec<u64> =
            self.open.iter().copied().filter(|serial| self.peek(*serial).client == client).collect();
        for serial in theirs {
            let pool = self.peek(serial).pool;
            let cancel = self.pool_settings(pool).on_disconnect == OnDisconnect::Cancel;
            self.request(serial).connected = false;
            if cancel {
                self.give_up(serial);
            }
        }
    }

    fn cancelled(&mut self, client: ClientId, serial: u64, coverage: &mut Coverage) {
        let request = self.peek(serial);
        if request.client != client || request.is_done() {
            return;
        }
        if let Place::Held(key) = request.place {
            let behind = self
                .look(key)
                .is_some_and(|process| process.held().any(|held| held.serial == serial && !held.started));
            if behind {
                coverage.see("cancelled while held behind");
            }
        }
        self.give_up(serial);
    }

    /// The client does not want it any more: it ends at once, and what executes it has until the deadline to be gone.
    fn give_up(&mut self, serial: u64) {
        let request = self.request(serial);
        request.cancelled = true;
        let (deadline, place) = (request.deadline, request.place);
        self.must_end.push(serial);
        let Place::Held(key) = place else { return };
        let process = self.known(key);
        if process.executing().any(|held| held.serial == serial) {
            process.may_be_killed_for(KillReason::Cancelled);
            process.kill_by = Some(process.kill_by.map_or(deadline, |at| at.min(deadline)));
        }
    }
}
