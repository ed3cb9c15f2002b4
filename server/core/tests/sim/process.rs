//! One process of the world: it starts or fails to, works, misbehaves and dies; `tell` is what the shell tells of it.

mod tell;

use std::collections::{BTreeSet, VecDeque};

use fastrand::Rng;
use lifeboat_core::event::{Answer, Event};
use lifeboat_core::evidence::{OomEvidence, StopSignal, WaitStatus};
use lifeboat_core::ids::{AttemptNumber, ProcessKey, RequestId};

use super::setup::Temper;

/// Signals with which processes die on their own: HUP, INT, ILL, ABRT, FPE, SEGV, TERM, XCPU, XFSZ, SYS.
const SIGNALS: [i32; 10] = [1, 2, 4, 6, 8, 11, 15, 24, 25, 31];

/// A frame that was written and not told yet.
#[derive(Debug)]
enum Frame {
    Ready,
    Answer(RequestId, AttemptNumber, Answer<u64>),
    WorkersFailed,
}

/// A frame that the broker has written, or means to.
#[derive(Debug)]
pub(crate) enum Written {
    Dispatch(RequestId, AttemptNumber),
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

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) key: ProcessKey,
    life: Life,
    said_hello: bool,
    socket: VecDeque<Frame>,
    /// The socket is closed or broken on its side: nothing is written any more.
    mute: bool,
    end_told: bool,
    /// What was written to it and it has not read. The dead read nothing more.
    pub(crate) inbox: VecDeque<Written>,
    held: VecDeque<(RequestId, AttemptNumber)>,
    cancelled: BTreeSet<RequestId>,
    drained: bool,
    terminated: bool,
    pub(crate) killed: bool,
    /// Never answers what it executes now.
    hung: bool,
    slot_gone: bool,
    oom: OomEvidence,
    pub(crate) collect: bool,
    last_answer: Option<(RequestId, AttemptNumber)>,
}

impl Process {
    pub(crate) fn new(key: ProcessKey) -> Self {
        Self {
            key,
            life: Life::Ordered,
            said_hello: false,
            socket: VecDeque::new(),
            mute: false,
            end_told: false,
            inbox: VecDeque::new(),
            held: VecDeque::new(),
            cancelled: BTreeSet::new(),
            drained: false,
            terminated: false,
            killed: false,
            hung: false,
            slot_gone: false,
            oom: OomEvidence::default(),
            collect: false,
            last_answer: None,
        }
    }

    pub(crate) fn signalled(&mut self, rng: &mut Rng, temper: &Temper, signal: StopSignal) {
        match signal {
            StopSignal::Terminate => self.terminated = true,
            StopSignal::Kill => self.killed = true,
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
            Life::Ordered if rng.u32(0..4) > 0 => None,
            Life::Ordered => {
                self.life = Life::Alive;
                Some(Event::Spawned { process, pid: rng.u32(2..9999) })
            }
            Life::Alive => {
                self.live(rng, temper, ending);
                self.tell_alive(rng)
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
        } else if let Some((request, attempt)) = self.held.front().copied() {
            self.execute(rng, temper, request, attempt);
        } else if (self.drained || self.slot_gone) && !chance(rng, temper.hangs) {
            self.die(exited(i32::from(self.slot_gone)));
        }
    }

    /// Reads what was written to it, in order, as far as it gets. Nothing comes through a closed socket.
    fn read(&mut self, rng: &mut Rng, temper: &Temper) {
        while !self.mute && !self.inbox.is_empty() && !chance(rng, temper.reads_late) {
            match self.inbox.pop_front() {
                Some(Written::Dispatch(request, attempt)) => self.held.push_back((request, attempt)),
                Some(Written::Cancel(request)) => {
                    self.cancelled.insert(request);
                }
                Some(Written::Drain) => self.drained = true,
                None => {}
            }
        }
    }

    fn start(&mut self, rng: &mut Rng, temper: &Temper) {
        if !chance(rng, temper.start_fails) {
            if !self.mute && rng.u32(0..3) == 0 {
                self.said_hello = true;
                self.socket.push_back(Frame::Ready);
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

    /// Executes the front of its line, or drops it.
    fn execute(&mut self, rng: &mut Rng, temper: &Temper, request: RequestId, attempt: AttemptNumber) {
        if self.mute || self.hung || self.slot_gone {
            return;
        }
        let cancelled = self.cancelled.contains(&request);
        let answer = if cancelled && !chance(rng, temper.ignores_cancel) {
            match rng.u32(0..4) {
                0 => Answer::Ok(rng.u64(..)),
                1 => Answer::Failed { answer: 1, retryable: rng.bool() },
                _ => Answer::Cancelled,
            }
        } else if chance(rng, temper.hangs) {
            self.hung = true;
            return;
        } else if chance(rng, temper.panics) {
            self.slot_gone = true;
            Answer::Panicked { message: "index out of bounds".into(), location: None }
        } else if chance(rng, temper.fails) {
            Answer::Failed { answer: 2, retryable: rng.bool() }
        } else {
            Answer::Ok(rng.u64(..))
        };
        self.socket.push_back(Frame::Answer(request, attempt, answer));
        self.held.pop_front();
        self.last_answer = Some((request, attempt));
        if self.drained {
            self.held.clear();
        }
        if self.slot_gone && rng.bool() {
            self.socket.push_back(Frame::WorkersFailed);
        }
    }

    fn go_wild(&mut self, rng: &mut Rng) {
        match rng.u32(0..12) {
            0 | 1 => self.die(exited(rng.i32(0..120))),
            2 | 3 => self.die(signaled(SIGNALS[rng.usize(0..SIGNALS.len())])),
            4 => {
                self.oom = [OomEvidence::OwnCounterRose, OomEvidence::SharedCounterRose][rng.usize(0..2)];
                self.die(signaled(9));
            }
            5 => {
                self.oom = [OomEvidence::NotSeen, OomEvidence::NotWatched][rng.usize(0..2)];
                self.die(signaled(9));
            }
            6 => self.mute = true,
            7 if !self.mute => self.answer_again(rng),
            8 if !self.mute => self.answer_out_of_order(),
            9 if !self.mute => {
                self.slot_gone = true;
                self.socket.push_back(Frame::WorkersFailed);
            }
            10 => {
                self.execute_and_die(rng);
            }
            _ => self.hung = true,
        }
    }

    /// The last word: an answer, and death right behind it.
    fn execute_and_die(&mut self, rng: &mut Rng) {
        if let Some((request, attempt)) = self.held.pop_front()
            && !self.mute
            && !self.slot_gone
        {
            self.socket.push_back(Frame::Answer(request, attempt, Answer::Ok(rng.u64(..))));
        }
        self.die(signaled([6, 9, 11][rng.usize(0..3)]));
    }

    fn answer_again(&mut self, rng: &mut Rng) {
        if let Some((request, attempt)) = self.last_answer {
            self.socket.push_back(Frame::Answer(request, attempt, Answer::Ok(rng.u64(..))));
        } else {
            let forged = (RequestId(u64::MAX), AttemptNumber(1));
            self.socket.push_back(Frame::Answer(forged.0, forged.1, Answer::Ok(0)));
        }
    }

    fn answer_out_of_order(&mut self) {
        if let Some((request, attempt)) = self.held.get(1).copied() {
            self.socket.push_back(Frame::Answer(request, attempt, Answer::Ok(0)));
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
