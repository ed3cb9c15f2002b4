//! The bodies of operate and operated messages: what a client asks of the broker itself, and what it is told.
//!
//! Owns their shapes, the operations' words and the bounds on them; the rows that are told are in [`crate::rows`].

use serde::{Deserialize, Serialize};

use crate::labels::labels;
use crate::report_rows::{FailedRow, QuarantineRow, ReportRow};
use crate::rows::{PoolRow, RequestRow, WorkerRow};

/// The longest body of an operate message, in bytes: 4 KiB. A longer one is refused as malformed.
pub const MAX_OPERATE_BODY: usize = 4 * 1024;

/// Rows of requests and reports told unless the operation says how many.
pub const DEFAULT_ROWS: usize = 100;

/// Rows of requests and reports told at most, whatever the operation says.
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::{MAX_ROWS, Operate, Operation};
///
/// let all = Operate { limit: Some(u64::MAX), ..Operate::new(Operation::Requests) };
/// assert_eq!(all.rows(), MAX_ROWS);
/// ```
pub const MAX_ROWS: usize = 10_000;

/// The target of `release` that is every body in quarantine.
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::{ALL_BODIES, Operate, Operation};
///
/// let release = Operate::on(Operation::Release, ALL_BODIES);
/// assert_eq!(release.target.as_deref(), Some("all"));
/// ```
pub const ALL_BODIES: &str = "all";

labels! {
    /// What can be asked of the broker.
    ///
    /// ```
    /// # use lifeboat_protocol as lifeboat_client;
    /// use lifeboat_client::{Operate, Operation};
    ///
    /// /// What a command line asks for.
    /// fn read(words: &[&str]) -> Option<Operate> {
    ///     let (operation, targets) = words.split_first()?;
    ///     let operation = Operation::from_label(operation)?;
    ///     match targets {
    ///         [] if !operation.needs_target() => Some(Operate::new(operation)),
    ///         [target] if operation.needs_target() => Some(Operate::on(operation, *target)),
    ///         _ => None,
    ///     }
    /// }
    ///
    /// assert_eq!(read(&["health"]).map(|operate| operate.operation).as_deref(), Some(Operation::Health.as_str()));
    /// assert_eq!(read(&["restart", "images"]), Some(Operate::on(Operation::Restart, "images")));
    /// assert_eq!(read(&["restart"]), None);
    /// ```
    Operation {
        /// Show the pools and their workers.
        Workers = "workers",
        /// Show the open requests.
        Requests = "requests",
        /// Show the last requests that did not end `ok`.
        FailedRequests = "failed_requests",
        /// Show the reports of crashes that are kept.
        Reports = "reports",
        /// Show all that one report says; the target is its name.
        Report = "report",
        /// Whether the broker is ready, and whether it drains.
        Health = "health",
        /// Replace the processes of a pool or worker, each when it has finished what it executes.
        Restart = "restart",
        /// Give a pool or worker nothing new; its processes end, each when it has finished what it executes.
        Drain = "drain",
        /// End the processes of a pool or worker at once.
        Kill = "kill",
        /// Show the bodies in quarantine.
        Quarantine = "quarantine",
        /// Let a body in quarantine run again, or all of them.
        Release = "release",
    }
}

impl Operation {
    /// The operation with this label; `None` for one that this version does not know.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.as_str() == label)
    }

    /// Whether it is done to something, or about one thing, which must then be named: a pool or worker, a report, or what is
    /// to be released.
    #[must_use]
    pub const fn needs_target(self) -> bool {
        match self {
            Self::Workers
            | Self::Requests
            | Self::FailedRequests
            | Self::Reports
            | Self::Health
            | Self::Quarantine => false,
            Self::Report | Self::Restart | Self::Drain | Self::Kill | Self::Release => true,
        }
    }
}

/// The body of an operate message: an operation as it travels. A client's `Admin::operate` sends one.
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::{Operate, Operation};
///
/// let restart = Operate::on(Operation::Restart, "images-0");
/// assert_eq!((restart.operation.as_str(), restart.target.as_deref()), ("restart", Some("images-0")));
///
/// // Without a limit the broker tells of 100 requests.
/// let requests = Operate::new(Operation::Requests);
/// assert_eq!(requests.rows(), 100);
/// assert_eq!(Operate { limit: Some(7), ..requests }.rows(), 7);
///
/// // One that only a newer broker knows.
/// let promote = Operate { operation: "promote".into(), target: Some("images-0".into()), limit: None };
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operate {
    /// An [`Operation`]'s label. Text and not a closed list here: the broker answers one that it does not know.
    pub operation: String,
    /// A pool's, worker's or report's name; for `release` a digest, or [`ALL_BODIES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many rows of requests or reports are wanted at most; see [`rows`](Self::rows).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

impl Operate {
    /// An operation without a target.
    #[must_use]
    pub fn new(operation: Operation) -> Self {
        Self { operation: operation.as_str().to_owned(), target: None, limit: None }
    }

    /// An operation on a pool or worker, about a report, or on what is to be released.
    #[must_use]
    pub fn on(operation: Operation, target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..Self::new(operation) }
    }

    /// How many rows of requests or reports to tell at most: the limit, [`DEFAULT_ROWS`] without one, never above [`MAX_ROWS`].
    #[must_use]
    pub fn rows(&self) -> usize {
        let limit = self.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        limit.unwrap_or(DEFAULT_ROWS).min(MAX_ROWS)
    }
}

/// The body of an operated message: what became of an operation. What is there depends on the operation.
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::Operated;
///
/// /// What a tool prints.
/// fn text(operated: &Operated) -> String {
///     match &operated.message {
///         _ if operated.ok => format!("done: {}", operated.affected.join(", ")),
///         Some(message) => format!("not done: {message}"),
///         None => "not done".to_owned(),
///     }
/// }
///
/// let done = Operated { affected: vec!["images-0".into(), "images-1".into()], ..Operated::done() };
/// assert_eq!(text(&done), "done: images-0, images-1");
/// let not_done = Operated::not_done("no pool or worker is named `imags`");
/// assert_eq!(text(&not_done), "not done: no pool or worker is named `imags`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Operated {
    /// Whether it was done.
    pub ok: bool,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `restart`, `drain`, `kill`: the names of the workers concerned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affected: Vec<String>,
    /// `workers`, `health`: every pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolRow>,
    /// `workers`: every worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerRow>,
    /// `requests`: open requests, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestRow>,
    /// `failed_requests`: requests that did not end `ok`, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_requests: Vec<FailedRow>,
    /// `reports`: those that are kept, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<ReportRow>,
    /// `report`: one JSON object, described in `docs/reports.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// `quarantine`: the bodies in quarantine, the last crash first; `release`: those that were in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<QuarantineRow>,
    /// Whether rows were left out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// `health`: whether requests can be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// `health`: whether the broker shuts down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<bool>,
}

impl Operated {
    /// Done, with nothing to show.
    #[must_use]
    pub fn done() -> Self {
        Self { ok: true, ..Self::default() }
    }

    /// Not done, and why, for people.
    #[must_use]
    pub fn not_done(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::default() }
    }
}

const fn is_false(value: &bool) -> bool {
    !*value
}
