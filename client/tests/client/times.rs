//! What the broker tells of how long it may take.

use std::fmt::Debug;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client, encode_body};
use lifeboat_protocol::{Hello, MethodTimes, Service};

use crate::support::{Broker, Peer, Resize, limit};

const SHORT: Duration = Duration::from_millis(50);

/// `resize` may take so long, and its death so long of that.
fn takes(within: Duration, death: Duration) -> impl FnOnce(&mut Hello) {
    let millis = |length: Duration| u64::try_from(length.as_millis()).expect("not so long");
    let times = MethodTimes { deadline_ms: millis(within - death), answer_within_ms: millis(within) };
    move |hello| {
        hello.service =
            Some(Service { methods: [("resize".to_owned(), times)].into(), ..Service::default() });
    }
}

/// A call that is answered.
async fn called<T: Debug>(call: impl IntoFuture<Output = Result<T, CallError>>, peer: &mut Peer) {
    let serve = async {
        let request = peer.request().await;
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(call), serve);
    reply.expect("answered");
}

/// Connects once the connection before is gone, if there was one.
async fn connected(client: &Client, broker: &Broker, hello: impl FnOnce(&mut Hello)) -> Peer {
    limit(async {
        while client.is_connected() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (ready, peer) = tokio::join!(limit(client.ready()), broker.accept_with(hello));
    ready.expect("connected");
    peer
}

/// The outcome of a request is waited for as long as a death may take, and no longer.
async fn given_up(client: &Client, peer: &mut Peer, death: Duration) {
    let start = Instant::now();
    let serve = async {
        let request = peer.request().await;
        assert_eq!(peer.cancel().await, request.route.id);
    };
    let (reply, ()) = tokio::join!(limit(client.request(Resize { width: 1 }).timeout(SHORT)), serve);
    assert!(matches!(reply, Err(CallError::TimedOut { unanswered: true, .. })), "{reply:?}");
    let (waited, least) = (start.elapsed(), SHORT + death + Duration::from_secs(1));
    assert!(waited >= least && waited < least + Duration::from_millis(900), "{waited:?}");
}

#[tokio::test]
async fn the_broker_tells_how_long_it_may_take() {
    let broker = Broker::new();
    let client = Client::builder().socket(broker.path()).connect_lazily();
    assert_eq!(client.answer_within("resize"), None, "nobody has told");
    let (long, death) = (Duration::from_secs(31), Duration::from_secs(1));
    drop(connected(&client, &broker, takes(long, death)).await);
    assert_eq!(client.answer_within("resize"), Some(long));
    assert_eq!(client.answer_within("rotate"), None, "not served");
    let _peer = connected(&client, &broker, takes(long / 2, death)).await;
    assert_eq!(client.answer_within("resize"), Some(long / 2), "another broker");
}

#[tokio::test]
async fn the_outcome_is_waited_for_as_long_as_a_death_may_take() {
    for death in [Duration::ZERO, Duration::from_millis(1500)] {
        let broker = Broker::new();
        let client = Client::builder().socket(broker.path()).connect_lazily();
        let mut peer = connected(&client, &broker, takes(Duration::from_secs(60), death)).await;
        given_up(&client, &mut peer, death).await;
    }
}

/// The broker has more methods than it can tell of: `resize` is one of the others, in a pool that dies slowly.
#[tokio::test]
async fn a_method_that_is_not_told_of_has_no_time_but_the_slack_of_all() {
    let broker = Broker::new();
    let client = Client::builder().socket(broker.path()).connect_lazily();
    let death = Duration::from_millis(1500);
    let hello = |hello: &mut Hello| {
        let methods = [("rotate".to_owned(), MethodTimes { deadline_ms: 60_000, answer_within_ms: 60_000 })];
        let service = Service { methods: methods.into(), ..Service::default() };
        hello.service = Some(Service { after_deadline_ms: Some(1500), ..service });
    };
    let mut peer = connected(&client, &broker, hello).await;
    assert_eq!(client.answer_within("resize"), None);
    assert_eq!(client.answer_within("rotate"), Some(Duration::from_secs(60)));
    given_up(&client, &mut peer, death).await;
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn warnings(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text");
        text.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_timeout_that_is_shorter_than_the_broker_may_take_is_warned_of_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let broker = Broker::new();
    let client = |timeout| Client::builder().socket(broker.path()).timeout(timeout).connect_lazily();
    let within = Duration::from_secs(31);
    let hello = || takes(within, Duration::from_secs(1));

    let enough = client(within);
    let mut peer = connected(&enough, &broker, hello()).await;
    called(enough.call(Resize { width: 1 }), &mut peer).await;
    drop(peer);

    let short = client(Duration::from_secs(30));
    let mut peer = connected(&short, &broker, hello()).await;
    called(short.request(Resize { width: 1 }).timeout(within / 2), &mut peer).await;
    called(short.call_raw("rotate", encode_body(&Resize { width: 1 }).expect("encoded")), &mut peer).await;
    assert_eq!(log.warnings(), [""; 0], "nobody has called it with the client's timeout");

    for _ in 0..2 {
        called(short.call(Resize { width: 1 }), &mut peer).await;
    }
    drop(peer);
    let mut peer = connected(&short, &broker, hello()).await;
    called(short.call(Resize { width: 1 }), &mut peer).await;
    drop(peer);
    let warnings = log.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in ["timeout=30s", "\"resize\"", "answer_within=31s", "raise the timeout"] {
        assert!(warnings[0].contains(part), "{part}: {warnings:?}");
    }

    let mut peer = connected(&short, &broker, takes(2 * within, Duration::ZERO)).await;
    called(short.call(Resize { width: 1 }), &mut peer).await;
    assert_eq!(log.warnings().len(), 2, "another broker");
}

#[tokio::test]
async fn a_first_call_that_found_no_connection_is_warned_of_too() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let broker = Broker::new();
    let client = Client::builder().socket(broker.path()).timeout(Duration::from_secs(30)).connect_lazily();
    let serve = async {
        let mut peer = broker.accept_with(takes(Duration::from_secs(31), Duration::ZERO)).await;
        let request = peer.request().await;
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 1 })), serve);
    reply.expect("answered");
    assert_eq!(log.warnings().len(), 1, "{:?}", log.warnings());
}
