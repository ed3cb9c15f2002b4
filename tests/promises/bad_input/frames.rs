//! A client's frames at each limit: what is just allowed is answered, one more is refused, and nobody else notices.

use lifeboat_client::{CallError, RejectWhy};
use lifeboat_protocol::{
    Ext, FRAME_OVERHEAD, LENGTH_PREFIX, MAX_METHOD, MessageType, OutcomeLabel, RefusedCode, Route, TimeLeft,
    put_request,
};
use lifeboat_tests::act::{LONGEST_METHOD, MIRROR};
use lifeboat_tests::harness::{Broker, RawClient, Turn};
use lifeboat_tests::sized::{bytes_of, request_of};

use crate::common::plain;
use crate::scene::{Scene, says};

/// `broker.max_body` here: small, so that frames at the limit are.
const MAX_BODY: usize = 64 << 10;

/// The longest frame.
const MAX_FRAME: usize = MAX_BODY + FRAME_OVERHEAD;

/// The shortest header of a request for [`MIRROR`].
const HEADER: usize = 19 + 1 + MIRROR.len();

/// A body of no particular size.
const BODY: usize = 100;

/// A broker with these limits and a pool that gives every body back.
async fn scene() -> Scene {
    let text = format!(
        r#"
[broker]
max_body = "64KiB"
{}
[pools.mirror]
command = ["misbehave", "mirror"]
[pools.mirror.methods]
{MIRROR} = {{}}
{LONGEST_METHOD} = {{}}
"#,
        plain()
    );
    Scene::of(Broker::start(text).await).await
}

/// A frame that must be answered, with the body that it brought.
async fn answered(scene: &Scene, frame: &[u8], body: usize) {
    let mut raw = RawClient::greeted(scene.broker.socket()).await;
    raw.send(frame).await;
    let answer = raw.receive().await.expect("a request within the limits is answered");
    assert_eq!(answer.message_type, MessageType::Answer, "{:?}", answer.message_type);
    assert!(answer.body == bytes_of(body), "the body is the one that was sent");
}

#[tokio::test]
async fn a_body_at_its_limit() {
    let _turn = Turn::shared();
    let scene = scene().await;
    for body in [MAX_BODY - 1, MAX_BODY] {
        answered(&scene, &request_of(1, MIRROR, HEADER, body), body).await;
    }
    let over = request_of(1, MIRROR, HEADER, MAX_BODY + 1);
    let text = scene.refuses(true, &over, RefusedCode::TooLarge).await;
    says(&text, &["a body of 65537 bytes", "limit of 65536", "max_body"]);
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_header_at_its_limit() {
    let _turn = Turn::shared();
    let scene = scene().await;
    for header in [FRAME_OVERHEAD - 1, FRAME_OVERHEAD] {
        answered(&scene, &request_of(1, MIRROR, header, BODY), BODY).await;
    }
    let over = request_of(1, MIRROR, FRAME_OVERHEAD + 1, BODY);
    let text = scene.refuses(true, &over, RefusedCode::TooLarge).await;
    says(&text, &["a header of 65537 bytes", "65536 allowed", "less metadata"]);
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_frame_at_its_limit() {
    let _turn = Turn::shared();
    let scene = scene().await;
    for header in [FRAME_OVERHEAD - 1, FRAME_OVERHEAD] {
        answered(&scene, &request_of(1, MIRROR, header, MAX_BODY), MAX_BODY).await;
    }
    let over = request_of(1, MIRROR, FRAME_OVERHEAD, MAX_BODY + 1);
    assert_eq!(over.len(), LENGTH_PREFIX + MAX_FRAME + 1);
    // Its length alone is enough: nothing of it need ever come.
    for sent in [&over[..], &over[..LENGTH_PREFIX]] {
        let text = scene.refuses(true, sent, RefusedCode::TooLarge).await;
        says(&text, &["a frame of 131073 bytes", "131072 accepted", "max_body"]);
    }
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_method_name_at_its_limit() {
    let _turn = Turn::shared();
    let scene = scene().await;
    let frame = |method: &str| {
        let mut out = Vec::new();
        put_request(&mut out, Route::request(1, TimeLeft::NONE), method, &Ext::default(), &bytes_of(BODY));
        out
    };
    answered(&scene, &frame(LONGEST_METHOD), BODY).await;
    let mut raw = RawClient::greeted(scene.broker.socket()).await;
    raw.send(&frame(&LONGEST_METHOD[1..])).await;
    let error = raw.receive().await.expect("a method that nobody has is rejected").error();
    assert_eq!((error.outcome, error.why), (OutcomeLabel::Rejected, Some(RejectWhy::UnknownMethod)));
    for (method, len) in [("m".repeat(MAX_METHOD + 1), "256 bytes"), (String::new(), "0 bytes")] {
        let text = scene.refuses(true, &frame(&method), RefusedCode::Malformed).await;
        says(&text, &["a method name of", len, "1 to 255"]);
    }
    scene.undisturbed().await;
}

/// Metadata that makes the header of a request exactly so long.
fn metadata_frame(header: usize) -> Vec<u8> {
    let frame = |value: usize| {
        let ext = Ext { metadata: vec![("name".into(), "v".repeat(value))], ..Ext::default() };
        let mut out = Vec::new();
        put_request(&mut out, Route::request(1, TimeLeft::NONE), MIRROR, &ext, &bytes_of(BODY));
        out
    };
    let around = frame(60_000).len() - LENGTH_PREFIX - BODY - 60_000;
    let frame = frame(header - around);
    assert_eq!(frame.len(), LENGTH_PREFIX + header + BODY);
    frame
}

#[tokio::test]
async fn metadata_at_its_limit() {
    let _turn = Turn::shared();
    let scene = scene().await;
    // The text's length takes three bytes up to 65535, so that all of these are near the limit from below.
    for header in [FRAME_OVERHEAD - 1, FRAME_OVERHEAD] {
        answered(&scene, &metadata_frame(header), BODY).await;
    }
    let text = scene.refuses(true, &metadata_frame(FRAME_OVERHEAD + 1), RefusedCode::TooLarge).await;
    says(&text, &["a header of 65537 bytes", "less metadata"]);
    scene.undisturbed().await;
}

/// The client SDK refuses by itself what the broker would refuse with the whole connection.
#[tokio::test]
async fn the_sdk_keeps_its_connection() {
    let _turn = Turn::shared();
    let scene = scene().await;
    let client = scene.broker.client().await;
    for body in [MAX_BODY - 1, MAX_BODY] {
        let answer = client.call_raw(MIRROR, bytes_of(body)).await.expect("within the limit");
        assert_eq!(answer.len(), body);
    }
    let error = client.call_raw(MIRROR, bytes_of(MAX_BODY + 1)).await.expect_err("over the limit");
    assert!(matches!(error, CallError::Rejected { why: RejectWhy::TooLarge, .. }), "{error:?}");
    says(&error.to_string(), &["65537", "65536"]);

    let with_metadata = |len: usize| {
        let request = client.request_raw(MIRROR, bytes_of(BODY));
        async move { request.metadata("name", "v".repeat(len)).await }
    };
    with_metadata(65_000).await.expect("a header below its limit");
    let error = with_metadata(FRAME_OVERHEAD).await.expect_err("a header above its limit");
    let CallError::Encode { source, .. } = &error else { panic!("{error:?}") };
    says(&source.to_string(), &["metadata", "65536", "into the body"]);
    // Whatever lies between is refused by the one or taken by the other: nothing closes the connection.
    for len in (65_400..65_530).step_by(13) {
        match with_metadata(len).await {
            Ok(_) | Err(CallError::Encode { .. }) => {}
            Err(error) => panic!("{len} bytes of metadata: {error:?}"),
        }
    }
    let error =
        client.call_raw("m".repeat(MAX_METHOD + 1), bytes_of(BODY)).await.expect_err("too long a name");
    assert!(matches!(error, CallError::Encode { .. }), "{error:?}");
    client.call_raw(LONGEST_METHOD, bytes_of(BODY)).await.expect("the longest name there may be");
    let metrics = scene.broker.metrics().await;
    assert_eq!(metrics.sum("client_connections", &[]), 3.0, "no connection was closed");
    scene.undisturbed().await;
}
