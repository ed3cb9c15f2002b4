//! The broker's side: starts workers and talks to them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use lifeboat_protocol::{
    Assignment, Ext, HEARTBEAT_FEATURE, HISTORY_FEATURE, Hello, MessageType, Role, Route, RouteFlags,
    TimeLeft, decode, decode_body, encode_body, put_control, put_request,
};
use rustix::process::{Pid, Signal, kill_process};

use super::LIMIT;
use super::worker::AS_WORKER;

/// This binary as a worker. The shell puts what is given as stdin where a worker's socket is, as the broker does.
pub(super) fn command() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" "$@" 3<&0 </dev/null"#]).arg(std::env::current_exe().unwrap());
    command.args(["worker::worker_process", "--exact", "--nocapture"]).env(AS_WORKER, "1");
    command.env_remove("LIFEBOAT_FD").env_remove("LIFEBOAT_WORKER").env_remove("LIFEBOAT_RECORDER");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A worker and its broker's end of the socket.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) socket: UnixStream,
}

impl Started {
    pub(super) fn new(assignment: Assignment) -> Self {
        Self::by(command(), assignment, &[HISTORY_FEATURE])
    }

    /// One that this command starts, and that has these features, beside `heartbeat` where heartbeats are wanted.
    pub(super) fn by(mut command: Command, assignment: Assignment, features: &[&str]) -> Self {
        let (mut socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let child = command.env("LIFEBOAT_FD", "3").stdin(OwnedFd::from(theirs)).spawn().unwrap();
        let heartbeat = (assignment.heartbeat_ms > 0).then_some(HEARTBEAT_FEATURE);
        let slots = assignment.slots;
        let hello = Hello { assignment: Some(assignment), ..Hello::new(Role::Broker, 1 << 20, "scripted/0") };
        let mut out = Vec::new();
        put_control(&mut out, MessageType::Hello, None, &hello).unwrap();
        socket.write_all(&out).unwrap();
        let mut started = Self { child, socket };
        let (kind, body) = started.next();
        assert_eq!(kind, MessageType::Hello);
        let hello: Hello = decode_body(&body).unwrap();
        assert_eq!(hello.pid, Some(started.child.id()));
        let features: Vec<_> = heartbeat.iter().chain(features).collect();
        assert_eq!(hello.features.iter().collect::<Vec<_>>(), features);
        let worker = hello.worker.unwrap();
        assert_eq!((worker.methods, worker.slots), (vec!["do".to_owned()], slots));
        started
    }

    pub(super) fn order(&mut self, order: &str) {
        self.order_in(0, order);
    }

    /// The same in one of several slots. The request's id is the slot's number and 1.
    pub(super) fn order_in(&mut self, slot: u8, order: &str) {
        self.order_with(slot, order, &Ext::default());
    }

    pub(super) fn order_with(&mut self, slot: u8, order: &str, ext: &Ext) {
        let mut out = Vec::new();
        let flags = RouteFlags::NONE.with_slot(slot);
        let route = Route { attempt: 1, flags, ..Route::request(u64::from(slot) + 1, TimeLeft::NONE) };
        put_request(&mut out, route, "do", ext, &encode_body(&order).unwrap());
        self.socket.write_all(&out).unwrap();
    }

    pub(super) fn next(&mut self) -> (MessageType, Vec<u8>) {
        let (kind, _, body) = self.next_routed();
        (kind, body)
    }

    /// The next message, the slot that it is about (0 if none), and its body.
    pub(super) fn next_routed(&mut self) -> (MessageType, u8, Vec<u8>) {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.socket.read_exact(&mut frame).unwrap();
        let message = decode(&frame).unwrap();
        let slot = message.header.route().map_or(0, |route| u8::try_from(route.id - 1).unwrap());
        (message.header.message_type(), slot, message.body.to_vec())
    }

    pub(super) fn answer(&mut self) -> String {
        let (kind, body) = self.next();
        assert_eq!(kind, MessageType::Answer);
        decode_body(&body).unwrap()
    }

    pub(super) fn terminate(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// The process's end, waited for, and what it told stderr.
    pub(super) fn end(self) -> (ExitStatus, String) {
        let Self { child, socket } = self;
        drop(socket);
        end(child)
    }
}

pub(super) fn end(mut child: Child) -> (ExitStatus, String) {
    let mut told = String::new();
    // stderr ends with the process: it starts no child that outlives it.
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    (child.wait().unwrap(), told)
}

/// Waits for the process's end while the broker stays.
pub(super) fn end_by_itself(started: &mut Started) -> ExitStatus {
    let limit = Instant::now() + LIMIT;
    loop {
        if let Some(status) = started.child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < limit, "the process did not end");
        std::thread::yield_now();
    }
}

/// A request that runs until the file returned is closed. It runs already.
pub(super) fn running(started: &mut Started) -> File {
    running_in(started, 0)
}

/// The same in one of several slots.
pub(super) fn running_in(started: &mut Started, slot: u8) -> File {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let path = fifo.to_str().unwrap().to_owned();
    let ext = Ext { metadata: vec![("fifo".to_owned(), path)], ..Ext::default() };
    started.order_with(slot, "until the file ends", &ext);
    // Opens when the handler has opened it too.
    File::options().write(true).open(&fifo).unwrap()
}

/// Waits until no signal is pending in the process.
pub(super) fn wait_until_delivered(pid: u32) {
    let limit = Instant::now() + LIMIT;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
        if u64::from_str_radix(pending.trim(), 16) == Ok(0) {
            return;
        }
        assert!(Instant::now() < limit, "the signal was not delivered");
        std::thread::yield_now();
    }
}
