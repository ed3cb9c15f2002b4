//! Whatever comes in over the clients' socket: refused in clear words, and nobody else notices.

use lifeboat_protocol::{DEFAULT_MAX_BODY, Hello, RefusedCode, Role};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, RawClient, Turn, eventually, hello, request_frame, usage};

use crate::common::{busy, echo, plain};
use crate::scene::{Scene, says};

fn a_hello(change: impl FnOnce(&mut Hello)) -> Vec<u8> {
    let mut ours = Hello::new(Role::Client, DEFAULT_MAX_BODY, "intruder");
    change(&mut ours);
    hello(&ours)
}

#[tokio::test]
async fn garbage_instead_of_a_hello() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let text = scene.refuses(false, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", RefusedCode::TooLarge).await;
    says(&text, &["1195725856 bytes", "max_body"]);
    let text = scene.refuses(false, &[0, 0, 0, 0], RefusedCode::Malformed).await;
    says(&text, &["length 0"]);
    for greeted in [false, true] {
        let text = scene.refuses(greeted, b"\0\0\0\x05hello", RefusedCode::Malformed).await;
        says(&text, &["malformed header", "at byte 0"]);
    }
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
        scene.broker.metrics().await.sum("client_connections", &[]) <= 2.0
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
    says(&text, &["versions [999]", "this broker [1]", "use a matching SDK"]);
    scene.undisturbed().await;
}

#[tokio::test]
async fn another_role() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    for role in [Role::Worker, Role::Broker] {
        let text = scene.refuses(false, &a_hello(|hello| hello.role = role), RefusedCode::NotAllowed).await;
        says(&text, &["this socket is for clients"]);
    }
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_request_before_the_hello() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let request = request_frame::<Act>(1, &Act::echo(1));
    let text = scene.refuses(false, &request, RefusedCode::Unexpected).await;
    says(&text, &["the first message must be a hello"]);
    scene.undisturbed().await;
}

#[tokio::test]
async fn unknown_and_misplaced_messages() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    // Type 23 is the highest that fits the header; it has no meaning yet.
    let text = scene.refuses(true, &[0, 0, 0, 3, 0x81, 23, 0xf6], RefusedCode::UnknownMessage).await;
    says(&text, &["unknown message type 23"]);
    // A drain is for the other direction.
    let text = scene.refuses(true, &[0, 0, 0, 3, 0x81, 8, 0xf6], RefusedCode::Unexpected).await;
    says(&text, &["drain"]);
    // A second hello.
    let text = scene.refuses(true, &a_hello(|_| {}), RefusedCode::Unexpected).await;
    says(&text, &["hello"]);
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
    says(&text, &["request id 5 does not exceed 5", "ids must increase"]);
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_frame_that_is_too_large() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let text = scene.refuses(true, &[0xff, 0xff, 0xff, 0xff], RefusedCode::TooLarge).await;
    says(&text, &["4294967295", "max_body"]);
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
        assert_eq!(echo(&scene.client, tag).await.pid, scene.pid());
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
    let scene = Scene::of(Broker::start(text).await).await;
    let mut deaf = RawClient::greeted(scene.broker.socket()).await;
    let large = Act { padding: 500_000, ..Act::echo(1) };
    for id in 1..=40 {
        // 20 MB of answers, ten times what it may leave unread.
        deaf.request::<Act>(id, &large).await;
    }
    eventually(LIMIT, "it is closed, and the log says why", async || {
        scene.broker.log().contains("a client does not read its answers; closed limit=2097152")
    })
    .await;
    let resident = usage(scene.broker.pid()).resident_kib;
    assert!(resident < 256 << 10, "what it leaves unread is bounded: {resident} KiB");
    let mut told = 0;
    while deaf.receive().await.is_some() {
        told += 1;
    }
    assert!(told < 40, "it was closed with answers unread");
    scene.undisturbed().await;
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
