//! Asks the broker for something while it answers.

use lifeboat_client::{CallError, Client};
use lifeboat_worker::{Context, HandlerError};

use crate::act::{Ask, Nest, Nested, See, Seen};

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

#[expect(clippy::unnecessary_wraps, reason = "handlers may fail")]
pub(super) fn see(_: See, context: Context) -> Result<Seen, HandlerError> {
    let left = context.remaining().map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    let trace = context
        .traceparent()
        .map(|parent| (parent.to_owned(), context.tracestate().unwrap_or_default().to_owned()));
    Ok(Seen { left, trace })
}
