//! Playing one history: the signs of the death, the start of the replacement, and the end of everything.

use lifeboat_core::event::Event;
use lifeboat_core::evidence::{ConnectionEnd, Evidence, StopSignal, WaitStatus};
use lifeboat_core::ids::{ClientTag, ProcessKey};

use super::steps::board;
use super::{Case, End, Sign};
use crate::boat::{Boat, exit, life, ms, signal};

/// How far the replacement has come when what is left of the news of the dead arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Ordered,
    Spawned,
    Ready,
    /// It has died as well, before it was ready.
    SecondDeath,
}

impl Stage {
    pub(super) const ALL: [Self; 4] = [Self::Ordered, Self::Spawned, Self::Ready, Self::SecondDeath];
}

pub(super) const OLD: ProcessKey = life(0, 1);
pub(super) const NEW: ProcessKey = life(0, 2);

/// One history, and what was noted on the way.
pub(super) struct History<'a> {
    pub(super) case: Case<'a>,
    pub(super) boat: Boat,
    pub(super) watched: ClientTag,
    pub(super) neighbours: Vec<ClientTag>,
    limit_at: lifeboat_core::time::Timestamp,
    /// How often a request had been sent when the first sign came.
    pub(super) sent_before: usize,
    /// The broker had sent SIGKILL before the exit was told.
    pub(super) killed_first: bool,
    /// The exit proved that the watched request was never read.
    pub(super) given_back: bool,
    /// A limit of the watched request had passed before the exit was told.
    pub(super) limit_first: bool,
    /// The watched request had its outcome before the exit was told.
    pub(super) over_first: bool,
}

impl<'a> History<'a> {
    pub(super) fn new(case: Case<'a>) -> Self {
        let (boat, watched, neighbours) = board(&case);
        let accepted_at = lifeboat_core::time::Timestamp::from_millis(1000);
        let sent_before = boat.sent.len();
        Self {
            limit_at: accepted_at + case.step.limit(),
            case,
            boat,
            watched,
            neighbours,
            sent_before,
            killed_first: false,
            given_back: false,
            limit_first: false,
            over_first: false,
        }
    }

    pub(super) fn play(mut self) {
        let evidence = self.case.signs.iter().position(|sign| *sign == Sign::Evidence).unwrap();
        let (signs, late) = self.case.signs.split_at(evidence + 1);
        for sign in signs {
            self.see(*sign);
        }
        self.check_verdict();
        self.start_replacement();
        for sign in late {
            let orders = self.boat.orders.len();
            self.see(*sign);
            // A limit is no news of the dead: the request may run on the replacement.
            if *sign != Sign::Limit {
                self.check_untouched(orders);
            }
        }
        self.finish();
        self.check_end();
    }

    fn see(&mut self, sign: Sign) {
        let connection = |how| Event::ConnectionEnded { process: OLD, how };
        match sign {
            Sign::Exit => self.exits(),
            Sign::Evidence => {
                let evidence = Box::new(Evidence { wait: self.wait(), ..Evidence::default() });
                self.boat.tell(Event::EvidenceGathered { process: OLD, evidence });
            }
            Sign::EndOfFile => self.boat.tell(connection(ConnectionEnd::Closed)),
            Sign::ReadError => self.boat.tell(connection(ConnectionEnd::ReadError { errno: 104 })),
            Sign::WriteError => self.boat.tell(connection(ConnectionEnd::WriteError { errno: 32 })),
            Sign::ProtocolError => {
                self.boat.tell(connection(ConnectionEnd::Violation("a frame of 4 GiB".into())));
            }
            Sign::Limit => {
                let left = self.limit_at - self.boat.now;
                self.boat.pass(left);
            }
        }
        if self.case.slow {
            self.boat.pass(ms(30));
        }
    }

    fn exits(&mut self) {
        self.killed_first = self.boat.signals(OLD).contains(&StopSignal::Kill);
        self.over_first = self.boat.kind(self.watched).is_some();
        self.limit_first = self.limit_was_told();
        self.given_back = self.case.unread && self.was_written_last(self.watched);
        self.boat.tell(Event::Exited { process: OLD, unread: self.case.unread });
    }

    /// What the kernel says: a SIGKILL ends only what had not ended before.
    pub(super) fn wait(&self) -> WaitStatus {
        match self.case.end {
            End::OwnCrash => signal(11),
            End::OwnExit => exit(3),
            End::Killed => signal(9),
        }
    }

    /// Brings the replacement to where the late news is to find it.
    fn start_replacement(&mut self) {
        if self.boat.spawned().is_empty() {
            self.boat.pass(ms(100));
        }
        assert_eq!(self.boat.spawned(), [NEW], "{:?}: one replacement", self.case);
        match self.case.stage {
            Stage::Ordered => {}
            Stage::Spawned => self.boat.is_spawned(NEW),
            Stage::Ready => {
                self.boat.becomes_ready(NEW);
                self.work_off(NEW);
                self.neighbours.push(self.boat.request());
            }
            Stage::SecondDeath => {
                self.boat.is_spawned(NEW);
                self.boat.dies(NEW, exit(1));
            }
        }
    }

    /// Everything that is left is worked off.
    fn finish(&mut self) {
        let mut newest = match self.case.stage {
            Stage::Ordered => {
                self.boat.becomes_ready(NEW);
                NEW
            }
            Stage::Spawned => {
                self.boat.tell(Event::Ready { process: NEW, heartbeats: true });
                NEW
            }
            Stage::Ready => NEW,
            Stage::SecondDeath => {
                self.boat.pass(ms(400));
                let third = life(0, 3);
                self.boat.becomes_ready(third);
                third
            }
        };
        self.work_off(newest);
        // Whoever waits for its next attempt gets it.
        self.boat.pass(ms(3000));
        self.work_off(newest);
        newest.incarnation.0 += 1;
        assert!(!self.boat.spawned().contains(&newest), "{:?}: nobody else was needed", self.case);
    }

    /// A process answers whatever it is given.
    fn work_off(&mut self, process: ProcessKey) {
        loop {
            let sent = self.boat.sent.iter().filter(|sent| sent.process == process).map(|sent| sent.tag);
            let open: Vec<ClientTag> = sent.filter(|tag| self.boat.kind(*tag).is_none()).collect();
            if open.is_empty() {
                return;
            }
            for tag in open {
                self.boat.ok(tag);
            }
        }
    }
}
