//! Saves what it has done, ends, and goes on where it ended.

use lifeboat_protocol::{MAX_SAVED, Value};
use lifeboat_worker::{Context, HandlerError};
use serde::{Deserialize, Serialize};

use super::{fail, hang, panic, signal};
use crate::act::{SaveBytes, Step, Stepped, Steps, StepsEnd};

/// What is saved after each step.
#[derive(Default, Serialize, Deserialize)]
struct Done {
    steps: Vec<Step>,
    padding: Option<Value>,
}

pub(super) async fn steps(request: Steps, context: Context) -> Result<Stepped, HandlerError> {
    let found: Option<Done> = context.last_saved()?;
    let begun_with = found.as_ref().map(|done| done.steps.len());
    let mut done = found.unwrap_or_default();
    done.padding = (request.padding > 0).then(|| Value::Bytes(vec![7; request.padding]));
    let end = request.ends.get(usize::from(context.attempt()) - 1);
    while (done.steps.len() as u64) < request.steps {
        done.steps.push((context.attempt(), context.worker().to_owned(), context.incarnation()));
        context.save(&done).await?;
        if let Some((_, end)) = end.filter(|(after, _)| *after == done.steps.len() as u64) {
            match end {
                StepsEnd::Kill => signal::commit(9),
                StepsEnd::Hang => hang::commit(),
                StepsEnd::Fail => return Err(fail::error(true)),
                StepsEnd::Panic => panic::commit(),
            }
        }
    }
    Ok(Stepped {
        steps: done.steps,
        found: begun_with,
        previous: context.previous_attempts().to_vec(),
        slot: context.slot(),
    })
}

pub(super) fn bytes(
    request: SaveBytes,
    context: Context,
) -> Result<(Option<usize>, Option<String>), HandlerError> {
    if context.attempt() == 1 {
        context.save_blocking(&of_length(request.bytes))?;
        signal::commit(9);
    }
    let found: Option<Value> = context.last_saved()?;
    let found = found.and_then(|value| value.as_bytes().map(|bytes| HEAD + bytes.len()));
    let refused = context.save_blocking(&of_length(MAX_SAVED + 1)).err();
    Ok((found, refused.map(|error| error.to_string())))
}

/// What CBOR puts before a byte string of 65536 bytes or more.
const HEAD: usize = 5;

fn of_length(encoded: usize) -> Value {
    Value::Bytes(vec![7; encoded - HEAD])
}
