//! Row 1: a process that was not ready yet.

use lifeboat_core::evidence::{ConnectionEnd, IntentKind, OomEvidence};
use lifeboat_core::judge::Case;
use lifeboat_core::reason::Confidence::{Inferred, Proven, Unknown};
use lifeboat_core::reason::{CrashReason, KillReason, StartFailure};

use crate::{
    CLOSED, KILL, OPERATOR, SHUTDOWN, UNREADY, check, code, crash, decided, planned, sig, start_failed,
};

#[test]
fn row_1_before_ready() {
    let bad = ConnectionEnd::Violation("no hello".into());
    let timeout = |sent| decided(IntentKind::StartTimeout, sent);
    let memory = decided(IntentKind::Kill(KillReason::MemoryLimit), KILL);
    let hello = |what: &str| start_failed(StartFailure::BadHello(what.into()));
    let own_signal = || start_failed(StartFailure::Signal { signal: 11, core_dumped: false });
    check(&[
        ("exits", Case { wait: code(3), ..UNREADY }, start_failed(StartFailure::Exit { code: 3 })),
        ("exits with 0", Case { wait: code(0), ..UNREADY }, start_failed(StartFailure::Exit { code: 0 })),
        ("crashes", Case { wait: sig(11), ..UNREADY }, own_signal()),
        (
            "killed from outside",
            Case { wait: sig(9), ..UNREADY },
            start_failed(StartFailure::Signal { signal: 9, core_dumped: false }),
        ),
        (
            "not ready in time",
            Case { wait: sig(9), intent: timeout(KILL), ..UNREADY },
            start_failed(StartFailure::TimedOut),
        ),
        (
            "exits just before the start timeout's kill",
            Case { wait: code(1), intent: timeout(KILL), ..UNREADY },
            start_failed(StartFailure::Exit { code: 1 }),
        ),
        (
            "crashes just before the start timeout's kill",
            Case { wait: sig(11), intent: timeout(KILL), ..UNREADY },
            own_signal(),
        ),
        (
            "bad hello",
            Case {
                wait: sig(9),
                connection: Some(&bad),
                intent: decided(IntentKind::Connection, KILL),
                ..UNREADY
            },
            hello("no hello"),
        ),
        (
            "bad hello, and it exits by itself",
            Case { wait: code(2), connection: Some(&bad), ..UNREADY },
            hello("no hello"),
        ),
        (
            "bad hello, and it crashes",
            Case { wait: sig(11), connection: Some(&bad), ..UNREADY },
            own_signal(),
        ),
        (
            "closes its connection and stays",
            Case {
                wait: sig(9),
                connection: CLOSED,
                intent: decided(IntentKind::Connection, KILL),
                ..UNREADY
            },
            hello("it closed its connection before it was ready"),
        ),
        (
            "closes its connection and exits",
            Case { wait: code(4), connection: CLOSED, ..UNREADY },
            start_failed(StartFailure::Exit { code: 4 }),
        ),
        (
            "a shutdown comes",
            Case { wait: sig(9), intent: decided(SHUTDOWN, KILL), ..UNREADY },
            planned(Proven),
        ),
        (
            "a shutdown comes, and it crashes",
            Case { wait: sig(11), intent: decided(SHUTDOWN, KILL), ..UNREADY },
            own_signal(),
        ),
        (
            "a person kills it",
            Case { wait: sig(9), intent: decided(OPERATOR, KILL), ..UNREADY },
            crash(CrashReason::Killed(KillReason::Operator), Proven),
        ),
        (
            "it exits just before a person's kill",
            Case { wait: code(3), intent: decided(OPERATOR, KILL), ..UNREADY },
            start_failed(StartFailure::Exit { code: 3 }),
        ),
        (
            "somebody else's SIGKILL came before a person's",
            Case { wait: sig(9), intent: decided(OPERATOR, KILL), exiting_before_kill: true, ..UNREADY },
            start_failed(StartFailure::Signal { signal: 9, core_dumped: false }),
        ),
        (
            "too much memory is no start either",
            Case { wait: sig(9), intent: memory, ..UNREADY },
            start_failed(StartFailure::MemoryLimit),
        ),
        (
            "too much memory, and its own counter rose as well",
            Case { wait: sig(9), intent: memory, oom: OomEvidence::OwnCounterRose, ..UNREADY },
            start_failed(StartFailure::MemoryLimit),
        ),
        (
            "the kernel came before the kill for its memory",
            Case {
                wait: sig(9),
                intent: memory,
                exiting_before_kill: true,
                oom: OomEvidence::OwnCounterRose,
                ..UNREADY
            },
            start_failed(StartFailure::OutOfMemory),
        ),
        (
            "its own counter rose",
            Case { wait: sig(9), oom: OomEvidence::OwnCounterRose, ..UNREADY },
            start_failed(StartFailure::OutOfMemory),
        ),
        (
            "a shared counter rose",
            Case { wait: sig(9), oom: OomEvidence::SharedCounterRose, ..UNREADY },
            crash(CrashReason::StartFailed(StartFailure::OutOfMemory), Inferred),
        ),
        (
            "a counter rose, and it exits by itself",
            Case { wait: code(1), oom: OomEvidence::OwnCounterRose, ..UNREADY },
            start_failed(StartFailure::Exit { code: 1 }),
        ),
        (
            "a person's kill, and bad bytes while it dies",
            Case { wait: sig(9), intent: decided(OPERATOR, KILL), connection: Some(&bad), ..UNREADY },
            crash(CrashReason::Killed(KillReason::Operator), Proven),
        ),
        (
            "not ready in time, and bad bytes while it dies",
            Case { wait: sig(9), intent: timeout(KILL), connection: Some(&bad), ..UNREADY },
            start_failed(StartFailure::TimedOut),
        ),
        (
            "no status, not ready in time",
            Case { intent: timeout(KILL), ..UNREADY },
            crash(CrashReason::StartFailed(StartFailure::TimedOut), Inferred),
        ),
        (
            "no status",
            UNREADY,
            crash(
                CrashReason::StartFailed(StartFailure::BadHello("it ended before it was ready".into())),
                Unknown,
            ),
        ),
    ]);
}
