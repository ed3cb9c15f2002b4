//! A worker on the SDK that does what it is told.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::{ExitCode, Termination as _};
use std::time::Duration;

use lifeboat_worker::prelude::*;

use super::{commit, echo, fail, nest, save, signs};
use crate::act::{Act, Acted, Deed, Nest, NestBlocking, SaveBytes, See, Steps, Wait};

pub(super) fn run() -> ExitCode {
    let worker = Worker::new().handle_blocking::<Act>(act).handle::<Wait>(wait);
    let worker = worker.handle::<Nest>(nest::nest).handle_blocking::<See>(nest::see);
    let worker = worker.handle_blocking::<NestBlocking>(nest::nest_blocking);
    worker.handle::<Steps>(save::steps).handle_blocking::<SaveBytes>(save::bytes).run().report()
}

pub(super) fn act(act: Act, context: Context) -> Result<Acted, HandlerError> {
    leave_trace(&act, context.attempt(), context.idempotency_key())?;
    if context.attempt() <= act.until_attempt {
        if let Deed::Recycle(then) = &act.deed {
            if let Deed::Fail { retryable } = **then {
                return Err(fail::error(retryable).and_recycle());
            }
            context.recycle();
            commit(then);
        }
        if let Deed::Fail { retryable } = act.deed {
            return Err(fail::error(retryable));
        }
        if let Deed::FailFor(millis) = act.deed {
            return Err(fail::error(true).retry_after(Duration::from_millis(millis)));
        }
        if let Deed::Signs { sign, times, pause, then } = &act.deed {
            signs::give(&context, *sign, *times, *pause)?;
            commit(then);
        } else {
            commit(&act.deed);
        }
    }
    Ok(echo::answer(&act, context.worker(), context.incarnation(), context.attempt()))
}

async fn wait(wait: Wait, context: Context) -> Result<Acted, HandlerError> {
    // Even a sleep of nothing takes the timer's millisecond.
    if wait.millis > 0 {
        tokio::time::sleep(Duration::from_millis(wait.millis)).await;
    }
    Ok(echo::answer(&Act::echo(0), context.worker(), context.incarnation(), context.attempt()))
}

/// One line per execution, in one write, so that lines of several processes do not mix. A key stands at its end.
pub(super) fn leave_trace(act: &Act, attempt: u16, key: Option<&str>) -> std::io::Result<()> {
    let Some(file) = &act.trace else { return Ok(()) };
    let key = key.map(|key| format!(" {key}")).unwrap_or_default();
    let line = format!("{} {} {attempt}{key}\n", act.tag, std::process::id());
    OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
}
