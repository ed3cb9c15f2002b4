//! What each path answers, whatever the data plane does.

use std::time::Instant;

use lifeboat_core::view::WorkerState;

use super::*;
use crate::observe::tests::text::Exposition;

#[tokio::test]
async fn metrics_are_text_that_parses() {
    let server = server(view()).await;
    let (status, head, body) = get(&server, "/metrics?x=y").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    let read = Exposition::parse(&body);
    assert_eq!(read.sum("lifeboat_requests_total"), 1.0);
    assert_eq!(read.sum("lifeboat_workers"), 3.0);
}

#[tokio::test]
async fn every_path_answers_with_its_own_status_and_type() {
    let server = server(view()).await;
    let expected = [
        ("/", 200, "text/plain"),
        ("/livez", 200, "text/plain"),
        ("/readyz", 200, "application/json"),
        ("/worker-health", 200, "application/json"),
        ("/nothing", 404, "application/json"),
        ("/metrics/", 404, "application/json"),
        ("/../etc/passwd", 404, "application/json"),
    ];
    for (path, expected_status, expected_type) in expected {
        let (status, head, body) = get(&server, path).await;
        assert_eq!(status, expected_status, "{path}: {body}");
        assert!(head.contains(&format!("content-type: {expected_type}")), "{path}: {head}");
        assert!(head.contains("cache-control: no-store"), "{path}: {head}");
    }
    let (_, _, index) = get(&server, "/").await;
    assert!(
        ["/metrics", "/livez", "/readyz", "/worker-health"].iter().all(|path| index.contains(path)),
        "{index}"
    );
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let server = server(view()).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let request = format!(
            "{method} /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi"
        );
        let (status, head, _) = split(&exchange(&server, request.as_bytes()).await);
        assert_eq!(status, 405, "{method}");
        assert!(head.contains("allow: get, head"), "{head}");
    }
    let (status, head, body) =
        split(&exchange(&server, b"HEAD /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await);
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(!head.contains("content-length: 0"), "{head}");
}

#[tokio::test]
async fn unready_says_why() {
    let mut view = view();
    view.draining = true;
    view.workers[2].state = WorkerState::Backoff;
    let server = server(view).await;
    let (status, _, body) = get(&server, "/readyz").await;
    assert_eq!(status, 503);
    let body: serde_json::Value = serde_json::from_str(&body).expect("json");
    assert_eq!(body["ready"], false);
    let reasons = body["reasons"].as_array().expect("a list");
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(reasons[1], "pool text has no ready worker: 1 backoff");
    assert_eq!(get(&server, "/livez").await.0, 200, "liveness does not depend on workers");
}

#[tokio::test]
async fn health_answers_whatever_the_workers_do() {
    for state in WorkerState::ALL {
        let mut view = view();
        for worker in &mut view.workers {
            worker.state = state;
        }
        let (status, _, body) = get(&server(view).await, "/worker-health").await;
        assert_eq!(status, 200, "{state:?}");
        let body: serde_json::Value = serde_json::from_str(&body).expect("json");
        assert_eq!(body["workers"]["text-0"]["state"], state.label());
    }
}

#[tokio::test]
async fn a_stuck_data_plane_is_told_within_a_second() {
    // The receiver lives and never answers; with one place, the second question does not even get in.
    let (queries, _stuck) = mpsc::channel(1);
    let server = serve_with(Limits::DEFAULT, queries).await;
    let asked = Instant::now();
    let (live, ready, metrics, health) = tokio::join!(
        async { (get(&server, "/livez").await, asked.elapsed()) },
        get(&server, "/readyz"),
        get(&server, "/metrics"),
        get(&server, "/worker-health"),
    );
    let ((status, _, body), took) = live;
    assert_eq!(status, 503);
    assert!(body.contains("did not answer within 1 s"), "{body}");
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");
    for (status, _, body) in [ready, metrics, health] {
        assert_eq!(status, 503);
        assert!(body.contains("did not answer within 2 s"), "{body}");
    }
}

#[tokio::test]
async fn an_ended_data_plane_is_told_at_once() {
    let (queries, ended) = mpsc::channel(1);
    drop(ended);
    let server = serve_with(Limits::DEFAULT, queries).await;
    for path in ["/livez", "/readyz", "/metrics", "/worker-health"] {
        let (status, _, body) = get(&server, path).await;
        assert_eq!(status, 503);
        assert!(body.contains("has ended"), "{path}: {body}");
    }
}

#[tokio::test]
async fn one_connection_serves_many_scrapes() {
    let server = server(view()).await;
    let mut stream = connect(&server).await;
    for _ in 0..3 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
        let mut answer = vec![0; 4096];
        let mut read = 0;
        while !answer[..read].ends_with(b"ok\n") {
            let more =
                timeout(PATIENCE, stream.read(&mut answer[read..])).await.expect("an answer").expect("read");
            assert!(more > 0, "the connection stays open");
            read += more;
        }
    }
}

#[tokio::test]
async fn what_workers_wrote_is_for_those_who_ask_by_an_address() {
    let server = server(view()).await;
    for (host, path, expected) in [
        ("127.0.0.1:9464", "/api/v1/reports", 200),
        ("[::1]:9464", "/api/v1/reports", 200),
        ("LocalHost", "/api/v1/reports/nothing-1", 404),
        ("rebound.example:9464", "/api/v1/reports", 403),
        ("rebound.example", "/api/v1/reports/nothing-1", 403),
        ("localhost.rebound.example", "/api/v1/reports", 403),
        ("127.0.0.1.rebound.example", "/api/v1/reports", 403),
        ("", "/api/v1/reports", 403),
        ("metrics.example", "/metrics", 200),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let (status, _, body) = split(&exchange(&server, request.as_bytes()).await);
        assert_eq!(status, expected, "{host} {path}: {body}");
        assert!(status != 403 || body.contains("ask by an IP address or as localhost"), "{body}");
    }
    let absolute =
        b"GET http://rebound.example/api/v1/reports HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    assert_eq!(split(&exchange(&server, absolute).await).0, 403);
}
