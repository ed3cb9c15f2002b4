//! Slow, deaf, greedy and malformed clients.

use super::*;

#[tokio::test]
async fn a_slow_client_keeps_nobody_waiting() {
    let server = server(view()).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(&server).await;
        stream.write_all(b"GET /livez HT").await.expect("written");
        slow.push(stream);
    }
    // Sooner than the slow ones are closed.
    let answered = timeout(Limits::DEFAULT.head_timeout / 2, get(&server, "/livez")).await;
    assert_eq!(answered.expect("not kept waiting").0, 200);
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let limits = Limits { head_timeout: Duration::from_millis(50), ..Limits::DEFAULT };
    let server = server_within(limits, view()).await;
    for sent in ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nhost: x\r\n"] {
        let answer = exchange(&server, sent.as_bytes()).await;
        assert!(!answer.contains(" 200 "), "{sent:?}: {answer}");
    }
    // An idle connection between requests is no better.
    let answer = exchange(&server, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(split(&answer).0, 200);
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_place() {
    let limits = Limits { connections: 1, lifetime: Duration::from_millis(100), ..Limits::DEFAULT };
    let server = server_within(limits, view()).await;
    let mut deaf = connect(&server).await;
    let flood = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let stuffed = async { while deaf.write_all(&flood).await.is_ok() {} };
    let freed = async { while get(&server, "/livez").await.0 != 200 {} };
    let both = async { tokio::join!(stuffed, freed) };
    timeout(PATIENCE, both).await.expect("the connection is ended and its place given back");
}

#[tokio::test]
async fn connections_above_the_limit_are_told_and_places_are_given_back() {
    let limits = Limits { connections: 4, ..Limits::DEFAULT };
    let server = server_within(limits, view()).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(&server).await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
        // Its answer shows that it has its place.
        stream.read_exact(&mut [0; 12]).await.expect("an answer");
        held.push(stream);
    }
    let (status, _, body) = get(&server, "/livez").await;
    assert_eq!(status, 503);
    assert!(body.contains("too many HTTP connections"), "{body}");
    drop(held);
    let freed = async { while get(&server, "/livez").await.0 != 200 {} };
    timeout(PATIENCE, freed).await.expect("places are given back");
}

#[tokio::test]
async fn hostile_bytes_get_an_error_or_nothing() {
    let server = server(view()).await;
    let huge_header = [b"GET /livez HTTP/1.1\r\nx: ".as_slice(), &[b'a'; 64 * 1024], b"\r\n\r\n"].concat();
    let huge_path = [b"GET /".as_slice(), &[b'a'; 64 * 1024], b" HTTP/1.1\r\n\r\n"].concat();
    let many_headers = [b"GET /livez HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(1_000), b"\r\n"].concat();
    let cases: [&[u8]; 9] = [
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nbad header\r\n\r\n",
        &huge_header,
        &huge_path,
        &many_headers,
    ];
    for case in cases {
        let answer = exchange(&server, case).await;
        let shown = String::from_utf8_lossy(&case[..case.len().min(60)]);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{shown:?}: {answer}");
    }
    assert_eq!(get(&server, "/livez").await.0, 200, "and the server lives on");
}

#[tokio::test]
async fn shutdown_closes_everything_soon() {
    let server = server(view()).await;
    let mut idle = connect(&server).await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    idle.read_exact(&mut [0; 12]).await.expect("an answer");
    let half_sent = connect(&server).await;
    server.shutdown.cancel();
    timeout(PATIENCE, server.task).await.expect("serve returns").expect("without a panic");
    read_to_end(idle).await;
    read_to_end(half_sent).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is closed");
}
