//! Which deaths are the broker's doing: its own kills, and those of processes that had become unfit (not ready in time,
//! a broken connection, no heartbeats).
//!
//! Owns that decision, for what is counted and for the series that exist from the start.

use lifeboat_core::fact::Death;
use lifeboat_core::reason::{CrashReason, KillReason, StartFailure};

/// The label's place of a death that the broker brought about.
pub(super) fn killed_by_broker(death: &Death) -> Option<usize> {
    if let Some(kill) = death.killed_by_broker {
        return Some(CrashReason::Killed(kill).label_index());
    }
    is_kill(&death.reason).then(|| death.reason.label_index())
}

/// Whether a death with the label at this place can be the broker's doing.
pub(super) fn can_be_kill(label: usize) -> bool {
    EVERY_KIND.iter().any(|reason| reason.label_index() == label && is_kill(reason))
}

/// A death of this reason is always the broker's doing.
const fn is_kill(reason: &CrashReason) -> bool {
    match reason {
        CrashReason::StartFailed(
            StartFailure::TimedOut | StartFailure::BadHello(_) | StartFailure::MemoryLimit,
        )
        | CrashReason::ConnectionClosed
        | CrashReason::ConnectionError { .. }
        | CrashReason::ProtocolViolation(_)
        | CrashReason::Unresponsive
        | CrashReason::Killed(
            KillReason::AttemptTimeout
            | KillReason::ProgressStall
            | KillReason::OutputStall
            | KillReason::Deadline
            | KillReason::MemoryLimit
            | KillReason::Cancelled
            | KillReason::Operator
            | KillReason::Unkillable,
        ) => true,
        CrashReason::StartFailed(
            StartFailure::Exit { .. } | StartFailure::Signal { .. } | StartFailure::OutOfMemory,
        )
        | CrashReason::SpawnFailed(_)
        | CrashReason::Exit { .. }
        | CrashReason::Signal { .. }
        | CrashReason::Oom
        | CrashReason::CpuLimit
        | CrashReason::FileSizeLimit
        | CrashReason::SandboxViolation
        | CrashReason::KilledFromOutside
        | CrashReason::StoppedFromOutside { .. }
        | CrashReason::SlotsExhausted(_)
        | CrashReason::SlotPanicked { .. } => false,
    }
}

/// A reason of every kind: a label is a kill's when any reason with it is.
static EVERY_KIND: [CrashReason; 29] = [
    CrashReason::SpawnFailed(String::new()),
    CrashReason::StartFailed(StartFailure::Exit { code: 0 }),
    CrashReason::StartFailed(StartFailure::Signal { signal: 0, core_dumped: false }),
    CrashReason::StartFailed(StartFailure::OutOfMemory),
    CrashReason::StartFailed(StartFailure::MemoryLimit),
    CrashReason::StartFailed(StartFailure::TimedOut),
    CrashReason::StartFailed(StartFailure::BadHello(String::new())),
    CrashReason::Exit { code: 0 },
    CrashReason::Signal { signal: 0, core_dumped: false },
    CrashReason::Oom,
    CrashReason::CpuLimit,
    CrashReason::FileSizeLimit,
    CrashReason::SandboxViolation,
    CrashReason::KilledFromOutside,
    CrashReason::StoppedFromOutside { signal: 0 },
    CrashReason::ConnectionClosed,
    CrashReason::ConnectionError { errno: 0 },
    CrashReason::ProtocolViolation(String::new()),
    CrashReason::SlotsExhausted(String::new()),
    CrashReason::Unresponsive,
    CrashReason::SlotPanicked { message: String::new(), location: None },
    CrashReason::Killed(KillReason::AttemptTimeout),
    CrashReason::Killed(KillReason::ProgressStall),
    CrashReason::Killed(KillReason::OutputStall),
    CrashReason::Killed(KillReason::Deadline),
    CrashReason::Killed(KillReason::MemoryLimit),
    CrashReason::Killed(KillReason::Cancelled),
    CrashReason::Killed(KillReason::Operator),
    CrashReason::Killed(KillReason::Unkillable),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_there() {
        let of = |label: usize| EVERY_KIND.iter().filter(move |reason| reason.label_index() == label).count();
        for (place, label) in CrashReason::LABELS.into_iter().enumerate() {
            let kinds = if label == "start_failed" { 6 } else { 1 };
            assert_eq!(of(place), kinds, "{label}");
        }
    }

    #[test]
    fn a_label_is_a_kills_when_any_reason_with_it_is() {
        let labels = CrashReason::LABELS.into_iter().enumerate();
        let kills: Vec<_> = labels.filter(|(place, _)| can_be_kill(*place)).map(|(_, label)| label).collect();
        let expected = "start_failed connection_closed connection_error protocol_violation unresponsive \
                        attempt_timeout progress_stall output_stall deadline memory_limit cancelled operator unkillable";
        assert_eq!(kills.join(" "), expected);
    }
}
