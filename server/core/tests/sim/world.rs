//! What is outside the core: clients and processes with a life and a will of their own.
//!
//! The world keeps to the shell's contract and to nothing else: whole frames that a process wrote are told before its
//! exit, `Spawned` is told before anything else of a process, `Collect` is answered. All else is up to chance.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::time::Duration;

use fastrand::Rng;
use lifeboat_core::action::{Action, Outcome};
use lifeboat_core::event::{Answer, ClientLimits, Event, NewRequest, Operation, Target};
use lifeboat_core::evidence::ConnectionEnd;
use lifeboat_core::ids::{
    AttemptNumber, ClientId, ClientTag, Digest, MethodId, PoolId, ProcessKey, RequestId, WorkerId,
};
use lifeboat_core::settings::{RetryOn, Settings};

use super::process::{Process, Written, chance};
use super::setup::Temper;

#[derive(Debug)]
struct Client {
    id: ClientId,
    open: BTreeSet<ClientTag>,
    /// It was refused: so many chances to ask again it lets pass.
    rests: u32,
}

pub(crate) struct World {
    processes: Vec<Process>,
    clients: Vec<Client>,
    /// Processes that are gone: news of them may still be on the way.
    ghosts: VecDeque<ProcessKey>,
    next_client: u64,
    next_tag: u64,
    methods: u16,
    /// The slots of each worker's processes.
    slots: Vec<u16>,
    pools: u16,
    draining: bool,
}

impl World {
    pub(crate) fn new(settings: &Settings) -> Self {
        let methods = u16::try_from(settings.methods.len()).unwrap();
        let each = settings.pools.iter();
        let slots = each.flat_map(|pool| (0..pool.workers.get()).map(|_| pool.slots.get())).collect();
        Self {
            processes: Vec::new(),
            clients: Vec::new(),
            ghosts: VecDeque::new(),
            next_client: 0,
            next_tag: 0,
            methods,
            slots,
            pools: u16::try_from(settings.pools.len()).unwrap(),
            draining: false,
        }
    }

    /// A good moment for a shutdown to come: some process dies and has not read what it was given.
    pub(crate) fn somebody_is_lost_unread(&self) -> bool {
        self.processes.iter().any(Process::is_lost_unread)
    }

    /// After the end nothing lives but what could not be killed.
    pub(crate) fn assert_nothing_lives(&self) {
        for process in &self.processes {
            assert!(process.killed, "{} was left behind", process.key);
        }
    }

    pub(crate) fn carry_out(&mut self, rng: &mut Rng, temper: &Temper, action: &Action<u64>) {
        match action {
            Action::Spawn { process } => {
                let slots = self.slots[usize::from(process.worker.0)];
                self.processes.push(Process::new(*process, slots));
            }
            Action::Dispatch { process, request, attempt, slot, .. } => {
                if let Some(process) = self.find(*process) {
                    process.inbox.push_back(Written::Dispatch(*request, *attempt, *slot));
                }
            }
            Action::SendCancel { process, request, .. } => {
                if let Some(process) = self.find(*process) {
                    process.inbox.push_back(Written::Cancel(*request));
                }
            }
            Action::SendDrain { process } => {
                if let Some(process) = self.find(*process) {
                    process.inbox.push_back(Written::Drain);
                }
            }
            Action::Signal { process, signal, .. } => {
                if let Some(process) = self.find(*process) {
                    process.signalled(rng, temper, *signal);
                }
            }
            Action::Collect { process } => {
                self.find(*process).expect("only an existing process is collected").collect = true;
            }
            Action::Release { process } => {
                self.processes.retain(|other| other.key != *process);
                self.ghosts.push_back(*process);
                self.ghosts.truncate(8);
            }
            Action::Reply { client, tag, .. } => self.is_over(*client, *tag, 0),
            Action::Settle { client, tag, settlement } => {
                let refused = matches!(settlement.outcome, Outcome::Rejected { .. });
                self.is_over(*client, *tag, if refused { rng.u32(0..30) } else { 0 });
            }
            Action::AnnounceDrain => self.draining = true,
            Action::ForwardProgress { .. }
            | Action::ForwardPart { .. }
            | Action::TellAttemptFailed { .. }
            | Action::TellAccepted { .. }
            | Action::Finished => {}
        }
    }

    fn is_over(&mut self, client: ClientId, tag: ClientTag, rests: u32) {
        if let Some(client) = self.clients.iter_mut().find(|other| other.id == client) {
            client.open.remove(&tag);
            client.rests = client.rests.max(rests);
        }
    }

    /// Something that happens now, if anything does.
    pub(crate) fn next_event(
        &mut self,
        rng: &mut Rng,
        temper: &Temper,
        ending: bool,
    ) -> Option<Event<u64, u64>> {
        let client_turn = if ending { 50 } else { 3 };
        if rng.u32(0..client_turn) == 0 {
            return self.client_event(rng, temper);
        }
        if rng.u32(0..10_000) < temper.operators {
            return Some(self.operator_event(rng));
        }
        if !self.ghosts.is_empty() && rng.u32(0..300) == 0 {
            return self.ghosts.pop_front().map(|process| late_news(rng, process));
        }
        if self.processes.is_empty() {
            return None;
        }
        let place = rng.usize(0..self.processes.len());
        self.processes[place].next_event(rng, temper, ending)
    }

    fn client_event(&mut self, rng: &mut Rng, temper: &Temper) -> Option<Event<u64, u64>> {
        if (self.clients.len() as u64) < temper.clients {
            self.next_client += 1;
            let id = ClientId(self.next_client);
            self.clients.push(Client { id, open: BTreeSet::new(), rests: 0 });
            return Some(Event::ClientOpened { client: id });
        }
        let place = rng.usize(0..self.clients.len());
        if chance(rng, temper.disconnects) {
            let client = self.clients.swap_remove(place).id;
            return Some(Event::ClientClosed { client });
        }
        let client = &mut self.clients[place];
        if chance(rng, temper.cancels) {
            let open: Vec<ClientTag> = client.open.iter().copied().collect();
            let tag = match open.len() {
                0 => ClientTag(self.next_tag),
                n => open[rng.usize(0..n)],
            };
            return Some(Event::CancelReceived { client: client.id, tag });
        }
        if client.rests > 0 {
            client.rests -= 1;
            return None;
        }
        if client.open.len() >= temper.appetite || (self.draining && rng.u32(0..10) > 0) {
            return None;
        }
        self.next_tag += 1;
        let tag = ClientTag(self.next_tag);
        client.open.insert(tag);
        Some(Event::RequestReceived(new_request(rng, client.id, tag, self.methods)))
    }

    /// A person orders something, now and then of somebody who is not there.
    fn operator_event(&self, rng: &mut Rng) -> Event<u64, u64> {
        if rng.clone().u32(0..6) == 0 {
            return Event::QuarantineReleased { which: rng.bool().then(|| Digest([rng.u8(0..3); 16])) };
        }
        let operation = match rng.u32(0..9) {
            0..5 => Operation::Restart,
            5..7 => Operation::Drain,
            _ => Operation::Kill,
        };
        let workers = u16::try_from(self.slots.len()).unwrap();
        let beyond = u16::from(rng.u32(0..20) == 0);
        let target = if rng.u32(0..3) == 0 {
            Target::Pool(PoolId(rng.u16(0..self.pools + beyond)))
        } else {
            Target::Worker(WorkerId(rng.u16(0..workers + beyond)))
        };
        Event::Operated { operation, target }
    }

    fn find(&mut self, key: ProcessKey) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.key == key)
    }
}

fn new_request(rng: &mut Rng, client: ClientId, tag: ClientTag, methods: u16) -> NewRequest<u64> {
    let millis = |ms: u64| Some(Duration::from_millis(ms));
    let limits = if rng.u8(0..3) > 0 {
        ClientLimits::default()
    } else {
        ClientLimits {
            timeout: [None, millis(1), millis(20), millis(100), millis(5000)][rng.usize(0..5)],
            queue_timeout: [None, None, millis(2), millis(20)][rng.usize(0..4)],
            progress_timeout: [None, None, millis(1), millis(15)][rng.usize(0..4)],
            output_timeout: [None, None, millis(1), millis(15)][rng.usize(0..4)],
            attempt_timeout: [None, millis(1), millis(8), millis(30)][rng.usize(0..4)],
            max_attempts: NonZeroU16::new(rng.u16(0..4)),
            retry_on: rng.bool().then(|| RetryOn {
                crash: rng.bool(),
                stall: rng.bool(),
                timeout: rng.bool(),
                failed: rng.bool(),
            }),
        }
    };
    NewRequest {
        client,
        tag,
        method: (rng.u32(0..100) > 0).then(|| MethodId(rng.u16(0..methods))),
        payload: tag.0,
        bytes: rng.usize(0..200),
        digest: (!tag.0.is_multiple_of(8)).then(|| Digest([rng.clone().u8(0..3); 16])),
        limits,
        stream: rng.bool(),
        restartable: rng.u8(0..3) == 0,
    }
}

/// News of the dead, told too late.
fn late_news(rng: &mut Rng, process: ProcessKey) -> Event<u64, u64> {
    let (request, attempt) = (RequestId(1 << RequestId::INDEX_BITS), AttemptNumber(1));
    match rng.u32(0..13) {
        0 => Event::Ready { process, heartbeats: true },
        1 => Event::Answered { process, request, attempt, answer: Answer::Ok(0) },
        2 => Event::Exited { process, unread: rng.bool() },
        3 => Event::ConnectionEnded { process, how: ConnectionEnd::Closed },
        4 => Event::MemoryExceeded { process, resident: 2, limit: 1 },
        5 => Event::WorkersFailed { process, reasons: String::new() },
        6 => Event::HeartbeatReceived { process, ago: Duration::ZERO },
        7 => Event::ProgressReceived { process, request, attempt, note: 1 },
        8 => Event::PartReceived { process, request, attempt, part: 1 },
        9 => Event::OutputSeen { process },
        10 => Event::MemoryHigh { process },
        11 => Event::Saved { process, request, attempt, item: 1, bytes: 1 },
        _ => Event::EvidenceGathered { process, evidence: Box::default() },
    }
}
