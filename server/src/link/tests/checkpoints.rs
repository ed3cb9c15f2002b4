//! What an attempt saves, and what its successor's process is written.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use lifeboat_core::event::Event;
use lifeboat_core::evidence::{Evidence, WaitStatus};
use lifeboat_core::ids::{Incarnation, ProcessKey};
use lifeboat_core::settings::Settings;
use lifeboat_protocol::{
    AttemptEndLabel, FrameLimit, Header, History, MAX_SAVED, SavedItem, Split, decode, decode_body, put_save,
    split_frame,
};
use tokio::task::{spawn_local, yield_now};

use super::fit::{PROCESS, client, executing, route, worker};
use super::on_data_plane;
use super::turns::{NoProcesses, adopted, links};
use crate::engine::tests;
use crate::link::{SharedEngine, flush};

const NEXT: ProcessKey = ProcessKey { incarnation: Incarnation(2), ..PROCESS };

/// The first worker's pool has no other and retries crashes at once.
fn retrying(settings: &mut Settings) {
    use lifeboat_core::settings::{Backoff, Jitter, RetryOn, RetryPolicy};
    let at_once = std::time::Duration::ZERO;
    settings.pools[0].workers = std::num::NonZeroU16::MIN;
    settings.pools[0].restart.initial = at_once;
    for method in &mut settings.methods {
        method.retry = RetryPolicy::Retry {
            on: RetryOn { crash: true, ..RetryOn::NOTHING },
            max_attempts: std::num::NonZeroU16::new(2).unwrap(),
            backoff: Backoff {
                first: at_once,
                then: at_once,
                factor: 1.0,
                max: at_once,
                jitter: Jitter::None,
            },
        };
    }
}

/// What the process of the second attempt is written, with its request last, after the first has saved this and died.
fn written(saved: &[Vec<u8>], asks: bool) -> (Vec<u8>, u64) {
    on_data_plane(async || {
        let engine: SharedEngine<NoProcesses> =
            Rc::new(std::cell::RefCell::new(tests::engine_with(retrying, links, NoProcesses)));
        let flushing = spawn_local(flush::run(Rc::clone(&engine)));
        let (mut process, _client) = (worker(&engine), client(&engine));
        let (request, attempt) = executing(&engine).await;
        let mut said = Vec::new();
        saved.iter().for_each(|item| put_save(&mut said, route(request, attempt), item));
        let writer = std::thread::spawn(move || {
            // What a process never read it has not begun.
            assert!(process.read(&mut [0; 4096]).unwrap() > 0);
            process.write_all(&said).unwrap();
            process
        });
        while !writer.is_finished() {
            engine.borrow_mut().read_to_the_end(PROCESS);
            yield_now().await;
        }
        drop(writer.join().unwrap());
        let unread = engine.borrow_mut().take_last_words(PROCESS);
        let evidence = Evidence { wait: WaitStatus::Exited { code: 3 }, ..Evidence::default() };
        engine.borrow_mut().handle(Event::Exited { process: PROCESS, unread });
        engine
            .borrow_mut()
            .handle(Event::EvidenceGathered { process: PROCESS, evidence: Box::new(evidence) });
        engine.borrow_mut().handle_timeout();
        engine.borrow_mut().handle(Event::Spawned { process: NEXT, pid: 2 });
        let next = adopted(&engine, NEXT);
        engine.borrow_mut().links.table.worker(NEXT).unwrap().history = asks;
        engine.borrow_mut().handle(Event::Ready { process: NEXT, heartbeats: false });
        assert_eq!(engine.borrow().core().executing(NEXT)[0].1.0, 2);
        let all = read_all(&engine, next).await;
        flushing.abort();
        (all, request)
    })
}

async fn read_all(engine: &SharedEngine<NoProcesses>, mut socket: UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    socket.set_nonblocking(true).unwrap();
    let pending = || engine.borrow_mut().links.table.worker(NEXT).unwrap().connection.outbox.pending();
    loop {
        let mut some = vec![0; 1 << 20];
        match socket.read(&mut some) {
            Ok(len) => all.extend_from_slice(&some[..len]),
            Err(_) if pending() == 0 => return all,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
        }
    }
}

#[test]
fn the_history_comes_directly_before_the_request_with_what_was_saved_last() {
    for len in [3, 5_000, 100_000, MAX_SAVED] {
        let items: Vec<_> = [1, 2].map(|value| vec![value; len]).into();
        let (bytes, id) = written(&items, true);
        let limit = FrameLimit::for_body(1 << 20);
        let Split::Frame { frame, rest } = split_frame(&bytes, limit).unwrap() else { panic!("{len}") };
        let message = decode(frame).unwrap();
        assert_eq!(message.header, Header::History { route: route(id, 2) });
        let History { previous, saved } = decode_body(message.body).unwrap();
        assert!(saved == Some(SavedItem(items[1].clone())), "the latest, {len} bytes");
        let [first] = &previous[..] else { panic!("{previous:?}") };
        assert_eq!((first.number, first.worker.as_str(), first.incarnation), (1, "images-0", 1));
        assert_eq!((first.end, first.reason.as_deref()), (AttemptEndLabel::Crashed, Some("exit")));
        let Split::Frame { frame, rest: [] } = split_frame(rest, limit).unwrap() else { panic!("{len}") };
        assert!(matches!(decode(frame).unwrap().header, Header::Request { route, .. } if route.id == id));
    }
}

#[test]
fn a_process_that_did_not_ask_is_written_the_request_alone() {
    let (bytes, _) = written(&[vec![1; 3]], false);
    let limit = FrameLimit::for_body(1 << 20);
    let Split::Frame { frame, rest: [] } = split_frame(&bytes, limit).unwrap() else { panic!("one frame") };
    assert!(matches!(decode(frame).unwrap().header, Header::Request { .. }));
}
