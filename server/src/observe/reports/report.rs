//! What a report says, field by field, as it is shown and kept: `docs/reports.md` describes the same.
//!
//! It owns the form. All points in time are milliseconds since 1970, all lengths of time milliseconds. What is missing in a
//! text that is read has its default, and what is not known is passed over: older and newer brokers read each other's files.

use serde::{Deserialize, Serialize};

use crate::observe::describe::escape_active;

/// All that is kept of one crash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Its name: the broker's start and a number, the same in the client's error and in the log.
    pub id: String,
    /// When the death was judged.
    pub at: u64,
    /// The version of Lifeboat that wrote it.
    pub version: String,
    /// The pool.
    pub pool: String,
    /// The worker.
    pub worker: String,
    /// Which life of the worker it was.
    pub incarnation: u32,
    /// The process id, where it got one.
    pub pid: Option<u32>,
    /// When the process was ordered.
    pub started_at: u64,
    /// When the first sign of its death was seen.
    pub first_sign_at: u64,
    /// It had answered `ok` or was stable.
    pub productive: bool,
    /// Why it ended.
    pub reason: Reason,
    /// How sure that is: `proven`, `inferred` or `unknown`.
    pub confidence: String,
    /// What it has in common with others.
    pub signature: Signature,
    /// What it was executing.
    pub executing: Vec<Executed>,
    /// How many requests it held that had not started; they went back free of charge.
    pub requeued: u32,
    /// The raw facts.
    pub evidence: Findings,
    /// What its threads were doing just before the broker killed it.
    pub snapshot: Option<Snapshot>,
    /// What its flight recorder said last.
    pub recorder: Option<Recorder>,
    /// The last it wrote to stdout.
    pub stdout: String,
    /// The last it wrote to stderr.
    pub stderr: String,
    /// The worker's last lives, the oldest first; the one that ended here is the last.
    pub history: Vec<Life>,
}

/// Why a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reason {
    /// The crash reason's label.
    pub label: String,
    /// What there is to say beyond it, in words.
    pub detail: String,
    /// The signal that ended it, by number.
    pub signal: Option<i32>,
    /// Its exit code.
    pub code: Option<i32>,
    /// The kernel says that a core was dumped.
    pub core_dumped: bool,
    /// The broker killed it.
    pub killed_by_broker: bool,
}

/// What crashes of one kind have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Signature {
    /// Its name: a hash of the text.
    pub id: String,
    /// Pool, reason, methods and the last line of stderr that says something, without numbers.
    pub text: String,
    /// How many crashes have had it, this one included, as far back as a report of one is kept.
    pub count: u64,
    /// When the first of them was.
    pub first_at: u64,
}

/// An attempt that a process was executing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Executed {
    /// The request, as in the log.
    pub request: String,
    /// Which attempt, from 1.
    pub attempt: u16,
    /// The method.
    pub method: String,
    /// Since when; `null` where the request had its outcome before the death.
    pub since: Option<u64>,
}

/// The raw facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Findings {
    /// How the kernel says it ended: `exit code 3`, `signal SIGSEGV`, `unknown`.
    pub wait: String,
    /// The largest resident set in bytes; 0 where it is not known.
    pub max_rss: u64,
    /// CPU time in user code.
    pub user_time: u64,
    /// CPU time in the kernel.
    pub system_time: u64,
    /// The kernel's out-of-memory counters: `not_watched`, `not_seen`, `shared_counter_rose`, `own_counter_rose`.
    pub oom: String,
    /// What the pool's processes might use, as in `/worker-health`.
    pub limits: serde_json::Value,
    /// How its connection ended, where that was seen.
    pub connection: Option<String>,
    /// What the broker had decided before.
    pub intent: Option<Decided>,
    /// The rungs of the ladder.
    pub rungs: Climbed,
    /// It was exiting already when the broker was about to kill it.
    pub exiting_before_kill: bool,
    /// Descendants that had to be killed after its end.
    pub descendants_killed: u32,
    /// Descendants that could not be killed.
    pub descendants_leaked: u32,
    /// Lines of its output that were dropped.
    pub output_dropped: u64,
}

/// What the broker had decided to do to a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Decided {
    /// What: a kill's or a stop's label, `start_timeout`, `connection`, `unresponsive` or `slots_failed`.
    pub what: String,
    /// When.
    pub at: u64,
    /// The strongest signal that was sent.
    pub signal: Option<String>,
}

/// When each rung of the ladder was climbed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Climbed {
    /// It was asked to stop.
    pub asked_at: Option<u64>,
    /// SIGTERM.
    pub terminated_at: Option<u64>,
    /// SIGKILL.
    pub killed_at: Option<u64>,
    /// Its leader was seen dead.
    pub exited_at: Option<u64>,
}

/// What a process's threads were doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Snapshot {
    /// The same in a few words, as in the log.
    pub doing: String,
    /// CPU time that the process had used.
    pub cpu: u64,
    /// How much of it within the time before the look.
    pub cpu_lately: Option<u64>,
    /// That time.
    pub lately: Option<u64>,
    /// How long the look took, in microseconds.
    pub took_us: u64,
    /// Threads that were left out.
    pub left_out: u32,
    /// The threads, the main one first.
    pub threads: Vec<Thread>,
}

/// A thread, seen once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Thread {
    /// Its number.
    pub id: u32,
    /// Its name; the process may have chosen it.
    pub name: String,
    /// `running`, `sleeping`, `uninterruptible`, `stopped`, `traced`, `dead`, `other`.
    pub state: String,
    /// CPU time that it had used.
    pub cpu: u64,
    /// How often it gave up its core by itself.
    pub voluntary_switches: Option<u64>,
    /// How often it had to.
    pub involuntary_switches: Option<u64>,
    /// The kernel's function that it waited in.
    pub function: Option<String>,
    /// The number of the system call that it was in.
    pub system_call: Option<u32>,
    /// The name of that, for common ones.
    pub system_call_name: Option<String>,
}

/// What a flight recorder said last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Recorder {
    /// How many heartbeats it had.
    pub beats: u64,
    /// The slots, in their order.
    pub slots: Vec<RecordedSlot>,
}

/// What a flight recorder said of one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordedSlot {
    /// `executing`, `ended`, `unused` or `unreadable`.
    pub state: String,
    /// The last request that it began.
    pub request: Option<String>,
    /// Which attempt at it.
    pub attempt: Option<u16>,
    /// How long before the reading it began.
    pub ago: Option<u64>,
    /// How often the handler had said that the work moves.
    pub progress: Option<u64>,
}

/// One life of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Life {
    /// Which.
    pub incarnation: u32,
    /// When its process was ordered.
    pub started_at: u64,
    /// When it was found to have ended.
    pub ended_at: u64,
    /// How: a crash reason's label, or a stop reason's.
    pub how: String,
    /// It was no crash.
    pub planned: bool,
}

/// What a list shows of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportHead {
    /// Its name.
    pub id: String,
    /// When the death was judged.
    pub at: u64,
    /// The pool.
    pub pool: String,
    /// The worker.
    pub worker: String,
    /// Which life of it.
    pub incarnation: u32,
    /// Why it ended.
    pub reason: Reason,
    /// The methods that it was executing, each once.
    pub methods: Vec<String>,
    /// What it has in common with others.
    pub signature: Signature,
}

impl Report {
    /// What a list shows of it.
    pub(super) fn head(&self) -> ReportHead {
        let mut methods: Vec<_> = self.executing.iter().map(|executed| executed.method.clone()).collect();
        methods.sort();
        methods.dedup();
        ReportHead {
            id: self.id.clone(),
            at: self.at,
            pool: self.pool.clone(),
            worker: self.worker.clone(),
            incarnation: self.incarnation,
            reason: self.reason.clone(),
            methods,
            signature: self.signature.clone(),
        }
    }

    /// One line of JSON, with nothing in it that a terminal or a viewer of text would act on.
    pub(super) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|text| escape_active(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_wrote_cannot_leave_its_place() {
        let nasty = "\u{1b}[2J\u{9b}2J\u{202e}\"\\\n\0</script>\u{7f}é";
        let report = Report { stderr: nasty.to_owned(), ..Report::default() };
        let text = report.to_json().expect("JSON");
        assert!(text.chars().all(|c| c == 'é' || (' '..='~').contains(&c)), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("it can be read"), report);
    }

    #[test]
    fn other_versions_are_read() {
        let report: Report =
            serde_json::from_str(r#"{"id": "x-1", "later": {"a": []}}"#).expect("it is read");
        assert_eq!(report, Report { id: "x-1".to_owned(), ..Report::default() });
    }
}
