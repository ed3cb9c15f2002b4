//! Operations that block.
//!
//! Owns nothing but the waiting: what they do, and what may go wrong, is the asynchronous [`Admin`](crate::Admin)'s.

use std::time::Duration;

use lifeboat_protocol::{Operate, Operated};

use super::Waiter;
use crate::{FailedRequests, Health, OperateError, Quarantine, Reports, Requests, Workers};

/// Asks things of the broker itself, and blocks until it has answered. Made by
/// [`Client::admin`](super::Client::admin); counts as a clone of its client. See the asynchronous
/// [`Admin`](crate::Admin) for how operations travel.
///
/// ```no_run
/// # fn example(boat: lifeboat_client::blocking::Client) -> Result<(), lifeboat_client::OperateError> {
/// use std::time::Duration;
///
/// use lifeboat_client::{Operate, Operation};
///
/// let admin = boat.admin().timeout(Duration::from_secs(3));
/// let health = admin.health()?;
/// if !health.ready && !health.draining {
///     for worker in admin.workers()?.workers.iter().filter(|worker| !worker.healthy) {
///         println!("{} is {}, last crash {:?}", worker.worker, worker.state, worker.last_crash);
///     }
///     for request in admin.requests(10)?.requests {
///         println!("{} came {} ms ago: {}", request.method, request.age_ms, request.state);
///     }
/// }
/// println!("{} failed lately", admin.failed_requests(256)?.requests.len());
/// if let Some(crash) = admin.reports(1)?.reports.first() {
///     println!("{} crashed: {}", crash.worker, admin.report(&crash.report_id)?);
/// }
/// // All of a pool, or one worker; `drain` and `kill` take the same names.
/// println!("restarting {}", admin.restart("images")?.join(", "));
/// admin.drain("images-1")?;
/// admin.kill("images-2")?;
/// // What its method refuses for the processes that it crashed runs again.
/// for body in admin.quarantine()?.bodies {
///     admin.release(body.digest)?;
/// }
/// // Any operation, as it travels.
/// let operated = admin.operate(&Operate::new(Operation::Health))?;
/// println!("{:?}", operated.ready);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    admin: crate::Admin,
    waiter: Waiter,
}

/// Waits for each operation of the asynchronous kind.
macro_rules! operations {
    ($($(#[$docs:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $done:ty;)*) => {$(
        $(#[$docs])*
        ///
        /// # Errors
        ///
        /// [`OperateError`].
        ///
        /// # Panics
        ///
        /// On a thread of a tokio runtime.
        #[track_caller]
        pub fn $name(&self, $($argument: $kind),*) -> Result<$done, OperateError> {
            self.waiter.wait(self.admin.$name($($argument),*))
        }
    )*};
}

impl Admin {
    pub(super) const fn new(admin: crate::Admin, waiter: Waiter) -> Self {
        Self { admin, waiter }
    }

    /// How long each operation may take, waiting for a connection included. Default: the client's
    /// [`timeout`](crate::ClientBuilder::timeout), else 10 s more than its `connect_timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.admin = self.admin.timeout(timeout);
        self
    }

    operations! {
        /// Shows the pools and their workers.
        workers() -> Workers;

        /// Shows the oldest open requests, `limit` of them at most; the broker shows no more than
        /// [`MAX_ROWS`](crate::MAX_ROWS).
        requests(limit: u64) -> Requests;

        /// Shows the last requests that did not end `ok`, newest first, `limit` of them at most. The broker remembers 256
        /// since its start.
        failed_requests(limit: u64) -> FailedRequests;

        /// Shows the reports of crashes that the broker keeps, newest first, `limit` of them at most.
        reports(limit: u64) -> Reports;

        /// Shows all that is kept of a crash: one JSON object; see [`Admin::report`](crate::Admin::report).
        report(id: impl Into<String>) -> String;

        /// Tells whether the broker is ready to serve.
        health() -> Health;

        /// Replaces the processes of a pool or worker, each when it has finished what it executes. Returns the names of
        /// the workers concerned as soon as it is ordered, not when it is done; `drain` and `kill` too.
        restart(target: impl Into<String>) -> Vec<String>;

        /// Gives a pool or worker nothing new; its processes end, each when it has finished what it executes.
        drain(target: impl Into<String>) -> Vec<String>;

        /// Ends the processes of a pool or worker at once. What they execute crashes with the reason `operator`.
        kill(target: impl Into<String>) -> Vec<String>;

        /// Shows the bodies in quarantine: those that their methods refuse for the processes that they crashed.
        quarantine() -> Quarantine;

        /// Lets a body in quarantine run again, by its digest, or with [`ALL_BODIES`](crate::ALL_BODIES) each of them.
        /// Returns those that were in it; `NotDone` if there is none with this digest.
        release(which: impl Into<String>) -> Quarantine;

        /// An operation as it travels, for those that this version does not know; the others are its typed forms. What
        /// it returns has `ok` set.
        operate(operate: &Operate) -> Operated;
    }
}
