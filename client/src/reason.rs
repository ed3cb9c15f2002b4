//! Why a worker's process died: the broker's verdict as the caller sees it.
//!
//! Owns the words shown to people for each crash reason. Must never judge: the broker has done that, and a reason
//! that this version does not know is shown as it came.

use std::borrow::Cow;
use std::fmt;

use lifeboat_protocol::{ConfidenceLabel, ReasonBody};

/// Why a process died, or a slot ended, as the broker judged it from all the evidence.
///
/// `Display` is a short text such as `signal SIGSEGV, core dumped`, `exit code 3` or `killed by the broker: attempt
/// timeout`. It is the `source()` of [`CallError::WorkerCrashed`](crate::CallError::WorkerCrashed).
///
/// ```
/// use lifeboat_client::{CallError, ConfidenceLabel, CrashReason};
///
/// /// What to tell the user of a call.
/// fn advice(error: &CallError) -> Option<&'static str> {
///     match error.crash_reason()?.label() {
///         "oom" | "memory_limit" => Some("this picture is too large"),
///         "attempt_timeout" | "progress_stall" => Some("this picture takes too long"),
///         _ => Some("this picture breaks the decoder"),
///     }
/// }
///
/// # use lifeboat_protocol::ReasonBody;
/// # let reason = |label: &str| ReasonBody::new(label, ConfidenceLabel::Proven);
/// # let signal = CrashReason::from(ReasonBody { signal: Some(11), core_dumped: Some(true), ..reason("signal") });
/// assert_eq!(signal.to_string(), "signal SIGSEGV, core dumped");
/// assert_eq!((signal.label(), signal.signal()), ("signal", Some(11)));
/// assert_eq!(signal.signal_name().as_deref(), Some("SIGSEGV"));
/// assert!(signal.core_dumped() && signal.explains() && signal.confidence() == ConfidenceLabel::Proven);
///
/// # let exit = CrashReason::from(ReasonBody { code: Some(3), ..reason("exit") });
/// assert_eq!((exit.to_string().as_str(), exit.exit_code()), ("exit code 3", Some(3)));
///
/// # let panic = CrashReason::from(ReasonBody {
/// #     message: Some("no such colour".into()),
/// #     location: Some("src/main.rs:3:5".into()),
/// #     ..reason("slot_panicked")
/// # });
/// assert_eq!(panic.to_string(), "panicked at src/main.rs:3:5: no such colour");
/// assert_eq!((panic.message(), panic.location()), (Some("no such colour"), Some("src/main.rs:3:5")));
/// # let error = CallError::WorkerCrashed {
/// #     reason: CrashReason::from(reason("oom")),
/// #     method: "resize".into(),
/// #     attempt: 1,
/// #     max_attempts: 1,
/// #     attempts: [].into(),
/// #     report_id: None,
/// # };
/// # assert_eq!(advice(&error), Some("this picture is too large"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashReason(Box<ReasonBody>);

/// The longest part of a free text (a panic's message, a start error) that is shown, in characters. What is shown is
/// one line in a log; the whole text stays in [`CrashReason::message`].
const SHOWN: usize = 200;

impl CrashReason {
    /// The reason's label, the one in metrics and reports: `signal`, `exit`, `oom`, `attempt_timeout` and so on. The
    /// list may grow: a label from a newer broker comes through as it is.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// The signal that ended the process, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<u32> {
        self.0.signal
    }

    /// The signal's name, such as `SIGSEGV`, if a signal ended the process.
    #[must_use]
    pub fn signal_name(&self) -> Option<Cow<'static, str>> {
        self.0.signal.map(signal_name)
    }

    /// The process's exit code, if it exited.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.0.code
    }

    /// Whether the kernel wrote a core dump.
    #[must_use]
    pub fn core_dumped(&self) -> bool {
        self.0.core_dumped == Some(true)
    }

    /// How sure the broker is.
    #[must_use]
    pub fn confidence(&self) -> ConfidenceLabel {
        self.0.confidence
    }

    /// What was said about it: a panic's message, a start error.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// Where a panic happened, as `file:line:column`.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// Whether the reason explains anything: false when the evidence says nothing, or the detail that would is
    /// missing.
    #[must_use]
    pub fn explains(&self) -> bool {
        let reason = &*self.0;
        let has_detail = match reason.label.as_str() {
            "" | "unknown" => false,
            "exit" => reason.code.is_some(),
            "signal" => reason.signal.is_some(),
            _ => true,
        };
        has_detail && reason.confidence != ConfidenceLabel::Unknown
    }

    /// For an error whose reason the broker left out.
    pub(crate) fn unknown() -> Self {
        Self::from(ReasonBody::new("unknown", ConfidenceLabel::Unknown))
    }

    fn fmt_exit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.code {
            Some(code) => write!(f, "exit code {code}"),
            None => f.write_str("exited"),
        }
    }

    fn fmt_signal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.signal {
            Some(signal) => write!(f, "signal {}", signal_name(signal))?,
            None => f.write_str("killed by a signal")?,
        }
        if self.core_dumped() {
            f.write_str(", core dumped")?;
        }
        Ok(())
    }

    fn fmt_with_message(&self, f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
        f.write_str(what)?;
        if let Some(location) = &self.0.location {
            write!(f, " at {location}")?;
        }
        match &self.0.message {
            Some(message) => write!(f, ": {}", one_line(message)),
            None => Ok(()),
        }
    }
}

impl From<ReasonBody> for CrashReason {
    fn from(body: ReasonBody) -> Self {
        Self(Box::new(body))
    }
}

impl fmt::Display for CrashReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.label.as_str() {
            "exit" => self.fmt_exit(f)?,
            "signal" => self.fmt_signal(f)?,
            "spawn_failed" => self.fmt_with_message(f, "could not be spawned")?,
            "start_failed" => self.fmt_with_message(f, "failed to start")?,
            "slot_panicked" => self.fmt_with_message(f, "panicked")?,
            "slots_exhausted" => self.fmt_with_message(f, "no slot left")?,
            "oom" => f.write_str("out of memory")?,
            "cpu_limit" => f.write_str("CPU time limit exceeded")?,
            "file_size_limit" => f.write_str("file size limit exceeded")?,
            "sandbox_violation" => f.write_str("forbidden system call")?,
            "killed_from_outside" => f.write_str("killed from outside")?,
            "stopped_from_outside" => f.write_str("stopped from outside")?,
            "connection_closed" => f.write_str("closed its connection")?,
            "connection_error" => self.fmt_with_message(f, "connection error")?,
            "protocol_violation" => self.fmt_with_message(f, "protocol violation")?,
            "unresponsive" => f.write_str("unresponsive: no heartbeat")?,
            "attempt_timeout" => f.write_str("killed by the broker: attempt timeout")?,
            "progress_stall" => f.write_str("killed by the broker: no progress")?,
            "output_stall" => f.write_str("killed by the broker: no output")?,
            "deadline" => f.write_str("killed by the broker: deadline")?,
            "memory_limit" => f.write_str("killed by the broker: memory limit")?,
            "cancelled" => f.write_str("killed by the broker: cancelled")?,
            "operator" => f.write_str("killed by the broker: operator's order")?,
            "unkillable" => f.write_str("killed by the broker, but it would not die")?,
            "" | "unknown" => f.write_str("reason unknown")?,
            newer => self.fmt_with_message(f, newer)?,
        }
        if self.0.confidence == ConfidenceLabel::Inferred {
            f.write_str(" (inferred)")?;
        }
        Ok(())
    }
}

impl std::error::Error for CrashReason {}

/// The first line of a text, cut at [`SHOWN`] characters.
fn one_line(text: &str) -> Cow<'_, str> {
    let line = text.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}...", &line[..end])),
        None => Cow::Borrowed(line),
    }
}

/// Linux's names for signals, as `kill -l` prints them.
fn signal_name(signal: u32) -> Cow<'static, str> {
    /// Signals 1 to 31 on every Linux architecture that the workers run on.
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    let known = usize::try_from(signal).ok().and_then(|signal| NAMES.get(signal.checked_sub(1)?));
    known.map_or_else(|| Cow::Owned(signal.to_string()), |name| Cow::Borrowed(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(label: &str) -> ReasonBody {
        ReasonBody::new(label, ConfidenceLabel::Proven)
    }

    #[test]
    fn signals_have_names_and_say_core_dumped() {
        let body = ReasonBody { signal: Some(11), core_dumped: Some(true), ..reason("signal") };
        assert_eq!(CrashReason::from(body).to_string(), "signal SIGSEGV, core dumped");
        let body = ReasonBody { signal: Some(40), ..reason("signal") };
        assert_eq!(CrashReason::from(body).to_string(), "signal 40");
        let body = ReasonBody { signal: Some(0), ..reason("signal") };
        assert_eq!(CrashReason::from(body).to_string(), "signal 0");
    }

    #[test]
    fn an_exit_says_its_code() {
        let body = ReasonBody { code: Some(3), ..reason("exit") };
        assert_eq!(CrashReason::from(body).to_string(), "exit code 3");
    }

    #[test]
    fn labels_of_newer_brokers_survive() {
        let body = ReasonBody { message: Some("tilt\nmore".into()), ..reason("solar_flare") };
        let reason = CrashReason::from(body);
        assert_eq!((reason.label(), reason.to_string().as_str()), ("solar_flare", "solar_flare: tilt"));
        assert!(reason.explains());
    }

    #[test]
    fn a_panic_is_one_bounded_line() {
        let body = ReasonBody {
            message: Some("x".repeat(1000)),
            location: Some("src/main.rs:3:5".into()),
            ..reason("slot_panicked")
        };
        let shown = CrashReason::from(body).to_string();
        assert!(shown.starts_with("panicked at src/main.rs:3:5: xxx") && shown.len() < 260, "{shown}");
    }

    #[test]
    fn a_detail_that_is_missing_explains_nothing() {
        assert!(!CrashReason::from(reason("exit")).explains());
        assert!(!CrashReason::from(reason("signal")).explains());
        assert!(!CrashReason::unknown().explains());
        let body = ReasonBody::new("connection_closed", ConfidenceLabel::Unknown);
        assert!(!CrashReason::from(body).explains());
        assert!(CrashReason::from(reason("oom")).explains());
    }
}
