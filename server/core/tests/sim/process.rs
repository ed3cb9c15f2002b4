//! One process of the world: it starts or fails to, works, misbehaves and dies; `work` is what its slots do, `tell`
//! what the shell tells of it, `recorder` what its flight recorder says.

mod recorder;
mod tell;
mod work;

use std::collections::{BTreeSet, VecDeque};

use fastrand::Rng;
use lifeboat_core::event::{Answer, Event};
use lifeboat_core::evidence::{OomEvidence, StopSignal, WaitStatus};
use lifeboat_core::ids::{AttemptNumber, ProcessKey, RequestId, SlotId};

use self::recorder::Recorder;
use super::setup::Temper;

/// Signals with which processes die on their own: HUP, INT, ILL, ABRT, FPE, SEGV, TERM, XCPU, XFSZ, SYS.
const SIGNALS: [i32; 10] = [1, 2, 4, 6, 8, 11, 15, 24, 25, 31];

/// A frame that was written and not told yet.
#[derive(Debug)]
enum Frame {
    Ready { heartbeats: bool },
    Answer(RequestId, AttemptNumber, Answer<u64>),
    Progress(RequestId, AttemptNumber, u64),
    Part(RequestId, AttemptNumber, u64),
    Save(RequestId, AttemptNumber, u64, usize),
    Heartbeat,
    Retire,
    WorkersFailed,
}

/// A frame that the broker has written, or means to.
#[derive(Debug)]
pub(crate) enum Written {
    Dispatch(RequestId, AttemptNumber, SlotId),
    Cancel(RequestId),
    Drain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Ordered, not spawned.
    Ordered,
    Alive,
    /// Dead; the core does not know.
    Dead(WaitStatus),
    /// Dead, and the core was told.
    Told(WaitStatus),
}

/// One slot of a process, as the process sees it.
#[derive(Debug, Default)]
struct Slot {
    line: VecDeque<(RequestId, AttemptNumber)>,
    /// The last that it began.
    begun: Option<(RequestId, AttemptNumber)>,
    /// Never answers what it executes now.
    hung: bool,
    /// Its handler panicked.
    gone: bool,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) key: ProcessKey,
    life: Life,
    said_hello: bool,
    beats: bool,
    recorder: Recorder,
    socket: VecDeque<Frame>,
    /// The socket is closed or broken on its side: nothing is written any more.
    mute: bool,
    end_told: bool,
    /// What was written to it and it has not read. The dead read nothing more.
    pub(crate) inbox: VecDeque<Written>,
    slots: Vec<Slot>,
    cancelled: BTreeSet<RequestId>,
    drained: bool,
    terminated: bool,
    pub(crate) killed: bool,
    /// It was dying already when SIGKILL was sent.
    dying_before_kill: bool,
    memory_high: bool,
    /// It says that it has no slots, and means it.
    no_slots: bool,
    oom: OomEvidence,
    pub(crate) collect: bool,
    last_answer: Option<(RequestId, AttemptNumber)>,
}

impl Process {
    pub(crate) fn new(key: ProcessKey, slots: u16) -> Self {
        Self {
            key,
            life: Life::Ordered,
            said_hello: false,
            beats: false,
            recorder: Recorder::None,
            socket: VecDeque::new(),
            mute: false,
            end_told: false,
            inbox: VecDeque::new(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            cancelled: BTreeSet::new(),
            drained: false,
            terminated: false,
            killed: false,
            dying_before_kill: false,
            memory_high: false,
            no_slots: false,
            oom: OomEvidence::default(),
            collect: false,
            last_answer: None,
        }
    }

    pub(crate) fn signalled(&mut self, rng: &mut Rng, temper: &Temper, signal: StopSignal) {
        match signal {
            StopSignal::Terminate => self.terminated = true,
            StopSignal::Kill => {
                self.killed = true;
                self.dying_before_kill |= matches!(self.life, Life::Dead(_));
            }
        }
        if self.life != Life::Alive {
            return;
        }
        match signal {
            StopSignal::Terminate if chance(rng, temper.ignores_term) => {}
            StopSignal::Terminate => self.die(if rng.bool() { signaled(15) } else { exited(0) }),
            StopSignal::Kill if chance(rng, temper.clings) => {}
            StopSignal::Kill => self.die(signaled(9)),
        }
    }

    fn die(&mut self, wait: WaitStatus) {
        self.life = Life::Dead(wait);
        self.mute = true;
    }

    pub(crate) fn next_event(
        &mut self,
        rng: &mut Rng,
        temper: &Temper,
        ending: bool,
    ) -> Option<Event<u64, u64>> {
        let process = self.key;
        match self.life {
            Life::Ordered if chance(rng, temper.spawn_fails) => {
                self.life = Life::Told(WaitStatus::Unknown);
                let error = "spawn: resource temporarily unavailable".into();
                Some(Event::SpawnFailed { process, error })
            }
            Life::Ordered if rng.bool() => None,
            Life::Ordered => {
                self.life = Life::Alive;
                Some(Event::Spawned { process, pid: rng.u32(2..9999) })
            }
            Life::Alive => {
                self.live(rng, temper, ending);
                self.tell_alive(rng, temper)
            }
            Life::Dead(wait) => self.tell_dead(rng, wait),
            Life::Told(wait) => self.tell_evidence(rng, wait),
        }
    }

    /// One moment of a living process.
    fn live(&mut self, rng: &mut Rng, temper: &Temper, ending: bool) {
        self.read(rng, temper);
        if self.killed && rng.u32(0..12) == 0 {
            self.die(signaled(9));
        } else if self.terminated && (ending || rng.u32(0..4) == 0) && !chance(rng, temper.ignores_term) {
            self.die(if rng.bool() { exited(0) } else { signaled(15) });
        } else if !self.said_hello {
            self.start(rng, temper);
        } else if chance(rng, temper.wild) {
            self.go_wild(rng);
        } else if self.beats && !self.mute && chance(rng, temper.beats) {
            self.socket.push_back(Frame::Heartbeat);
        } else if let Some(slot) = self.busy_slot(rng) {
            self.execute(rng, temper, slot);
        } else if (self.drained && self.is_idle() || self.has_no_slots()) && !chance(rng, temper.hangs) {
            self.die(exited(i32::from(self.has_no_slots())));
        }
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.line.is_empty())
    }

    fn has_no_slots(&self) -> bool {
        self.no_slots || self.slots.iter().all(|slot| slot.gone)
    }

    /// Reads what was written to it, in order, as far as it gets. Nothing comes through a closed socket.
    fn read(&mut self, rng: &mut Rng, temper: &Temper) {
        while !self.mute && !self.inbox.is_empty() && !chance(rng, temper.reads_late) {
            match self.inbox.pop_front() {
                Some(Written::Dispatch(request, attempt, slot)) => {
                    let slot = &mut self.slots[usize::from(slot.0)];
                    if !slot.gone {
                        slot.line.push_back((request, attempt));
                    }
                }
                Some(Written::Cancel(request)) => {
                    self.cancelled.insert(request);
                }
                Some(Written::Drain) => {
                    self.drained = true;
                    for slot in &mut self.slots {
                        slot.line.truncate(1);
                    }
                }
                None => {}
            }
        }
    }

    fn start(&mut self, rng: &mut Rng, temper: &Temper) {
        if !chance(rng, temper.start_fails) {
            if !self.mute && rng.u32(0..3) == 0 {
                self.said_hello = true;
                self.beats = rng.bool();
                self.recorder = Recorder::draw(rng, temper.denies);
                self.socket.push_back(Frame::Ready { heartbeats: self.beats });
            }
            return;
        }
        match rng.u32(0..5) {
            0 => self.die(exited(rng.i32(0..3))),
            1 => self.die(signaled(SIGNALS[rng.usize(0..SIGNALS.len())])),
            2 => self.mute = true,
            // It hangs: it is not asked again before its next chance.
            _ => {}
        }
    }
}

pub(crate) fn chance(rng: &mut Rng, of_a_thousand: u32) -> bool {
    rng.u32(0..1000) < of_a_thousand
}

const fn exited(code: i32) -> WaitStatus {
    WaitStatus::Exited { code }
}

const fn signaled(signal: i32) -> WaitStatus {
    WaitStatus::Signaled { signal, core_dumped: signal == 11 }
}
