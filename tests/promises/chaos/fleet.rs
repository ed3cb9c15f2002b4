//! The client processes.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lifeboat_tests::harness::{Broker, MARK_VARIABLE, chaos_client, until_some};

/// How many there are at a time, and how many of them may be killed.
const CLIENTS: u64 = 8;
const MORTALS: u64 = 3;

/// The mean time between two faults that each asks for, in milliseconds.
const FAULT_EVERY: u64 = 150;

/// The bits of a tag that are one process's own.
const OWN_BITS: u32 = 32;

/// The client processes of a run.
pub(super) struct Fleet {
    command: Vec<(&'static str, PathBuf)>,
    mark: String,
    seed: u64,
    /// Processes started in this room before: what makes their tags and files their own.
    started: u64,
    lasting: Vec<Vessel>,
    mortal: Vec<Vessel>,
    /// The journals of those that were killed.
    sunk: Vec<PathBuf>,
}

struct Vessel {
    process: Child,
    journal: PathBuf,
}

impl Fleet {
    /// Starts all of them.
    pub(super) fn launch(broker: &Broker, seed: u64) -> Self {
        Self::after(broker, seed, 0)
    }

    /// Starts all of them, in a room where others were before.
    pub(super) fn launch_again(broker: &Broker, seed: u64) -> Self {
        Self::after(broker, seed, 1 << 16)
    }

    fn after(broker: &Broker, seed: u64, started: u64) -> Self {
        let room = broker.room();
        let command = vec![("--socket", broker.socket()), ("--trace", room.path().join("trace"))];
        let (mark, sunk) = (room.mark().value().to_owned(), Vec::new());
        let mut fleet = Self { command, mark, seed, started, lasting: Vec::new(), mortal: Vec::new(), sunk };
        let room = room.path();
        fleet.lasting = (MORTALS..CLIENTS).map(|_| fleet.start(room.to_owned(), false)).collect();
        fleet.mortal = (0..MORTALS).map(|_| fleet.start(room.to_owned(), true)).collect();
        fleet
    }

    fn start(&mut self, room: PathBuf, mortal: bool) -> Vessel {
        self.started += 1;
        let number = self.started;
        let journal = room.join(format!("journal-{number}"));
        let mut command = Command::new(chaos_client());
        for (name, path) in &self.command {
            command.arg(name).arg(path);
        }
        command.arg("--journal").arg(&journal);
        command.args(["--seed", &self.seed.wrapping_add(number).to_string()]);
        command.args(["--tags", &(number << OWN_BITS).to_string()]);
        command.args(["--fault-every", &FAULT_EVERY.to_string()]);
        command.args(mortal.then_some("--mortal"));
        command.env(MARK_VARIABLE, &self.mark).stdin(Stdio::piped());
        Vessel { process: command.spawn().expect("a client starts"), journal }
    }

    /// Kills one of those that may be killed, and starts another in its place.
    pub(super) fn sink(&mut self, random: &mut fastrand::Rng) {
        let place = random.usize(..self.mortal.len());
        let room = self.mortal[place].journal.parent().expect("it is in a directory").to_owned();
        let next = self.start(room, true);
        let mut sunk = std::mem::replace(&mut self.mortal[place], next);
        sunk.process.kill().expect("it lives until now");
        sunk.process.wait().expect("it is a child");
        self.sunk.push(sunk.journal);
    }

    /// Tells all of them to send no more, and waits until each has ended in order.
    pub(super) async fn come_home(&mut self, limit: Duration) {
        for vessel in self.vessels() {
            drop(vessel.process.stdin.take());
        }
        for vessel in self.vessels() {
            let name = vessel.journal.display().to_string();
            let status = until_some(limit, &format!("the client of {name} has ended"), async || {
                vessel.process.try_wait().expect("it is a child")
            })
            .await;
            assert!(status.success(), "the client of {name} ended with {status}");
        }
    }

    fn vessels(&mut self) -> impl Iterator<Item = &mut Vessel> {
        self.lasting.iter_mut().chain(&mut self.mortal)
    }

    /// The journals of those that came home.
    pub(super) fn whole(&self) -> impl Iterator<Item = &PathBuf> {
        self.lasting.iter().chain(&self.mortal).map(|vessel| &vessel.journal)
    }

    /// The journals of those that did not.
    pub(super) fn torn(&self) -> &[PathBuf] {
        &self.sunk
    }
}
