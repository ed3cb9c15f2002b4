//! The harness of the stories: a core, a clock and words to tell it things; `asks` has the words to ask.

use std::time::Duration;

use lifeboat_core::Core;
use lifeboat_core::action::{Action, AttemptRecord, Settlement};
use lifeboat_core::event::{Answer, ClientLimits, Event, NewRequest, Operation, Target};
use lifeboat_core::evidence::{ConnectionEnd, Evidence, WaitStatus};
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{
    AttemptNumber, ClientId, ClientTag, Digest, Incarnation, MethodId, ProcessKey, RequestId, SlotId,
    WorkerId,
};
use lifeboat_core::settings::Settings;
use lifeboat_core::time::Timestamp;

pub(crate) use crate::settings::{ms, plain, retry, retrying, slotted};

pub(crate) const CLIENT: ClientId = ClientId(1);

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

/// How a request ended, as its client hears it.
#[derive(Debug)]
pub(crate) enum Told {
    Ok { answer: u64, late: bool, attempts: u16 },
    Settled(Box<Settlement<u64>>),
}

/// What a client hears while its request runs.
#[derive(Debug)]
pub(crate) enum Heard {
    Progress(AttemptNumber, u64),
    Part(AttemptNumber, u64),
    AttemptFailed(Box<AttemptRecord>),
}

/// A request as a process was sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) process: ProcessKey,
    pub(crate) slot: SlotId,
    pub(crate) request: RequestId,
    pub(crate) attempt: AttemptNumber,
    pub(crate) tag: ClientTag,
    pub(crate) time_left: Duration,
    /// How many attempts it is told of, and what was saved.
    pub(crate) past: (usize, Option<u64>),
}

/// What a client asks for beside the work.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) limits: ClientLimits,
    pub(crate) stream: bool,
    pub(crate) restartable: bool,
    pub(crate) digest: Option<Digest>,
}

pub(crate) struct Boat {
    pub(crate) core: Core<u64, u64>,
    pub(crate) now: Timestamp,
    next_tag: u64,
    pub(crate) told: Vec<(ClientTag, Told)>,
    pub(crate) heard: Vec<(ClientTag, Heard)>,
    /// Which requests were told to be accepted, and with how much time.
    pub(crate) accepted: Vec<(ClientTag, RequestId, Duration)>,
    /// Every request that was sent to a process, ever.
    pub(crate) sent: Vec<Sent>,
    /// What was ordered of the outside world since it was last looked at; what clients are told left out.
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
            heard: Vec::new(),
            accepted: Vec::new(),
            sent: Vec::new(),
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

    pub(crate) fn tell(&mut self, event: Event<u64, u64>) {
        self.core.handle_event(self.now, event);
        self.listen();
    }

    fn listen(&mut self) {
        while let Some(action) = self.core.poll_action() {
            self.note(action);
        }
        while let Some(fact) = self.core.poll_fact() {
            self.facts.push(fact);
        }
        self.core.check_invariants();
    }

    fn note(&mut self, action: Action<u64>) {
        match action {
            Action::Reply { tag, answer, late, attempts, .. } => {
                self.told.push((tag, Told::Ok { answer, late, attempts: attempts.0 }));
            }
            Action::Settle { tag, settlement, .. } => self.told.push((tag, Told::Settled(settlement))),
            Action::TellAccepted { tag, request, time_left, .. } => {
                self.accepted.push((tag, request, time_left));
            }
            Action::ForwardProgress { tag, attempt, note, .. } => {
                self.heard.push((tag, Heard::Progress(attempt, note)));
            }
            Action::ForwardPart { tag, attempt, part, .. } => {
                self.heard.push((tag, Heard::Part(attempt, part)));
            }
            Action::TellAttemptFailed { tag, attempt, .. } => {
                self.heard.push((tag, Heard::AttemptFailed(attempt)));
            }
            Action::Dispatch { process, request, attempt, slot, time_left } => {
                let tag = ClientTag(*self.core.payload(request).expect("its payload is there"));
                let past = self.core.past(request).expect("it is open");
                let past = (past.attempts.len(), past.saved.copied());
                self.sent.push(Sent { process, slot, request, attempt, tag, time_left, past });
                self.orders.push(action);
            }
            Action::Spawn { .. }
            | Action::SendCancel { .. }
            | Action::SendDrain { .. }
            | Action::Signal { .. }
            | Action::Collect { .. }
            | Action::Release { .. }
            | Action::AnnounceDrain
            | Action::Finished => self.orders.push(action),
        }
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

    /// The broker is not scheduled for so long, and then finds everything due at once.
    pub(crate) fn sleeps(&mut self, length: Duration) {
        self.now = self.now + length;
        self.core.handle_timeout(self.now);
        self.listen();
    }

    pub(crate) fn is_spawned(&mut self, process: ProcessKey) {
        self.tell(Event::Spawned { process, pid: 100 + u32::from(process.worker.0) });
    }

    pub(crate) fn becomes_ready(&mut self, process: ProcessKey) {
        self.is_spawned(process);
        self.tell(Event::Ready { process, heartbeats: true });
    }

    pub(crate) fn request(&mut self) -> ClientTag {
        self.request_with(ClientLimits::default())
    }

    pub(crate) fn request_with(&mut self, limits: ClientLimits) -> ClientTag {
        self.request_of(CLIENT, Wish { limits, ..Wish::default() })
    }

    /// A client wants to be told of everything that happens to its request.
    pub(crate) fn stream(&mut self, restartable: bool) -> ClientTag {
        self.request_of(CLIENT, Wish { stream: true, restartable, ..Wish::default() })
    }

    pub(crate) fn request_of(&mut self, client: ClientId, wish: Wish) -> ClientTag {
        self.request_to(client, MethodId(0), wish)
    }

    pub(crate) fn request_to(&mut self, client: ClientId, method: MethodId, wish: Wish) -> ClientTag {
        self.next_tag += 1;
        let Wish { limits, stream, restartable, digest } = wish;
        let (tag, payload, method) = (ClientTag(self.next_tag), self.next_tag, Some(method));
        self.tell(Event::RequestReceived(NewRequest {
            client,
            tag,
            method,
            payload,
            bytes: 1000,
            digest,
            limits,
            stream,
            restartable,
        }));
        tag
    }

    pub(crate) fn cancel(&mut self, tag: ClientTag) {
        self.tell(Event::CancelReceived { client: CLIENT, tag });
    }

    /// A process answers what it was sent last.
    pub(crate) fn answers(&mut self, process: ProcessKey, answer: Answer<u64>) {
        let (request, attempt) = self.dispatched_to(process).expect("it was sent something");
        self.tell(Event::Answered { process, request, attempt, answer });
    }

    pub(crate) fn answers_ok(&mut self, process: ProcessKey) {
        self.answers(process, Answer::Ok(42));
    }

    /// Whoever was sent this request last answers it.
    pub(crate) fn answer(&mut self, tag: ClientTag, answer: Answer<u64>) {
        let Sent { process, request, attempt, .. } = self.sent(tag);
        self.tell(Event::Answered { process, request, attempt, answer });
    }

    pub(crate) fn ok(&mut self, tag: ClientTag) {
        self.answer(tag, Answer::Ok(42));
    }

    pub(crate) fn panic(&mut self, tag: ClientTag) {
        self.answer(tag, Answer::Panicked { message: "index".into(), location: None, kept: false });
    }

    /// A handler panics, and its process says that the slot goes on.
    pub(crate) fn panic_kept(&mut self, tag: ClientTag) {
        self.answer(tag, Answer::Panicked { message: "index".into(), location: None, kept: true });
    }

    pub(crate) fn progress(&mut self, tag: ClientTag, note: u64) {
        let Sent { process, request, attempt, .. } = self.sent(tag);
        self.tell(Event::ProgressReceived { process, request, attempt, note });
    }

    pub(crate) fn part(&mut self, tag: ClientTag, part: u64) {
        let Sent { process, request, attempt, .. } = self.sent(tag);
        self.tell(Event::PartReceived { process, request, attempt, part });
    }

    pub(crate) fn save(&mut self, tag: ClientTag, item: u64) {
        let Sent { process, request, attempt, .. } = self.sent(tag);
        self.tell(Event::Saved { process, request, attempt, item, bytes: 100 });
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

    /// A process asks to be replaced.
    pub(crate) fn retires(&mut self, process: ProcessKey) {
        self.tell(Event::RetireReceived { process });
    }

    pub(crate) fn operate(&mut self, operation: Operation, target: Target) {
        self.tell(Event::Operated { operation, target });
    }
}
