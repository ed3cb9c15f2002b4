//! What holds for every case.

use lifeboat_core::evidence::{ConnectionEnd, Intent, IntentKind, OomEvidence, WaitStatus};
use lifeboat_core::judge::{Case, End, judge};
use lifeboat_core::reason::Confidence::Proven;
use lifeboat_core::reason::{CrashReason, KillReason, StopReason};
use lifeboat_core::time::Timestamp;
use proptest::prelude::*;

use crate::{KILL, TERM, code};

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
        StopReason::Operator,
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
        asked_to_leave: bool,
        intent in intents(),
        connection in connections(),
        slots_failed in prop::option::of(".{0,8}"),
        wait in waits(),
        exiting_before_kill: bool,
        oom in ooms(),
        cpu_used_up: bool,
    ) {
        let connection = connection.as_ref();
        let slots_failed = slots_failed.as_deref();
        let case = Case { ready, intent, asked_to_leave, connection, slots_failed, wait, exiting_before_kill, oom, cpu_used_up };
        let verdict = judge(&case);
        prop_assert_eq!(&verdict, &judge(&case), "deterministic");
        let what = intent.map(|intent| intent.what);
        match verdict.end {
            End::Planned(why) => prop_assert_eq!(what, Some(IntentKind::Stop(why)), "planned by somebody"),
            End::Crash(CrashReason::Killed(why)) => {
                prop_assert_eq!(what, Some(IntentKind::Kill(why)), "killed by us for what we had decided");
                let own = matches!(wait, WaitStatus::Exited { .. }) && !asked_to_leave;
                prop_assert!(!own, "an exit that nobody asked for is the process's own");
            }
            End::Crash(reason) => {
                let before_ready = matches!(reason, CrashReason::StartFailed(_));
                prop_assert_eq!(before_ready, !ready, "a start fails before it is over, and then alone");
                prop_assert!(
                    !matches!(reason, CrashReason::Oom) || matches!(oom, OomEvidence::SharedCounterRose | OomEvidence::OwnCounterRose),
                    "oom needs a counter"
                );
                let ran_out = matches!(wait, WaitStatus::Signaled { signal: 24, .. }) || cpu_used_up;
                prop_assert!(!matches!(reason, CrashReason::CpuLimit) || ran_out, "cpu_limit needs a limit");
                let told_elsewhere = matches!(reason.label(), "spawn_failed" | "slot_panicked");
                prop_assert!(!told_elsewhere, "not judged here");
            }
        }
        let foreign = matches!(wait, WaitStatus::Signaled { signal: 9, .. }) && exiting_before_kill;
        if foreign && ready && slots_failed.is_none() && !matches!(connection, Some(ConnectionEnd::Violation(_))) {
            let found = judge(&case).end;
            let told = matches!(
                found,
                End::Crash(CrashReason::Oom | CrashReason::KilledFromOutside | CrashReason::CpuLimit)
            );
            prop_assert!(told, "a SIGKILL that came before ours is not ours: {:?}", found);
        }
        if wait == WaitStatus::Unknown && slots_failed.is_none() {
            let seen = matches!(connection, Some(ConnectionEnd::Violation(_)));
            prop_assert!(seen || verdict.confidence != Proven, "nothing is proven without a status");
        }
    }
}
