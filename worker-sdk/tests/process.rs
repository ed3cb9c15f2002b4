//! Real worker processes: exit codes, signals, inherited descriptors.
//!
//! Each test starts this very test binary again as a worker (the test `worker_process`, told by an environment
//! variable what to be) with its socket as descriptor 3, and plays the broker.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lifeboat_protocol::{
    Assignment, Ext, Hello, MessageType, Role, Route, TimeLeft, decode, decode_body, encode_body,
    put_control, put_request,
};
use lifeboat_worker::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// How long anything that must happen may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Says what the process is to be.
const AS_WORKER: &str = "LIFEBOAT_TEST_AS_WORKER";

#[derive(Serialize, Deserialize)]
struct Do(String);

impl Method for Do {
    const NAME: &'static str = "do";
    type Request = Self;
    type Reply = String;
}

/// What the worker found out while its state was built.
struct AtStart(String);

fn obey(Do(order): Do, context: Context, at_start: State<AtStart>) -> Result<String, HandlerError> {
    match &*order {
        "say" => Ok("said".to_owned()),
        "panic" => panic!("as told"),
        "descriptors" => Ok(descriptors()?),
        "descriptors at start" => Ok(at_start.0.clone()),
        "until cancelled" => loop {
            context.check_cancel()?;
            std::thread::yield_now();
        },
        "for ever" => loop {
            std::thread::park();
        },
        "until the file ends" => {
            let mut line = String::new();
            std::fs::File::open(context.metadata()[0].1.as_str())?.read_to_string(&mut line)?;
            Ok(line)
        }
        other => Err(HandlerError::new("what", other)),
    }
}

/// What a child of this process has open.
fn descriptors() -> std::io::Result<String> {
    let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).output()?;
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}

#[test]
fn worker_process() {
    if std::env::var_os(AS_WORKER).is_none() {
        return;
    }
    let worker = Worker::new();
    let at_start = AtStart(descriptors().unwrap());
    let exit = worker.state(at_start).handle_blocking::<Do>(obey).run().unwrap();
    if let Some(error) = exit.error() {
        eprintln!("{error}");
    }
    std::process::exit(exit.code().into());
}

/// This binary as a worker. The shell puts what is given as stdin where a worker's socket is, as the broker does.
fn command() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" "$@" 3<&0 </dev/null"#]).arg(std::env::current_exe().unwrap());
    command.args(["worker_process", "--exact", "--nocapture"]).env(AS_WORKER, "1");
    command.env_remove("LIFEBOAT_FD").env_remove("LIFEBOAT_WORKER");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A worker and its broker's end of the socket.
struct Started {
    child: Child,
    socket: UnixStream,
}

impl Started {
    fn new(assignment: Assignment) -> Self {
        let (mut socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let child = command().env("LIFEBOAT_FD", "3").stdin(OwnedFd::from(theirs)).spawn().unwrap();
        let hello = Hello { assignment: Some(assignment), ..Hello::new(Role::Broker, 1 << 20, "scripted/0") };
        let mut out = Vec::new();
        put_control(&mut out, MessageType::Hello, None, &hello).unwrap();
        socket.write_all(&out).unwrap();
        let mut started = Self { child, socket };
        let (kind, body) = started.next();
        assert_eq!(kind, MessageType::Hello);
        let hello: Hello = decode_body(&body).unwrap();
        assert_eq!(hello.pid, Some(started.child.id()));
        assert_eq!(hello.worker.unwrap().methods, ["do"]);
        started
    }

    fn order(&mut self, order: &str) {
        self.order_with(order, &Ext::default());
    }

    fn order_with(&mut self, order: &str, ext: &Ext) {
        let mut out = Vec::new();
        let route = Route { attempt: 1, ..Route::request(1, TimeLeft::NONE) };
        put_request(&mut out, route, "do", ext, &encode_body(&order).unwrap());
        self.socket.write_all(&out).unwrap();
    }

    fn next(&mut self) -> (MessageType, Vec<u8>) {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.socket.read_exact(&mut frame).unwrap();
        let message = decode(&frame).unwrap();
        (message.header.message_type(), message.body.to_vec())
    }

    fn answer(&mut self) -> String {
        let (kind, body) = self.next();
        assert_eq!(kind, MessageType::Answer);
        decode_body(&body).unwrap()
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// The process's end, waited for, and what it told stderr.
    fn end(self) -> (ExitStatus, String) {
        let Self { child, socket } = self;
        drop(socket);
        end(child)
    }
}

fn end(mut child: Child) -> (ExitStatus, String) {
    let mut told = String::new();
    // stderr ends with the process: it starts no child that outlives it.
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    (child.wait().unwrap(), told)
}

/// Waits for the process's end while the broker stays.
fn end_by_itself(started: &mut Started) -> ExitStatus {
    let limit = Instant::now() + LIMIT;
    loop {
        if let Some(status) = started.child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < limit, "the process did not end");
        std::thread::yield_now();
    }
}

#[test]
fn children_of_the_worker_do_not_hold_its_socket() {
    let mut started = Started::new(Assignment::default());
    for order in ["descriptors at start", "descriptors"] {
        started.order(order);
        let listed = started.answer();
        assert!(listed.contains("/proc/"), "the list of descriptors is there: {listed}");
        assert!(!listed.contains("socket:"), "{order}: {listed}");
    }
}

#[test]
fn an_idle_worker_ends_with_0_on_sigterm() {
    let mut started = Started::new(Assignment::default());
    started.order("say");
    assert_eq!(started.answer(), "said");
    started.terminate();
    assert_eq!(end_by_itself(&mut started).code(), Some(0));
}

/// A request that runs until the file returned is closed. It runs already.
fn running(started: &mut Started) -> std::fs::File {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let path = fifo.to_str().unwrap().to_owned();
    let ext = Ext { metadata: vec![("fifo".to_owned(), path)], ..Ext::default() };
    started.order_with("until the file ends", &ext);
    // Opens when the handler has opened it too.
    std::fs::File::options().write(true).open(&fifo).unwrap()
}

#[test]
fn sigterm_lets_the_running_request_finish() {
    let mut started = Started::new(Assignment::default());
    let mut file = running(&mut started);
    started.terminate();
    wait_until_delivered(started.child.id());
    file.write_all(b"after all").unwrap();
    drop(file);
    assert_eq!(started.answer(), "after all");
    assert_eq!(end_by_itself(&mut started).code(), Some(0));
}

#[test]
fn a_second_sigterm_has_its_default_effect() {
    let mut started = Started::new(Assignment::default());
    let _file = running(&mut started);
    started.terminate();
    wait_until_delivered(started.child.id());
    assert_eq!(started.child.try_wait().unwrap(), None);
    started.terminate();
    assert_eq!(end_by_itself(&mut started).signal(), Some(15));
}

/// Waits until no signal is pending in the process.
fn wait_until_delivered(pid: u32) {
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

#[test]
fn a_panic_ends_with_70_and_is_told_to_stderr_too() {
    let mut started = Started::new(Assignment::default());
    started.order("panic");
    assert_eq!(started.next().0, MessageType::Panicked);
    assert_eq!(started.next().0, MessageType::WorkersFailed);
    assert_eq!(started.socket.read(&mut [0]).unwrap(), 0);
    let (status, told) = started.end();
    assert_eq!(status.code(), Some(70));
    assert!(told.contains("panicked at") && told.contains("as told"), "{told}");
}

#[test]
fn the_loss_of_the_broker_ends_with_69() {
    let started = Started::new(Assignment::default());
    let (status, told) = started.end();
    assert_eq!(status.code(), Some(69));
    assert!(told.contains("the broker is gone"), "{told}");

    let mut started = Started::new(Assignment::default());
    started.order("until cancelled");
    assert_eq!(started.end().0.code(), Some(69));

    // One that does not stop is not waited for longer than the grace.
    let mut started = Started::new(Assignment { stop_grace_ms: 20, ..Assignment::default() });
    started.order("for ever");
    let (status, told) = started.end();
    assert_eq!(status.code(), Some(69));
    assert!(told.contains("the broker is gone"), "{told}");
}

#[test]
fn a_broker_that_is_not_understood_ends_with_76() {
    let mut started = Started::new(Assignment::default());
    started.socket.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert_eq!(started.next().0, MessageType::Refused);
    assert_eq!(end_by_itself(&mut started).code(), Some(76));
}

#[test]
fn without_a_broker_it_ends_with_64() {
    let by_hand = "start it through a pool's `command`";
    let cases: [(&str, &str, &str); 5] = [
        ("NOTHING", "", by_hand),
        ("LIFEBOAT_FD", "-1", "is not a descriptor's number"),
        ("LIFEBOAT_FD", "987", by_hand),
        ("LIFEBOAT_FD", "3", "is not a socket"),
        ("LIFEBOAT_FD", "three", "is not a descriptor's number"),
    ];
    for (variable, value, expected) in cases {
        let child = command().stdin(Stdio::null()).env(variable, value).spawn().unwrap();
        let (status, told) = end(child);
        assert_eq!(status.code(), Some(64), "{variable}={value}: {told}");
        assert!(told.contains(expected), "{variable}={value}: {told}");
    }
}

#[test]
fn a_socket_that_the_environment_does_not_name_is_not_the_brokers() {
    let (socket, theirs) = UnixStream::pair().unwrap();
    let child = command().env("LIFEBOAT_WORKER", "test-0").stdin(OwnedFd::from(theirs)).spawn().unwrap();
    // A worker that took it would wait for a hello.
    let mut started = Started { child, socket };
    assert_eq!(end_by_itself(&mut started).code(), Some(64));
    assert!(started.end().1.contains("start it through a pool's `command`"));
}
