//! The true causes: how each death is made, and the only verdicts on it that are right.

use lifeboat_tests::act::{Act, Deed, Sign};
use rustix::process::Signal;

use super::bed::Needs;
use super::verdict::{PLANNED, Verdict};

/// A limit of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Attempt,
    Progress,
    Output,
    Deadline,
}

/// What is done to a process.
#[derive(Clone, Debug)]
pub(super) enum How {
    /// A request has it done.
    Deed(Deed),
    /// A request hangs until this limit.
    Limit(Limit),
    /// A request crashes as its deadline passes, a little before or after.
    Race,
    /// It gets a signal while it executes.
    Outside(Signal),
    /// It is killed while it does nothing.
    Idle,
    /// A person has the broker kill it.
    Operator,
    /// Its caller goes, and it does not heed that.
    Cancel,
    /// The handlers of all its slots panic.
    Panics,
    /// A child of it is killed for want of memory, and then somebody kills it.
    AfterAChild,
    /// It stops reading, and is given another request.
    Deaf,
    /// Its program does not get ready, by itself.
    Start,
    /// Its program is gone.
    Vanish,
    /// It is ended as planned.
    Planned(Plan),
}

/// Why a process is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Its handler asks for it.
    Recycle,
    /// It has answered as many requests as it may.
    Requests,
    /// A person has it replaced.
    Restart,
    /// A person has it drained.
    Drain,
}

/// A way for a process to end.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    /// What happens, in a few words of its own.
    pub(super) words: &'static str,
    pub(super) pool: &'static str,
    pub(super) how: How,
    /// What may be found; more than one only for a race.
    pub(super) right: Vec<Verdict>,
    /// The outcome of the request that executed, if there was one and its caller waited.
    pub(super) outcome: Option<&'static str>,
    pub(super) needs: Needs,
}

/// One whose verdict is told to the caller of a crash.
fn cause(words: &'static str, pool: &'static str, how: How, right: Verdict) -> Cause {
    Cause { words, pool, how, right: vec![right], outcome: Some("crashed"), needs: Needs::Nothing }
}

impl Cause {
    fn timed_out(self) -> Self {
        Self { outcome: Some("timed_out"), ..self }
    }

    /// Nobody executes who waits for an answer.
    fn untold(self) -> Self {
        Self { outcome: None, ..self }
    }

    fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    /// It happens by itself, some times in a broker's life and no more.
    pub(super) const fn is_of_start(&self) -> bool {
        matches!(self.how, How::Start | How::Vanish)
    }
}

fn proven(reason: &str) -> Verdict {
    Verdict::new(reason, "", "proven")
}

fn exit(code: i32) -> Verdict {
    Verdict::new("exit", &format!("exit code {code}"), "proven")
}

fn signal(name: &str) -> Verdict {
    Verdict::new("signal", &format!("signal {name}"), "proven")
}

fn own(words: &'static str, deed: Deed, right: Verdict) -> Cause {
    cause(words, "sdk", How::Deed(deed), right)
}

fn raw(words: &'static str, deed: Deed, right: Verdict) -> Cause {
    cause(words, "raw", How::Deed(deed), right)
}

/// All of them.
pub(super) fn causes() -> Vec<Cause> {
    [own_ends(), bounds(), from_outside(), connections(), kills(), starts(), planned()].concat()
}

/// It ends by itself.
fn own_ends() -> Vec<Cause> {
    let core = Verdict::new("signal", "signal SIGABRT, core dumped", "proven");
    vec![
        own("exit with 0", Deed::Exit(0), exit(0)),
        own("exit with 1", Deed::Exit(1), exit(1)),
        own("exit with 70", Deed::Exit(70), exit(70)),
        own("halt with 101", Deed::Halt(101), exit(101)),
        raw("exit with 137, as a shell says of SIGKILL", Deed::Exit(137), exit(137)),
        own("a write to no memory", Deed::Segfault, signal("SIGSEGV")),
        own("`abort()`", Deed::Abort, signal("SIGABRT")),
        own("a stack overflow", Deed::StackOverflow, signal("SIGABRT")),
        own("an allocation that is refused", Deed::Allocation, signal("SIGABRT")),
        own("SIGILL", Deed::Signal(4), signal("SIGILL")),
        own("SIGTRAP", Deed::Signal(5), signal("SIGTRAP")),
        own("SIGFPE", Deed::Signal(8), signal("SIGFPE")),
        cause("SIGBUS", "sdk", How::Outside(Signal::BUS), signal("SIGBUS")),
        cause("`abort()`, and cores are dumped", "core", How::Deed(Deed::Abort), core).needs(Needs::Cores),
        cause(
            "panics in all slots",
            "wide",
            How::Panics,
            Verdict::new("slots_exhausted", "in words", "proven"),
        )
        .untold(),
    ]
}

/// The kernel ends it at a bound.
fn bounds() -> Vec<Cause> {
    vec![
        cause("more memory than its cgroup may have", "memory", How::Deed(Deed::Memory), proven("oom"))
            .needs(Needs::Cgroups),
        cause("more CPU time than its limit", "cpu", How::Deed(Deed::Busy), proven("cpu_limit")),
        cause(
            "more CPU time than its limit, SIGXCPU ignored",
            "cpu-heedless",
            How::Deed(Deed::Busy),
            Verdict::new("cpu_limit", "", "inferred"),
        ),
        cause("more in a file than its limit", "file", How::Deed(Deed::Grow), proven("file_size_limit")),
        own("SIGSYS", Deed::Signal(31), proven("sandbox_violation")),
    ]
}

/// Somebody else ends it.
fn from_outside() -> Vec<Cause> {
    let stopped = |name: &str| Verdict::new("stopped_from_outside", &format!("signal {name}"), "proven");
    let killed = || proven("killed_from_outside");
    // Without cgroups nobody knows whether another's memory was the reason.
    let kill = |words, pool, how| cause(words, pool, how, killed()).needs(Needs::Cgroups);
    vec![
        kill("SIGKILL from outside", "sdk", How::Outside(Signal::KILL)),
        kill("SIGKILL to itself", "raw", How::Deed(Deed::Signal(9))),
        kill("SIGKILL from outside while idle", "idle", How::Idle).untold(),
        kill("SIGKILL from outside after a child's OOM", "child", How::AfterAChild),
        kill("SIGKILL in the middle of an answer", "raw", How::Deed(Deed::HalfAnswer(500))),
        cause("SIGTERM from outside", "raw", How::Outside(Signal::TERM), stopped("SIGTERM")),
        cause("SIGINT from outside", "raw", How::Outside(Signal::INT), stopped("SIGINT")),
        cause("SIGHUP from outside", "raw", How::Outside(Signal::HUP), stopped("SIGHUP")),
    ]
}

/// Its connection is not what it should be.
fn connections() -> Vec<Cause> {
    let violation = || Verdict::new("protocol_violation", "in words", "proven");
    let shut = Deed::ShutWrite(Box::new(Deed::Hang));
    vec![
        raw("a closed connection", Deed::CloseAndLive, proven("connection_closed")),
        raw("a connection shut for writing", shut, proven("connection_closed")),
        cause(
            "a connection shut for reading",
            "deaf",
            How::Deaf,
            Verdict::new("connection_error", "in words", "proven"),
        )
        .untold(),
        raw("bytes that are no frame", Deed::Garbage, violation()),
        raw("a frame too large", Deed::Oversized, violation()),
        raw("an answer to nobody", Deed::AnswerStranger, violation()),
    ]
}

/// The broker kills it.
fn kills() -> Vec<Cause> {
    let limit = |words, limit, reason| cause(words, "sdk", How::Limit(limit), proven(reason)).timed_out();
    let race = cause("a write to no memory as its deadline passes", "sdk", How::Race, signal("SIGSEGV"));
    vec![
        limit("an attempt past its limit", Limit::Attempt, "attempt_timeout"),
        limit("no progress", Limit::Progress, "progress_stall"),
        limit("no output", Limit::Output, "output_stall"),
        limit("a deadline", Limit::Deadline, "deadline"),
        own("stopped for longer than its heartbeats may stay away", Deed::Stop, proven("unresponsive")),
        cause("a person's kill", "sdk", How::Operator, proven("operator")),
        cause("a caller that goes", "cancel", How::Cancel, proven("cancelled")).untold(),
        cause(
            "more memory than its limit, no cgroups",
            "bare",
            How::Deed(Deed::Memory),
            proven("memory_limit"),
        ),
        Cause { right: vec![signal("SIGSEGV"), proven("deadline")], outcome: None, ..race },
    ]
}

/// It does not get ready.
fn starts() -> Vec<Cause> {
    let start = |words, pool, reason: &str, detail: &str| {
        cause(words, pool, How::Start, Verdict::new(reason, detail, "proven")).untold()
    };
    let vanished = Verdict::new("start_failed", "exit code 127", "proven");
    vec![
        start("exit with 3 before it is ready", "start-exit", "start_failed", "exit code 3"),
        start("SIGSEGV before it is ready", "start-signal", "start_failed", "signal SIGSEGV"),
        start("not ready in time", "start-late", "start_failed", "not ready within start_timeout"),
        start("a hello of another version", "start-hello", "start_failed", "in words"),
        start("OOM before it is ready", "start-memory", "start_failed", "out of memory before it was ready")
            .needs(Needs::Cgroups),
        cause("a program that is gone", "vanished", How::Vanish, vanished).untold(),
        start("more environment than the system takes", "crowded", "spawn_failed", "in words"),
    ]
}

/// It ends as planned: never a crash.
fn planned() -> Vec<Cause> {
    let planned = |words, plan, pool, reason: &str| {
        cause(words, pool, How::Planned(plan), Verdict::new(reason, "", PLANNED)).untold()
    };
    vec![
        planned("a handler's wish to be replaced", Plan::Recycle, "planned", "recycle_asked"),
        planned("as many requests as it may answer", Plan::Requests, "recycled", "recycle_requests"),
        planned("a person's restart", Plan::Restart, "planned", "operator"),
        planned("a person's drain", Plan::Drain, "planned", "drain"),
    ]
}

/// A request that crashes so many milliseconds after it began.
pub(super) fn crash_after(millis: u64) -> Act {
    let then = Box::new(Deed::Segfault);
    Act::new(Deed::Signs { sign: Sign::Output, times: 1, pause: millis, then })
}
