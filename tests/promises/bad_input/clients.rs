//! Clients that send without end.

use std::time::{Duration, Instant};

use lifeboat_protocol::{MessageType, Route, TimeLeft, put_empty};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{RawClient, Turn, usage};

use crate::common::{begun, echo};
use crate::scene::Scene;

/// Cancels in one write.
const BURST: u64 = 1_000;

/// A burst of cancels of these requests.
fn cancels(ids: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut out = Vec::new();
    for id in ids {
        put_empty(&mut out, MessageType::Cancel, Some(Route::request(id, TimeLeft::NONE)));
    }
    out
}

/// A million cancels, of requests that are not there, that are over, and of other clients' numbers: nobody else's call is
/// cancelled, delayed or lost, and nothing of them is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_cancels() {
    const BURSTS: u64 = 1_000;
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let before = usage(scene.broker.pid()).resident_kib;
    let trace = scene.broker.room().path().join("trace");
    let victim = tokio::spawn({
        let (client, act) = (scene.client.clone(), Act::new(Deed::EchoAfter(1_000)).tag(42).traced(&trace));
        async move { client.call(act).await }
    });
    begun(&trace).await;
    let mut raw = RawClient::greeted(scene.broker.socket()).await;
    let mut random = fastrand::Rng::with_seed(7);
    for burst in 0..BURSTS {
        // Small numbers are those that other clients use for their own requests.
        let low = random.bool();
        raw.send(&cancels((0..BURST).map(|id| if low { id } else { random.u64(..) }))).await;
        if burst.is_multiple_of(100) {
            let began = Instant::now();
            raw.request::<Act>(burst + 1, &Act::echo(burst)).await;
            let answer = raw.receive().await.expect("the flooding client's own requests are served too");
            assert_eq!(answer.route.map(|route| route.id), Some(burst + 1));
            assert!(began.elapsed() < Duration::from_secs(5), "after {:?}", began.elapsed());
        }
    }
    let answered = victim.await.expect("no panic").expect("another client's request is not cancelled");
    assert_eq!((answered.tag, answered.pid), (42, scene.pid()));
    let after = usage(scene.broker.pid()).resident_kib;
    assert!(after < before + (32 << 10), "cancels are kept: {before} KiB before, {after} KiB after");
    let metrics = scene.broker.metrics().await;
    assert_eq!(metrics.count("requests_total", &[("outcome", "cancelled")]), 0);
    scene.undisturbed().await;
}

/// The same request cancelled a thousand times is cancelled once.
#[tokio::test]
async fn cancels_of_one_request() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let mut raw = RawClient::greeted(scene.broker.socket()).await;
    let busy = Act::new(Deed::EchoAfter(300));
    raw.request::<Act>(1, &busy).await;
    raw.request::<Act>(2, &Act::echo(2)).await;
    raw.send(&cancels(std::iter::repeat_n(2, 1_000))).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let message = raw.receive().await.expect("each request has an end");
        told.push((message.route.map(|route| route.id), message.message_type));
    }
    told.sort_by_key(|(id, _)| *id);
    assert_eq!(told, [(Some(1), MessageType::Answer), (Some(2), MessageType::Error)]);
    raw.request::<Act>(3, &Act::echo(3)).await;
    let answer = raw.receive().await.expect("nothing else was told of them");
    assert_eq!(answer.route.map(|route| route.id), Some(3));
    echo(&scene.client, 9).await;
    let metrics = scene.broker.metrics().await;
    assert_eq!(metrics.count("requests_total", &[("outcome", "cancelled")]), 1);
    scene.undisturbed().await;
}
