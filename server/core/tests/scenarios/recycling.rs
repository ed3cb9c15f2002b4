//! Planned replacement: what makes a process due, and one worker of a pool at a time.

use std::num::NonZeroU32;

use lifeboat_core::event::{Answer, Event, Operation, Target};
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{PoolId, ProcessKey};
use lifeboat_core::reason::{OutcomeKind, StopReason};
use lifeboat_core::settings::Settings;

use crate::boat::{Boat, exit, life, ms, plain, slotted};

/// A process is replaced after so many answers.
fn after(answers: u32, mut settings: Settings) -> Settings {
    settings.pools[0].recycle.requests = NonZeroU32::new(answers);
    settings
}

pub(crate) fn due(boat: &Boat) -> Vec<(ProcessKey, StopReason)> {
    let due = |fact: &Fact| {
        if let Fact::RecycleDue { process, reason, .. } = fact { Some((*process, *reason)) } else { None }
    };
    boat.facts.iter().filter_map(due).collect()
}

#[test]
fn memory_that_was_too_much_before_it_was_ready_counts_when_it_is() {
    let mut boat = Boat::launch(plain(1));
    boat.tell(Event::Spawned { process: life(0, 1), pid: 1 });
    boat.tell(Event::MemoryHigh { process: life(0, 1) });
    assert!(due(&boat).is_empty());
    boat.tell(Event::Ready { process: life(0, 1), heartbeats: false });
    assert_eq!(due(&boat), [(life(0, 1), StopReason::RecycleMemory)]);
    boat.tell(Event::Spawned { process: life(0, 2), pid: 2 });
    boat.tell(Event::MemoryHigh { process: life(0, 2) });
    boat.tell(Event::Ready { process: life(0, 2), heartbeats: false });
    assert_eq!(due(&boat).last(), Some(&(life(0, 2), StopReason::RecycleMemory)), "its successor as well");
}

#[test]
fn after_its_number_of_answers() {
    let mut boat = Boat::afloat(after(2, plain(1)));
    let first = boat.request();
    boat.ok(first);
    assert!(due(&boat).is_empty());
    let second = boat.request();
    boat.answer(second, Answer::Failed { answer: 1, again: None });
    assert_eq!(due(&boat), [(life(0, 1), StopReason::RecycleRequests)]);
    assert_eq!(boat.spawned(), [life(0, 2)], "the successor is ordered while the old one serves on");
    let meanwhile = boat.request();
    assert_eq!(boat.sent(meanwhile).process, life(0, 1));
    boat.becomes_ready(life(0, 2));
    let next = boat.request();
    assert_eq!(boat.sent(next).process, life(0, 2), "from here on it is given nothing more");
    assert!(!boat.was_drained(life(0, 1)), "it finishes what it holds");
    boat.ok(meanwhile);
    assert!(boat.was_drained(life(0, 1)));
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.stops(), [(life(0, 1), StopReason::RecycleRequests)]);
    assert_eq!(boat.kind(meanwhile), Some(OutcomeKind::Ok));
    assert!(boat.crashes().is_empty() && boat.was_released(life(0, 1)));
    assert_eq!(boat.spawned(), [life(0, 2)], "nobody else is needed");
}

#[test]
fn at_its_age_less_up_to_a_tenth() {
    let mut settings = plain(1);
    settings.pools[0].recycle.age = Some(ms(10_000));
    let mut ages = Vec::new();
    for seed in 0..8 {
        let mut boat = Boat::afloat(settings.clone());
        boat.pass(ms(8_999 - seed));
        assert!(due(&boat).is_empty());
        while due(&boat).is_empty() {
            boat.pass(ms(1));
        }
        ages.push(boat.now);
        assert_eq!(due(&boat), [(life(0, 1), StopReason::RecycleAge)]);
        assert!(boat.now - lifeboat_core::time::Timestamp::from_millis(1000) <= ms(10_000));
    }
    let mut boat = Boat::afloat({
        settings.pools[0].workers = std::num::NonZeroU16::new(4).unwrap();
        settings
    });
    boat.pass(ms(9_999));
    let spread = due(&boat).len();
    assert!(spread > 0, "what started together does not end together: {spread}");
}

#[test]
fn after_idle_time_if_it_has_served() {
    let mut settings = plain(1);
    settings.pools[0].recycle.idle = Some(ms(1000));
    let mut boat = Boat::afloat(settings);
    boat.pass(ms(20_000));
    assert!(due(&boat).is_empty(), "it has never served: a new one would be no better");
    let tag = boat.request();
    boat.pass(ms(3000));
    boat.ok(tag);
    boat.pass(ms(999));
    assert!(due(&boat).is_empty());
    boat.pass(ms(1));
    assert_eq!(due(&boat), [(life(0, 1), StopReason::RecycleIdle)]);
    boat.becomes_ready(life(0, 2));
    assert!(boat.was_drained(life(0, 1)), "it has nothing to finish");
}

#[test]
fn for_its_memory_and_the_first_reason_stays() {
    let mut boat = Boat::afloat(after(1, plain(1)));
    let tag = boat.request();
    boat.tell(Event::MemoryHigh { process: life(0, 1) });
    boat.ok(tag);
    assert_eq!(due(&boat), [(life(0, 1), StopReason::RecycleMemory)]);
    boat.becomes_ready(life(0, 2));
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.stops(), [(life(0, 1), StopReason::RecycleMemory)]);
}

#[test]
fn because_a_handler_asked_for_it() {
    let mut boat = Boat::afloat(slotted(plain(1), 1, 2));
    let [asks, behind] = [(); 2].map(|()| boat.request());
    boat.retires(life(0, 1));
    assert_eq!(due(&boat), [(life(0, 1), StopReason::RecycleAsked)]);
    boat.answer(asks, Answer::Failed { answer: 1, again: None });
    assert_eq!(boat.spawned(), [life(0, 2)]);
    let meanwhile = boat.request();
    assert_eq!(boat.sent(meanwhile).process, life(0, 1), "it serves on until its successor is ready");
    boat.retires(life(0, 1));
    boat.becomes_ready(life(0, 2));
    let next = boat.request();
    assert_eq!(boat.sent(next).process, life(0, 2));
    boat.retires(life(0, 1));
    boat.ok(behind);
    assert!(!boat.was_drained(life(0, 1)));
    boat.ok(meanwhile);
    assert!(boat.was_drained(life(0, 1)), "what it held is finished");
    boat.dies(life(0, 1), exit(0));
    boat.retires(life(0, 1));
    assert_eq!(boat.stops(), [(life(0, 1), StopReason::RecycleAsked)]);
    assert_eq!((due(&boat).len(), boat.spawned().len()), (1, 1), "asked again, nothing more happens");
    assert!(boat.crashes().is_empty());
}

#[test]
fn a_wish_of_one_that_is_not_ready_or_leaves_already_changes_nothing() {
    let mut boat = Boat::launch(plain(1));
    boat.is_spawned(life(0, 1));
    boat.retires(life(0, 1));
    boat.tell(Event::Ready { process: life(0, 1), heartbeats: false });
    assert!(due(&boat).is_empty());
    boat.operate(Operation::Drain, Target::Pool(PoolId(0)));
    boat.retires(life(0, 1));
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.stops(), [(life(0, 1), StopReason::Drain)]);
    assert!(due(&boat).is_empty());
}

#[test]
fn one_worker_of_a_pool_at_a_time() {
    let mut boat = Boat::afloat(plain(3));
    for worker in 0..3 {
        boat.tell(Event::MemoryHigh { process: life(worker, 1) });
    }
    assert_eq!((due(&boat).len(), boat.spawned()), (3, vec![life(0, 2)]));
    assert_eq!(boat.core.view(boat.now).workers[2].recycling, Some(StopReason::RecycleMemory));
    boat.becomes_ready(life(0, 2));
    assert_eq!(
        boat.spawned(),
        [life(0, 2), life(1, 2)],
        "the next one's turn comes with the successor's readiness"
    );
    boat.becomes_ready(life(1, 2));
    boat.becomes_ready(life(2, 2));
    for worker in 0..3 {
        assert!(boat.was_drained(life(worker, 1)));
    }
    assert!(boat.core.ready());
}
