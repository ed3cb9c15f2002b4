//! What the shell tells of a process: what it wrote, how it ends, what is found then.

use std::time::Duration;

use fastrand::Rng;
use lifeboat_core::event::Event;
use lifeboat_core::evidence::{ConnectionEnd, Evidence, WaitStatus};

use super::recorder::Recorder;
use super::{Frame, Life, Process, Written, chance};
use crate::sim::setup::Temper;

impl Process {
    /// What the shell tells of a living process: its frames, the end of its connection, its output, its memory.
    pub(super) fn tell_alive(&mut self, rng: &mut Rng, temper: &Temper) -> Option<Event<u64, u64>> {
        let process = self.key;
        if let Some(frame) = self.socket.pop_front() {
            return Some(self.told(rng, frame));
        }
        if self.mute && !self.end_told && rng.bool() {
            self.end_told = true;
            return Some(Event::ConnectionEnded { process, how: broken(rng) });
        }
        if chance(rng, temper.writes) {
            return Some(Event::OutputSeen { process });
        }
        if rng.u32(0..800) == 0 {
            return self.tell_rarely(rng);
        }
        None
    }

    fn tell_rarely(&mut self, rng: &mut Rng) -> Option<Event<u64, u64>> {
        let process = self.key;
        match rng.u32(0..5) {
            0 => Some(Event::MemoryExceeded { process, resident: 2, limit: 1 }),
            1 if !self.end_told => {
                self.end_told = true;
                self.mute = true;
                let what = "frame of 4 GiB".into();
                Some(Event::ConnectionEnded { process, how: ConnectionEnd::Violation(what) })
            }
            2..4 if !self.memory_high => {
                self.memory_high = true;
                Some(Event::MemoryHigh { process })
            }
            _ => None,
        }
    }

    /// What the shell tells of a dead process: what it wrote, then that it exited; the end of its connection at any
    /// point or never.
    pub(super) fn tell_dead(&mut self, rng: &mut Rng, wait: WaitStatus) -> Option<Event<u64, u64>> {
        let process = self.key;
        if rng.u32(0..6) == 0 && !self.end_told {
            self.end_told = true;
            let how =
                if self.socket.is_empty() { broken(rng) } else { ConnectionEnd::WriteError { errno: 32 } };
            return Some(Event::ConnectionEnded { process, how });
        }
        if let Some(frame) = self.socket.pop_front() {
            return Some(self.told(rng, frame));
        }
        if rng.bool() {
            return None;
        }
        self.life = Life::Told(wait);
        Some(Event::Exited { process, unread: !self.inbox.is_empty() })
    }

    pub(super) fn tell_evidence(&mut self, rng: &mut Rng, wait: WaitStatus) -> Option<Event<u64, u64>> {
        let process = self.key;
        if !self.collect {
            return None;
        }
        match rng.u32(0..8) {
            0 if !self.end_told => {
                self.end_told = true;
                return Some(Event::ConnectionEnded { process, how: ConnectionEnd::Closed });
            }
            // News that came twice; what it says the second time does not count.
            1 => return Some(Event::Exited { process, unread: rng.bool() }),
            2..4 => return None,
            _ => {}
        }
        self.collect = false;
        let wait = if rng.u32(0..50) == 0 { WaitStatus::Unknown } else { wait };
        let descendants_leaked = u32::from(rng.u32(0..50) == 0);
        let exiting_before_kill = self.dying_before_kill;
        let evidence = Evidence {
            wait,
            oom: self.oom,
            exiting_before_kill,
            descendants_leaked,
            recorder: self.recording(rng),
            ..Evidence::default()
        };
        Some(Event::EvidenceGathered { process, evidence: Box::new(evidence) })
    }

    fn told(&self, rng: &mut Rng, frame: Frame) -> Event<u64, u64> {
        let process = self.key;
        match frame {
            Frame::Ready { heartbeats } => Event::Ready { process, heartbeats },
            Frame::Answer(request, attempt, answer) => Event::Answered { process, request, attempt, answer },
            Frame::Progress(request, attempt, note) => {
                Event::ProgressReceived { process, request, attempt, note }
            }
            Frame::Part(request, attempt, part) => Event::PartReceived { process, request, attempt, part },
            Frame::Save(request, attempt, item, bytes) => {
                Event::Saved { process, request, attempt, item, bytes }
            }
            // One of the recorder is found later, or was known better already.
            Frame::Heartbeat => {
                let millis = if self.recorder == Recorder::None { 0 } else { rng.u64(0..20) };
                Event::HeartbeatReceived { process, ago: Duration::from_millis(millis) }
            }
            Frame::Retire => Event::RetireReceived { process },
            Frame::WorkersFailed => Event::WorkersFailed { process, reasons: "slot 0: out of bounds".into() },
        }
    }

    /// Its end is under way, as the core was told, and it will never read the request that was written to it last.
    pub(crate) fn is_lost_unread(&self) -> bool {
        let told = self.end_told || matches!(self.life, Life::Told(_));
        told && self.mute && matches!(self.inbox.back(), Some(Written::Dispatch(..)))
    }
}

fn broken(rng: &mut Rng) -> ConnectionEnd {
    match rng.u32(0..4) {
        0 => ConnectionEnd::ReadError { errno: 104 },
        1 => ConnectionEnd::WriteError { errno: 32 },
        _ => ConnectionEnd::Closed,
    }
}
