//! The harness of the stories: a core, a clock and words to speak about them.

use std::num::NonZeroU16;
use std::time::Duration;

use lifeboat_core::Core;
use lifeboat_core::action::{Action, Outcome, Settlement};
use lifeboat_core::event::{Answer, ClientLimits, Event, NewRequest};
use lifeboat_core::evidence::{ConnectionEnd, Evidence, StopSignal, WaitStatus};
use lifeboat_core::fact::{Death, Fact};
use lifeboat_core::ids::{
    AttemptNumber, ClientId, ClientTag, Incarnation, MethodId, PoolId, ProcessKey, RequestId, WorkerId,
};
use lifeboat_core::reason::{AttemptEnd, CrashReason, OutcomeKind, RejectWhy, TimeoutWhich};
use lifeboat_core::settings::{
    Backoff, Jitter, MethodSettings, OnDisconnect, PoolSettings, QueueSettings, RestartSettings, RetryOn,
    RetryPolicy, Settings,
};
use lifeboat_core::time::Timestamp;

pub(crate) const CLIENT: ClientId = ClientId(1);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn signal(signal: i32) -> WaitStatus {
    WaitStatus::Signaled { signal, core_dumped: false }
}

pub(crate) const fn exit(code: i32) -> WaitStatus {
    WaitStatus::Exited { code }
}

/// The process of a worker in one of its lives.
pub(crate) const fn life(worker: u16, incarnation: u32) -> ProcessKey {
    ProcessKey { worker: WorkerId(worker), incarnation: Incarnation(incarnation) }
}

/// One pool, one method; graces of 100 ms, 200 ms and 300 ms, a deadline of 10 s, no retry.
pub(crate) fn plain(workers: u16) -> Settings {
    Settings {
        pools: vec![PoolSettings {
            name: "images".into(),
            workers: NonZeroU16::new(workers).unwrap(),
            prefetch: NonZeroU16::MIN,
            queue: QueueSettings { max_requests: 100, max_bytes: 1 << 20 },
            restart: RestartSettings { initial: ms(100), max: ms(1000), stable_after: ms(5000) },
            start_timeout: ms(2000),
            cancel_grace: ms(100),
            stop_grace: ms(200),
            kill_timeout: ms(300),
            on_disconnect: OnDisconnect::Cancel,
        }],
        methods: vec![MethodSettings {
            name: "resize".into(),
            pool: PoolId(0),
            attempt_timeout: None,
            deadline: ms(10_000),
            retry: RetryPolicy::Never,
        }],
        drain_timeout: ms(1000),
        max_open_requests: 1000,
    }
}

/// The same with a retry of crashes, at once.
pub(crate) fn retrying(workers: u16, max_attempts: u16) -> Settings {
    let mut settings = plain(workers);
    settings.methods[0].retry = retry(RetryOn::default(), max_attempts);
    settings
}

pub(crate) fn retry(on: RetryOn, max_attempts: u16) -> RetryPolicy {
    let backoff = Backoff { then: Duration::ZERO, jitter: Jitter::None, ..Backoff::default() };
    RetryPolicy::Retry { on, max_attempts: NonZeroU16::new(max_attempts).unwrap(), backoff }
}

/// How a request ended, as its client hears it.
#[derive(Debug)]
pub(crate) enum Told {
    Ok { answer: u64, late: bool, attempts: u16 },
    Settled(Box<Settlement<u64>>),
}

pub(crate) struct Boat {
    pub(crate) core: Core<&'static str, u64>,
    pub(crate) now: Timestamp,
    next_tag: u64,
    told: Vec<(ClientTag, Told)>,
    /// What was ordered of the outside world since it was last looked at, outcomes left out.
    pub(crate) orders: Vec<Action<u64>>,
    pub(crate) facts: Vec<Fact>,
}

impl Boat {
    /// A broker whose first processes are ordered and whose client is connected.
    pub(crate) fn launch(settings: Settings) -> Self {
        let now = Timestamp::from_millis(1000);
        let mut boat = Self {
            core: Core::new(settings, 7, now),
            now,
            next_tag: 0,
            told: Vec::new(),
            orders: Vec::new(),
            facts: Vec::new(),
        };
        boat.core.start(now);
        boat.listen();
        boat.tell(Event::ClientOpened { client: CLIENT });
        boat
    }

    /// The same, with every process ready.
    pub(crate) fn afloat(settings: Settings) -> Self {
        let mut boat = Self::launch(settings);
        for worker in 0..boat.core.worker_count() {
            boat.becomes_ready(life(u16::try_from(worker).unwrap(), 1));
        }
        boat.orders.clear();
        boat
    }

    pub(crate) fn tell(&mut self, event: Event<&'static str, u64>) {
        self.core.handle_event(self.now, event);
        self.listen();
    }

    fn listen(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Reply { tag, answer, late, attempts, .. } => {
                    self.told.push((tag, Told::Ok { answer, late, attempts: attempts.0 }));
                }
                Action::Settle { tag, settlement, .. } => self.told.push((tag, Told::Settled(settlement))),
                Action::Spawn { .. }
                | Action::Dispatch { .. }
                | Action::SendCancel { .. }
                | Action::SendDrain { .. }
                | Action::Signal { .. }
                | Action::Collect { .. }
                | Action::Release { .. }
                | Action::AnnounceDrain
                | Action::Finished => self.orders.push(action),
            }
        }
        while let Some(fact) = self.core.poll_fact() {
            self.facts.push(fact);
        }
        self.core.check_invariants();
    }

    /// Time passes; every timer fires at its time.
    pub(crate) fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some((at, _)) = self.core.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at;
            self.core.handle_timeout(at);
            self.listen();
        }
        self.now = end;
    }

    pub(crate) fn becomes_ready(&mut self, process: ProcessKey) {
        self.tell(Event::Spawned { process, pid: 100 + u32::from(process.worker.0) });
        self.tell(Event::Ready { process });
    }

    pub(crate) fn request(&mut self) -> ClientTag {
        self.request_with(ClientLimits::default())
    }

    pub(crate) fn request_with(&mut self, limits: ClientLimits) -> ClientTag {
        self.next_tag += 1;
        let tag = ClientTag(self.next_tag);
        let method = Some(MethodId(0));
        let request = NewRequest { client: CLIENT, tag, method, payload: "a picture", bytes: 1000, limits };
        self.tell(Event::RequestReceived(request));
        tag
    }

    pub(crate) fn cancel(&mut self, tag: ClientTag) {
        self.tell(Event::CancelReceived { client: CLIENT, tag });
    }

    /// What a process was sent last.
    pub(crate) fn dispatched_to(&self, process: ProcessKey) -> Option<(RequestId, AttemptNumber)> {
        self.orders.iter().rev().find_map(|order| match order {
            Action::Dispatch { process: to, request, attempt, .. } if *to == process => {
                Some((*request, *attempt))
            }
            Action::Dispatch { .. }
            | Action::Spawn { .. }
            | Action::SendCancel { .. }
            | Action::SendDrain { .. }
            | Action::Signal { .. }
            | Action::Collect { .. }
            | Action::Release { .. }
            | Action::Reply { .. }
            | Action::Settle { .. }
            | Action::AnnounceDrain
            | Action::Finished => None,
        })
    }

    /// A process answers what it was sent last.
    pub(crate) fn answers(&mut self, process: ProcessKey, answer: Answer<u64>) {
        let (request, attempt) = self.dispatched_to(process).expect("it was sent something");
        self.tell(Event::Answered { process, request, attempt, answer });
    }

    pub(crate) fn answers_ok(&mut self, process: ProcessKey) {
        self.answers(process, Answer::Ok(42));
    }

    pub(crate) fn exits(&mut self, process: ProcessKey) {
        self.tell(Event::Exited { process, unread: false });
    }

    /// A process exits and has not read the last thing that was written to it.
    pub(crate) fn exits_unread(&mut self, process: ProcessKey) {
        self.tell(Event::Exited { process, unread: true });
    }

    pub(crate) fn is_collected(&mut self, process: ProcessKey, wait: WaitStatus) {
        let evidence = Box::new(Evidence { wait, ..Evidence::default() });
        self.tell(Event::EvidenceGathered { process, evidence });
    }

    /// A process dies, and everything that follows at once.
    pub(crate) fn dies(&mut self, process: ProcessKey, wait: WaitStatus) {
        self.exits(process);
        self.is_collected(process, wait);
    }

    pub(crate) fn closes_connection(&mut self, process: ProcessKey) {
        self.tell(Event::ConnectionEnded { process, how: ConnectionEnd::Closed });
    }

    /// How a request ended, if it has. Panics if it was told twice.
    pub(crate) fn outcome(&self, tag: ClientTag) -> Option<&Told> {
        let mut all = self.told.iter().filter(|(told, _)| *told == tag);
        let first = all.next();
        assert!(all.next().is_none(), "{tag:?} has two outcomes");
        first.map(|(_, told)| told)
    }

    pub(crate) fn kind(&self, tag: ClientTag) -> Option<OutcomeKind> {
        self.outcome(tag).map(|told| match told {
            Told::Ok { .. } => OutcomeKind::Ok,
            Told::Settled(settlement) => match settlement.outcome {
                Outcome::Failed { .. } => OutcomeKind::Failed,
                Outcome::Crashed { .. } => OutcomeKind::Crashed,
                Outcome::TimedOut { .. } => OutcomeKind::TimedOut,
                Outcome::Cancelled => OutcomeKind::Cancelled,
                Outcome::Rejected { .. } => OutcomeKind::Rejected,
                Outcome::Closed => OutcomeKind::Closed,
            },
        })
    }

    pub(crate) fn settlement(&self, tag: ClientTag) -> &Settlement<u64> {
        match self.outcome(tag) {
            Some(Told::Settled(settlement)) => settlement,
            other => panic!("{tag:?} was not settled: {other:?}"),
        }
    }

    pub(crate) fn timed_out_which(&self, tag: ClientTag) -> TimeoutWhich {
        let outcome = &self.settlement(tag).outcome;
        let Outcome::TimedOut { which, .. } = outcome else {
            panic!("{tag:?} did not time out: {outcome:?}")
        };
        *which
    }

    pub(crate) fn rejected_why(&self, tag: ClientTag) -> RejectWhy {
        let outcome = &self.settlement(tag).outcome;
        let Outcome::Rejected { why, .. } = outcome else { panic!("{tag:?} was not rejected: {outcome:?}") };
        *why
    }

    /// The crashes told so far.
    pub(crate) fn crashes(&self) -> Vec<&Death> {
        let mut deaths = Vec::new();
        for fact in &self.facts {
            if let Fact::WorkerCrashed(death) = fact {
                deaths.push(&**death);
            }
        }
        deaths
    }

    pub(crate) fn reasons(&self) -> Vec<&CrashReason> {
        self.crashes().iter().map(|death| &death.reason).collect()
    }

    pub(crate) fn attempt_ends(&self) -> Vec<AttemptEnd> {
        let end = |fact: &Fact| if let Fact::AttemptEnded { end, .. } = fact { Some(*end) } else { None };
        self.facts.iter().filter_map(end).collect()
    }

    /// The signals that a process was sent.
    pub(crate) fn signals(&self, process: ProcessKey) -> Vec<StopSignal> {
        let mut signals = Vec::new();
        for order in &self.orders {
            if let Action::Signal { process: to, signal } = order
                && *to == process
            {
                signals.push(*signal);
            }
        }
        signals
    }

    /// The processes that were ordered since the orders were last cleared.
    pub(crate) fn spawned(&self) -> Vec<ProcessKey> {
        let key =
            |order: &Action<u64>| if let Action::Spawn { process } = order { Some(*process) } else { None };
        self.orders.iter().filter_map(key).collect()
    }

    pub(crate) fn was_ordered(&self, wanted: impl Fn(&Action<u64>) -> bool) -> bool {
        self.orders.iter().any(wanted)
    }
}
