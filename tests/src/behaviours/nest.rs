//! Asks the broker for something while it answers.

use lifeboat_client::{CallError, Client, blocking};
use lifeboat_worker::{Context, HandlerError};

use crate::act::{Ask, Nest, NestBlocking, Nested, See, Seen};

pub(super) async fn nest(request: Nest, context: Context) -> Result<Nested, HandlerError> {
    let spawned = request.spawned;
    let asking = ask(request);
    let asked = if spawned { tokio::spawn(context.within(asking)).await? } else { asking.await };
    let (seen, error) = match asked {
        Ok(seen) => (seen, None),
        Err(error) => (None, Some((error.to_string(), error.may_have_executed()))),
    };
    Ok(Nested { seen, error, pid: std::process::id() })
}

async fn ask(request: Nest) -> Result<Option<Seen>, CallError> {
    let boat = Client::from_env().await.map_err(CallError::Connect)?;
    match request.ask {
        Ask::See if request.detached => {
            boat.request(See {}).detached().await.map(|seen| Some(seen.into_inner()))
        }
        Ask::See => boat.call(See {}).await.map(Some),
        Ask::Act(act) => boat.call(act).await.map(|_| None),
    }
}

pub(super) fn nest_blocking(request: NestBlocking, context: Context) -> Result<Nested, HandlerError> {
    let asked = if request.threaded {
        let asking = std::thread::spawn(move || {
            let _working = context.enter();
            ask_blocking()
        });
        asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?
    } else {
        ask_blocking()?
    };
    Ok(Nested { seen: Some(asked), error: None, pid: std::process::id() })
}

fn ask_blocking() -> Result<Seen, CallError> {
    let boat = blocking::Client::from_env().map_err(CallError::Connect)?;
    boat.call(See {})
}

#[expect(clippy::unnecessary_wraps, reason = "handlers may fail")]
pub(super) fn see(_: See, context: Context) -> Result<Seen, HandlerError> {
    let left = context.remaining().map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    let trace = context
        .traceparent()
        .map(|parent| (parent.to_owned(), context.tracestate().unwrap_or_default().to_owned()));
    Ok(Seen { left, trace })
}
