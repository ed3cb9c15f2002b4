//! Whatever comes in over the clients' socket: refused in clear words, and nobody else notices.

use lifeboat_client::Client;
use lifeboat_protocol::{DEFAULT_MAX_BODY, Hello, RefusedCode, Role};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, RawClient, Turn, eventually, hello, request_frame, usage};

use crate::common::{busy, echo, plain};

/// A broker with a client whose call is in flight meanwhile, and must be answered after all.
struct Scene {
    broker: Broker,
    client: Client,
    pid: u32,
}

impl Scene {
    async fn set() -> Self {
        let broker = Broker::start(plain()).await;
        let client = broker.client().await;
        let pid = echo(&client, 1).await.pid;
        Self { broker, client, pid }
    }

    async fn undisturbed(self) {
        assert_eq!(echo(&self.client, 2).await.pid, self.pid, "the worker has not noticed");
        let metrics = self.broker.metrics().await;
        assert!(metrics.by("worker_crashes_total", "reason").is_empty());
        self.broker.stop();
    }

    /// Bytes that the broker must refuse with this code, and then close.
    async fn refuses(&self, greeted: bool, bytes: &[u8], code: RefusedCode) -> String {
        let socket = self.broker.socket();
        let mut raw =
            if greeted { RawClient::greeted(socket).await } else { RawClient::connect(socket).await };
        raw.send(bytes).await;
        let refused = raw.receive().await.expect("a refusal says why").refused();
        assert_eq!(refused.code, code, "{}", refused.message);
        assert!(refused.message.len() > 10, "a refusal says what to do: {:?}", refused.message);
        assert!(raw.receive().await.is_none(), "a refused connection is closed");
        refused.message
    }
}

fn a_hello(change: impl FnOnce(&mut Hello)) -> Vec<u8> {
    let mut ours = Hello::new(Role::Client, DEFAULT_MAX_BODY, "intruder");
    change(&mut ours);
    hello(&ours)
}

#[tokio::test]
async fn garbage_instead_of_a_hello() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    scene.refuses(false, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", RefusedCode::TooLarge).await;
    scene.refuses(false, &[0, 0, 0, 0], RefusedCode::Malformed).await;
    scene.refuses(false, b"\0\0\0\x05hello", RefusedCode::Malformed).await;
    scene.refuses(true, b"\0\0\0\x05hello", RefusedCode::Malformed).await;
    scene.undisturbed().await;
}

#[tokio::test]
async fn any_bytes_at_all() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let length = random.usize(4..200);
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        if random.bool() {
            // A length that fits, so that the header is looked at.
            let inner = u32::try_from(length - 4).expect("it is short");
            bytes[..4].copy_from_slice(&inner.to_be_bytes());
        }
        let mut raw = RawClient::connect(scene.broker.socket()).await;
        raw.send(&bytes).await;
    }
    eventually(LIMIT, "they are all gone", async || {
        scene.broker.metrics().await.sum("client_connections", &[]) <= 1.0
    })
    .await;
    scene.undisturbed().await;
}

#[tokio::test]
async fn another_version() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let bytes = a_hello(|hello| hello.versions = vec![999]);
    let text = scene.refuses(false, &bytes, RefusedCode::UnsupportedVersion).await;
    assert!(text.contains("999"), "{text}");
    scene.undisturbed().await;
}

#[tokio::test]
async fn another_role() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    scene.refuses(false, &a_hello(|hello| hello.role = Role::Worker), RefusedCode::NotAllowed).await;
    scene.refuses(false, &a_hello(|hello| hello.role = Role::Broker), RefusedCode::NotAllowed).await;
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_request_before_the_hello() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let request = request_frame::<Act>(1, &Act::echo(1));
    scene.refuses(false, &request, RefusedCode::Unexpected).await;
    scene.undisturbed().await;
}

#[tokio::test]
async fn unknown_and_misplaced_messages() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    // Type 23 is the highest that fits the header; it has no meaning yet.
    scene.refuses(true, &[0, 0, 0, 3, 0x81, 23, 0xf6], RefusedCode::UnknownMessage).await;
    // A drain is for the other direction.
    scene.refuses(true, &[0, 0, 0, 3, 0x81, 8, 0xf6], RefusedCode::Unexpected).await;
    // A second hello.
    scene.refuses(true, &a_hello(|_| {}), RefusedCode::Unexpected).await;
    scene.undisturbed().await;
}

/// The connection's requests go with it: the one that was executing is cancelled.
#[tokio::test]
async fn an_id_twice() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let request = request_frame::<Act>(5, &Act::new(Deed::EchoAfter(200)));
    let again = [request.clone(), request].concat();
    let text = scene.refuses(true, &again, RefusedCode::DuplicateId).await;
    assert!(text.contains('5'), "{text}");
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_frame_that_is_too_large() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let text = scene.refuses(true, &[0xff, 0xff, 0xff, 0xff], RefusedCode::TooLarge).await;
    assert!(text.contains("4294967295"), "{text}");
    let resident = usage(scene.broker.pid()).resident_kib;
    assert!(resident < 512 << 10, "nothing is allocated by a length that is only claimed: {resident} KiB");
    scene.undisturbed().await;
}

/// Half a frame costs a descriptor and nothing else, for as long as its sender stays.
#[tokio::test]
async fn half_a_frame_and_stay() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let whole = request_frame::<Act>(1, &Act::echo(1));
    let mut staying = Vec::new();
    for cut in 1..whole.len().min(60) {
        let mut raw = RawClient::greeted(scene.broker.socket()).await;
        raw.send(&whole[..cut]).await;
        staying.push((raw, cut));
    }
    for tag in 0..50 {
        assert_eq!(echo(&scene.client, tag).await.pid, scene.pid);
    }
    for (mut raw, cut) in staying {
        // The rest makes it whole: nothing was lost or misread meanwhile.
        raw.send(&whole[cut..]).await;
        let answer = raw.receive().await.expect("a whole request is answered");
        assert_eq!(answer.message_type, lifeboat_protocol::MessageType::Answer);
    }
    scene.undisturbed().await;
}

/// A client that never reads its answers is closed at its backlog's limit; the others never wait for it.
#[tokio::test]
async fn a_client_that_never_reads() {
    let _turn = Turn::shared();
    let text = format!("[broker]\nclient_backlog = \"2MiB\"\nmax_body = \"1MiB\"\n{}", plain());
    let broker = Broker::start(text).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    let mut deaf = RawClient::greeted(broker.socket()).await;
    let large = Act { padding: 500_000, ..Act::echo(1) };
    for id in 1..=40 {
        // 20 MB of answers, ten times what it may leave unread.
        deaf.request::<Act>(id, &large).await;
    }
    for tag in 0..50 {
        echo(&client, tag).await;
    }
    let resident = usage(broker.pid()).resident_kib;
    assert!(resident < 256 << 10, "what it leaves unread is bounded: {resident} KiB");
    drop(deaf);
    broker.all_idle().await;
    echo(&client, 2).await;
    broker.stop();
}

/// Cancels of requests that are not there, or are over, mean nothing.
#[tokio::test]
async fn cancels_of_nothing() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let mut raw = RawClient::greeted(scene.broker.socket()).await;
    for id in [0, 1, 7, u64::MAX] {
        raw.cancel(id).await;
    }
    raw.request::<Act>(9, &Act::echo(9)).await;
    let answer = raw.receive().await.expect("the request is answered");
    assert_eq!(answer.route.map(|route| route.id), Some(9));
    raw.cancel(9).await;
    raw.request::<Act>(10, &Act::new(Deed::EchoAfter(100))).await;
    busy(&scene.broker, 1).await;
    let answer = raw.receive().await.expect("the request is answered");
    assert_eq!(answer.route.map(|route| route.id), Some(10));
    scene.undisturbed().await;
}

#[tokio::test]
async fn an_unknown_method_is_rejected_and_no_more() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let error = scene.client.call_raw("nothing", Vec::new()).await.expect_err("no pool serves it");
    let lifeboat_client::CallError::Rejected { why, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*why, lifeboat_client::RejectWhy::UnknownMethod);
    assert!(!error.may_have_executed() && !error.is_retryable());
    let metrics = scene.broker.metrics().await;
    assert_eq!(metrics.count("rejected_total", &[("pool", "_none"), ("why", "unknown_method")]), 1);
    scene.undisturbed().await;
}
