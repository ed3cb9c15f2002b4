//! What each path answers. Every question to the data plane has a time limit.

use std::net::IpAddr;
use std::time::Duration;

use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use serde::Serialize;

use super::responses::{Reply, exposition, json, method_not_allowed, problem, text, written_json};
use crate::observe::{Query, ReportHead};

/// How long the data plane may take to answer a ping before it is called dead.
///
/// Source: the data plane's longest turn is a few milliseconds; the usual limit of a liveness probe is 1 s.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the data plane may take to answer any other question.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

const INDEX: &str = "\
Lifeboat

/metrics        counters, gauges and histograms for Prometheus
/livez          200 while the broker's event loop turns
/readyz         200 while every pool can serve, else 503 and why
/worker-health  what every worker is doing, as JSON
/api/v1/reports       the reports of crashes that are kept, newest first, as JSON
/api/v1/reports/NAME  all that one of them says
";

/// The list of reports.
#[derive(Serialize)]
struct Listed {
    reports: Vec<ReportHead>,
}

/// The data plane did not answer a question.
#[derive(Debug, thiserror::Error)]
enum QueryError {
    /// Not in time.
    #[error("the broker's data plane did not answer within {} s: it is stuck or overloaded", .0.as_secs())]
    TimedOut(Duration),
    /// It takes no questions any more.
    #[error("the broker's data plane has ended: the broker is shutting down")]
    Ended,
}

/// Where answers come from, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    /// The way to the data plane.
    pub(super) queries: mpsc::Sender<Query>,
    /// Only this machine reaches the listener.
    pub(super) is_local: bool,
}

impl Answers {
    /// Answers one request. Waits for the data plane for at most [`QUERY_TIMEOUT`].
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Reply {
        let path = request.uri().path();
        if self.is_local && path.starts_with("/api/") && !names_this_machine(request) {
            return problem(StatusCode::FORBIDDEN, FOREIGN_HOST);
        }
        answer(request.method(), path, &self.queries).await
    }
}

const FOREIGN_HOST: &str = "this shows what workers wrote, and so answers nobody who asks by another name: a web page may \
                            have had a browser do it; ask by an IP address or as localhost";

/// Whether a request is for an address or for `localhost`: a page of the web that makes a browser of this machine ask does so under
/// its own name (DNS rebinding). What names nobody is no browser's.
fn names_this_machine<B>(request: &Request<B>) -> bool {
    let named = match (request.uri().authority(), request.headers().get(HOST)) {
        (Some(authority), _) => Ok(authority.clone()),
        (None, Some(host)) => Authority::try_from(host.as_bytes()),
        (None, None) => return true,
    };
    named.is_ok_and(|named| {
        let host = named.host().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

async fn answer(method: &Method, path: &str, queries: &mpsc::Sender<Query>) -> Reply {
    if method != Method::GET && method != Method::HEAD {
        return method_not_allowed();
    }
    let reply = match path {
        "/" => Ok(text(StatusCode::OK, INDEX)),
        "/metrics" => metrics(queries).await,
        "/livez" => ask(queries, Query::Ping, PING_TIMEOUT).await.map(|()| text(StatusCode::OK, "ok\n")),
        "/readyz" => readiness(queries).await,
        "/api/v1/reports" => ask(queries, Query::Reports, QUERY_TIMEOUT)
            .await
            .map(|reports| json(StatusCode::OK, &Listed { reports })),
        "/worker-health" => {
            ask(queries, Query::Health, QUERY_TIMEOUT).await.map(|health| json(StatusCode::OK, &health))
        }
        _ => match path.strip_prefix("/api/v1/reports/") {
            Some(name) => report(queries, name).await,
            None => Ok(problem(StatusCode::NOT_FOUND, "no such path; / lists what there is")),
        },
    };
    reply.unwrap_or_else(|error| problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()))
}

async fn metrics(queries: &mpsc::Sender<Query>) -> Result<Reply, QueryError> {
    let snapshot = ask(queries, Query::Metrics, QUERY_TIMEOUT).await?;
    Ok(match snapshot.to_text() {
        Ok(body) => exposition(body),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    })
}

async fn report(queries: &mpsc::Sender<Query>, name: &str) -> Result<Reply, QueryError> {
    let name = name.to_owned();
    let found = ask(queries, |reply| Query::Report(name, reply), QUERY_TIMEOUT).await?;
    Ok(match found {
        Some(text) => written_json(&text),
        None => {
            problem(StatusCode::NOT_FOUND, "no such report is kept; /api/v1/reports lists those that are")
        }
    })
}

async fn readiness(queries: &mpsc::Sender<Query>) -> Result<Reply, QueryError> {
    let readiness = ask(queries, Query::Readiness, QUERY_TIMEOUT).await?;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json(status, &readiness))
}

/// Asks the data plane one question; `limit` covers the wait for a place in its queue too.
async fn ask<T>(
    queries: &mpsc::Sender<Query>,
    question: impl FnOnce(oneshot::Sender<T>) -> Query,
    limit: Duration,
) -> Result<T, QueryError> {
    let exchange = async {
        let (reply, answer) = oneshot::channel();
        queries.send(question(reply)).await.map_err(|_| QueryError::Ended)?;
        answer.await.map_err(|_| QueryError::Ended)
    };
    timeout(limit, exchange).await.unwrap_or(Err(QueryError::TimedOut(limit)))
}
