//! Starts a tree of every kind of process that could outlive its worker, each known by a word on its command line.

use std::fs;
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::Duration;

/// How many processes live in a tree beside the worker.
pub const GROVE: usize = 6;

/// How often a parent looks whether its child has stopped itself.
const LOOK: Duration = Duration::from_millis(1);

pub(super) fn commit(word: &str) {
    // Nobody waits for those that stay: that is the point.
    std::mem::forget(start("child", word).spawn().expect("a child can be started"));
    std::mem::forget(start("deaf", word).spawn().expect("a child can be started"));
    let stopped = start("stopped", word).spawn().expect("a child can be started");
    while !is_stopped(&stopped) {
        thread::sleep(LOOK);
    }
    std::mem::forget(stopped);
    for escaping in ["daemon", "bare-daemon"] {
        start(escaping, word).status().expect("a child can be started");
    }
}

/// A part of the tree: a process with a child, one that ignores what asks processes to leave, one that is stopped, one whose
/// child is a daemon of another session, and one whose daemon has got rid of its environment too.
pub(super) fn run() -> ExitCode {
    let mut words = std::env::args().skip(2);
    let (part, word) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match &*part {
        "child" => {
            std::mem::forget(start("leaf", &word).spawn().expect("a child can be started"));
            super::hang::commit()
        }
        "deaf" => super::ignore_sigterm::commit(),
        "stopped" => super::stop_itself::commit(),
        "daemon" => escape(&mut start("leaf", &word)),
        "bare-daemon" => escape(start("leaf", &word).env_clear()),
        _ => super::hang::commit(),
    }
}

fn start(part: &str, word: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the program has a file"));
    command.args(["grove", part, word]);
    command
}

fn escape(daemon: &mut Command) -> ExitCode {
    rustix::process::setsid().expect("a fresh child leads no group");
    std::mem::forget(daemon.spawn().expect("a daemon can be started"));
    ExitCode::SUCCESS
}

fn is_stopped(child: &Child) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}
