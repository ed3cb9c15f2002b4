//! The verdict's precedence table, row by row and neighbour against neighbour, and what holds for every case.

use lifeboat_core::evidence::{ConnectionEnd, Intent, IntentKind, OomEvidence, StopSignal, WaitStatus};
use lifeboat_core::judge::{Case, End, Verdict, judge};
use lifeboat_core::reason::Confidence::{Inferred, Proven, Unknown};
use lifeboat_core::reason::{Confidence, CrashReason, KillReason, StartFailure, StopReason};
use lifeboat_core::time::Timestamp;
use proptest::prelude::*;

const READY: Case<'static> = Case {
    ready: true,
    intent: None,
    connection: None,
    slots_failed: None,
    wait: WaitStatus::Unknown,
    oom: OomEvidence::NotSeen,
};
const UNREADY: Case<'static> = Case { ready: false, ..READY };

const TERM: Option<StopSignal> = Some(StopSignal::Terminate);
const KILL: Option<StopSignal> = Some(StopSignal::Kill);
const SHUTDOWN: IntentKind = IntentKind::Stop(StopReason::Shutdown);
const DEADLINE: IntentKind = IntentKind::Kill(KillReason::Deadline);
const ATTEMPT: IntentKind = IntentKind::Kill(KillReason::AttemptTimeout);
const CLOSED: Option<&ConnectionEnd> = Some(&ConnectionEnd::Closed);
const BROKEN: Option<&ConnectionEnd> = Some(&ConnectionEnd::ReadError { errno: 104 });

const fn code(code: i32) -> WaitStatus {
    WaitStatus::Exited { code }
}

const fn sig(signal: i32) -> WaitStatus {
    WaitStatus::Signaled { signal, core_dumped: false }
}

#[expect(clippy::unnecessary_wraps, reason = "it is a field's value")]
const fn decided(what: IntentKind, signal_sent: Option<StopSignal>) -> Option<Intent> {
    Some(Intent { what, at: Timestamp::ZERO, signal_sent })
}

fn crash(reason: CrashReason, confidence: Confidence) -> Verdict {
    Verdict { end: End::Crash(reason), confidence }
}

fn start_failed(failure: StartFailure) -> Verdict {
    crash(CrashReason::StartFailed(failure), Proven)
}

fn planned(confidence: Confidence) -> Verdict {
    Verdict { end: End::Planned(StopReason::Shutdown), confidence }
}

fn own(signal: i32) -> CrashReason {
    CrashReason::Signal { signal, core_dumped: false }
}

#[track_caller]
fn check(rows: &[(&str, Case<'_>, Verdict)]) {
    for (story, case, expected) in rows {
        assert_eq!(&judge(case), expected, "{story}: {case:?}");
    }
}

#[test]
fn row_1_before_ready() {
    let bad = ConnectionEnd::Violation("no hello".into());
    let timeout = |sent| decided(IntentKind::StartTimeout, sent);
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

#[test]
fn row_2_signals_of_its_own_and_their_neighbours() {
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
            Case { wait: code(0), intent: decided(ATTEMPT, TERM), ..READY },
            killed(KillReason::AttemptTimeout),
        ),
        (
            "leaves after the cancel frame",
            Case { wait: code(7), intent: decided(ATTEMPT, None), ..READY },
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
            "5 yields to 6: SIGKILL that we did not send",
            Case { wait: sig(9), ..stop(TERM) },
            crash(CrashReason::KilledFromOutside, Proven),
        ),
    ]);
}

#[test]
fn rows_6_to_8_unprovoked() {
    let outside = |confidence| crash(CrashReason::KilledFromOutside, confidence);
    let oom = |oom| Case { wait: sig(9), oom, ..READY };
    let stopped = |signal| crash(CrashReason::StoppedFromOutside { signal }, Proven);
    check(&[
        ("own counter", oom(OomEvidence::OwnCounterRose), crash(CrashReason::Oom, Proven)),
        ("shared counter", oom(OomEvidence::SharedCounterRose), crash(CrashReason::Oom, Inferred)),
        ("no counter rose", oom(OomEvidence::NotSeen), outside(Proven)),
        ("nobody watched", oom(OomEvidence::NotWatched), outside(Inferred)),
        ("SIGTERM", Case { wait: sig(15), ..READY }, stopped(15)),
        ("SIGINT", Case { wait: sig(2), ..READY }, stopped(2)),
        ("SIGHUP", Case { wait: sig(1), ..READY }, stopped(1)),
        (
            "a counter says nothing about SIGTERM",
            Case { wait: sig(15), oom: OomEvidence::OwnCounterRose, ..READY },
            stopped(15),
        ),
        ("exit 0", Case { wait: code(0), ..READY }, crash(CrashReason::Exit { code: 0 }, Proven)),
        ("exit 101", Case { wait: code(101), ..READY }, crash(CrashReason::Exit { code: 101 }, Proven)),
        ("no status", READY, crash(CrashReason::Exit { code: -1 }, Unknown)),
        (
            "no status, broken connection",
            Case { connection: BROKEN, ..READY },
            crash(CrashReason::ConnectionError { errno: 104 }, Unknown),
        ),
    ]);
}

fn kills() -> impl Strategy<Value = KillReason> {
    prop::sample::select(vec![
        KillReason::AttemptTimeout,
        KillReason::ProgressStall,
        KillReason::OutputStall,
        KillReason::Deadline,
        KillReason::MemoryLimit,
        KillReason::Cancelled,
        KillReason::Operator,
        KillReason::Unkillable,
    ])
}

fn intents() -> impl Strategy<Value = Option<Intent>> {
    let stops = prop::sample::select(vec![
        StopReason::RecycleRequests,
        StopReason::Reload,
        StopReason::ScaleIn,
        StopReason::Drain,
        StopReason::Shutdown,
    ]);
    let what = prop_oneof![
        stops.prop_map(IntentKind::Stop),
        kills().prop_map(IntentKind::Kill),
        Just(IntentKind::StartTimeout),
        Just(IntentKind::Connection),
        Just(IntentKind::Unresponsive),
        Just(IntentKind::SlotsFailed),
    ];
    let sent = prop::sample::select(vec![None, TERM, KILL]);
    prop::option::of((what, sent).prop_map(|(what, signal_sent)| Intent {
        what,
        at: Timestamp::ZERO,
        signal_sent,
    }))
}

fn waits() -> impl Strategy<Value = WaitStatus> {
    prop_oneof![
        Just(WaitStatus::Unknown),
        (0..256).prop_map(code),
        (1..65, any::<bool>()).prop_map(|(signal, core_dumped)| WaitStatus::Signaled { signal, core_dumped }),
    ]
}

fn connections() -> impl Strategy<Value = Option<ConnectionEnd>> {
    prop::option::of(prop_oneof![
        Just(ConnectionEnd::Closed),
        any::<i32>().prop_map(|errno| ConnectionEnd::ReadError { errno }),
        any::<i32>().prop_map(|errno| ConnectionEnd::WriteError { errno }),
        ".{0,8}".prop_map(ConnectionEnd::Violation),
    ])
}

fn ooms() -> impl Strategy<Value = OomEvidence> {
    prop::sample::select(vec![
        OomEvidence::NotWatched,
        OomEvidence::NotSeen,
        OomEvidence::SharedCounterRose,
        OomEvidence::OwnCounterRose,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

    #[test]
    fn what_holds_for_every_case(
        ready: bool,
        intent in intents(),
        connection in connections(),
        slots_failed in prop::option::of(".{0,8}"),
        wait in waits(),
        oom in ooms(),
    ) {
        let connection = connection.as_ref();
        let slots_failed = slots_failed.as_deref();
        let case = Case { ready, intent, connection, slots_failed, wait, oom };
        let verdict = judge(&case);
        prop_assert_eq!(&verdict, &judge(&case), "deterministic");
        let what = intent.map(|intent| intent.what);
        match verdict.end {
            End::Planned(why) => prop_assert_eq!(what, Some(IntentKind::Stop(why)), "planned by somebody"),
            End::Crash(CrashReason::Killed(why)) => {
                prop_assert_eq!(what, Some(IntentKind::Kill(why)), "killed by us for what we had decided");
            }
            End::Crash(reason) => {
                let before_ready = matches!(reason, CrashReason::StartFailed(_));
                prop_assert_eq!(before_ready, !ready, "a start fails before it is over, and then alone");
                prop_assert!(
                    !matches!(reason, CrashReason::Oom) || matches!(oom, OomEvidence::SharedCounterRose | OomEvidence::OwnCounterRose),
                    "oom needs a counter"
                );
                let told_elsewhere = matches!(reason.label(), "spawn_failed" | "slot_panicked");
                prop_assert!(!told_elsewhere, "not judged here");
            }
        }
        if wait == WaitStatus::Unknown && slots_failed.is_none() {
            let seen = matches!(connection, Some(ConnectionEnd::Violation(_)));
            prop_assert!(seen || verdict.confidence != Proven, "nothing is proven without a status");
        }
    }
}
