//! Limits on waiting, on silence about progress and on missing output.

use lifeboat_core::event::{Answer, ClientLimits, Event};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::AttemptNumber;
use lifeboat_core::reason::{AttemptEnd, CrashReason, KillReason, OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::{RetryOn, Settings};
use lifeboat_core::view::OUTPUT_LAG;

use crate::boat::{Boat, Told, exit, life, ms, plain, retry, signal, slotted};

/// Progress every second, output every two, a place within three.
fn watchful(workers: u16) -> Settings {
    let mut settings = plain(workers);
    settings.methods[0].queue_timeout = Some(ms(3000));
    settings.methods[0].progress_timeout = Some(ms(1000));
    settings.methods[0].output_timeout = Some(ms(2000));
    settings
}

fn progress(millis: u64) -> ClientLimits {
    ClientLimits { progress_timeout: Some(ms(millis)), ..ClientLimits::default() }
}

fn limits_passed(boat: &Boat) -> Vec<TimeoutWhich> {
    let which = |fact: &Fact| if let Fact::LimitPassed { which, .. } = fact { Some(*which) } else { None };
    boat.facts.iter().filter_map(which).collect()
}

#[test]
fn the_start_counts_as_progress() {
    let mut boat = Boat::afloat(watchful(1));
    let tag = boat.request();
    boat.pass(ms(999));
    assert_eq!(boat.cancels(tag), 0);
    boat.pass(ms(1));
    assert_eq!((boat.cancels(tag), limits_passed(&boat)), (1, vec![TimeoutWhich::Progress]));
    boat.pass(ms(100));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate]);
    boat.pass(ms(200));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Progress);
    let outcome = &boat.settlement(tag).outcome;
    assert!(format!("{outcome:?}").contains("limit: 1s"), "{outcome:?}");
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::ProgressStall)]);
}

#[test]
fn each_sign_of_progress_gives_the_whole_time_again() {
    let mut boat = Boat::afloat(watchful(1));
    let tag = boat.request();
    for _ in 0..3 {
        boat.pass(ms(900));
        boat.progress(tag, 1);
        boat.tell(Event::OutputSeen { process: life(0, 1) });
    }
    boat.pass(ms(900));
    boat.part(tag, 1);
    boat.pass(ms(999));
    assert!(limits_passed(&boat).is_empty(), "a part is progress too");
    boat.pass(ms(1));
    assert_eq!(limits_passed(&boat), [TimeoutWhich::Progress]);
}

#[test]
fn progress_is_each_attempts_own() {
    let mut boat = Boat::afloat(slotted(watchful(1), 2, 1));
    let tags = [boat.request(), boat.request()];
    boat.pass(ms(900));
    boat.progress(tags[0], 1);
    boat.pass(ms(100));
    assert_eq!(tags.map(|tag| boat.cancels(tag)), [0, 1]);
}

#[test]
fn progress_counts_from_the_turn_of_whoever_waits_behind() {
    let mut boat = Boat::afloat(slotted(watchful(1), 1, 2));
    let tags = [boat.request(), boat.request()];
    boat.pass(ms(900));
    boat.ok(tags[0]);
    boat.pass(ms(999));
    assert!(limits_passed(&boat).is_empty());
    boat.pass(ms(1));
    assert_eq!(limits_passed(&boat), [TimeoutWhich::Progress]);
}

#[test]
fn the_start_counts_as_output_and_so_does_a_part() {
    let mut settings = watchful(1);
    settings.methods[0].progress_timeout = None;
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.pass(ms(1500));
    boat.part(tag, 1);
    boat.pass(ms(1500));
    boat.progress(tag, 1);
    boat.pass(ms(499) + OUTPUT_LAG);
    assert!(limits_passed(&boat).is_empty());
    boat.pass(ms(1));
    assert_eq!(limits_passed(&boat), [TimeoutWhich::Output], "2 s after the part: progress is no output");
    boat.pass(ms(300));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Output);
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::OutputStall)]);
}

#[test]
fn output_of_the_process_counts_for_all_its_attempts() {
    let mut settings = slotted(watchful(1), 2, 1);
    settings.methods[0].progress_timeout = None;
    let mut boat = Boat::afloat(settings);
    boat.request();
    boat.pass(ms(1000));
    boat.request();
    boat.pass(ms(500));
    boat.tell(Event::OutputSeen { process: life(0, 1) });
    boat.pass(ms(1999) + OUTPUT_LAG);
    assert!(limits_passed(&boat).is_empty());
    boat.pass(ms(1));
    assert_eq!(limits_passed(&boat), [TimeoutWhich::Output; 2]);
}

#[test]
fn output_from_before_the_attempt_does_not_shorten_it() {
    let mut settings = watchful(1);
    settings.methods[0].progress_timeout = None;
    let mut boat = Boat::afloat(settings);
    boat.tell(Event::OutputSeen { process: life(0, 1) });
    boat.pass(ms(1900));
    boat.request();
    boat.pass(ms(1999) + OUTPUT_LAG);
    assert!(limits_passed(&boat).is_empty());
    boat.pass(ms(1));
    assert_eq!(limits_passed(&boat), [TimeoutWhich::Output]);
}

#[test]
fn a_stall_is_retried_only_where_the_policy_says_stall() {
    let others = RetryOn { crash: true, stall: false, timeout: true, failed: true };
    for (on, again) in [(RetryOn { stall: true, ..RetryOn::NOTHING }, true), (others, false)] {
        let mut settings = watchful(2);
        settings.methods[0].retry = retry(on, 2);
        let mut boat = Boat::afloat(settings);
        let tag = boat.request();
        boat.pass(ms(1300));
        boat.dies(life(0, 1), signal(9));
        assert_eq!(boat.sent(tag).attempt == AttemptNumber(2), again);
        assert_eq!(boat.kind(tag), (!again).then_some(OutcomeKind::TimedOut));
        assert_eq!(boat.attempt_ends(), [AttemptEnd::TimedOut]);
    }
}

#[test]
fn progress_after_the_cancel_frame_comes_too_late() {
    let mut boat = Boat::afloat(watchful(1));
    let tag = boat.request();
    boat.pass(ms(1050));
    boat.progress(tag, 1);
    boat.pass(ms(50));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate]);
}

#[test]
fn an_answer_in_time_after_a_stall_is_late_and_saves_the_process() {
    let mut boat = Boat::afloat(watchful(1));
    let tag = boat.request();
    boat.pass(ms(1050));
    boat.ok(tag);
    assert!(matches!(boat.outcome(tag), Some(Told::Ok { late: true, .. })));
    boat.pass(ms(5000));
    assert!(boat.signals(life(0, 1)).is_empty());
}

#[test]
fn of_several_limits_the_first_one_is_named() {
    let mut settings = watchful(1);
    settings.methods[0].attempt_timeout = Some(ms(900));
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.pass(ms(1100));
    assert_eq!(limits_passed(&boat), [TimeoutWhich::Attempt], "what was told to stop is not told again");
    boat.pass(ms(100));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Attempt);
}

#[test]
fn a_place_must_come_in_time() {
    let mut boat = Boat::launch(watchful(1));
    let tag = boat.request();
    boat.pass(ms(1999));
    boat.is_spawned(life(0, 1));
    boat.pass(ms(1000));
    assert_eq!(boat.kind(tag), None);
    boat.pass(ms(1));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Queue);
    assert!(boat.settlement(tag).attempts.is_empty());
}

#[test]
fn once_dispatched_it_waits_for_as_long_as_its_deadline() {
    let mut settings = watchful(1);
    settings.methods[0].retry = retry(RetryOn::default(), 2);
    (settings.pools[0].restart.initial, settings.pools[0].restart.max) = (ms(8000), ms(8000));
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.dies(life(0, 1), exit(1));
    boat.pass(ms(7999));
    assert_eq!(boat.kind(tag), None, "a retry waits on the deadline only");
    let mut boat = Boat::afloat(slotted(watchful(1), 1, 2));
    let (_front, behind) = (boat.request(), boat.request());
    boat.dies(life(0, 1), exit(1));
    boat.pass(ms(5000));
    assert_eq!(boat.kind(behind), None, "so does one that was given back");
}

#[test]
fn a_request_that_is_dispatched_in_time_is_not_in_time_any_more() {
    let mut boat = Boat::afloat(watchful(1));
    let first = boat.request();
    let waits = boat.request();
    boat.pass(ms(900));
    boat.ok(first);
    assert!(boat.was_sent(waits));
    let waited =
        boat.facts.iter().rev().find_map(|fact| {
            if let Fact::FirstDispatched { waited, .. } = fact { Some(*waited) } else { None }
        });
    assert_eq!(waited, Some(ms(900)));
    for _ in 0..4 {
        boat.pass(ms(900));
        boat.progress(waits, 1);
        boat.tell(Event::OutputSeen { process: life(0, 1) });
    }
    assert_eq!(boat.kind(waits), None, "its queue_timeout is no more");
}

#[test]
fn a_client_tightens_each_limit_and_loosens_none() {
    let tight = ClientLimits {
        queue_timeout: Some(ms(10)),
        progress_timeout: Some(ms(20)),
        output_timeout: Some(ms(30)),
        ..ClientLimits::default()
    };
    let loose = ClientLimits {
        queue_timeout: Some(ms(9000)),
        progress_timeout: Some(ms(9000)),
        output_timeout: Some(ms(9000)),
        ..ClientLimits::default()
    };
    for (limits, queue, stall) in [(tight, 10, 20), (loose, 3000, 1000)] {
        let mut boat = Boat::afloat(watchful(1));
        let runs = boat.request_with(limits);
        let waits = boat.request_with(limits);
        let progress = move |boat: &mut Boat| {
            boat.progress(runs, 1);
            boat.tell(Event::OutputSeen { process: life(0, 1) });
        };
        let mut left = queue;
        while left > 5 {
            boat.pass(ms(5));
            progress(&mut boat);
            left -= 5;
        }
        boat.pass(ms(4));
        assert_eq!(boat.kind(waits), None);
        boat.pass(ms(1));
        assert_eq!(boat.timed_out_which(waits), TimeoutWhich::Queue);
        progress(&mut boat);
        boat.pass(ms(stall - 1));
        assert_eq!(boat.cancels(runs), 0);
        boat.pass(ms(1));
        assert_eq!(boat.cancels(runs), 1);
    }
}

#[test]
fn a_client_may_ask_for_a_limit_that_the_method_does_not_have() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request_with(progress(50));
    let waits = ClientLimits { queue_timeout: Some(ms(20)), ..ClientLimits::default() };
    let waits = boat.request_with(waits);
    boat.pass(ms(20));
    assert_eq!(boat.timed_out_which(waits), TimeoutWhich::Queue);
    boat.pass(ms(30));
    assert_eq!(limits_passed(&boat), [TimeoutWhich::Queue, TimeoutWhich::Progress]);
    boat.answer(tag, Answer::Cancelled);
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate], "a handler that only stops saves nothing");
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Progress);
}

#[test]
fn stalls_are_limits_during_a_shutdown_too() {
    let mut boat = Boat::afloat(watchful(1));
    let tag = boat.request();
    boat.pass(ms(100));
    boat.tell(Event::ShutdownRequested);
    boat.pass(ms(900));
    assert_eq!(limits_passed(&boat), [TimeoutWhich::Progress]);
    boat.pass(ms(300));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Progress);
}

#[test]
fn an_attempt_that_never_started_has_no_limits_left_behind() {
    let mut settings = watchful(2);
    settings.methods[0].retry = retry(RetryOn::default(), 2);
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.pass(ms(500));
    boat.exits_unread(life(0, 1));
    boat.is_collected(life(0, 1), exit(1));
    assert_eq!((boat.place(tag), boat.sent(tag).attempt), ((1, 0), AttemptNumber::FIRST));
    boat.pass(ms(999));
    assert!(limits_passed(&boat).is_empty(), "its first start does not count");
    boat.pass(ms(1));
    assert_eq!(limits_passed(&boat), [TimeoutWhich::Progress]);
}
