//! What the core is told, as the shadow sees it.

use lifeboat_core::event::{Answer, Event, NewRequest};
use lifeboat_core::evidence::ConnectionEnd;
use lifeboat_core::ids::{AttemptNumber, ClientId, MethodId, PoolId, ProcessKey, RequestId};
use lifeboat_core::settings::OnDisconnect;
use lifeboat_core::time::Timestamp;

use super::{AnswerKind, Expected, Place, Request, Shadow};
use crate::sim::coverage::Coverage;

impl Shadow {
    /// The time is told, and everything due happens.
    pub(crate) fn time_told(&mut self, now: Timestamp) {
        self.now = now;
        self.time_told = now;
        self.expected = Expected::Nothing;
    }

    /// An event is told.
    pub(crate) fn event(&mut self, now: Timestamp, event: &Event<u64, u64>, coverage: &mut Coverage) {
        self.now = now;
        self.expected = Expected::Nothing;
        self.ticks += 1;
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
            Event::Ready { process } => {
                let ticks = self.ticks;
                if let Some(process) = self.process(*process)
                    && !process.is_ending()
                {
                    process.ready_at = Some(now);
                    process.idle_since = ticks;
                }
            }
            Event::Answered { process, request, attempt, answer } => {
                self.answered(*process, *request, *attempt, answer, coverage);
            }
            Event::WorkersFailed { process, .. } => {
                if let Some(process) = self.process(*process) {
                    process.slots_failed = true;
                    process.first_sign.get_or_insert(now);
                }
            }
            Event::ConnectionEnded { process, how } => {
                if let Some(process) = self.process(*process).filter(|process| !process.concluded) {
                    process.first_sign.get_or_insert(now);
                    process.violated |= matches!(how, ConnectionEnd::Violation(_));
                }
            }
            Event::Exited { process, unread } => self.exited(*process, *unread, coverage),
            Event::EvidenceGathered { process, evidence } => {
                if let Some(process) = self.process(*process) {
                    assert!(process.collect, "evidence is only given when asked for");
                    process.evidence = true;
                    process.wait = Some(evidence.wait);
                    process.oom = evidence.oom;
                }
            }
            Event::MemoryExceeded { .. } => {}
            Event::ShutdownRequested => self.draining = true,
            Event::ShutdownHurried => {
                self.draining = true;
                self.hurried = true;
            }
        }
    }

    /// What the process never read it cannot have started: it pays for nothing, unless a limit of it had passed or the
    /// last thing written was another frame.
    fn exited(&mut self, key: ProcessKey, unread: bool, coverage: &mut Coverage) {
        let now = self.now;
        let Some(process) = self.process(key) else { return };
        let first = !std::mem::replace(&mut process.exited, true);
        process.first_sign.get_or_insert(now);
        if !first || !unread || process.concluded {
            return;
        }
        let last = process.last_written;
        let Some(front) = process.line.front().copied().filter(|held| held.started) else { return };
        if self.peek(front.serial).place != Place::Held(key) {
            return;
        }
        if last != Some(front.serial) {
            coverage.see("unread behind a later frame");
        } else if self.peek(front.serial).limit.is_some() {
            coverage.see("unread after its limit");
        } else {
            let process = self.known(key);
            process.never_read = last;
            process.line[0].started = false;
            self.request(front.serial).attempts -= 1;
            if self.draining {
                self.must_end.push(front.serial);
            }
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
        let deadline = method.as_ref().map(|method| method.deadline);
        let attempt = method.as_ref().and_then(|method| method.attempt_timeout);
        let most = method.as_ref().map_or(1, |method| method.retry.max_attempts().get());
        self.requests.push(Request {
            client: new.client,
            connected: true,
            method: new.method,
            pool: method.as_ref().map_or(PoolId(0), |method| method.pool),
            bytes: new.bytes,
            accepted_at: now,
            deadline: now + least(deadline, limits.timeout).unwrap_or_default(),
            attempt_limit: least(attempt, limits.attempt_timeout),
            max_attempts: limits.max_attempts.map_or(most, |wish| wish.get().min(most)),
            retry_on: limits.retry_on,
            place: Place::Limbo,
            attempts: 0,
            ended: 0,
            started_at: now,
            last_worker: None,
            last_end: None,
            dispatched: false,
            cancelled: false,
            limit: None,
            told: false,
        });
        self.received += 1;
        self.open.insert(serial);
        let kill_timeout = self.kill_timeout(new.method);
        let bound = self.peek(serial).deadline + kill_timeout + super::rules::SLACK;
        self.bounds.insert((bound, serial));
        self.expected = Expected::Admission(serial);
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
            let request = self.request(serial);
            request.connected = false;
            request.cancelled |= cancel;
            if cancel {
                self.must_end.push(serial);
            }
        }
    }

    fn cancelled(&mut self, client: ClientId, serial: u64, coverage: &mut Coverage) {
        let request = self.peek(serial);
        if request.client != client || matches!(request.place, Place::Done(_)) {
            return;
        }
        if let Place::Held(key) = request.place {
            let behind = self.process(key).is_some_and(|process| {
                process.line.iter().any(|held| held.serial == serial && !held.started)
            });
            if behind {
                coverage.see("cancelled while held behind");
            }
        }
        self.request(serial).cancelled = true;
        self.must_end.push(serial);
    }

    /// Only an answer for the front of the process's line counts.
    fn answered(
        &mut self,
        key: ProcessKey,
        id: RequestId,
        attempt: AttemptNumber,
        answer: &Answer<u64>,
        coverage: &mut Coverage,
    ) {
        let serial = self.by_id.get(&id).copied();
        let (ticks, now) = (self.ticks, self.now);
        let Some(process) = self.process(key).filter(|process| !process.concluded) else { return };
        let names = |held: &super::Held| Some(held.serial) == serial && held.attempt == attempt;
        if !process.line.front().is_some_and(names) {
            if process.line.iter().any(names) || serial.is_none_or(|serial| serial > process.newest) {
                process.violated = true;
                process.first_sign.get_or_insert(now);
            }
            return;
        }
        let kind = match answer {
            Answer::Ok(_) => AnswerKind::Ok,
            Answer::Failed { retryable, .. } => AnswerKind::Failed { retryable: *retryable },
            Answer::Panicked { .. } => AnswerKind::Panicked,
            Answer::Cancelled => AnswerKind::Cancelled,
        };
        if process.is_ending() {
            coverage.see("answered while dying");
        }
        process.line.pop_front();
        process.idle_since = ticks;
        process.answered_ok |= kind == AnswerKind::Ok;
        process.slots_failed |= kind == AnswerKind::Panicked;
        let serial = serial.unwrap();
        let awaited = self.peek(serial).place == Place::Held(key);
        let limit = self.peek(serial).limit;
        if awaited {
            // A process without slots starts nothing; if it answers, it had started all the same.
            self.started(serial, attempt);
            if kind != AnswerKind::Ok && limit.is_some() {
                self.known(key).stopped.push(serial);
            } else {
                self.expected = Expected::Answer { serial, kind };
            }
        }
        self.start_front(key);
    }

    /// The front of a line executes, unless the process has no slot.
    pub(super) fn start_front(&mut self, key: ProcessKey) {
        let process = self.known(key);
        if process.slots_failed {
            return;
        }
        let Some(held) = process.line.front_mut() else { return };
        held.started = true;
        let (serial, attempt) = (held.serial, held.attempt);
        if self.peek(serial).place == Place::Held(key) {
            self.started(serial, attempt);
        }
    }

    fn started(&mut self, serial: u64, attempt: AttemptNumber) {
        let now = self.now;
        let request = self.request(serial);
        if request.attempts < attempt.0 {
            assert_eq!(request.attempts + 1, attempt.0, "attempts are numbered without gaps");
            request.attempts = attempt.0;
            request.started_at = now;
        }
    }
}
