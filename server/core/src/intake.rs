//! What clients say: they come and go, ask and cancel.
//!
//! It owns admission: what is refused and why, and under which limits a request is accepted. It must never choose a
//! process for a request that has to wait.

use crate::action::{Action, Outcome, Settlement};
use crate::core::Core;
use crate::event::NewRequest;
use crate::fact::{Fact, RequestEnded};
use crate::ids::{AttemptNumber, ClientId, ClientTag, MethodId};
use crate::process::Settled;
use crate::reason::{OutcomeKind, RejectWhy};
use crate::request::{NIL, Record, RequestPhase};
use crate::settings::OnDisconnect;
use crate::timers::{Timer, TimerOwner};
use crate::view::TimerKind;

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
        if self.is_draining() {
            self.reject(&new, Some(method), RejectWhy::Draining);
            return;
        }
        let pool = &mut self.pools[usize::from(self.settings.method(method).pool.0)];
        let room = pool.room_for_new();
        let may_wait = room.is_some() || pool.queue.has_room(new.bytes);
        if !may_wait || !self.requests.has_room(self.settings.max_open_requests) {
            self.reject(&new, Some(method), RejectWhy::QueueFull);
            return;
        }
        let (id, bytes) = self.accept(new, method, place);
        match room {
            Some(worker) => self.dispatch(id, usize::from(worker.0)),
            None => {
                let pool = self.settings.method(method).pool;
                self.pools[usize::from(pool.0)].queue.push_fresh(id, bytes);
            }
        }
    }

    /// Makes the record and starts the deadline.
    fn accept(&mut self, new: NewRequest<Q>, id: MethodId, place: u32) -> (crate::ids::RequestId, usize) {
        let NewRequest { client, tag, payload, bytes, limits, .. } = new;
        let method = &self.settings.methods[usize::from(id.0)];
        let deadline_by_class = limits.timeout.is_none_or(|wish| wish >= method.deadline);
        let deadline = match limits.timeout {
            Some(wish) if !deadline_by_class => self.now + wish,
            _ => self.now + method.deadline,
        };
        let (attempt_limit, attempt_by_class) = match (method.attempt_timeout, limits.attempt_timeout) {
            (Some(ours), Some(wish)) if wish < ours => (Some(wish), false),
            (None, Some(wish)) => (Some(wish), false),
            (ours, _) => (ours, true),
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
            bytes,
            accepted_at: now,
            deadline,
            attempt_limit,
            max_attempts,
            retry_on,
            attempts: 0,
            phase: RequestPhase::Queued,
            started_at: now,
            limit: None,
            closing: false,
            dispatched: false,
            avoid: None,
            deadline_armed: true,
            attempt_armed: false,
            deadline_by_class,
            attempt_by_class,
            history: Vec::new(),
            client_slot: place,
            client_prev: NIL,
            client_next: NIL,
        });
        self.clients.link(&mut self.requests, request);
        if deadline_by_class {
            let class = self.classes[usize::from(id.0)].deadline;
            self.timers.arm_limit(class, now, request, AttemptNumber(0));
        } else {
            let owner = TimerOwner::Request(request, AttemptNumber(0));
            self.timers.arm(Timer { at: deadline, kind: TimerKind::Deadline, owner });
        }
        (request, bytes)
    }

    fn reject(&mut self, new: &NewRequest<Q>, method: Option<MethodId>, why: RejectWhy) {
        let pool = method.map(|id| self.settings.method(id).pool);
        let retry_after = match (why, pool) {
            (RejectWhy::QueueFull, Some(pool)) => self.pools[usize::from(pool.0)].retry_after(),
            _ => None,
        };
        self.out.tell(Fact::RequestEnded(RequestEnded {
            pool,
            method,
            client: new.client,
            request: None,
            outcome: OutcomeKind::Rejected,
            rejected: Some(why),
            duration: std::time::Duration::ZERO,
            attempts: 0,
            past_deadline: false,
            late: false,
        }));
        let outcome = Outcome::Rejected { why, retry_after };
        let settlement = Settlement { method, accepted_at: self.now, outcome, attempts: Vec::new() };
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
