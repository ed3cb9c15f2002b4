//! What a client process wrote down: a line before each call, and one after its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use lifeboat_client::{AttemptReport, CallError};
use serde::{Deserialize, Serialize};

use crate::act::Deed;

/// A call that is about to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Unique among all calls of all clients.
    pub tag: u64,
    /// The method.
    pub method: String,
    /// What the worker is asked to do.
    pub deed: Deed,
    /// The last attempt at which it is done.
    pub until_attempt: u16,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// The call's.
    pub tag: u64,
    /// `ok`, `failed`, `crashed`, `timed_out`, `cancelled`, `rejected`, `closed`, `disconnected`, `unconnected`; `dropped` where the client
    /// did not wait; `wrong` where the answer is another's, and `broken` where the client could not make sense of it.
    pub outcome: String,
    /// By which limit, or why; the text of an error that must not be.
    pub detail: String,
    /// How many attempts were made, as far as it is told.
    pub attempts: u16,
    /// The attempts that an error tells of.
    pub tried: Vec<Tried>,
    /// What the error says.
    pub may_have_executed: bool,
    /// How long after its deadline the call ended, in milliseconds.
    pub late_ms: u64,
}

/// An attempt, as an error tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// From 1.
    pub number: u16,
    /// Where.
    pub worker: String,
    /// In which of its lives.
    pub incarnation: u64,
    /// By which process.
    pub pid: Option<u32>,
    /// How it ended.
    pub end: String,
    /// Why, and how sure that is.
    pub reason: Option<(String, String)>,
}

/// A line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Entry {
    /// Before a call.
    Sent(Sent),
    /// After a call.
    Ended(Ended),
    /// The client came to its end in order.
    Over {
        /// What the broker told it that it should not have.
        unexpected: u64,
    },
}

/// A journal that is being written. A line is there once it was written, whatever becomes of the process.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// A new one.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create_new(true).append(true).open(path).map(Self)
    }

    /// Adds a line.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

/// Every whole line of a journal.
///
/// # Errors
///
/// When it cannot be read, or a line says nothing.
pub fn read_journal(path: &Path) -> io::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path)?;
    // A process that was killed may have left half a line.
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).map_err(io::Error::other)).collect()
}

impl Ended {
    /// A call's end without anything more to say.
    #[must_use]
    pub fn new(tag: u64, outcome: &str) -> Self {
        let (outcome, detail) = (outcome.to_owned(), String::new());
        Self { tag, outcome, detail, attempts: 0, tried: Vec::new(), may_have_executed: true, late_ms: 0 }
    }

    /// The end that an error tells of.
    #[must_use]
    pub fn of(tag: u64, error: &CallError) -> Self {
        let (outcome, detail) = words(error);
        let tried: Vec<_> = error.attempts().iter().map(Tried::of).collect();
        let attempts = u16::try_from(tried.len()).unwrap_or(u16::MAX);
        Self {
            detail,
            attempts,
            tried,
            may_have_executed: error.may_have_executed(),
            ..Self::new(tag, outcome)
        }
    }
}

impl Tried {
    fn of(report: &AttemptReport) -> Self {
        let reason = report.reason.as_ref();
        Self {
            number: report.number,
            worker: report.worker.clone(),
            incarnation: report.incarnation,
            pid: report.pid,
            end: report.end.to_string(),
            reason: reason.map(|reason| (reason.label().to_owned(), reason.confidence().to_string())),
        }
    }
}

fn words(error: &CallError) -> (&'static str, String) {
    match error {
        CallError::Failed { .. } => ("failed", String::new()),
        CallError::WorkerCrashed { reason, .. } => ("crashed", reason.label().to_owned()),
        CallError::TimedOut { unanswered: true, .. } => ("broken", format!("{error:?}")),
        CallError::TimedOut { which, .. } => ("timed_out", which.to_string()),
        CallError::Cancelled { .. } => ("cancelled", String::new()),
        CallError::Rejected { why, .. } => ("rejected", why.to_string()),
        CallError::Closed { .. } => ("closed", String::new()),
        CallError::Disconnected { source, .. } => ("disconnected", source.to_string()),
        CallError::Connect(error) => ("unconnected", error.to_string()),
        // None of these has a place in the chaos, nor has what the list may grow by.
        CallError::BacklogFull { .. } | CallError::Encode { .. } | CallError::Decode { .. } | _ => {
            ("broken", format!("{error:?}"))
        }
    }
}
