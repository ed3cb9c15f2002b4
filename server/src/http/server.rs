//! The listener: takes connections up to a limit, serves each in a task of its own, ends them in bounded time.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::responses::{Reply, problem};
use super::routes::Answers;
use crate::observe::Query;

/// How many connections above the limit are told so at once; more are closed without a word.
const MAX_REFUSALS: usize = 16;

/// How long a connection whose time is up may take to finish its present answer.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// The longest request head, request line included. Nothing here needs more than a path.
const MAX_HEAD: usize = 8 * 1024;

/// How many header fields a request may have.
const MAX_HEADER_FIELDS: usize = 64;

/// The pause after a failed accept (out of descriptors, mostly), so that it is not tried in a tight loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may take of the broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many connections are served at once.
    pub(super) connections: usize,
    /// How long a request's head may take to arrive, and how long a connection may idle between requests.
    pub(super) head_timeout: Duration,
    /// How long a connection may live. Bounds what a peer that never reads its answer can hold on to.
    pub(super) lifetime: Duration,
}

impl Limits {
    /// For a scraper, a few probes, a browser or two; this is not a public site.
    pub(super) const DEFAULT: Self =
        Self { connections: 64, head_timeout: Duration::from_secs(5), lifetime: Duration::from_secs(60) };
}

/// Serves HTTP on `listener` until `shutdown` is cancelled; then takes no more connections, lets answers that are on
/// their way finish for at most 2 s, and returns.
///
/// Read-only. `queries` leads to the data plane; a question that is not answered within 2 s (a ping: 1 s) becomes 503.
/// At most 64 connections are served at once; the next are answered 503 and closed. Must run in a tokio runtime with
/// time and I/O; dropping the future closes all connections at once.
pub async fn serve(listener: TcpListener, queries: mpsc::Sender<Query>, shutdown: CancellationToken) {
    serve_within(Limits::DEFAULT, listener, queries, shutdown).await;
}

/// [`serve`], with limits of one's own.
pub(super) async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    queries: mpsc::Sender<Query>,
    shutdown: CancellationToken,
) {
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let seats = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                accept_failed(&error).await;
                continue;
            }
        };
        if let Ok(seat) = Arc::clone(&seats).try_acquire_owned() {
            let answers = Answers { queries: queries.clone(), is_local };
            connections.spawn(serve_connection(stream, limits, answers, shutdown.clone(), seat));
        } else if let Ok(seat) = Arc::clone(&refusals).try_acquire_owned() {
            connections.spawn(refuse(stream, limits, seat));
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(LAST_ANSWER, all_ended).await.is_err() {
        debug!("closing HTTP connections that did not finish in time");
    }
}

async fn accept_failed(error: &io::Error) {
    // The peer's own doing, between its connect and our accept.
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    warn!(%error, "cannot accept an HTTP connection; trying again");
    sleep(ACCEPT_PAUSE).await;
}

async fn serve_connection(
    stream: TcpStream,
    limits: Limits,
    answers: Answers,
    shutdown: CancellationToken,
    _seat: OwnedSemaphorePermit,
) {
    let answer = |request: Request<Incoming>| {
        let answers = answers.clone();
        async move { Ok::<Reply, Infallible>(answers.answer(&request).await) }
    };
    let mut connection = pin!(server(limits).serve_connection(TokioIo::new(stream), service_fn(answer)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = over(limits, &shutdown) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "HTTP connection ended early");
    }
}

/// The connection's time is up.
async fn over(limits: Limits, shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = sleep(limits.lifetime) => {}
    }
}

/// Answers the first request of a connection above the limit with a refusal, within [`LAST_ANSWER`].
async fn refuse(stream: TcpStream, limits: Limits, _seat: OwnedSemaphorePermit) {
    let answer = |_: Request<Incoming>| async {
        let text = "too many HTTP connections; close some or try again shortly";
        Ok::<Reply, Infallible>(problem(StatusCode::SERVICE_UNAVAILABLE, text))
    };
    let mut server = server(limits);
    server.keep_alive(false);
    // However it ends, the peer was told or did not listen.
    let _ = timeout(LAST_ANSWER, server.serve_connection(TokioIo::new(stream), service_fn(answer))).await;
}

fn server(limits: Limits) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(2 * MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADER_FIELDS)
        .half_close(true);
    server
}
