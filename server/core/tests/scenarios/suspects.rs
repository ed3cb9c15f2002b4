//! Requests that may be to blame for a process's death run alone until they are cleared.

use lifeboat_core::event::{Answer, ClientLimits, Operation, Target};
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, ClientTag, WorkerId};
use lifeboat_core::reason::OutcomeKind;
use lifeboat_core::settings::{Backoff, Jitter, RetryOn, RetryPolicy, Settings};
use lifeboat_core::view::RequestState;

use crate::boat::{Boat, life, ms, plain, retry, retrying, signal, slotted};

const OK: Option<OutcomeKind> = Some(OutcomeKind::Ok);
const CRASHED: Option<OutcomeKind> = Some(OutcomeKind::Crashed);

/// So many requests, one after the other.
fn requests<const N: usize>(boat: &mut Boat) -> [ClientTag; N] {
    [(); N].map(|()| boat.request())
}

/// One worker with four slots, all of them busy; every request may have two attempts.
fn one_worker() -> (Boat, [ClientTag; 4]) {
    let mut boat = Boat::afloat(slotted(retrying(1, 2), 4, 1));
    let tags = requests(&mut boat);
    (boat, tags)
}

/// Two workers with two slots each, all of them busy: the second and the fourth request are with the second worker.
fn two_workers(settings: Settings) -> (Boat, [ClientTag; 4]) {
    let mut boat = Boat::afloat(slotted(settings, 2, 1));
    let tags = requests(&mut boat);
    assert_eq!(tags.map(|tag| boat.place(tag)), [(0, 0), (1, 0), (0, 1), (1, 1)]);
    (boat, tags)
}

fn attempts(boat: &Boat, tag: ClientTag) -> u16 {
    boat.sent(tag).attempt.0
}

/// How often a process was set apart, and how often one was freed.
fn set_apart(boat: &Boat) -> (usize, usize) {
    let count = |wanted| boat.count(|fact| matches!(fact, Fact::SetApart { apart, .. } if *apart == wanted));
    (count(true), count(false))
}

fn is_suspect(boat: &Boat, tag: ClientTag) -> bool {
    let request = boat.sent(tag).request;
    boat.core.requests(100).0.iter().any(|view| view.request == request && view.suspect)
}

#[test]
fn a_poison_request_is_convicted_alone_and_its_neighbours_are_cleared_alone() {
    let (mut boat, tags) = one_worker();
    boat.dies(life(0, 1), signal(11));
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    assert_eq!(tags.map(|tag| attempts(&boat, tag)), [2, 1, 1, 1], "one at a time, the oldest first");
    boat.ok(tags[0]);
    assert_eq!(tags.map(|tag| attempts(&boat, tag)), [2, 2, 1, 1]);
    boat.dies(life(0, 2), signal(11));
    assert_eq!(boat.kinds(tags), [OK, CRASHED, None, None], "nobody died with it");
    boat.becomes_ready(life(0, 3));
    boat.ok(tags[2]);
    boat.ok(tags[3]);
    assert_eq!(boat.kinds(tags), [OK, CRASHED, OK, OK]);
}

#[test]
fn whoever_was_alone_when_it_killed_its_process_is_a_suspect_too() {
    let mut boat = Boat::afloat(slotted(retrying(1, 2), 2, 1));
    let poison = boat.request();
    boat.dies(life(0, 1), signal(11));
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    let later = boat.request();
    assert!(is_suspect(&boat, poison) && !boat.was_sent(later), "nobody is put beside it");
    boat.dies(life(0, 2), signal(11));
    assert_eq!(boat.kind(poison), CRASHED);
}

#[test]
fn nothing_is_put_behind_a_suspect_either() {
    let mut boat = Boat::afloat(slotted(retrying(1, 2), 2, 4));
    let poison = boat.request();
    boat.dies(life(0, 1), signal(11));
    let later: [ClientTag; 3] = requests(&mut boat);
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    assert_eq!(later.map(|tag| boat.was_sent(tag)), [false; 3]);
    boat.ok(poison);
    assert_eq!(later.map(|tag| boat.was_sent(tag)), [true; 3]);
}

#[test]
fn a_pool_whose_processes_execute_one_at_a_time_has_no_suspects() {
    let mut boat = Boat::afloat(slotted(retrying(1, 2), 1, 4));
    let [first, behind] = requests(&mut boat);
    boat.dies(life(0, 1), signal(11));
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    assert!(!is_suspect(&boat, first));
    assert_eq!([first, behind].map(|tag| boat.place(tag)), [(0, 0); 2], "what waits behind does not start");
}

#[test]
fn only_the_request_whose_limit_passed_is_to_blame_for_a_kill() {
    let mut settings = plain(2);
    settings.methods[0].retry = retry(RetryOn { timeout: true, ..RetryOn::default() }, 2);
    let mut boat = Boat::afloat(slotted(settings, 2, 1));
    let slow = ClientLimits { attempt_timeout: Some(ms(1000)), ..ClientLimits::default() };
    let slow = boat.request_with(slow);
    let [other, neighbour] = requests(&mut boat);
    boat.pass(ms(1300));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.place(neighbour), (1, 1), "it shares a process at once");
    assert_eq!(attempts(&boat, slow), 1, "the one that hung waits for an empty one");
    boat.ok(other);
    boat.ok(neighbour);
    assert_eq!((boat.place(slow), attempts(&boat, slow)), ((1, 0), 2));
}

#[test]
fn a_cancelled_request_that_does_not_stop_makes_nobody_a_suspect() {
    let mut boat = Boat::afloat(slotted(retrying(1, 2), 2, 1));
    let [stubborn, neighbour] = requests(&mut boat);
    boat.cancel(stubborn);
    boat.pass(ms(300));
    boat.dies(life(0, 1), signal(9));
    assert!(!is_suspect(&boat, neighbour));
}

#[test]
fn a_person_who_kills_a_process_makes_nobody_a_suspect_and_clears_nobody() {
    let (mut boat, tags) = one_worker();
    boat.operate(Operation::Kill, Target::Worker(WorkerId(0)));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(tags.map(|tag| is_suspect(&boat, tag)), [false; 4]);
    let mut boat = Boat::afloat(slotted(retrying(1, 3), 2, 1));
    let poison = boat.request();
    boat.dies(life(0, 1), signal(11));
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    boat.operate(Operation::Kill, Target::Worker(WorkerId(0)));
    boat.dies(life(0, 2), signal(9));
    assert!(is_suspect(&boat, poison));
}

#[test]
fn a_process_is_set_apart_until_it_is_empty_and_the_others_serve_on() {
    let (mut boat, tags) = two_workers(retrying(2, 2));
    boat.ok(tags[1]);
    boat.ok(tags[3]);
    let long = boat.request();
    boat.dies(life(0, 1), signal(11));
    assert_eq!((boat.place(long), set_apart(&boat)), ((1, 0), (1, 0)), "the only one that serves");
    let waits = boat.request();
    assert!(!boat.was_sent(waits), "it would never be empty");
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    assert_eq!(boat.place(waits), (0, 0), "the new one serves; the suspects avoid its worker");
    boat.ok(long);
    assert_eq!((boat.place(tags[0]), attempts(&boat, tags[0])), ((1, 0), 2));
    assert_eq!(attempts(&boat, tags[2]), 1, "it runs alone");
    boat.ok(tags[0]);
    assert_eq!((boat.place(tags[2]), attempts(&boat, tags[2])), ((1, 0), 2));
    let [beside] = requests(&mut boat);
    assert_eq!(boat.place(beside), (0, 1));
    boat.ok(tags[2]);
    let [next] = requests(&mut boat);
    assert_eq!(boat.place(next), (1, 0), "nobody waits for it any more");
}

#[test]
fn a_process_is_free_again_when_the_last_suspect_is_cancelled() {
    let (mut boat, tags) = two_workers(retrying(2, 2));
    boat.dies(life(0, 1), signal(11));
    boat.ok(tags[1]);
    let later = boat.request();
    assert!(!boat.was_sent(later));
    boat.cancel(tags[0]);
    assert!(!boat.was_sent(later), "another one waits");
    boat.cancel(tags[2]);
    assert_eq!((boat.place(later), set_apart(&boat)), ((1, 0), (1, 1)));
}

#[test]
fn at_most_half_of_the_processes_are_kept_from_the_others() {
    let mut boat = Boat::afloat(slotted(retrying(4, 2), 4, 1));
    let tags: [ClientTag; 16] = requests(&mut boat);
    boat.dies(life(0, 1), signal(11));
    assert_eq!(set_apart(&boat), (2, 0), "of three that serve; four suspects wait");
    let (suspects, others): (Vec<_>, Vec<_>) = tags.into_iter().partition(|tag| boat.place(*tag).0 == 0);
    let third: Vec<_> = others.iter().copied().filter(|tag| boat.place(*tag).0 == 3).collect();
    for tag in third {
        boat.ok(tag);
    }
    let alone = |boat: &Boat| suspects.iter().filter(|tag| attempts(boat, **tag) == 2).count();
    assert_eq!(alone(&boat), 1, "one that is empty is used whoever is set apart");
    let open: Vec<_> = others.into_iter().filter(|tag| boat.kind(*tag).is_none()).collect();
    for tag in open {
        boat.ok(tag);
    }
    assert_eq!(alone(&boat), 3, "one of them runs on each worker but its last one");
}

#[test]
fn a_suspect_whose_handler_said_no_shares_again() {
    let mut settings = retrying(1, 3);
    settings.methods[0].retry = retry(RetryOn { failed: true, ..RetryOn::default() }, 3);
    let mut boat = Boat::afloat(slotted(settings, 2, 1));
    let tag = boat.request();
    boat.dies(life(0, 1), signal(11));
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    let beside = boat.request();
    assert!(!boat.was_sent(beside));
    boat.answer(tag, Answer::Failed { answer: 1, again: Some(ms(0)) });
    assert_eq!((boat.sent(tag).attempt, is_suspect(&boat, tag)), (AttemptNumber(3), false));
    assert!(boat.was_sent(beside), "its process lives: it was not to blame");
}

#[test]
fn a_suspect_is_shown_as_one_while_it_waits_and_while_it_runs() {
    let (mut boat, tags) = two_workers(retrying(2, 2));
    boat.dies(life(0, 1), signal(11));
    let shown = |boat: &Boat| {
        let (all, _) = boat.core.requests(100);
        all.into_iter().map(|view| (view.state, view.suspect)).collect::<Vec<_>>()
    };
    let (waits, runs) = (RequestState::Queued, RequestState::Running);
    assert_eq!(shown(&boat), [(waits, true), (runs, false), (waits, true), (runs, false)]);
    boat.ok(tags[1]);
    boat.ok(tags[3]);
    assert_eq!(shown(&boat), [(runs, true), (waits, true)]);
}

#[test]
fn whoever_comes_back_does_not_wait_for_a_worker_that_is_set_apart_now() {
    let mut settings = retrying(2, 3);
    settings.methods[0].retry = retry(RetryOn { failed: true, crash: true, ..RetryOn::default() }, 3);
    if let RetryPolicy::Retry { backoff, .. } = &mut settings.methods[0].retry {
        *backoff = Backoff { first: ms(200), jitter: Jitter::None, ..Backoff::default() };
    }
    let (mut boat, tags) = two_workers(settings);
    boat.answer(tags[0], Answer::Failed { answer: 1, again: Some(ms(0)) });
    boat.pass(ms(50));
    boat.dies(life(0, 1), signal(11));
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    boat.pass(ms(60));
    assert_eq!(attempts(&boat, tags[0]), 1, "it avoids the first worker, and the other one is full");
    boat.pass(ms(60));
    assert_eq!(set_apart(&boat), (1, 0), "for the suspect, which avoids the first worker too");
    assert_eq!((boat.place(tags[0]), attempts(&boat, tags[0])), ((0, 0), 2));
}

/// Half of the time that a suspect has left is for finding another worker than its last one.
#[test]
fn a_suspect_goes_back_to_its_last_worker_when_the_other_one_is_busy_for_too_long() {
    let (mut boat, tags) = two_workers(retrying(2, 2));
    let time_left = boat.core.settings().methods[0].deadline;
    boat.dies(life(0, 1), signal(11));
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    boat.pass(time_left / 2 - ms(101));
    assert_eq!([tags[0], tags[2]].map(|tag| attempts(&boat, tag)), [1, 1], "another one is ready");
    boat.pass(ms(2));
    assert_eq!((boat.place(tags[0]), attempts(&boat, tags[0])), ((0, 0), 2));
    assert_eq!(attempts(&boat, tags[2]), 1, "it runs alone");
    boat.ok(tags[0]);
    assert_eq!((boat.place(tags[2]), attempts(&boat, tags[2])), ((0, 0), 2));
    let [beside] = requests(&mut boat);
    boat.ok(tags[1]);
    assert_eq!(boat.place(beside), (1, 0), "the other one is there for anybody again");
}

#[test]
fn a_suspect_does_not_wait_for_a_worker_that_never_comes_up() {
    let (mut boat, tags) = two_workers(retrying(2, 2));
    let time_left = boat.core.settings().methods[0].deadline;
    boat.dies(life(0, 1), signal(11));
    boat.dies(life(1, 1), signal(11));
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    let suspects = [tags[1], tags[3]];
    assert_eq!(boat.place(tags[1]), (0, 0), "it was with the other one");
    boat.ok(tags[1]);
    boat.ok(tags[3]);
    let later: [ClientTag; 2] = requests(&mut boat);
    assert_eq!(suspects.map(|tag| boat.kind(tag)), [OK; 2]);
    assert_eq!(later.map(|tag| boat.place(tag).0), [0, 0], "while the other one starts");
    assert_eq!(attempts(&boat, tags[0]), 1);
    boat.pass(time_left / 2);
    let [beside] = requests(&mut boat);
    assert!(!boat.was_sent(beside), "the one that serves is set apart, whether the other one starts or not");
    later.into_iter().for_each(|tag| boat.ok(tag));
    assert_eq!((boat.place(tags[0]), attempts(&boat, tags[0])), ((0, 0), 2));
}

#[test]
fn the_one_that_holds_least_is_set_apart_and_the_fullest_is_freed() {
    let mut boat = Boat::afloat(slotted(retrying(4, 2), 4, 1));
    let tags: [ClientTag; 16] = requests(&mut boat);
    let of = |worker| tags.into_iter().filter(move |tag| usize::try_from(tag.0).unwrap() % 4 == worker);
    let places: Vec<_> =
        (0..4).map(|worker| of(worker).map(|tag| boat.place(tag).0).collect::<Vec<_>>()).collect();
    let with = |worker: u16| {
        let group = places.iter().position(|group| group.iter().all(|place| *place == worker));
        of(group.expect("one after the other")).collect::<Vec<_>>()
    };
    let (first, second, third) = (with(0), with(1), with(2));
    second[..3].iter().for_each(|tag| boat.ok(*tag));
    third[..1].iter().for_each(|tag| boat.ok(*tag));
    first[..2].iter().for_each(|tag| boat.ok(*tag));
    boat.dies(life(0, 1), signal(11));
    let changes = |boat: &Boat| -> Vec<_> {
        let told = |fact: &Fact| {
            let Fact::SetApart { process, apart, .. } = fact else { return None };
            Some((process.worker.0, *apart))
        };
        boat.facts.iter().filter_map(told).collect()
    };
    assert_eq!(changes(&boat), [(1, true), (2, true)], "they hold one, three and four");
    boat.cancel(first[2]);
    assert_eq!(changes(&boat)[2..], [(2, false)]);
}
