//! A real server, a scripted data plane, and clients written by hand.

mod hostile;
mod routes;

use std::net::SocketAddr;
use std::time::Duration;

use lifeboat_core::reason::OutcomeKind;
use lifeboat_core::time::Timestamp;
use lifeboat_core::view::BrokerView;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::server::{Limits, serve_within};
use crate::observe::Query;
use crate::observe::tests::{observer, request_ended, view};

/// Longer than every limit that these tests leave as it is, but the connection's lifetime.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn serve_with(limits: Limits, queries: mpsc::Sender<Query>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve_within(limits, listener, queries, shutdown.clone()));
    Server { address, shutdown, task }
}

/// A server in front of a data plane that shows `view`.
async fn server(view: BrokerView) -> Server {
    server_within(Limits::DEFAULT, view).await
}

async fn server_within(limits: Limits, view: BrokerView) -> Server {
    let (queries, mut asked) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut observer = observer();
        observer.record(&request_ended(OutcomeKind::Ok, Duration::from_millis(3)), view.at);
        while let Some(query) = asked.recv().await {
            observer.answer(query, &view, Timestamp::from_millis(3_000));
        }
    });
    serve_with(limits, queries).await
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).await.expect("connected")
}

/// Sends bytes on a fresh connection and returns everything until the server closes it.
async fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut stream = connect(server).await;
    // The server may refuse and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    read_to_end(stream).await
}

async fn read_to_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset after its answer has still answered.
    let _ =
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(server: &Server, path: &str) -> (u16, String, String) {
    split(
        &exchange(server, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await,
    )
}

/// Status, lower-case head, body.
fn split(answer: &str) -> (u16, String, String) {
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no complete head: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_lowercase(), body.to_owned())
}
