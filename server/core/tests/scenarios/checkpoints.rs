//! What an attempt leaves for the next one.

use std::collections::BTreeSet;
use std::time::Duration;

use lifeboat_core::event::{Answer, Event, Operation, Target};
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, PoolId};
use lifeboat_core::reason::OutcomeKind;
use lifeboat_core::settings::RetryOn;

use crate::boat::{Boat, Sent, life, ms, plain, retry, retrying, signal, slotted};

fn refused(boat: &Boat) -> usize {
    boat.facts.iter().filter(|fact| matches!(fact, Fact::AnswerRefused { .. })).count()
}

#[test]
fn the_next_attempt_is_told_what_was_saved_last_and_every_attempt_before() {
    let mut boat = Boat::afloat(retrying(2, 3));
    let tag = boat.request();
    assert_eq!(boat.sent(tag).past, (0, None), "nothing comes before a first attempt");
    boat.save(tag, 1);
    boat.save(tag, 2);
    let first = boat.sent(tag).process;
    boat.dies(first, signal(11));
    assert_eq!((boat.sent(tag).attempt, boat.sent(tag).past), (AttemptNumber(2), (1, Some(2))));
    let second = boat.sent(tag).process;
    boat.dies(second, signal(11));
    boat.pass(ms(2000));
    boat.becomes_ready(life(first.worker.0, 2));
    assert_eq!(boat.sent(tag).past, (2, Some(2)), "an attempt that saved nothing leaves what was there");
}

#[test]
fn what_is_saved_between_the_death_and_its_evidence_counts() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.request();
    let process = boat.sent(tag).process;
    boat.closes_connection(process);
    boat.save(tag, 5);
    boat.dies(process, signal(11));
    assert_eq!(boat.sent(tag).past, (1, Some(5)));
}

#[test]
fn only_the_executing_attempt_saves_and_the_others_are_refused() {
    let mut boat = Boat::afloat(slotted(retrying(1, 2), 1, 2));
    let (first, behind) = (boat.request(), boat.request());
    boat.save(behind, 1);
    assert_eq!(refused(&boat), 1, "it has not begun");
    let Sent { process, request, .. } = boat.sent(first);
    boat.tell(Event::Saved { process, request, attempt: AttemptNumber(2), item: 2, bytes: 1 });
    assert_eq!(refused(&boat), 2, "that attempt was never made");
    boat.ok(first);
    boat.tell(Event::Saved { process, request, attempt: AttemptNumber(1), item: 3, bytes: 1 });
    assert_eq!(refused(&boat), 3, "it is over");
    boat.save(behind, 4);
    assert_eq!(refused(&boat), 3, "now it executes");
    assert!(boat.signals(process).is_empty(), "and nobody is ended for it");
}

#[test]
fn what_a_cancelled_request_saves_is_refused() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.cancel(tag);
    boat.save(tag, 1);
    assert_eq!(refused(&boat), 1);
}

#[test]
fn a_save_is_progress() {
    let mut settings = plain(1);
    settings.methods[0].progress_timeout = Some(ms(100));
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    for item in 0..5 {
        boat.pass(ms(80));
        boat.save(tag, item);
    }
    assert_eq!(boat.kind(tag), None, "it moves");
    boat.pass(ms(5000));
    assert!(!boat.signals(life(0, 1)).is_empty(), "and now it does not");
}

#[test]
fn what_is_saved_does_not_stand_in_the_way_of_a_retry_and_is_forgotten_at_the_end() {
    let mut settings = plain(1);
    settings.methods[0].retry = retry(RetryOn { failed: true, ..RetryOn::NOTHING }, 2);
    let mut boat = Boat::afloat(settings);
    let tag = boat.stream(false);
    boat.save(tag, 1);
    boat.answer(tag, Answer::Failed { answer: 1, again: Some(Duration::ZERO) });
    assert_eq!(boat.sent(tag).past, (1, Some(1)));
    let request = boat.sent(tag).request;
    boat.ok(tag);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
    assert!(boat.core.past(request).is_none());
}

#[test]
fn a_save_that_the_pool_has_no_room_for_ends_the_retries_until_one_fits() {
    let big = 4 << 20;
    for (then, retried) in [(None, false), (Some(10), true)] {
        let mut settings = retrying(1, 2);
        settings.pools[0].queue.max_bytes = 0;
        let mut boat = Boat::afloat(settings);
        let tag = boat.request();
        boat.save(tag, 1);
        let Sent { process, request, attempt, .. } = boat.sent(tag);
        for item in [2, 3] {
            boat.tell(Event::Saved { process, request, attempt, item, bytes: big });
        }
        let dropped = boat.facts.iter().filter(|fact| matches!(fact, Fact::SaveDropped { .. })).count();
        assert_eq!(dropped, 2, "each is told");
        if let Some(bytes) = then {
            boat.tell(Event::Saved { process, request, attempt, item: 4, bytes });
        }
        boat.dies(process, signal(11));
        if retried {
            boat.pass(ms(2000));
            boat.becomes_ready(life(0, 2));
            assert_eq!(boat.sent(tag).past, (1, Some(4)));
        } else {
            assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed), "not retried from before what it saved");
        }
    }
}

#[test]
fn attempts_that_execute_always_have_room_for_the_longest_save() {
    let mut settings = slotted(retrying(2, 2), 2, 1);
    settings.pools[0].queue.max_bytes = 0;
    let mut boat = Boat::afloat(settings);
    let tags: Vec<_> = (0..4).map(|_| boat.request()).collect();
    for item in [1, 2] {
        for tag in &tags {
            let Sent { process, request, attempt, .. } = boat.sent(*tag);
            let bytes = (1 << 20) + (64 << 10);
            boat.tell(Event::Saved { process, request, attempt, item, bytes });
        }
    }
    let kept = boat.facts.iter().filter(|fact| matches!(fact, Fact::Saved { .. })).count();
    assert_eq!(kept, 8);
}

#[test]
fn also_while_every_process_finishes_what_it_holds_beside_its_successor() {
    let mut settings = retrying(3, 2);
    settings.pools[0].queue.max_bytes = 0;
    let mut boat = Boat::afloat(settings);
    let mut tags: Vec<_> = (0..3).map(|_| boat.request()).collect();
    boat.operate(Operation::Restart, Target::Pool(PoolId(0)));
    for worker in 0..3 {
        boat.becomes_ready(life(worker, 2));
        tags.push(boat.request());
    }
    let processes: BTreeSet<_> = tags.iter().map(|tag| boat.sent(*tag).process).collect();
    assert_eq!(processes.len(), 6, "all of them execute");
    for tag in &tags {
        let Sent { process, request, attempt, .. } = boat.sent(*tag);
        boat.tell(Event::Saved { process, request, attempt, item: 1, bytes: (1 << 20) + (64 << 10) });
    }
    assert_eq!(boat.count(|fact| matches!(fact, Fact::Saved { .. })), 6);
}
