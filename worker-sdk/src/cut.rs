//! Handlers that do not end in the time that the process has left.
//!
//! Owns the words in which stderr, and with it the broker's report, is told who they were. Must never decide how long
//! anybody has.

use std::fmt;
use std::time::{Duration, Instant};

use lifeboat_protocol::Route;

use crate::inbox::Inbox;

/// One handler that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running<'a> {
    method: &'a str,
    route: Route,
    /// Since its request was read.
    age: Duration,
}

impl fmt::Display for Running<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, route, age } = self;
        let (id, attempt, slot) = (route.id, route.attempt, route.flags.slot());
        write!(f, "`{method}` (request {id}, attempt {attempt}, slot {slot}), given {age:.1?} ago")
    }
}

/// The handlers that run now.
pub(crate) fn running(inbox: &Inbox, now: Instant) -> impl Iterator<Item = Running<'_>> {
    inbox.lines.iter().filter_map(|line| line.running.as_deref()).map(move |call| Running {
        method: inbox.method(call.method),
        route: call.route,
        age: now.saturating_duration_since(call.received),
    })
}

/// They outlived the loss of the broker: the process ends beside them.
pub(crate) fn after_the_end(inbox: &Inbox, grace: Duration) -> Vec<String> {
    let line = |handler| format!("lifeboat-worker: cut {grace:?} after the end: {handler}\n");
    running(inbox, Instant::now()).map(line).collect()
}

/// They still run, and SIGKILL is near, if it was the broker that asked the process to leave.
pub(crate) fn late(inbox: &Inbox, waited: Duration, grace: Duration) -> Vec<String> {
    let line = |handler| {
        format!(
            "lifeboat-worker: still runs {waited:?} after SIGTERM, the broker's grace is {grace:?}: {handler}\n"
        )
    };
    running(inbox, Instant::now()).map(line).collect()
}
