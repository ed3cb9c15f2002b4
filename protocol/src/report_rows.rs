//! Rows: reports of crashes, requests that did not end `ok`, and bodies in quarantine, as operations show them.
//!
//! Owns their shapes. All times are lengths of time in milliseconds, never times of day.

use serde::{Deserialize, Serialize};

/// The report of a crash, as `reports` shows it.
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::ReportRow;
///
/// /// Whether crashes of this kind have begun within the last hour.
/// fn is_new(row: &ReportRow) -> bool {
///     row.first_ago_ms < 3_600_000
/// }
///
/// # let row = ReportRow {
/// #     report_id: "01h8xkq3v7c2e-12".into(),
/// #     ago_ms: 1500,
/// #     pool: "images".into(),
/// #     worker: "images-0".into(),
/// #     incarnation: 3,
/// #     reason: "signal".into(),
/// #     detail: "signal SIGSEGV".into(),
/// #     methods: vec!["resize".into()],
/// #     signature: "9d1c5a8e2b7f4036".into(),
/// #     text: "images: signal (SIGSEGV) in resize".into(),
/// #     count: 2,
/// #     first_ago_ms: 60_000,
/// # };
/// assert!(is_new(&row) && row.count == 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRow {
    /// Its name, as in the error of a request that crashed.
    pub report_id: String,
    /// How long ago the crash was.
    pub ago_ms: u64,
    /// The pool's name.
    pub pool: String,
    /// The worker's stable name.
    pub worker: String,
    /// Which life of the worker it was.
    pub incarnation: u64,
    /// The crash reason's label.
    pub reason: String,
    /// What there is to say beyond the label, for people; may be empty.
    pub detail: String,
    /// The methods that were being executed.
    pub methods: Vec<String>,
    /// What it has in common with others: a name.
    pub signature: String,
    /// The same in words.
    pub text: String,
    /// How many crashes with this signature there were up to this one.
    pub count: u64,
    /// How long ago the first of them was.
    pub first_ago_ms: u64,
}

/// A request that did not end `ok`, as `failed_requests` shows it.
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::FailedRow;
///
/// /// A line about it.
/// fn line(row: &FailedRow) -> String {
///     let method = row.method.as_deref().unwrap_or("an unknown method");
///     match &row.report_id {
///         Some(report) => format!("{method} {}: see {report}", row.outcome),
///         None => format!("{method} {}", row.outcome),
///     }
/// }
///
/// # let row = FailedRow {
/// #     request: Some(42),
/// #     pool: Some("images".into()),
/// #     method: Some("resize".into()),
/// #     outcome: "crashed".into(),
/// #     why: None,
/// #     attempts: 3,
/// #     duration_ms: 250,
/// #     ago_ms: 1500,
/// #     reason: Some("signal".into()),
/// #     report_id: Some("01h8xkq3v7c2e-12".into()),
/// # };
/// assert_eq!(line(&row), "resize crashed: see 01h8xkq3v7c2e-12");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRow {
    /// The broker's id; missing where it was refused before it got one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The pool; missing where none serves the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The method; missing where no pool serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// How it ended: `failed`, `crashed`, `timed_out`, `cancelled`, `rejected` or `closed`.
    pub outcome: String,
    /// `rejected`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How many attempts were made.
    pub attempts: u16,
    /// From acceptance to the end.
    pub duration_ms: u64,
    /// How long ago it ended.
    pub ago_ms: u64,
    /// The crash reason's label of the last attempt, where that crashed or was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The report of that death.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_id: Option<String>,
}

/// A body in quarantine, as `quarantine` shows it: its method refuses it for the processes that it crashed.
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::QuarantineRow;
///
/// /// A line about a body: what it did, and how to let it run again.
/// fn line(row: &QuarantineRow) -> String {
///     let report = row.report_id.as_deref().unwrap_or("no report");
///     format!("{} crashed {} times ({report}); lifeboat quarantine --release {}", row.method, row.crashes, row.digest)
/// }
///
/// # let row = QuarantineRow {
/// #     pool: "images".into(),
/// #     method: "resize".into(),
/// #     digest: "0123456789abcdef0123456789abcdef".into(),
/// #     crashes: 3,
/// #     last_crash_ms: 61_000,
/// #     expires_ms: 3_539_000,
/// #     report_id: Some("1a2b3c-17".into()),
/// # };
/// assert!(line(&row).starts_with("resize crashed 3 times (1a2b3c-17); "));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRow {
    /// The pool that refuses it.
    pub pool: String,
    /// Its method, as the configuration has it.
    pub method: String,
    /// The digest of method and body: 32 hexadecimal digits. Text and not a number here: it is only compared.
    pub digest: String,
    /// How many processes it crashed, and slots that its panics have cost.
    pub crashes: u32,
    /// How long ago the last time was.
    pub last_crash_ms: u64,
    /// When it is forgotten, from now.
    pub expires_ms: u64,
    /// The report of the last process that it crashed; missing where only slots were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_id: Option<String>,
}
