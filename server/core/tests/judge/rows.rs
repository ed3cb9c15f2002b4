//! Rows 2 to 5, each against its neighbours: a process that had been ready.

use lifeboat_core::evidence::{ConnectionEnd, IntentKind, OomEvidence, WaitStatus};
use lifeboat_core::judge::Case;
use lifeboat_core::reason::Confidence::{Inferred, Proven, Unknown};
use lifeboat_core::reason::{CrashReason, KillReason};

use crate::{
    ATTEMPT, BROKEN, CLOSED, DEADLINE, KILL, OPERATOR, READY, SHUTDOWN, TERM, check, code, crash, decided,
    own, planned, sig,
};

#[test]
fn row_2_signals_of_its_own_and_their_neighbours() {
    let bad = ConnectionEnd::Violation("garbage".into());
    check(&[
        (
            "segfault with core",
            Case { wait: WaitStatus::Signaled { signal: 11, core_dumped: true }, ..READY },
            crash(CrashReason::Signal { signal: 11, core_dumped: true }, Proven),
        ),
        ("abort", Case { wait: sig(6), ..READY }, crash(own(6), Proven)),
        ("SIGXCPU", Case { wait: sig(24), ..READY }, crash(CrashReason::CpuLimit, Proven)),
        ("SIGXFSZ", Case { wait: sig(25), ..READY }, crash(CrashReason::FileSizeLimit, Proven)),
        ("SIGSYS", Case { wait: sig(31), ..READY }, crash(CrashReason::SandboxViolation, Proven)),
        ("2 beats 3", Case { wait: sig(11), slots_failed: Some("all"), ..READY }, crash(own(11), Proven)),
        (
            "2 beats 4",
            Case { wait: sig(11), intent: decided(DEADLINE, KILL), ..READY },
            crash(own(11), Proven),
        ),
        (
            "2 beats 5",
            Case { wait: sig(11), intent: decided(SHUTDOWN, TERM), ..READY },
            crash(own(11), Proven),
        ),
        (
            "2 beats 4, violation",
            Case { wait: sig(11), connection: Some(&bad), ..READY },
            crash(own(11), Proven),
        ),
        (
            "2 beats 6: SIGXCPU is proof, whatever a counter says",
            Case { wait: sig(24), oom: OomEvidence::OwnCounterRose, cpu_used_up: true, ..READY },
            crash(CrashReason::CpuLimit, Proven),
        ),
    ]);
}

#[test]
fn row_3_slots_failed_and_its_neighbours() {
    let exhausted = || crash(CrashReason::SlotsExhausted("all".into()), Proven);
    let said = Case { slots_failed: Some("all"), ..READY };
    let bad = ConnectionEnd::Violation("garbage".into());
    check(&[
        ("exits", Case { wait: code(1), ..said }, exhausted()),
        (
            "stays and is killed",
            Case { wait: sig(9), intent: decided(IntentKind::SlotsFailed, KILL), ..said },
            exhausted(),
        ),
        ("3 beats 4, kill", Case { wait: sig(9), intent: decided(DEADLINE, KILL), ..said }, exhausted()),
        ("3 beats 4, violation", Case { wait: code(1), connection: Some(&bad), ..said }, exhausted()),
        ("3 beats 5", Case { wait: code(0), intent: decided(SHUTDOWN, None), ..said }, exhausted()),
        ("3 beats 6", Case { wait: sig(9), oom: OomEvidence::OwnCounterRose, ..said }, exhausted()),
        ("3 beats 7", Case { wait: sig(15), ..said }, exhausted()),
        ("3 beats 8", said, exhausted()),
    ]);
}

#[test]
fn row_4_our_kills_and_their_neighbours() {
    let killed = |why| crash(CrashReason::Killed(why), Proven);
    let connection = |sent| decided(IntentKind::Connection, sent);
    let bad = ConnectionEnd::Violation("garbage".into());
    let violation = || crash(CrashReason::ProtocolViolation("garbage".into()), Proven);
    check(&[
        (
            "deadline",
            Case { wait: sig(9), intent: decided(DEADLINE, KILL), ..READY },
            killed(KillReason::Deadline),
        ),
        (
            "an exit beside a kill that asked for nothing",
            Case { wait: code(0), intent: decided(DEADLINE, KILL), ..READY },
            crash(CrashReason::Exit { code: 0 }, Proven),
        ),
        (
            "SIGTERM",
            Case { wait: sig(15), intent: decided(ATTEMPT, TERM), ..READY },
            killed(KillReason::AttemptTimeout),
        ),
        (
            "leaves after SIGTERM",
            Case { wait: code(0), intent: decided(ATTEMPT, TERM), asked_to_leave: true, ..READY },
            killed(KillReason::AttemptTimeout),
        ),
        (
            "leaves after SIGTERM, and SIGKILL came too late",
            Case { wait: code(0), intent: decided(ATTEMPT, KILL), asked_to_leave: true, ..READY },
            killed(KillReason::AttemptTimeout),
        ),
        (
            "leaves after SIGTERM, cut short by a deadline",
            Case { wait: code(0), intent: decided(DEADLINE, KILL), asked_to_leave: true, ..READY },
            killed(KillReason::Deadline),
        ),
        (
            "an exit after a cancel frame is its own: that asks no process to leave",
            Case { wait: code(7), intent: decided(ATTEMPT, None), ..READY },
            crash(CrashReason::Exit { code: 7 }, Proven),
        ),
        (
            "the same, and SIGKILL came too late",
            Case { wait: code(7), intent: decided(ATTEMPT, KILL), ..READY },
            crash(CrashReason::Exit { code: 7 }, Proven),
        ),
        (
            "a kill that was only decided explains nothing",
            Case { intent: decided(ATTEMPT, None), ..READY },
            crash(CrashReason::Exit { code: -1 }, Unknown),
        ),
        (
            "bad bytes are proven, whatever is known of the end of who was killed for them",
            Case { intent: connection(KILL), connection: Some(&bad), ..READY },
            violation(),
        ),
        (
            "nobody leaves because it is silent",
            Case {
                wait: code(0),
                intent: decided(IntentKind::Unresponsive, KILL),
                asked_to_leave: true,
                ..READY
            },
            crash(CrashReason::Exit { code: 0 }, Proven),
        ),
        (
            "a kill beats a violation: it left after SIGTERM",
            Case {
                wait: code(0),
                intent: decided(ATTEMPT, TERM),
                asked_to_leave: true,
                connection: Some(&bad),
                ..READY
            },
            killed(KillReason::AttemptTimeout),
        ),
        (
            "SIGKILL that we did not send beats nothing",
            Case { wait: sig(9), intent: decided(ATTEMPT, TERM), ..READY },
            crash(CrashReason::KilledFromOutside, Proven),
        ),
        (
            "OOM while we were asking",
            Case { wait: sig(9), intent: decided(ATTEMPT, TERM), oom: OomEvidence::OwnCounterRose, ..READY },
            crash(CrashReason::Oom, Proven),
        ),
        (
            "4 beats 6: our SIGKILL though the counter rose",
            Case { wait: sig(9), intent: decided(DEADLINE, KILL), oom: OomEvidence::OwnCounterRose, ..READY },
            killed(KillReason::Deadline),
        ),
        (
            "no status after our kill",
            Case { intent: decided(DEADLINE, KILL), ..READY },
            crash(CrashReason::Killed(KillReason::Deadline), Inferred),
        ),
        (
            "unresponsive",
            Case { wait: sig(9), intent: decided(IntentKind::Unresponsive, KILL), ..READY },
            crash(CrashReason::Unresponsive, Proven),
        ),
        (
            "violation, killed",
            Case { wait: sig(9), intent: connection(KILL), connection: Some(&bad), ..READY },
            violation(),
        ),
        (
            "a violation beats somebody else's SIGKILL, and a counter that rose",
            Case { wait: sig(9), connection: Some(&bad), oom: OomEvidence::OwnCounterRose, ..READY },
            violation(),
        ),
        ("a violation beats SIGTERM", Case { wait: sig(15), connection: Some(&bad), ..READY }, violation()),
        ("a violation beats no status", Case { connection: Some(&bad), ..READY }, violation()),
        (
            "violation, then its own exit",
            Case { wait: code(1), intent: connection(KILL), connection: Some(&bad), ..READY },
            violation(),
        ),
        (
            "a violation beats a planned stop",
            Case { wait: code(0), intent: decided(SHUTDOWN, TERM), connection: Some(&bad), ..READY },
            violation(),
        ),
        (
            "a kill for another reason came before the violation",
            Case { wait: sig(9), intent: decided(DEADLINE, KILL), connection: Some(&bad), ..READY },
            killed(KillReason::Deadline),
        ),
        (
            "closed and stayed",
            Case { wait: sig(9), intent: connection(KILL), connection: CLOSED, ..READY },
            crash(CrashReason::ConnectionClosed, Proven),
        ),
        (
            "broke and stayed",
            Case { wait: sig(9), intent: connection(KILL), connection: BROKEN, ..READY },
            crash(CrashReason::ConnectionError { errno: 104 }, Proven),
        ),
        (
            "it was dying by somebody else's SIGKILL before ours",
            Case { wait: sig(9), intent: decided(DEADLINE, KILL), exiting_before_kill: true, ..READY },
            crash(CrashReason::KilledFromOutside, Proven),
        ),
        (
            "its memory was gone before we lost patience with its connection",
            Case {
                wait: sig(9),
                intent: connection(KILL),
                connection: CLOSED,
                exiting_before_kill: true,
                oom: OomEvidence::OwnCounterRose,
                ..READY
            },
            crash(CrashReason::Oom, Proven),
        ),
        (
            "our SIGTERM ended it before our SIGKILL",
            Case { wait: sig(15), intent: decided(ATTEMPT, KILL), exiting_before_kill: true, ..READY },
            killed(KillReason::AttemptTimeout),
        ),
        (
            "a person's kill",
            Case { wait: sig(9), intent: decided(OPERATOR, KILL), ..READY },
            killed(KillReason::Operator),
        ),
        (
            "it left by itself beside a person's kill",
            Case { wait: code(0), intent: decided(OPERATOR, KILL), ..READY },
            crash(CrashReason::Exit { code: 0 }, Proven),
        ),
        (
            "a cancel, and an exit of another slot",
            Case { wait: code(3), intent: decided(IntentKind::Kill(KillReason::Cancelled), None), ..READY },
            crash(CrashReason::Exit { code: 3 }, Proven),
        ),
        (
            "unresponsive, and it was dying already",
            Case {
                wait: sig(9),
                intent: decided(IntentKind::Unresponsive, KILL),
                exiting_before_kill: true,
                ..READY
            },
            crash(CrashReason::KilledFromOutside, Proven),
        ),
        (
            "unresponsive, and it leaves by itself",
            Case { wait: code(4), intent: decided(IntentKind::Unresponsive, KILL), ..READY },
            crash(CrashReason::Exit { code: 4 }, Proven),
        ),
        (
            "no status after it was unresponsive",
            Case { intent: decided(IntentKind::Unresponsive, KILL), ..READY },
            crash(CrashReason::Unresponsive, Inferred),
        ),
        (
            "closed and left by itself",
            Case { wait: code(3), intent: connection(KILL), connection: CLOSED, ..READY },
            crash(CrashReason::Exit { code: 3 }, Proven),
        ),
    ]);
}

#[test]
fn row_5_planned_stops_and_their_neighbours() {
    let stop = |sent| Case { intent: decided(SHUTDOWN, sent), ..READY };
    check(&[
        ("leaves", Case { wait: code(0), ..stop(None) }, planned(Proven)),
        ("leaves with a code", Case { wait: code(9), ..stop(None) }, planned(Proven)),
        ("our SIGTERM", Case { wait: sig(15), ..stop(TERM) }, planned(Proven)),
        ("somebody else's SIGTERM at the same time", Case { wait: sig(15), ..stop(None) }, planned(Proven)),
        ("our SIGKILL", Case { wait: sig(9), ..stop(KILL) }, planned(Proven)),
        ("no status", stop(KILL), planned(Inferred)),
        (
            "5 beats 6: our SIGKILL though the counter rose",
            Case { wait: sig(9), oom: OomEvidence::OwnCounterRose, ..stop(KILL) },
            planned(Proven),
        ),
        ("5 beats 7", Case { wait: sig(1), ..stop(None) }, planned(Proven)),
        (
            "5 beats 8: no status, and a broken connection",
            Case { connection: BROKEN, ..stop(TERM) },
            planned(Inferred),
        ),
        (
            "5 yields to 6: it was dying by somebody else's SIGKILL before ours",
            Case { wait: sig(9), exiting_before_kill: true, ..stop(KILL) },
            crash(CrashReason::KilledFromOutside, Proven),
        ),
        (
            "5 yields to 6: SIGKILL that we did not send",
            Case { wait: sig(9), ..stop(TERM) },
            crash(CrashReason::KilledFromOutside, Proven),
        ),
    ]);
}
