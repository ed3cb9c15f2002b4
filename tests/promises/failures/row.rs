//! A row of the table: what a worker does, and what must come of it.

use lifeboat_client::TimeoutWhich;
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::misbehave;

/// What the caller of the misbehaving worker gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The answer.
    Answered,
    /// The answer, marked late.
    AnsweredLate,
    /// `Failed`.
    Failed,
    /// `WorkerCrashed`, with a reason of this label.
    Crashed(&'static str),
    /// `TimedOut` at this limit, after one attempt.
    TimedOut(TimeoutWhich),
    /// `TimedOut` at the deadline, without an attempt.
    NeverRan,
    /// `Rejected`, because the pool has tripped.
    Refused,
}

/// What becomes of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The same process answers the next request.
    ServesOn,
    /// The same, with a slot less.
    Degraded,
    /// The process is dead, its tree too, and the next one came at once.
    Replaced,
    /// The same, after a wait: the process had not served before.
    ReplacedAfterAWait,
    /// It never serves: it is started again and again, with waits between.
    StartsOver,
    /// It never serves, and its pool has tripped.
    Trips,
}

impl Fate {
    /// Whether the process dies.
    pub(super) const fn is_death(self) -> bool {
        match self {
            Self::ServesOn | Self::Degraded => false,
            Self::Replaced | Self::ReplacedAfterAWait | Self::StartsOver | Self::Trips => true,
        }
    }

    /// Whether there is a process at all that serves.
    pub(super) const fn serves(self) -> bool {
        !matches!(self, Self::StartsOver | Self::Trips)
    }
}

/// How processes come back: at once, nearly, and for ever.
const RESTART: &str = r#"restart = { initial = "1ms", max = "10ms", max_restarts = "unlimited" }"#;

/// One way to misbehave.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The test's name.
    pub(super) name: &'static str,
    /// What the worker does: the end of a sentence that begins with "The worker".
    pub(super) does: &'static str,
    /// The command, as TOML.
    pub(super) command: String,
    /// The pool's `cancel_grace` and `stop_grace`: short, since the tests wait for them.
    graces: (&'static str, &'static str),
    /// How processes come back, where the row depends on it.
    pub(super) restart: Option<&'static str>,
    /// Lines of the broker.
    pub(super) broker: Vec<&'static str>,
    /// It takes a cgroup to prove it.
    pub(super) takes_cgroups: bool,
    /// Further lines of the pool.
    pub(super) pool: Vec<&'static str>,
    /// Lines of the method.
    pub(super) policy: Vec<&'static str>,
    /// What it is asked to do.
    pub(super) act: Act,
    /// It answers an echo before it does so: it is known, and productive.
    pub(super) greeted: bool,
    pub(super) caller: Caller,
    /// The label under which the death of its process is counted, if there is one.
    pub(super) reason: Option<&'static str>,
    pub(super) fate: Fate,
}

/// A program of a kind, with words that follow it, and what it is asked to do.
pub(super) fn worker(kind: &str, act: Act) -> Row {
    let words: Vec<_> = ["misbehave"].into_iter().chain(kind.split(' ')).collect();
    Row {
        name: "",
        does: "",
        command: format!("{words:?}"),
        graces: ("100ms", "100ms"),
        restart: None,
        broker: Vec::new(),
        takes_cgroups: false,
        pool: Vec::new(),
        policy: Vec::new(),
        act,
        greeted: true,
        caller: Caller::Answered,
        reason: None,
        fate: Fate::ServesOn,
    }
}

/// A worker on the SDK.
pub(super) fn sdk(deed: Deed) -> Row {
    worker("sdk", Act::new(deed))
}

/// A worker on the raw protocol.
pub(super) fn raw(deed: Deed) -> Row {
    worker("raw", Act::new(deed))
}

/// A worker that a line of shell becomes.
pub(super) fn by_shell(line: &str, kind: &str, deed: Deed) -> Row {
    let words = ["sh".to_owned(), "-c".to_owned(), format!("{line} '{}' {kind}", misbehave().display())];
    Row { command: format!("{words:?}"), ..worker(kind, Act::new(deed)) }
}

impl Row {
    pub(super) fn named(self, name: &'static str, does: &'static str) -> Self {
        Self { name, does, ..self }
    }

    /// With graces that the row depends on.
    pub(super) fn graces(self, cancel: &'static str, stop: &'static str) -> Self {
        Self { graces: (cancel, stop), ..self }
    }

    /// With a way to come back that the row depends on.
    pub(super) fn restart(self, line: &'static str) -> Self {
        Self { restart: Some(line), ..self }
    }

    /// With a line of the broker.
    pub(super) fn broker(mut self, line: &'static str) -> Self {
        self.broker.push(line);
        self
    }

    /// Where processes have cgroups.
    pub(super) fn takes_cgroups(self) -> Self {
        Self { takes_cgroups: true, ..self }
    }

    /// With a line of the pool.
    pub(super) fn pool(mut self, line: &'static str) -> Self {
        self.pool.push(line);
        self
    }

    /// With a line of the method.
    pub(super) fn policy(mut self, line: &'static str) -> Self {
        self.policy.push(line);
        self
    }

    /// It cannot be asked for an echo before.
    pub(super) fn mute(self) -> Self {
        Self { greeted: false, ..self }
    }

    pub(super) fn answered(self) -> Self {
        Self { caller: Caller::Answered, ..self }
    }

    pub(super) fn answered_late(self) -> Self {
        Self { caller: Caller::AnsweredLate, ..self }
    }

    pub(super) fn failed(self) -> Self {
        Self { caller: Caller::Failed, ..self }
    }

    pub(super) fn crashed(self, label: &'static str) -> Self {
        Self { caller: Caller::Crashed(label), reason: Some(label), ..self }
    }

    pub(super) fn timed_out(self, which: TimeoutWhich, reason: &'static str) -> Self {
        Self { caller: Caller::TimedOut(which), reason: Some(reason), ..self }
    }

    pub(super) fn never_ran(self, reason: &'static str) -> Self {
        Self { caller: Caller::NeverRan, reason: Some(reason), ..self.mute() }
    }

    pub(super) fn refused(self, reason: &'static str) -> Self {
        Self { caller: Caller::Refused, reason: Some(reason), ..self.mute() }
    }

    /// The process's death is counted under another label than the attempt's.
    pub(super) fn counted(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    pub(super) fn serves_on(self) -> Self {
        Self { fate: Fate::ServesOn, ..self }
    }

    /// The process does not die of it.
    pub(super) fn uncounted(self) -> Self {
        Self { reason: None, ..self }
    }

    pub(super) fn degraded(self) -> Self {
        Self { fate: Fate::Degraded, ..self.uncounted() }
    }

    pub(super) fn trips(self) -> Self {
        Self { fate: Fate::Trips, ..self }
    }

    pub(super) fn replaced(self) -> Self {
        Self { fate: Fate::Replaced, ..self }
    }

    pub(super) fn replaced_after_a_wait(self) -> Self {
        Self { fate: Fate::ReplacedAfterAWait, ..self }
    }

    pub(super) fn starts_over(self) -> Self {
        Self { fate: Fate::StartsOver, ..self }
    }

    /// The broker's configuration: the pool `p` that misbehaves, and one beside it.
    pub(super) fn config(&self) -> String {
        let (cancel_grace, stop_grace) = self.graces;
        format!(
            r#"
[broker]
{}
[pools.p]
command = {}
{}
cancel_grace = "{cancel_grace}"
stop_grace = "{stop_grace}"
{}
[pools.p.methods.act]
{}
[pools.beside]
command = ["misbehave", "sdk"]
[pools.beside.methods.wait]
"#,
            self.broker.join("\n"),
            self.command,
            self.restart.unwrap_or(RESTART),
            self.pool.join("\n"),
            self.policy.join("\n")
        )
    }
}
