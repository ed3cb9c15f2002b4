//! What is read of a process whose end has come, and what its end is told as.

use std::cell::RefCell;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use lifeboat_core::event::Event;
use lifeboat_core::evidence::{Evidence, StopSignal, WaitStatus};
use lifeboat_core::ids::{PoolId, ProcessKey};
use lifeboat_core::settings::Settings;
use lifeboat_protocol::put_answer;
use tokio::task::{spawn_local, yield_now};

use super::fit::{PROCESS, client, executing, route, worker};
use super::logs::logged;
use super::on_data_plane;
use super::turns::{self, links};
use crate::engine::ports::ProcessPort;
use crate::engine::tests;
use crate::link::{SharedEngine, flush};

/// The reason of the worker's last crash: its process has exited with this status.
fn judged<P: ProcessPort>(engine: &SharedEngine<P>, unread: bool, wait: WaitStatus) -> &'static str {
    let mut engine = engine.borrow_mut();
    engine.handle(Event::Exited { process: PROCESS, unread });
    let evidence = Box::new(Evidence { wait, ..Evidence::default() });
    engine.handle(Event::EvidenceGathered { process: PROCESS, evidence });
    let view = engine.core().view(engine.now());
    view.workers[0].last_crash.expect("a crash").1
}

/// A descendant that has kept its process's socket, and writes once: when a successor of the process is ordered.
#[derive(Default)]
struct Descendant {
    socket: Option<UnixStream>,
    says: Vec<u8>,
}

impl ProcessPort for Descendant {
    fn spawn(&mut self, _: ProcessKey, _: PoolId, _: &str) {
        if let Some(socket) = &mut self.socket {
            socket.write_all(&std::mem::take(&mut self.says)).unwrap();
        }
    }

    fn signal(&mut self, _: ProcessKey, _: StopSignal, _: bool) {}

    fn collect(&mut self, _: ProcessKey) {}

    fn release(&mut self, _: ProcessKey) {}
}

#[test]
fn what_a_descendant_writes_after_the_exit_is_not_read() {
    on_data_plane(async || {
        // The answer makes the process due, so that a successor is ordered while the last words are read.
        let after_one = |settings: &mut Settings| {
            settings.pools[0].recycle.requests = NonZeroU32::new(1);
        };
        let engine = Rc::new(RefCell::new(tests::engine_with(after_one, links, Descendant::default())));
        let (mut worker, _client) = (worker(&engine), client(&engine));
        let (request, attempt) = executing(&engine).await;
        let mut answer = Vec::new();
        put_answer(&mut answer, route(request, attempt), b"\x60");
        worker.write_all(&answer).unwrap();
        engine.borrow_mut().processes = Descendant { socket: Some(worker), says: b"no frame at all".into() };
        let unread = engine.borrow_mut().take_last_words(PROCESS);
        assert!(engine.borrow().processes.says.is_empty(), "it has written");
        assert_eq!(judged(&engine, unread, WaitStatus::Exited { code: 3 }), "exit");
    });
}

#[test]
fn a_process_that_answers_and_closes_is_told_as_closed_also_by_a_write() {
    on_data_plane(async || {
        let engine = turns::engine();
        let (mut worker, _client) = (worker(&engine), client(&engine));
        let (request, attempt) = executing(&engine).await;
        let mut answer = Vec::new();
        put_answer(&mut answer, route(request, attempt), b"\x60");
        worker.write_all(&answer).unwrap();
        drop(worker);
        // What notices it first is the write of its request.
        let flushing = spawn_local(flush::run(Rc::clone(&engine)));
        while engine.borrow_mut().links.table.worker(PROCESS).unwrap().connection.dirty {
            yield_now().await;
        }
        assert_eq!(judged(&engine, false, WaitStatus::Unknown), "connection_closed");
        flushing.abort();
    });
}

#[test]
fn an_end_within_a_frame_names_its_worker() {
    let lines = logged(|| {
        on_data_plane(async || {
            let engine = turns::engine();
            let mut worker = worker(&engine);
            worker.write_all(&[0, 0, 0, 9, 1]).unwrap();
            drop(worker);
            engine.borrow_mut().read_to_the_end(PROCESS);
        });
    });
    let line = lines.iter().find(|line| line.contains("ended within a frame")).expect("it is said");
    assert!(line.contains("worker=\"images-0\" incarnation=1 pid=4321 bytes=5"), "{line}");
}
