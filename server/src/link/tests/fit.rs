//! What is over a client's own limit ends its request alone.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use lifeboat_core::event::Event;
use lifeboat_core::ids::{Incarnation, ProcessKey, WorkerId};
use lifeboat_protocol::{
    ErrorBody, Ext, FrameLimit, Header, Hello, MessageType, OutcomeLabel, Role, Route, RouteFlags, Split,
    TimeLeft, decode, decode_body, put_answer, put_control, put_partial, put_request, split_frame,
};
use tokio::task::{spawn_local, yield_now};

use super::on_data_plane;
use super::turns::{adopted, engine};
use crate::engine::ports::ProcessPort;
use crate::link::{SharedEngine, client, flush};

pub(super) const PROCESS: ProcessKey = ProcessKey { worker: WorkerId(0), incarnation: Incarnation(1) };

/// What the client takes.
const MOST: usize = 1000;

pub(super) const fn route(id: u64, attempt: u16) -> Route {
    Route { id, attempt, flags: RouteFlags::NONE, time_left: TimeLeft::NONE }
}

/// A process that is ready; its end.
pub(super) fn worker<P: ProcessPort>(engine: &SharedEngine<P>) -> UnixStream {
    engine.borrow_mut().start();
    engine.borrow_mut().handle(Event::Spawned { process: PROCESS, pid: 1 });
    let theirs = adopted(engine, PROCESS);
    engine.borrow_mut().handle(Event::Ready { process: PROCESS, heartbeats: false });
    theirs
}

/// A client that wants a stream; its end.
pub(super) fn client<P: ProcessPort + 'static>(engine: &SharedEngine<P>) -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut sent = Vec::new();
    let hello = Hello::new(Role::Client, MOST, "test");
    put_control(&mut sent, MessageType::Hello, None, &hello).unwrap();
    put_request(&mut sent, route(7, 0), "thumbnail", &Ext { stream: true, ..Ext::default() }, b"\xf6");
    theirs.write_all(&sent).unwrap();
    client::admit(engine, ours.into(), None);
    theirs
}

/// What the process executes, once it does: the request and its attempt.
pub(super) async fn executing<P: ProcessPort>(engine: &SharedEngine<P>) -> (u64, u16) {
    loop {
        if let Some((request, attempt, _)) = engine.borrow().core().executing(PROCESS).first() {
            return (request.0, attempt.0);
        }
        yield_now().await;
    }
}

/// The outcome that the client is told, after a part and an answer of these lengths; `None` for an answer.
fn told(part: usize, answer: usize) -> Option<ErrorBody> {
    on_data_plane(async || {
        let engine = engine();
        let flushing = spawn_local(flush::run(Rc::clone(&engine)));
        let (mut worker, mut client) = (worker(&engine), client(&engine));
        let (request, attempt) = executing(&engine).await;
        let mut said = Vec::new();
        put_partial(&mut said, route(request, attempt), &vec![0x60; part]);
        put_answer(&mut said, route(request, attempt), &vec![0x60; answer]);
        worker.write_all(&said).unwrap();
        engine.borrow_mut().read_to_the_end(PROCESS);
        assert!(engine.borrow().links.withheld.is_empty(), "nothing is kept of a request that has ended");
        while engine.borrow().links.unwritten() > 0 {
            yield_now().await;
        }
        client.set_nonblocking(true).unwrap();
        let mut bytes = vec![0; 1 << 20];
        let len = client.read(&mut bytes).unwrap();
        flushing.abort();
        last_outcome(&bytes[..len])
    })
}

fn last_outcome(mut bytes: &[u8]) -> Option<ErrorBody> {
    let mut last = None;
    while let Split::Frame { frame, .. } = split_frame(bytes, FrameLimit::for_body(MOST)).unwrap() {
        let message = decode(frame).unwrap();
        assert!(message.body.len() <= MOST, "the client can read it");
        let failed = matches!(message.header, Header::Error { .. });
        last = failed.then(|| decode_body(message.body).unwrap());
        bytes = &bytes[4 + frame.len()..];
    }
    last
}

#[test]
fn an_answer_over_the_clients_limit_fails_its_request() {
    assert_eq!(told(MOST, MOST), None, "what fits is passed on");
    for (part, answer) in [(1, MOST + 1), (MOST + 1, 1), (1, 100_000)] {
        let error = told(part, answer).expect("an error");
        assert_eq!(error.outcome, OutcomeLabel::Failed);
        let failure = error.failure.expect("why");
        assert_eq!((failure.code.as_str(), failure.retryable), ("too_large", false), "{}", failure.message);
    }
}
