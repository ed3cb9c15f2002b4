//! How answers are made: status, type, and the headers that all of them carry.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// What Prometheus asks the text exposition to be called.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An answer whose body is complete.
pub(super) type Reply = Response<Full<Bytes>>;

#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
}

/// Text for people.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    reply(status, PLAIN, body.into())
}

/// The text exposition.
pub(super) fn exposition(body: String) -> Reply {
    reply(StatusCode::OK, EXPOSITION, body.into())
}

/// A value as JSON, on lines of its own so that it can be read as it comes.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            reply(status, JSON, body.into())
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// What is JSON already.
pub(super) fn written_json(text: &str) -> Reply {
    reply(StatusCode::OK, JSON, format!("{text}\n").into())
}

/// A refusal, as JSON with the member `error`.
pub(super) fn problem(status: StatusCode, error: &str) -> Reply {
    json(status, &Problem { error })
}

/// A refusal of a request method.
pub(super) fn method_not_allowed() -> Reply {
    let mut reply =
        problem(StatusCode::METHOD_NOT_ALLOWED, "this side of the broker is read-only: use GET or HEAD");
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    reply
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    reply
}
