//! Deaths: who pays, what is lost, what is told.

use lifeboat_core::action::{Action, AttemptCause};
use lifeboat_core::event::{Answer, Event};
use lifeboat_core::evidence::{ConnectionEnd, Evidence, OomEvidence, StopSignal, WaitStatus};
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, RequestId};
use lifeboat_core::reason::{AttemptEnd, Confidence, CrashReason, OutcomeKind, StartFailure};
use lifeboat_core::settings::RetryOn;

use crate::boat::{Boat, Told, exit, life, ms, plain, retry, retrying, signal};

#[test]
fn a_crash_without_retry_is_told_with_its_reason() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.pass(ms(10));
    boat.exits(life(0, 1));
    assert_eq!(boat.kind(tag), None, "not before the evidence is complete");
    boat.is_collected(life(0, 1), WaitStatus::Signaled { signal: 11, core_dumped: true });
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
    let attempts = &boat.settlement(tag).attempts;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].pid, Some(100));
    assert_eq!(attempts[0].ended_at - attempts[0].started_at, ms(10));
    let Some(AttemptCause::Death(death)) = &attempts[0].cause else { panic!("it died") };
    assert_eq!(death.reason, CrashReason::Signal { signal: 11, core_dumped: true });
    assert_eq!(death.confidence, Confidence::Proven);
    assert_eq!(
        death.executing.iter().map(|(_, attempt, _)| *attempt).collect::<Vec<_>>(),
        [AttemptNumber::FIRST]
    );
}

#[test]
fn the_end_of_a_request_names_the_death_that_ended_it() {
    let mut boat = Boat::afloat(retrying(1, 2));
    let tag = boat.request();
    boat.pass(ms(10));
    boat.dies(life(0, 1), exit(1));
    boat.pass(ms(1000));
    boat.becomes_ready(life(0, 2));
    boat.pass(ms(7));
    boat.dies(life(0, 2), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
    let last = boat.crashes()[1];
    let since = last.judged_at - last.executing_since[0].expect("it had no outcome");
    assert_eq!(since, ms(7), "since its own attempt");
    let ended = boat
        .facts
        .iter()
        .find_map(|fact| if let Fact::RequestEnded(ended) = fact { Some(ended) } else { None });
    let ended = ended.expect("it has ended");
    assert_eq!((ended.reason, ended.report), (Some("signal"), Some(last.report)));
}

#[test]
fn a_retry_runs_on_another_worker() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.request();
    boat.dies(life(0, 1), signal(11));
    let (_, attempt) = boat.dispatched_to(life(1, 1)).expect("the other worker gets it");
    assert_eq!(attempt, AttemptNumber(2));
    boat.answers_ok(life(1, 1));
    let Some(Told::Ok { attempts, late, .. }) = boat.outcome(tag) else { panic!("it is answered") };
    assert_eq!((*attempts, *late), (2, false));
    assert_eq!(boat.attempt_ends(), [AttemptEnd::Crashed, AttemptEnd::Ok]);
}

#[test]
fn a_retry_waits_for_a_busy_worker_rather_than_use_the_one_that_died() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let first = boat.request();
    let second = boat.request();
    boat.dies(life(0, 1), exit(1));
    boat.pass(ms(1000));
    boat.becomes_ready(life(0, 2));
    assert!(boat.dispatched_to(life(0, 2)).is_none(), "the first request avoids worker 0");
    let third = boat.request();
    let other = boat.dispatched_to(life(0, 2));
    assert!(other.is_some(), "a request that waits for another worker is in nobody's way");
    boat.answers_ok(life(1, 1));
    assert_eq!(boat.kind(second), Some(OutcomeKind::Ok));
    boat.answers_ok(life(1, 1));
    assert_eq!(boat.kind(first), Some(OutcomeKind::Ok));
    assert_eq!(boat.kind(third), None);
}

#[test]
fn a_pool_of_one_retries_on_its_next_incarnation() {
    let mut boat = Boat::afloat(retrying(1, 2));
    let tag = boat.request();
    boat.dies(life(0, 1), signal(6));
    boat.pass(ms(200));
    boat.becomes_ready(life(0, 2));
    boat.answers_ok(life(0, 2));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
}

#[test]
fn the_avoided_worker_is_used_when_the_others_back_off() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.request();
    boat.dies(life(1, 1), exit(1));
    boat.dies(life(0, 1), exit(1));
    boat.pass(ms(100));
    // Both were unproductive and back off; worker 1's first try fails again.
    boat.tell(Event::SpawnFailed { process: life(1, 2), error: "no memory".into() });
    boat.becomes_ready(life(0, 2));
    assert_eq!(boat.dispatched_to(life(0, 2)).map(|(_, attempt)| attempt), Some(AttemptNumber(2)));
    assert_eq!(boat.kind(tag), None);
}

#[test]
fn attempts_are_used_up() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.request();
    boat.dies(life(0, 1), signal(11));
    boat.dies(life(1, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
    assert_eq!(boat.settlement(tag).attempts.len(), 2);
}

#[test]
fn an_answer_written_before_the_death_is_delivered() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.closes_connection(life(0, 1));
    boat.answers_ok(life(0, 1));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
    assert_eq!(boat.crashes()[0].executing, [], "nothing was executing any more");
}

#[test]
fn a_handled_error_is_no_crash() {
    let mut boat = Boat::afloat(retrying(1, 3));
    let tag = boat.request();
    boat.answers(life(0, 1), Answer::Failed { answer: 1, again: Some(ms(0)) });
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Failed), "retry covers crashes alone");
    assert!(boat.crashes().is_empty());
    let view = boat.core.view(boat.now);
    assert_eq!((view.workers[0].consecutive_failures, view.workers[0].consecutive_crashes), (1, 0));
}

#[test]
fn handled_errors_and_crashes_draw_on_one_counter() {
    let mut settings = plain(2);
    settings.methods[0].retry = retry(RetryOn { failed: true, ..RetryOn::default() }, 2);
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.answers(life(0, 1), Answer::Failed { answer: 1, again: Some(ms(0)) });
    boat.dies(life(1, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
}

#[test]
fn a_panic_ends_the_attempt_and_retires_the_process() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.request();
    boat.answers(life(0, 1), Answer::Panicked { message: "index".into(), location: None, kept: false });
    assert!(boat.dispatched_to(life(1, 1)).is_some(), "the retry does not wait for the death");
    boat.tell(Event::WorkersFailed { process: life(0, 1), reasons: "slot 0: index".into() });
    boat.dies(life(0, 1), exit(1));
    assert_eq!(boat.reasons(), [&CrashReason::SlotsExhausted("slot 0: index".into())]);
    assert_eq!(boat.core.view(boat.now).workers[0].consecutive_crashes, 1, "counted once");
    boat.answers_ok(life(1, 1));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
}

#[test]
fn a_process_that_stays_after_its_slots_failed_is_killed() {
    let mut boat = Boat::afloat(plain(1));
    boat.tell(Event::WorkersFailed { process: life(0, 1), reasons: "out of slots".into() });
    boat.pass(ms(199));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.pass(ms(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons(), [&CrashReason::SlotsExhausted("out of slots".into())]);
}

#[test]
fn the_exit_after_the_end_of_the_connection_keeps_its_own_code() {
    let mut boat = Boat::afloat(plain(1));
    boat.closes_connection(life(0, 1));
    boat.pass(ms(99));
    boat.dies(life(0, 1), exit(3));
    assert_eq!(boat.reasons(), [&CrashReason::Exit { code: 3 }]);
}

#[test]
fn a_process_that_closes_its_connection_and_lives_on_is_killed() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.closes_connection(life(0, 1));
    boat.pass(ms(100));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons(), [&CrashReason::ConnectionClosed]);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
}

#[test]
fn garbage_is_punished_at_once() {
    let mut boat = Boat::afloat(plain(1));
    let how = ConnectionEnd::Violation("a frame of 4 GiB".into());
    boat.tell(Event::ConnectionEnded { process: life(0, 1), how });
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons(), [&CrashReason::ProtocolViolation("a frame of 4 GiB".into())]);
}

#[test]
fn an_answer_for_what_was_never_sent_is_a_violation() {
    let mut boat = Boat::afloat(plain(1));
    let (process, request) = (life(0, 1), RequestId(77 << RequestId::INDEX_BITS));
    let attempt = AttemptNumber::FIRST;
    boat.tell(Event::Answered { process, request, attempt, answer: Answer::Ok(1) });
    boat.dies(process, signal(9));
    assert!(matches!(boat.reasons()[..], [CrashReason::ProtocolViolation(_)]));
}

#[test]
fn a_second_answer_is_refused_and_counted() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.answers_ok(life(0, 1));
    boat.answers_ok(life(0, 1));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
    assert!(boat.facts.iter().any(|fact| matches!(fact, Fact::AnswerRefused { .. })));
    assert!(boat.signals(life(0, 1)).is_empty());
}

#[test]
fn too_much_memory_is_a_kill_without_grace() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.tell(Event::MemoryExceeded { process: life(0, 1), resident: 2, limit: 1 });
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons()[0].label(), "memory_limit");
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
}

#[test]
fn oom_is_told_with_how_sure_that_is() {
    for (oom, confidence) in [
        (OomEvidence::OwnCounterRose, Confidence::Proven),
        (OomEvidence::SharedCounterRose, Confidence::Inferred),
    ] {
        let mut boat = Boat::afloat(plain(1));
        boat.exits(life(0, 1));
        let evidence = Box::new(Evidence { wait: signal(9), oom, ..Evidence::default() });
        boat.tell(Event::EvidenceGathered { process: life(0, 1), evidence });
        assert_eq!(boat.reasons(), [&CrashReason::Oom]);
        assert_eq!(boat.crashes()[0].confidence, confidence);
    }
}

#[test]
fn the_signs_of_one_death_come_in_any_order() {
    for order in [[0, 1, 2], [1, 0, 2], [1, 2, 0], [0, 2, 1]] {
        let mut boat = Boat::afloat(plain(1));
        let tag = boat.request();
        for sign in order {
            match sign {
                0 => boat.closes_connection(life(0, 1)),
                1 => boat.exits(life(0, 1)),
                _ => boat.is_collected(life(0, 1), signal(11)),
            }
        }
        if order == [0, 2, 1] {
            boat.is_collected(life(0, 1), signal(11));
        }
        assert_eq!(boat.crashes().len(), 1, "one verdict for {order:?}");
        assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
        boat.pass(ms(1000));
        assert_eq!(boat.spawned(), [life(0, 2)], "one replacement for {order:?}");
    }
}

#[test]
fn news_of_the_dead_do_not_touch_the_successor() {
    let mut boat = Boat::afloat(plain(1));
    boat.request();
    boat.answers_ok(life(0, 1));
    let old = boat.dispatched_to(life(0, 1)).unwrap();
    boat.dies(life(0, 1), exit(0));
    boat.becomes_ready(life(0, 2));
    let tag = boat.request();
    boat.closes_connection(life(0, 1));
    boat.exits(life(0, 1));
    let (request, attempt) = old;
    boat.tell(Event::Answered { process: life(0, 1), request, attempt, answer: Answer::Ok(0) });
    assert_eq!(boat.kind(tag), None);
    boat.answers_ok(life(0, 2));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
}

#[test]
fn a_process_that_is_not_ready_in_time_is_killed() {
    let mut boat = Boat::launch(plain(1));
    boat.tell(Event::Spawned { process: life(0, 1), pid: 9 });
    boat.pass(ms(2000));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons(), [&CrashReason::StartFailed(StartFailure::TimedOut)]);
}

#[test]
fn a_process_that_is_spawned_too_late_is_killed_at_birth() {
    let mut boat = Boat::launch(plain(1));
    boat.pass(ms(2000));
    assert!(boat.signals(life(0, 1)).is_empty(), "there is nobody to be killed yet");
    boat.tell(Event::Spawned { process: life(0, 1), pid: 9 });
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
}

#[test]
fn leaks_are_told() {
    let mut boat = Boat::afloat(plain(1));
    boat.exits(life(0, 1));
    let evidence = Box::new(Evidence { wait: exit(1), descendants_leaked: 2, ..Evidence::default() });
    boat.tell(Event::EvidenceGathered { process: life(0, 1), evidence });
    assert!(boat.facts.iter().any(|fact| matches!(fact, Fact::DescendantsLeaked { count: 2, .. })));
    assert!(boat.was_ordered(|order| matches!(order, Action::Release { .. })));
}
