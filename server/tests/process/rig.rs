//! A process plane with what the data plane does around it: keeps pidfds and sockets, waits, orders.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeboat::process::{
    CgroupsInUse, Order, OutputStream, PlaneOptions, ProcessPlane, Report, SpawnSpec,
    become_subreaper_and_reset_sigchld,
};
use lifeboat_core::evidence::{Evidence, StopSignal};
use lifeboat_core::ids::{Incarnation, ProcessKey, WorkerId};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long anything may take before a test fails. Generous: the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The program that knows the shim.
pub(crate) fn shim() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_lifeboat"))
}

pub(crate) struct Rig {
    plane: Option<ProcessPlane>,
    reports: UnboundedReceiver<Report>,
    /// Lines that came while something else was waited for.
    output: VecDeque<Output>,
    /// How often activity was told so far.
    pub(crate) seen: u64,
    runtime: Runtime,
    incarnations: u32,
}

/// Lines of a process.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) process: ProcessKey,
    pub(crate) stream: OutputStream,
    pub(crate) lines: Vec<String>,
    pub(crate) dropped: u64,
}

pub(crate) struct Worker {
    pub(crate) key: ProcessKey,
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) socket: UnixStream,
    pub(crate) recorder: Option<File>,
}

impl Rig {
    /// A plane inside another program, which is a subreaper.
    pub(crate) fn new() -> Self {
        become_subreaper_and_reset_sigchld().expect("allowed to every process");
        Self::with(|_| {})
    }

    /// A plane of a program that has no other children. Only in a process of its own.
    pub(crate) fn of_a_broker() -> Self {
        become_subreaper_and_reset_sigchld().expect("allowed to every process");
        Self::with(|options| options.owns_all_children = true)
    }

    pub(crate) fn with(change: impl FnOnce(&mut PlaneOptions)) -> Self {
        let (sender, reports) = unbounded_channel();
        let mut options = PlaneOptions::new(sender);
        options.shim = shim();
        change(&mut options);
        let plane = ProcessPlane::start(options).expect("a plane");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { plane: Some(plane), reports, output: VecDeque::new(), seen: 0, runtime, incarnations: 0 }
    }

    pub(crate) fn cgroups(&self) -> CgroupsInUse {
        self.plane.as_ref().expect("not ended").cgroups()
    }

    pub(crate) fn order(&self, order: Order) {
        self.plane.as_ref().expect("not ended").order(order);
    }

    /// Ends the plane; says whether that was done in time.
    pub(crate) fn end(&mut self) -> bool {
        self.plane.take().expect("not ended").shutdown(LIMIT)
    }

    /// The next report of something else than output.
    pub(crate) fn report(&mut self) -> Report {
        loop {
            let report = self.next();
            if let Some(other) = self.note(report) {
                return other;
            }
        }
    }

    /// The next lines.
    pub(crate) fn output(&mut self) -> Output {
        loop {
            if let Some(output) = self.output.pop_front() {
                return output;
            }
            let report = self.next();
            let other = self.note(report);
            assert!(other.is_none(), "no lines: {other:?}");
        }
    }

    /// Waits until activity is told once more.
    pub(crate) fn activity(&mut self) {
        let before = self.seen;
        while self.seen == before {
            let report = self.next();
            let other = self.note(report);
            assert!(other.is_none(), "no activity: {other:?}");
        }
    }

    fn next(&mut self) -> Report {
        let report = async { tokio::time::timeout(LIMIT, self.reports.recv()).await };
        self.runtime.block_on(report).expect("a report in time").expect("a living plane")
    }

    /// Keeps what is told of output; gives back what is not of it.
    fn note(&mut self, report: Report) -> Option<Report> {
        match report {
            Report::Output { process, stream, lines, dropped } => {
                self.output.push_back(Output { process, stream, lines, dropped });
                None
            }
            Report::OutputSeen { .. } => {
                self.seen += 1;
                None
            }
            other => Some(other),
        }
    }

    /// Reports of something else than output that have come and nobody has asked for.
    pub(crate) fn unread_report(&mut self) -> Option<Report> {
        loop {
            let report = self.reports.try_recv().ok()?;
            if let Some(other) = self.note(report) {
                return Some(other);
            }
        }
    }

    /// Lines that have come and nobody has asked for.
    pub(crate) fn unread_output(&mut self) -> Vec<Output> {
        let other = self.unread_report();
        assert!(other.is_none(), "more than lines: {other:?}");
        self.output.drain(..).collect()
    }

    pub(crate) fn order_spawn(&mut self, spec: SpawnSpec) -> ProcessKey {
        self.incarnations += 1;
        let process = ProcessKey { worker: WorkerId(7), incarnation: Incarnation(self.incarnations) };
        self.order(Order::Spawn { process, spec: Arc::new(spec) });
        process
    }

    pub(crate) fn spawn(&mut self, spec: SpawnSpec) -> Worker {
        let key = self.order_spawn(spec);
        match self.report() {
            Report::Spawned { process, pid, pidfd, socket, recorder } if process == key => {
                let socket = UnixStream::from(socket);
                socket.set_nonblocking(false).expect("our own socket");
                socket.set_read_timeout(Some(LIMIT)).expect("our own socket");
                Worker { key, pid, pidfd, socket, recorder }
            }
            other => panic!("not spawned: {other:?}"),
        }
    }

    /// The error of a start that must fail.
    pub(crate) fn spawn_error(&mut self, spec: SpawnSpec) -> String {
        let key = self.order_spawn(spec);
        match self.report() {
            Report::SpawnFailed { process, error } if process == key => error,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn signal(&self, worker: &Worker, signal: StopSignal) {
        self.order(Order::Signal { process: worker.key, signal, look: false });
    }

    /// Kills it after a look.
    pub(crate) fn look_and_kill(&self, worker: &Worker) {
        self.order(Order::Signal { process: worker.key, signal: StopSignal::Kill, look: true });
    }

    /// Waits for the leader's exit and collects it.
    pub(crate) fn collect(&mut self, worker: &Worker) -> Evidence {
        worker.wait_for_exit();
        self.order(Order::Collect { process: worker.key });
        loop {
            match self.report() {
                Report::Evidence { process, evidence } if process == worker.key => return *evidence,
                Report::MemoryHigh { .. } | Report::MemoryExceeded { .. } => {}
                other => panic!("no evidence: {other:?}"),
            }
        }
    }

    /// Runs a script to its end.
    pub(crate) fn evidence_of(&mut self, spec: SpawnSpec) -> Evidence {
        let worker = self.spawn(spec);
        self.collect(&worker)
    }
}

impl Drop for Rig {
    /// So that a failed test leaves no tree behind.
    fn drop(&mut self) {
        if let Some(plane) = self.plane.take() {
            let done = plane.shutdown(LIMIT);
            assert!(done || std::thread::panicking(), "the plane does not end");
        }
    }
}

impl Worker {
    pub(crate) fn wait_for_exit(&self) {
        let mut poll = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let limit = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
        let ready = rustix::event::poll(&mut poll, Some(&limit)).expect("a pidfd");
        assert_eq!(ready, 1, "process {} lives on", self.pid);
    }

    /// The next line that the worker wrote to its socket.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            self.socket.read_exact(&mut byte).expect("a line from the worker");
            if byte[0] == b'\n' {
                return String::from_utf8(line).expect("text");
            }
            line.push(byte[0]);
        }
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.socket.write_all(format!("{line}\n").as_bytes()).expect("a listening worker");
    }

    /// A file of `/proc/PID`.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join(file)
    }

    /// A line of `/proc/PID/status`.
    pub(crate) fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(self.proc("status")).expect("a living worker");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    }

    /// Waits until the process has become that program, with its environment: an exec sets that after the name.
    pub(crate) fn wait_until_it_is(&self, program: &str) {
        let (comm, environ) = (self.proc("comm"), self.proc("environ"));
        let is_it = || fs::read_to_string(&comm).is_ok_and(|comm| comm.trim_end() == program);
        wait_until(program, || is_it() && fs::read(&environ).is_ok_and(|environ| !environ.is_empty()));
    }
}

fn spec(command: &[&str]) -> SpawnSpec {
    SpawnSpec {
        worker_name: String::from("images-0"),
        command: command.iter().map(OsString::from).collect(),
        ..SpawnSpec::default()
    }
}

pub(crate) fn program(command: &[&str]) -> SpawnSpec {
    spec(command)
}

pub(crate) fn sh(script: &str) -> SpawnSpec {
    spec(&["/bin/sh", "-c", script])
}

pub(crate) fn python(script: &str) -> SpawnSpec {
    spec(&["python3", "-c", script])
}

/// Python: this thread takes a name that the kernel cuts within a character, so that it is no UTF-8.
pub(crate) const BAD_NAME: &str = "import ctypes; ctypes.CDLL(None).prctl(15, ('a' * 14 + 'ü').encode())";

/// Waits until a condition holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_at_most(LIMIT, what, &mut condition);
}

pub(crate) fn wait_at_most(limit: Duration, what: &str, condition: &mut dyn FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process is there and no zombie.
pub(crate) fn lives(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// The state letter of a process, zombies included.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    String::from_utf8_lossy(&stat).rsplit_once(')')?.1.trim_start().chars().next()
}
