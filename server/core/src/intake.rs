//! What clients say: they come and go, ask and cancel.
//!
//! It owns admission: what is refused and why, and under which limits a request is accepted. It must never choose a
//! process for a request that has to wait.

use std::time::Duration;

use crate::action::{Action, Outcome, Settlement};
use crate::core::Core;
use crate::event::NewRequest;
use crate::fact::{Fact, RequestEnded};
use crate::ids::{ClientId, ClientTag, MethodId, PoolId, RequestId};
use crate::quarantine::Body;
use crate::reason::{OutcomeKind, RejectWhy};
use crate::request::{Armed, Limit, NIL, Record, RequestLimits, RequestPhase};
use crate::settings::{OnBusy, OnDisconnect};
use crate::slot::Settled;

impl<Q, A> Core<Q, A> {
    /// Accepts or refuses a request. One from a client that is not connected, or with a tag that does not rise, is
    /// ignored: the shell refuses those before.
    pub(crate) fn request_received(&mut self, new: NewRequest<Q>) {
        let Some(place) = self.clients.find(new.client) else { return };
        if !self.clients.advance_tag(place, new.tag) {
            return;
        }
        let Some(method) = new.method.filter(|id| usize::from(id.0) < self.settings.methods.len()) else {
            self.reject(&new, None, RejectWhy::UnknownMethod);
            return;
        };
        let pool = self.settings.method(method).pool;
        let body = self.body(method, new.digest);
        let room = match self.admit(pool, new.bytes, body) {
            Ok(room) => room,
            Err(why) => {
                self.reject(&new, Some(method), why);
                return;
            }
        };
        let (client, bytes) = (new.client, new.bytes);
        let id = self.accept(new, method, place);
        let overdue = self.is_overdue(id);
        let place = &mut self.pools[usize::from(pool.0)];
        if place.breaker.is_half_open() {
            place.breaker.probe = Some(id);
        }
        match room {
            Some(berth) if !overdue => self.dispatch(id, berth),
            Some(_) | None => {
                place.queue.push_fresh(client, id, bytes);
                self.arm_queue(id);
                if overdue {
                    self.mark_dirty(pool);
                }
            }
        }
    }

    /// Whether a request may be accepted: gives the berth of a process that has room for it at once, `None` if it has
    /// to wait.
    fn admit(&mut self, id: PoolId, bytes: usize, body: Option<Body>) -> Result<Option<usize>, RejectWhy> {
        if self.is_closing(id) {
            return Err(RejectWhy::Draining);
        }
        // Before all that passes by itself: another try would be of no use.
        if self.quarantined(body).is_some() {
            return Err(RejectWhy::Quarantined);
        }
        if !self.breaker_admits(id) {
            return Err(RejectWhy::Tripped);
        }
        let pool = &self.pools[usize::from(id.0)];
        let room = pool.room_for_new();
        if room.is_none() && self.settings.pool(id).on_busy == OnBusy::Reject {
            return Err(RejectWhy::AllWorkersBusy);
        }
        let may_wait = room.is_some() || pool.queue.has_room(bytes);
        if !may_wait || !self.requests.has_room(self.settings.max_open_requests) {
            return Err(RejectWhy::QueueFull);
        }
        Ok(room)
    }

    /// Makes the record and starts the deadline.
    fn accept(&mut self, new: NewRequest<Q>, id: MethodId, place: u32) -> RequestId {
        let NewRequest { client, tag, payload, bytes, digest, limits, stream, restartable, .. } = new;
        let body = self.body(id, digest);
        let method = &self.settings.methods[usize::from(id.0)];
        let deadline_by_class = limits.timeout.is_none_or(|wish| wish >= method.deadline);
        let deadline = match limits.timeout {
            Some(wish) if !deadline_by_class => self.now + wish,
            _ => self.now + method.deadline,
        };
        let request_limits = RequestLimits {
            queue: tighter(method.queue_timeout, limits.queue_timeout),
            attempt: tighter(method.attempt_timeout, limits.attempt_timeout),
            progress: tighter(method.progress_timeout, limits.progress_timeout).length,
            output: tighter(method.output_timeout, limits.output_timeout).length,
        };
        let most = method.retry.max_attempts().get();
        let max_attempts = limits.max_attempts.map_or(most, |wish| wish.get().min(most));
        let ours = method.retry.on();
        let retry_on = limits.retry_on.map_or(ours, |wish| wish.and(ours));
        let (pool, now) = (method.pool, self.now);
        let request = self.requests.insert(|request| Record {
            id: request,
            client,
            tag,
            method: id,
            pool,
            payload,
            body,
            bytes,
            accepted_at: now,
            deadline,
            limits: request_limits,
            max_attempts,
            retry_on,
            attempts: 0,
            phase: RequestPhase::Queued,
            started_at: now,
            progress_at: now,
            limit: None,
            last_limit: None,
            closing: false,
            may_have_started: false,
            spared: 0,
            stream,
            restartable,
            saved_bytes: 0,
            unkept: false,
            told_part: false,
            dispatched: false,
            avoid: None,
            suspect: false,
            armed: Armed { deadline_by_class, ..Armed::default() },
            history: Vec::new(),
            client_slot: place,
            client_prev: NIL,
            client_next: NIL,
        });
        self.clients.link(&mut self.requests, request);
        self.arm_deadline(request);
        if stream {
            self.out.act(Action::TellAccepted { client, tag, request, time_left: deadline.since(now) });
        }
        request
    }

    fn reject(&mut self, new: &NewRequest<Q>, method: Option<MethodId>, why: RejectWhy) {
        let pool = method.map(|id| self.settings.method(id).pool);
        let quarantined = method
            .filter(|_| why == RejectWhy::Quarantined)
            .and_then(|method| self.quarantined(self.body(method, new.digest)));
        let retry_after = match (why, pool) {
            (RejectWhy::QueueFull | RejectWhy::AllWorkersBusy, Some(pool)) => {
                self.pools[usize::from(pool.0)].retry_after()
            }
            (RejectWhy::Tripped, Some(pool)) => Some(self.next_chance(pool)),
            (RejectWhy::Quarantined, _) => quarantined.map(|quarantined| self.time_left(&quarantined)),
            _ => None,
        };
        let because = pool.filter(|_| why == RejectWhy::Tripped).and_then(|pool| self.unfit_because(pool));
        self.out.tell(Fact::RequestEnded(RequestEnded {
            pool,
            method,
            client: new.client,
            request: None,
            outcome: OutcomeKind::Rejected,
            rejected: Some(why),
            duration: Duration::ZERO,
            attempts: 0,
            past_deadline: false,
            late: false,
            reason: None,
            report: None,
        }));
        let outcome = Outcome::Rejected { why, retry_after };
        let settlement = Settlement {
            method,
            accepted_at: self.now,
            outcome,
            attempts: Vec::new(),
            may_have_started: false,
            because,
            quarantined,
        };
        self.out.act(Action::Settle { client: new.client, tag: new.tag, settlement: Box::new(settlement) });
    }

    /// A cancel of a request that has ended, or never was, is ignored.
    pub(crate) fn cancel_received(&mut self, client: ClientId, tag: ClientTag) {
        if let Some(place) = self.clients.find(client)
            && let Some(id) = self.clients.find_request(&mut self.requests, place, tag)
        {
            self.abandon(id, Settled::Cancelled);
        }
    }

    /// Ends all of the client's requests, or lets them run without it, as their pools say.
    pub(crate) fn client_closed(&mut self, client: ClientId) {
        let Some(place) = self.clients.find(client) else { return };
        while let Some(id) = self.clients.oldest(&mut self.requests, place) {
            self.clients.unlink(&mut self.requests, id);
            let pool = self.requests.open_record(id).pool;
            match self.settings.pool(pool).on_disconnect {
                OnDisconnect::Cancel => self.abandon(id, Settled::Cancelled),
                OnDisconnect::Finish => {}
            }
        }
        self.clients.close(client);
    }
}

/// The method's limit, or the client's if that is shorter.
fn tighter(ours: Option<Duration>, wish: Option<Duration>) -> Limit {
    match (ours, wish) {
        (Some(ours), Some(wish)) if wish < ours => Limit { length: Some(wish), by_class: false },
        (None, Some(wish)) => Limit { length: Some(wish), by_class: false },
        (ours, _) => Limit { length: ours, by_class: true },
    }
}
