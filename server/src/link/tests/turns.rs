//! What one turn of the data plane may take: nobody keeps the others waiting, whatever it sends.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use lifeboat_core::evidence::StopSignal;
use lifeboat_core::ids::{Incarnation, PoolId, ProcessKey, WorkerId};
use lifeboat_core::settings::Settings;
use lifeboat_protocol::{
    FRAME_OVERHEAD, Hello, MessageType, Operate, Role, Route, RouteFlags, TimeLeft, put_control,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::{spawn_local, yield_now};

use super::logs::logged;
use super::on_data_plane;
use crate::engine::ports::ProcessPort;
use crate::engine::tests;
use crate::link::client;
use crate::link::connection::{Connection, WorkerConnection};
use crate::link::socket::Socket;
use crate::link::table::Peer;
use crate::link::{LinkSettings, Links, SharedEngine, flush, listener};

/// What the core orders of the processes is done by the tests, or by nobody.
pub(super) struct NoProcesses;

impl ProcessPort for NoProcesses {
    fn spawn(&mut self, _: ProcessKey, _: PoolId, _: &str) {}

    fn signal(&mut self, _: ProcessKey, _: StopSignal, _: bool) {}

    fn collect(&mut self, _: ProcessKey) {}

    fn release(&mut self, _: ProcessKey) {}
}

pub(super) fn engine() -> SharedEngine<NoProcesses> {
    Rc::new(RefCell::new(tests::engine(links, NoProcesses)))
}

/// Connections for an engine of the tests.
pub(super) fn links(settings: &Settings) -> Links {
    let link = LinkSettings { max_body: 1 << 20, client_backlog: 1 << 20, max_clients: 1000 };
    Links::new(link, settings, 3)
}

/// Has a process's connection served as if it had said hello; gives the process's end.
pub(super) fn adopted<P: ProcessPort>(engine: &SharedEngine<P>, process: ProcessKey) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let socket = Rc::new(Socket::new(ours.into()).unwrap());
    let reader = spawn_local(std::future::pending::<()>()).abort_handle();
    let links = &mut engine.borrow_mut().links;
    let connection = Connection::new(socket, links.limit);
    let worker = WorkerConnection {
        recorder: None,
        process,
        pid: 4321,
        connection,
        greeted: true,
        history: true,
        ended: false,
        reset: false,
        reader,
    };
    links.table.insert_worker(worker);
    theirs
}

/// A client that has said hello and asked for this many lists of the workers, all before it reads.
fn asking(engine: &SharedEngine<NoProcesses>, times: u64) -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut sent = Vec::new();
    let hello = Hello::new(Role::Client, 1 << 20, "test");
    put_control(&mut sent, MessageType::Hello, None, &hello).unwrap();
    for id in 1..=times {
        let route = Route { id, attempt: 0, flags: RouteFlags::NONE, time_left: TimeLeft::NONE };
        let asked = Operate { operation: "workers".into(), target: None, limit: None };
        put_control(&mut sent, MessageType::Operate, Some(route), &asked).unwrap();
    }
    theirs.write_all(&sent).unwrap();
    client::admit(engine, ours.into(), None);
    theirs
}

#[test]
fn operations_of_one_read_are_answered_one_a_turn() {
    const ASKED: u64 = 100;
    on_data_plane(async || {
        let engine = engine();
        let client = asking(&engine, ASKED);
        let left = |engine: &SharedEngine<NoProcesses>| {
            engine.borrow().links.table.clients().map(|client| client.asked.len()).sum::<usize>()
        };
        // Turns enough: one per operation, and some in which it connects and says hello.
        let mut counts = Vec::new();
        for _ in 0..10 * ASKED {
            yield_now().await;
            counts.push(left(&engine));
        }
        assert!(counts.windows(2).all(|pair| pair[1] + 1 >= pair[0]), "answered in one turn: {counts:?}");
        let most = counts.into_iter().max();
        assert_eq!(most, Some(ASKED as usize - 1), "the first has its turn when they are read, no other has");
        assert_eq!(left(&engine), 0, "all are answered");
        drop(client);
    });
}

#[test]
fn a_backlog_is_bounded_within_a_turn_too() {
    on_data_plane(async || {
        let engine = engine();
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        client::admit(&engine, ours.into(), None);
        let mut engine = engine.borrow_mut();
        let id = engine.links.table.clients().next().unwrap().id;
        // All within this turn: nothing is flushed by anyone else.
        for _ in 0..1000 {
            engine.links.write(Peer::Client(id), |connection, _| {
                connection.outbox.tail().extend_from_slice(&[0; 64 << 10]);
            });
        }
        let client = engine.links.table.client(id).unwrap();
        assert!(client.closing, "it has not read what it was sent");
        let most = (1 << 20) + 2 * FRAME_OVERHEAD;
        assert!(client.connection.outbox.pending() <= most, "{} bytes", client.connection.outbox.pending());
        drop(theirs);
    });
}

/// Nothing can be opened while it lives.
struct NoDescriptors(Rlimit);

impl NoDescriptors {
    fn left() -> Self {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
        Self(before)
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

/// Whether this test has a process of its own; if not, it runs in one, because what it changes would hurt the others.
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "LIFEBOAT_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let done = Command::new(program).args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let [told, why] = [&done.stdout, &done.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(done.status.success() && told.contains("1 passed"), "{told}{why}");
    false
}

/// Waits for a condition; the limit is for what never comes.
async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), met).await.expect("it comes");
}

#[test]
fn a_worker_is_written_to_later_when_no_descriptor_is_left() {
    const LEN: usize = 16 << 20;
    const PART: usize = 256 << 10;
    if !is_alone("link::tests::turns::a_worker_is_written_to_later_when_no_descriptor_is_left") {
        return;
    }
    let process = ProcessKey { worker: WorkerId(0), incarnation: Incarnation(1) };
    let lines = logged(|| {
        on_data_plane(async || {
            let engine = engine();
            let mut theirs = adopted(&engine, process);
            let flushing = spawn_local(flush::run(Rc::clone(&engine)));
            let exhausted = NoDescriptors::left();
            engine.borrow_mut().links.write(Peer::Process(process), |connection, _| {
                connection.outbox.tail().resize(LEN, 7);
            });
            let left = || {
                let mut engine = engine.borrow_mut();
                engine.links.table.worker(process).unwrap().connection.outbox.pending()
            };
            // Each part that it reads makes room for what the next try writes, still without a descriptor.
            let mut before = LEN;
            for _ in 0..3 {
                until(|| left() < before).await;
                before = left();
                theirs.read_exact(&mut [0; PART]).unwrap();
            }
            drop(exhausted);
            let reading = std::thread::spawn(move || {
                let mut rest = vec![0; LEN - 3 * PART];
                theirs.read_exact(&mut rest).map(|()| rest)
            });
            until(|| reading.is_finished()).await;
            assert!(reading.join().unwrap().unwrap().iter().all(|byte| *byte == 7), "it reads all of it");
            flushing.abort();
        });
    });
    let said: Vec<_> = lines.iter().filter(|line| line.contains("to wait for a slow worker with")).collect();
    assert_eq!(said.len(), 2, "once when it begins and once when it ends: {said:#?}");
    assert!(
        said[0].starts_with("WARN") && said[0].contains("worker=\"images-0\" incarnation=1 pid=4321"),
        "{said:?}"
    );
    assert!(said[1].starts_with("INFO"), "{said:?}");
}

#[test]
fn many_that_connect_at_once_leave_the_others_their_turns() {
    const WAITING: usize = 100;
    on_data_plane(async || {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let waiting: Vec<_> = (0..WAITING).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let engine = engine();
        let accepting = spawn_local(listener::run(Rc::clone(&engine), listener.into()));
        let mut counts = vec![0];
        while counts.last() != Some(&WAITING) {
            yield_now().await;
            counts.push(engine.borrow().links.table.client_count());
        }
        let most = counts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert_eq!(most, listener::ACCEPTS_A_TURN as usize, "accepted in one turn");
        accepting.abort();
        drop(waiting);
    });
}
