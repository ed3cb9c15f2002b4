//! Operations: what a client asks of the broker itself.
//!
//! Owns their typed form. Must never retry one that may have been done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_protocol::{
    BodyError, FailedRow, MessageType, Operate, Operated, Operation, PoolRow, QuarantineRow, ReportRow,
    RequestRow, Route, TimeLeft, WorkerRow, decode_body, put_control,
};

use crate::OperateError;
use crate::client::Handle;
use crate::exchange::Exchange;
use crate::table::Ended;

/// How long a broker that is there may take to answer, unless the client has a timeout of its own. It answers at once:
/// longer means that it is stopped.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks things of the broker itself. Made by [`Client::admin`](crate::Client::admin); counts as a clone of its client.
///
/// Operations travel on the client's connection beside its calls, but overtake calls that wait for a place, and are
/// answered also by a broker that shuts down. One that was not written is sent again on the next connection, within its
/// timeout; one that was written never is. They cannot be cancelled: dropping the future of one only stops the waiting.
///
/// ```no_run
/// # async fn example(boat: lifeboat_client::Client) -> Result<(), lifeboat_client::OperateError> {
/// use std::time::Duration;
///
/// use lifeboat_client::{Operate, Operation};
///
/// let admin = boat.admin().timeout(Duration::from_secs(3));
/// let health = admin.health().await?;
/// if !health.ready && !health.draining {
///     for worker in admin.workers().await?.workers.iter().filter(|worker| !worker.healthy) {
///         println!("{} is {}, last crash {:?}", worker.worker, worker.state, worker.last_crash);
///     }
///     for request in admin.requests(10).await?.requests {
///         println!("{} came {} ms ago: {}", request.method, request.age_ms, request.state);
///     }
/// }
/// println!("{} failed lately", admin.failed_requests(256).await?.requests.len());
/// if let Some(crash) = admin.reports(1).await?.reports.first() {
///     println!("{} crashed: {}", crash.worker, admin.report(&crash.report_id).await?);
/// }
/// // All of a pool, or one worker; `drain` and `kill` take the same names.
/// println!("restarting {}", admin.restart("images").await?.join(", "));
/// admin.drain("images-1").await?;
/// admin.kill("images-2").await?;
/// // What its method refuses for the processes that it crashed runs again.
/// for body in admin.quarantine().await?.bodies {
///     admin.release(body.digest).await?;
/// }
/// // Any operation, as it travels.
/// let operated = admin.operate(&Operate::new(Operation::Health)).await?;
/// println!("{:?}", operated.ready);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    handle: Arc<Handle>,
    timeout: Duration,
}

/// Pools and workers; see [`Admin::workers`].
///
/// ```no_run
/// # async fn example(admin: lifeboat_client::Admin) -> Result<(), lifeboat_client::OperateError> {
/// let shown = admin.workers().await?;
/// for pool in &shown.pools {
///     println!("{} is {}, {} requests wait", pool.pool, pool.state, pool.queue_depth);
///     for worker in shown.workers.iter().filter(|worker| worker.pool == pool.pool) {
///         println!("  {} is {}", worker.worker, worker.state);
///     }
/// }
/// if shown.more {
///     println!("and more");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workers {
    /// Every pool.
    pub pools: Vec<PoolRow>,
    /// Every worker.
    pub workers: Vec<WorkerRow>,
    /// Whether rows were left out because they would not fit the client's `max_body`.
    pub more: bool,
}

/// Open requests; see [`Admin::requests`].
///
/// ```no_run
/// # async fn example(admin: lifeboat_client::Admin) -> Result<(), lifeboat_client::OperateError> {
/// let shown = admin.requests(10).await?;
/// if let Some(oldest) = shown.requests.first() {
///     println!("{} is open for {} ms", oldest.method, oldest.age_ms);
/// }
/// let some = if shown.more { "more than " } else { "" };
/// println!("{some}{} requests are open", shown.requests.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// The rows, oldest first.
    pub requests: Vec<RequestRow>,
    /// Whether there are more, beyond the limit or because they would not fit the client's `max_body`.
    pub more: bool,
}

/// The last requests that did not end `ok`; see [`Admin::failed_requests`].
///
/// ```no_run
/// # async fn example(admin: lifeboat_client::Admin) -> Result<(), lifeboat_client::OperateError> {
/// for failed in admin.failed_requests(10).await?.requests {
///     let method = failed.method.unwrap_or_default();
///     println!("{method} {} after {} attempts, {} ms ago", failed.outcome, failed.attempts, failed.ago_ms);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedRequests {
    /// The rows, newest first.
    pub requests: Vec<FailedRow>,
    /// Whether there are more, beyond the limit or because they would not fit the client's `max_body`.
    pub more: bool,
}

/// The reports of crashes that the broker keeps; see [`Admin::reports`].
///
/// ```no_run
/// # async fn example(admin: lifeboat_client::Admin) -> Result<(), lifeboat_client::OperateError> {
/// let shown = admin.reports(100).await?;
/// for row in shown.reports.iter().filter(|row| row.count == 1) {
///     println!("{} ms ago, for the first time: {} ({})", row.ago_ms, row.text, row.report_id);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reports {
    /// The rows, newest first.
    pub reports: Vec<ReportRow>,
    /// Whether there are more, beyond the limit or because they would not fit the client's `max_body`.
    pub more: bool,
}

/// Bodies in quarantine; see [`Admin::quarantine`] and [`Admin::release`].
///
/// ```no_run
/// # async fn example(admin: lifeboat_client::Admin) -> Result<(), lifeboat_client::OperateError> {
/// for body in admin.quarantine().await?.bodies {
///     println!("{} {} crashed {} processes", body.method, body.digest, body.crashes);
///     if let Some(report) = &body.report_id {
///         println!("  the last report is {report}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantine {
    /// The bodies, the last crash first.
    pub bodies: Vec<QuarantineRow>,
    /// Whether rows were left out because they would not fit the client's `max_body`.
    pub more: bool,
}

/// Whether the broker can serve; see [`Admin::health`].
///
/// ```no_run
/// # async fn example(admin: lifeboat_client::Admin) -> Result<(), lifeboat_client::OperateError> {
/// let health = admin.health().await?;
/// if health.draining {
///     println!("on its way out");
/// } else if !health.ready {
///     for pool in health.pools {
///         println!("{} is {}: {}", pool.pool, pool.state, pool.because.unwrap_or_default());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether requests can be served: not draining, each pool with a ready worker, none tripped.
    pub ready: bool,
    /// Whether the broker shuts down.
    pub draining: bool,
    /// Every pool.
    pub pools: Vec<PoolRow>,
}

impl Admin {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        let settings = &handle.shared.settings;
        let timeout =
            settings.timeout.unwrap_or_else(|| settings.connect_timeout.saturating_add(ANSWER_TIMEOUT));
        Self { handle, timeout }
    }

    /// How long each operation may take, waiting for a connection included. Default: the client's
    /// [`timeout`](crate::ClientBuilder::timeout), else 10 s more than its `connect_timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Shows the pools and their workers.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub async fn workers(&self) -> Result<Workers, OperateError> {
        let Operated { pools, workers, more, .. } = self.ask(Operation::Workers).await?;
        Ok(Workers { pools, workers, more })
    }

    /// Shows the oldest open requests, `limit` of them at most; the broker shows no more than
    /// [`MAX_ROWS`](crate::MAX_ROWS).
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub async fn requests(&self, limit: u64) -> Result<Requests, OperateError> {
        let operate = Operate { limit: Some(limit), ..Operate::new(Operation::Requests) };
        let Operated { requests, more, .. } = self.operate(&operate).await?;
        Ok(Requests { requests, more })
    }

    /// Shows the last requests that did not end `ok`, newest first, `limit` of them at most. The broker remembers 256 since
    /// its start.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub async fn failed_requests(&self, limit: u64) -> Result<FailedRequests, OperateError> {
        let operate = Operate { limit: Some(limit), ..Operate::new(Operation::FailedRequests) };
        let Operated { failed_requests: requests, more, .. } = self.operate(&operate).await?;
        Ok(FailedRequests { requests, more })
    }

    /// Shows the reports of crashes that the broker keeps, newest first, `limit` of them at most.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub async fn reports(&self, limit: u64) -> Result<Reports, OperateError> {
        let operate = Operate { limit: Some(limit), ..Operate::new(Operation::Reports) };
        let Operated { reports, more, .. } = self.operate(&operate).await?;
        Ok(Reports { reports, more })
    }

    /// Shows all that is kept of a crash: one JSON object, whose fields `docs/reports.md` describes. `id` is the name that the
    /// [error](crate::CallError::WorkerCrashed) of a request has.
    ///
    /// # Errors
    ///
    /// [`OperateError`]; [`NotDone`](OperateError::NotDone) where the broker keeps no such report, or one that would not fit the
    /// client's `max_body`.
    pub async fn report(&self, id: impl Into<String>) -> Result<String, OperateError> {
        let Operated { report, .. } = self.operate(&Operate::on(Operation::Report, id)).await?;
        report.ok_or_else(|| OperateError::Decode {
            operation: Operation::Report.to_string(),
            source: BodyError::Shape("`report` is missing".into()),
        })
    }

    /// Tells whether the broker is ready to serve.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub async fn health(&self) -> Result<Health, OperateError> {
        let Operated { ready, draining, pools, .. } = self.ask(Operation::Health).await?;
        match (ready, draining) {
            (Some(ready), Some(draining)) => Ok(Health { ready, draining, pools }),
            (None, _) | (_, None) => Err(OperateError::Decode {
                operation: Operation::Health.to_string(),
                source: BodyError::Shape("`ready` or `draining` is missing".into()),
            }),
        }
    }

    /// Replaces the processes of a pool or worker, each when it has finished what it executes. Returns the names of the
    /// workers concerned as soon as it is ordered, not when it is done; `drain` and `kill` too.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub async fn restart(&self, target: impl Into<String>) -> Result<Vec<String>, OperateError> {
        self.order(Operation::Restart, target.into()).await
    }

    /// Gives a pool or worker nothing new; its processes end, each when it has finished what it executes.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub async fn drain(&self, target: impl Into<String>) -> Result<Vec<String>, OperateError> {
        self.order(Operation::Drain, target.into()).await
    }

    /// Ends the processes of a pool or worker at once. What they execute crashes with the reason `operator`.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub async fn kill(&self, target: impl Into<String>) -> Result<Vec<String>, OperateError> {
        self.order(Operation::Kill, target.into()).await
    }

    /// Shows the bodies in quarantine: those that their methods refuse for the processes that they crashed.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub async fn quarantine(&self) -> Result<Quarantine, OperateError> {
        let Operated { quarantine, more, .. } = self.ask(Operation::Quarantine).await?;
        Ok(Quarantine { bodies: quarantine, more })
    }

    /// Lets a body in quarantine run again, by its digest, or with [`ALL_BODIES`](crate::ALL_BODIES) each of them. Returns
    /// those that were in it.
    ///
    /// # Errors
    ///
    /// [`OperateError`]; `NotDone` if no body with this digest is in quarantine.
    pub async fn release(&self, which: impl Into<String>) -> Result<Quarantine, OperateError> {
        let operate = Operate::on(Operation::Release, which);
        let Operated { quarantine, more, .. } = self.operate(&operate).await?;
        Ok(Quarantine { bodies: quarantine, more })
    }

    /// An operation as it travels, for those that this version does not know; the others are its typed forms. What it
    /// returns has `ok` set.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub async fn operate(&self, operate: &Operate) -> Result<Operated, OperateError> {
        let operation = || operate.operation.clone();
        let mut frame = Vec::new();
        let route = Route::request(0, TimeLeft::NONE);
        if let Err(source) = put_control(&mut frame, MessageType::Operate, Some(route), operate) {
            return Err(OperateError::Encode { operation: operation(), source });
        }
        let exchange = Exchange::operation(Arc::clone(&self.handle), Bytes::from(frame), self.timeout);
        let body = self.read_end(exchange.ended().await, operation())?;
        let operated: Operated =
            decode_body(&body).map_err(|source| OperateError::Decode { operation: operation(), source })?;
        if operated.ok {
            return Ok(operated);
        }
        let message = operated.message.unwrap_or_else(|| "it did not say why".into());
        Err(OperateError::NotDone { operation: operation(), message })
    }

    async fn ask(&self, operation: Operation) -> Result<Operated, OperateError> {
        self.operate(&Operate::new(operation)).await
    }

    async fn order(&self, operation: Operation, target: String) -> Result<Vec<String>, OperateError> {
        Ok(self.operate(&Operate::on(operation, target)).await?.affected)
    }

    fn read_end(&self, ended: Ended, operation: String) -> Result<Bytes, OperateError> {
        Err(match ended {
            Ended::Operated(body) => return Ok(body),
            Ended::TimedOut { unanswered } => {
                OperateError::TimedOut { operation, limit: self.timeout, may_have_executed: unanswered }
            }
            Ended::Disconnected { may_have_executed, lost } => {
                OperateError::Disconnected { operation, may_have_executed, source: lost }
            }
            Ended::Connect(error) => OperateError::Connect(error),
            Ended::Answer(..)
            | Ended::Error(..)
            | Ended::BacklogFull(_)
            | Ended::Connected
            | Ended::TooLarge { .. }
            | Ended::PoolIgnored { .. }
            | Ended::Draining => unreachable!("no operation ends so"),
        })
    }
}
