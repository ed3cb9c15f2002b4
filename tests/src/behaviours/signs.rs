//! Gives signs while it works: progress, parts of the reply, lines on stderr.

use std::io::Write as _;

use lifeboat_worker::{Context, HandlerError, Progress};

use super::echo;
use crate::act::Sign;

pub(super) fn give(context: &Context, sign: Sign, times: u64, pause: u64) -> Result<(), HandlerError> {
    for number in 1..=times {
        echo::after(pause);
        match sign {
            Sign::Progress => {
                context.progress(Progress::of(number, times).text(&format_args!("sign {number}")));
            }
            Sign::Partial => context.partial_blocking(&number)?,
            Sign::Output => super::complain(&format!("sign {number}")),
            Sign::Stdout => writeln!(std::io::stdout(), "sign {number}")
                .map_err(|error| HandlerError::new("stdout", error.to_string()))?,
        }
    }
    Ok(())
}
