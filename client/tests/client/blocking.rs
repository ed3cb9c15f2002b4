//! The blocking client: from many threads, on one connection.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use lifeboat_client::blocking::Client;
use lifeboat_client::{
    CallError, ClientBuilder, ConnectError, ConnectionEvent, Event, Operate, OperateError, Operation,
    encode_body,
};
use lifeboat_protocol::{MethodTimes, Operated, Route, Service, TimeLeft};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::operations::answer;
use crate::support::{Broker, Got, Peer, Resize, limit};

/// A broker on a runtime of its own, and a client at it.
struct Scene {
    runtime: Runtime,
    broker: Broker,
}

impl Scene {
    fn new() -> Self {
        let builder = &mut tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let broker = runtime.block_on(async { Broker::new() });
        Self { runtime, broker }
    }

    fn client(&self) -> (Client, Peer) {
        self.client_of(Client::builder())
    }

    fn client_of(&self, builder: ClientBuilder) -> (Client, Peer) {
        let connect = thread::spawn({
            let builder = builder.socket(self.broker.path());
            move || builder.connect_blocking()
        });
        let peer = self.runtime.block_on(self.broker.accept());
        (connect.join().expect("no panic").expect("connected"), peer)
    }

    /// Answers everything until the client leaves; returns how many requests and cancels there were.
    fn echo_all(&self, mut peer: Peer) -> JoinHandle<(usize, usize)> {
        self.runtime.spawn(async move {
            let (mut requests, mut cancels) = (0, 0);
            loop {
                match peer.next().await {
                    Got::Request(request) => {
                        requests += 1;
                        peer.echo(&request).await;
                    }
                    Got::Cancel(_) => cancels += 1,
                    Got::Eof => return (requests, cancels),
                    got @ (Got::Hello(_) | Got::Operate(..) | Got::Refused(_)) => panic!("{got:?}"),
                }
            }
        })
    }

    fn join<T>(&self, task: JoinHandle<T>) -> T {
        self.runtime.block_on(limit(task)).expect("no panic")
    }
}

#[test]
fn fifty_threads_share_one_connection() {
    const THREADS: u32 = 50;
    const CALLS: u32 = 100;
    let scene = Scene::new();
    let (client, peer) = scene.client_of(Client::builder().max_in_flight(16));
    let serve = scene.echo_all(peer);
    thread::scope(|threads| {
        for number in 0..THREADS {
            let client = client.clone();
            threads.spawn(move || {
                for call in 0..CALLS {
                    let width = number * CALLS + call;
                    match width % 3 {
                        0 => assert_eq!(client.call(Resize { width }).expect("answered"), width),
                        1 => {
                            let reply =
                                client.request(Resize { width }).timeout(Duration::from_secs(20)).send();
                            assert_eq!(*reply.expect("answered"), width);
                        }
                        _ => {
                            let body = encode_body(&Resize { width }).expect("encoded");
                            let reply = client.request_raw("resize", body).send().expect("answered");
                            assert_eq!(reply.decode::<u32>().expect("a number"), width);
                        }
                    }
                }
            });
        }
    });
    assert!(client.is_connected() && client.has_room());
    drop(client);
    assert_eq!(scene.join(serve), ((THREADS * CALLS) as usize, 0));
}

#[test]
fn a_stream_is_an_iterator() {
    let scene = Scene::new();
    let (client, mut peer) = scene.client();
    let serve = scene.runtime.spawn(async move {
        let request = peer.request().await;
        let id = request.route.id;
        assert!(request.ext.stream && request.ext.restartable);
        peer.progress(id, 1, "half").await;
        peer.partial(id, 1, &7).await;
        peer.echo(&request).await;
        // The second stream is dropped unfinished.
        let request = peer.request().await;
        peer.progress(request.route.id, 1, "half").await;
        assert_eq!(peer.cancel().await, request.route.id);
        peer.eof().await;
    });
    let mut told = Vec::new();
    let mut events = client.request(Resize { width: 1 }).restartable(true).stream();
    for event in &mut events {
        told.push(match event {
            Event::Progress(progress) => progress.text.expect("a text"),
            Event::Partial(partial) => {
                format!("partial {}", partial.deserialized::<u32>().expect("a number"))
            }
            Event::Done(reply) => format!("done {}", *reply.expect("answered")),
            event @ (Event::Accepted(_) | Event::AttemptFailed(_) | _) => panic!("{event:?}"),
        });
    }
    assert_eq!(told, ["half", "partial 7", "done 1"]);
    assert!(events.next().is_none());
    let mut second = client.request(Resize { width: 2 }).stream();
    assert!(matches!(second.next(), Some(Event::Progress(_))));
    drop((second, events, client));
    scene.join(serve);
}

#[test]
fn a_stream_by_name_is_an_iterator_too() {
    let scene = Scene::new();
    let (client, mut peer) = scene.client();
    let serve = scene.runtime.spawn(async move {
        let request = peer.request().await;
        assert!(request.ext.stream);
        peer.progress(request.route.id, 1, "half").await;
        peer.partial(request.route.id, 1, &7).await;
        peer.echo(&request).await;
        peer.eof().await;
    });
    let body = encode_body(&Resize { width: 1 }).expect("encoded");
    let mut events = client.request_raw("resize", body).stream();
    let Some(Event::Progress(progress)) = events.next() else { panic!("it moves first") };
    assert_eq!(progress.text.as_deref(), Some("half"));
    let Some(Event::Partial(part)) = events.next() else { panic!("then a part") };
    assert_eq!(part.decode::<u32>(), Ok(7));
    let Some(Event::Done(Ok(reply))) = events.next() else { panic!("then the end") };
    assert_eq!(reply.decode::<u32>(), Ok(1));
    assert!(events.next().is_none() && events.next().is_none());
    drop((events, client));
    scene.join(serve);
}

#[test]
fn a_program_may_start_before_its_broker() {
    let scene = Scene::new();
    let client = Client::builder().socket(scene.broker.path()).connect_lazily_blocking().expect("a thread");
    assert!(!client.is_connected());
    let clone = client.clone();
    let call = thread::spawn(move || clone.call(Resize { width: 5 }));
    let mut peer = scene.runtime.block_on(scene.broker.accept_with(|hello| {
        let methods = [("resize".to_owned(), MethodTimes { deadline_ms: 30_000, answer_within_ms: 31_000 })];
        hello.service = Some(Service { methods: methods.into(), ..Service::default() });
    }));
    scene.runtime.block_on(async {
        let request = peer.request().await;
        peer.echo(&request).await;
        // Nobody has asked for that.
        peer.answer(Route::request(4711, TimeLeft::NONE), &1).await;
    });
    assert_eq!(call.join().expect("no panic").expect("answered"), 5);
    assert_eq!(client.answer_within("resize"), Some(Duration::from_secs(31)));
    assert_eq!(client.answer_within("rotate"), None);
    let serve = scene.echo_all(peer);
    // Its answer comes behind the other.
    client.call(Resize { width: 6 }).expect("answered");
    assert_eq!(client.unexpected_answers(), 1);
    drop(client);
    assert_eq!(scene.join(serve), (1, 0));
}

#[test]
fn errors_are_the_asynchronous_ones() {
    let scene = Scene::new();
    let (client, mut peer) = scene.client();
    let mut events = client.events();
    let serve = scene.runtime.spawn(async move {
        peer.request().await;
        peer
    });
    let short = Duration::from_millis(10);
    let caller = thread::spawn({
        let client = client.clone();
        move || client.call(Resize { width: 1 })
    });
    drop(scene.join(serve));
    let error = caller.join().expect("no panic").expect_err("lost");
    assert!(matches!(&error, CallError::Disconnected { may_have_executed: true, .. }), "{error:?}");
    assert!(matches!(events.next_blocking(), Some(ConnectionEvent::Lost { .. })));
    let error = client.request(Resize { width: 2 }).timeout(short).send().expect_err("nobody answers");
    assert!(matches!(&error, CallError::TimedOut { .. }), "{error:?}");
    drop(client);
    assert!(std::iter::from_fn(|| events.next_blocking()).count() <= 2, "it ends");
    let absent = Client::builder().socket("/nowhere/at/all.sock").connect_timeout(short).connect_blocking();
    assert!(matches!(absent, Err(ConnectError::TimedOut { .. })), "{absent:?}");
}

#[test]
fn it_is_refused_on_a_runtime_and_sends_nothing() {
    let scene = Scene::new();
    let (client, peer) = scene.client();
    let serve = scene.echo_all(peer);
    let on_a_task = scene.runtime.spawn({
        let client = client.clone();
        async move { client.call(Resize { width: 1 }).map(drop) }
    });
    let panic = scene.runtime.block_on(limit(on_a_task)).expect_err("a panic").into_panic();
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).expect("a text");
    assert!(text.contains("within a runtime"), "{text}");
    // A thread that may block is fine, though it belongs to a runtime.
    let blocking = scene.runtime.spawn_blocking({
        let client = client.clone();
        move || client.call(Resize { width: 2 })
    });
    assert_eq!(scene.join(blocking).expect("answered"), 2);
    drop(client);
    assert_eq!(scene.join(serve), (1, 0), "the first was never sent");
}

#[test]
fn the_last_clone_may_be_dropped_anywhere() {
    let scene = Scene::new();
    let (client, mut peer) = scene.client();
    let (send, receive) = channel();
    let clone = client.clone();
    scene.runtime.spawn(async move {
        drop(clone);
        send.send(()).expect("the test waits");
    });
    receive.recv_timeout(Duration::from_secs(20)).expect("dropped");
    scene.runtime.spawn(async move { drop(client) });
    scene.runtime.block_on(peer.eof());
}

#[test]
fn the_broker_is_asked_by_a_client_that_blocks() {
    let scene = Scene::new();
    let (client, mut peer) = scene.client();
    let admin = client.admin();
    // It holds the connection like a clone of its client.
    drop(client);
    let serve = scene.runtime.spawn(async move {
        let affected = vec!["images-0".to_owned()];
        let all =
            Operated { ready: Some(true), draining: Some(false), affected, more: true, ..Operated::done() };
        let mut asked = Vec::new();
        for _ in 0..7 {
            asked.push(answer(&mut peer, all.clone()).await);
        }
        peer.eof().await;
        asked
    });
    assert!(admin.workers().expect("shown").more);
    assert!(admin.requests(3).expect("shown").more);
    let health = admin.health().expect("told");
    assert_eq!((health.ready, health.draining), (true, false));
    assert_eq!(admin.restart("images").expect("done"), ["images-0"]);
    assert_eq!(admin.drain("images-0").expect("done"), ["images-0"]);
    assert_eq!(admin.kill("images-1").expect("done"), ["images-0"]);
    let any = Operate { operation: "promote".into(), target: Some("images".into()), limit: None };
    assert!(admin.operate(&any).expect("done").ok);
    drop(admin);
    let expected = [
        Operate::new(Operation::Workers),
        Operate { limit: Some(3), ..Operate::new(Operation::Requests) },
        Operate::new(Operation::Health),
        Operate::on(Operation::Restart, "images"),
        Operate::on(Operation::Drain, "images-0"),
        Operate::on(Operation::Kill, "images-1"),
        any,
    ];
    assert_eq!(scene.join(serve), expected);
}

#[test]
fn errors_of_operations_are_the_asynchronous_ones() {
    let scene = Scene::new();
    let (client, mut peer) = scene.client();
    let serve = scene.runtime.spawn(async move {
        answer(&mut peer, Operated::not_done("no pool or worker is named `imags`")).await;
        // The next one is never answered.
        peer.operation().await;
        peer
    });
    let error = client.admin().kill("imags").expect_err("not done");
    assert!(matches!(&error, OperateError::NotDone { operation, .. } if operation == "kill"), "{error:?}");
    let error = client.admin().timeout(Duration::from_millis(300)).health().expect_err("nobody answers");
    assert!(matches!(&error, OperateError::TimedOut { may_have_executed: true, .. }), "{error:?}");
    drop(scene.join(serve));
    let on_a_task = scene.runtime.spawn(async move { client.admin().health().map(drop) });
    let panic = scene.runtime.block_on(limit(on_a_task)).expect_err("it must not block a runtime");
    assert!(panic.is_panic());
}
