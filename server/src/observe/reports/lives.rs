//! Each worker's last lives: what came before a crash is half of its story.

use std::collections::VecDeque;

use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{Incarnation, ProcessKey};
use lifeboat_core::time::Timestamp;

use super::report::Life;
use crate::observe::WallClock;

/// So many lives of each worker are told.
const TOLD: usize = 8;

/// A worker has at most two processes at once; a third place is for one that could not be killed.
const RUNNING: usize = 3;

/// The lives of all workers, in the order of their ids.
#[derive(Debug)]
pub(super) struct Lives(Vec<Lived>);

#[derive(Clone, Debug, Default)]
struct Lived {
    running: VecDeque<(Incarnation, Timestamp)>,
    ended: VecDeque<Life>,
}

impl Lives {
    pub(super) fn new(workers: usize) -> Self {
        Self(vec![Lived::default(); workers])
    }

    /// Takes note of a process that begins or ends.
    #[expect(clippy::wildcard_enum_match_arm, reason = "two facts of many are about a life's ends")]
    pub(super) fn note(&mut self, fact: &Fact, now: Timestamp, clock: &WallClock) {
        match fact {
            Fact::WorkerStarting { process, .. } => self.begin(*process, now),
            Fact::WorkerStopped { process, reason, .. } => {
                self.end(*process, now, clock, (reason.label(), true));
            }
            Fact::WorkerCrashed(death) => self.end(death.process, now, clock, (death.reason.label(), false)),
            _ => {}
        }
    }

    /// The last lives of a process's worker, the oldest first.
    pub(super) fn of(&self, process: ProcessKey) -> Vec<Life> {
        let lived = self.0.get(usize::from(process.worker.0));
        lived.map(|lived| lived.ended.iter().cloned().collect()).unwrap_or_default()
    }

    fn begin(&mut self, process: ProcessKey, now: Timestamp) {
        let Some(lived) = self.0.get_mut(usize::from(process.worker.0)) else { return };
        if lived.running.len() == RUNNING {
            lived.running.pop_front();
        }
        lived.running.push_back((process.incarnation, now));
    }

    fn end(&mut self, process: ProcessKey, now: Timestamp, clock: &WallClock, (how, planned): (&str, bool)) {
        let Some(lived) = self.0.get_mut(usize::from(process.worker.0)) else { return };
        let place = lived.running.iter().position(|(life, _)| *life == process.incarnation);
        let began = place.and_then(|place| lived.running.remove(place)).map_or(now, |(_, began)| began);
        if lived.ended.len() == TOLD {
            lived.ended.pop_front();
        }
        lived.ended.push_back(Life {
            incarnation: process.incarnation.0,
            started_at: clock.unix_millis(began),
            ended_at: clock.unix_millis(now),
            how: how.to_owned(),
            planned,
        });
    }
}
