//! `lifeboat call`: one request, from JSON and back.

use std::io::{self, Read as _};
use std::time::Duration;

use lifeboat_client::{Bytes, CallError, Event, Partial, Progress, RawEventStream, Reply};
use lifeboat_protocol::{decode_body, encode_body};
use serde_json::{Value as Json, json};

use super::exit::Exit;
use super::json;
use super::outcome::{attempt_json, error_json, millis, told};
use super::remote::{self, Remote, RemoteError};
use super::serve::complain;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What JSON cannot say is written as an object with one key: bytes as {\"$bytes\": \"BASE64\"}, a tagged value as
{\"$tag\": [NUMBER, VALUE]}, a map with keys that are no texts, or equal, as {\"$map\": [[KEY, VALUE], ...]}, an integer
beyond 64 bits as {\"$int\": \"-18446744073709551616\"}, and numbers that are not finite as {\"$float\": \"NaN\"}.
Other integers beyond 64 bits are refused, since they would be rounded, and objects that name a key twice.")]
pub struct CallArgs {
    /// The method's name
    method: String,
    /// The request: JSON, @FILE with JSON in it, or - for stdin; null if left out
    #[arg(value_name = "JSON|@FILE|-")]
    request: Option<String>,
    #[command(flatten)]
    remote: Remote,
    /// Give up after this long, retries included; shorter than the configured deadline or without effect
    #[arg(long, short = 't', value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Let this pool alone serve it
    #[arg(long)]
    pool: Option<String>,
    /// Print one JSON object per line while it runs: accepted, progress, partial, attempt_failed, then ok or error
    #[arg(long)]
    stream: bool,
    /// Print one JSON object: ok with the reply, or error with all that is known of it
    #[arg(long, conflicts_with = "stream")]
    json: bool,
}

/// Runs the command: 0 if the outcome is ok, 1 if it is another one, 2 if what is to be sent is no JSON.
pub(super) fn run(args: &CallArgs) -> Exit {
    let body = match read_request(args.request.as_deref()) {
        Ok(body) => body,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage;
        }
    };
    remote::run(async {
        let boat = match args.remote.connect().await {
            Err(RemoteError::Connect(error)) if args.json || args.stream => {
                return last_line(Err(CallError::Connect(error)));
            }
            boat => boat?,
        };
        let mut request = boat.request_raw(args.method.clone(), body);
        if let Some(timeout) = args.timeout {
            request = request.timeout(timeout);
        }
        if let Some(pool) = &args.pool {
            request = request.pool(pool);
        }
        if args.stream {
            stream(request.stream()).await
        } else if args.json {
            last_line(request.await)
        } else {
            answer(request.await)
        }
    })
}

fn read_request(given: Option<&str>) -> Result<Vec<u8>, RemoteError> {
    let text = match given {
        None => "null".to_owned(),
        Some("-") => {
            let mut text = String::new();
            let read = io::stdin().lock().read_to_string(&mut text);
            read.map_err(|error| RemoteError::Value(format!("cannot read the request from stdin: {error}")))?;
            text
        }
        Some(given) => match given.strip_prefix('@') {
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                RemoteError::Value(format!("cannot read the request from {path}: {error}"))
            })?,
            None => given.to_owned(),
        },
    };
    let cbor = json::read(&text).map_err(|error| RemoteError::Value(format!("the request: {error}")))?;
    encode_body(&cbor).map_err(|error| RemoteError::Value(format!("the request: {error}")))
}

fn answer(end: Result<Reply<Bytes>, CallError>) -> Result<Exit, RemoteError> {
    match end {
        Ok(reply) => {
            remote::print_json(&shown(&reply)?)?;
            Ok(Exit::Done)
        }
        Err(error) => {
            complain(&told(&error));
            Ok(Exit::Failed)
        }
    }
}

async fn stream(mut events: RawEventStream) -> Result<Exit, RemoteError> {
    while let Some(event) = events.next().await {
        let line = match event {
            Event::Accepted(accepted) => {
                let time_left = accepted.time_left.map(millis);
                json!({ "accepted": { "request": accepted.request_id, "time_left_ms": time_left } })
            }
            Event::Progress(progress) => json!({ "progress": progress_json(&progress) }),
            Event::Partial(partial) => partial_json(&partial)?,
            Event::AttemptFailed(attempt) => json!({ "attempt_failed": attempt_json(&attempt) }),
            Event::Done(end) => return last_line(end),
            other => {
                // A kind of event that this program does not know yet.
                tracing::debug!(event = ?other, "passed over");
                continue;
            }
        };
        remote::print_json(&line)?;
    }
    Ok(Exit::Failed)
}

fn last_line(end: Result<Reply<Bytes>, CallError>) -> Result<Exit, RemoteError> {
    match end {
        Ok(reply) => {
            let attempts = reply.attempts();
            remote::print_json(&json!({ "ok": shown(&reply)?, "attempts": attempts }))?;
            Ok(Exit::Done)
        }
        Err(error) => {
            remote::print_json(&json!({ "error": error_json(&error)? }))?;
            complain(&told(&error));
            Ok(Exit::Failed)
        }
    }
}

fn shown(body: &[u8]) -> Result<Json, RemoteError> {
    let value: ciborium::Value = decode_body(body)
        .map_err(|error| RemoteError::Value(format!("the reply is no CBOR that can be shown: {error}")))?;
    Ok(json::from_cbor(value))
}

fn partial_json(partial: &Partial<Bytes>) -> Result<Json, RemoteError> {
    Ok(json!({ "partial": shown(partial)?, "attempt": partial.attempt() }))
}

fn progress_json(progress: &Progress) -> Json {
    json!({
        "attempt": progress.attempt,
        "done": progress.done.map(lifeboat_protocol::Amount::as_f64),
        "total": progress.total.map(lifeboat_protocol::Amount::as_f64),
        "text": progress.text,
        "skipped": progress.skipped,
    })
}
