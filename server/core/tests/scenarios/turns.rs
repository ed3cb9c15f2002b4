//! Whose turn it is among the clients of a pool.

use lifeboat_core::event::{Answer, Event};
use lifeboat_core::ids::{ClientId, ClientTag};
use lifeboat_core::reason::OutcomeKind;
use lifeboat_core::settings::{RetryOn, Settings};

use crate::boat::{Boat, CLIENT, Wish, life, ms, plain, retry, signal};

const SECOND: ClientId = ClientId(2);
const THIRD: ClientId = ClientId(3);

fn crew(settings: Settings) -> Boat {
    let mut boat = Boat::afloat(settings);
    for client in [SECOND, THIRD] {
        boat.tell(Event::ClientOpened { client });
    }
    boat
}

fn ask(boat: &mut Boat, client: ClientId) -> ClientTag {
    boat.request_of(client, Wish::default())
}

/// Answers what runs on worker 0 until nothing does; gives the requests in the order in which they were dispatched.
fn work_off(boat: &mut Boat) -> Vec<ClientTag> {
    let from = boat.sent.len();
    while let Some(sent) = boat.sent.last().copied().filter(|sent| boat.kind(sent.tag).is_none()) {
        boat.ok(sent.tag);
    }
    boat.sent[from..].iter().map(|sent| sent.tag).collect()
}

#[test]
fn whoever_waits_gets_one_before_anybody_gets_a_second() {
    let mut boat = crew(plain(1));
    ask(&mut boat, CLIENT);
    let [a1, a2, a3] = [(); 3].map(|()| ask(&mut boat, CLIENT));
    let [b1, b2] = [(); 2].map(|()| ask(&mut boat, SECOND));
    let c1 = ask(&mut boat, THIRD);
    assert_eq!(work_off(&mut boat), [a1, b1, c1, a2, b2, a3]);
}

#[test]
fn one_client_alone_is_served_in_the_order_of_its_coming() {
    let mut boat = crew(plain(1));
    ask(&mut boat, SECOND);
    let tags = [(); 4].map(|()| ask(&mut boat, SECOND));
    assert_eq!(work_off(&mut boat), tags);
}

#[test]
fn a_client_that_comes_late_does_not_wait_for_a_long_line() {
    let mut boat = crew(plain(1));
    ask(&mut boat, CLIENT);
    let long = [(); 6].map(|()| ask(&mut boat, CLIENT));
    let running = boat.sent.last().unwrap().tag;
    boat.ok(running);
    assert!(boat.was_sent(long[0]));
    let late = ask(&mut boat, SECOND);
    let order = work_off(&mut boat);
    assert_eq!(order[..3], [long[1], late, long[2]], "one more of the line, at most");
}

#[test]
fn a_client_that_pauses_does_not_save_up_turns() {
    let mut boat = crew(plain(1));
    ask(&mut boat, CLIENT);
    let a = [(); 3].map(|()| ask(&mut boat, CLIENT));
    let running = boat.sent.last().unwrap().tag;
    boat.ok(running);
    boat.ok(a[0]);
    let b = [(); 3].map(|()| ask(&mut boat, SECOND));
    assert_eq!(work_off(&mut boat), [a[2], b[0], b[1], b[2]]);
}

#[test]
fn who_gives_up_does_not_cost_the_others_a_turn() {
    let mut boat = crew(plain(1));
    ask(&mut boat, CLIENT);
    let a = [(); 2].map(|()| ask(&mut boat, CLIENT));
    let b = [(); 2].map(|()| ask(&mut boat, SECOND));
    let c = [(); 2].map(|()| ask(&mut boat, THIRD));
    boat.tell(Event::CancelReceived { client: SECOND, tag: b[0] });
    boat.tell(Event::CancelReceived { client: SECOND, tag: b[1] });
    assert_eq!(work_off(&mut boat), [a[0], c[0], a[1], c[1]]);
}

#[test]
fn who_gives_up_one_keeps_the_turn_for_the_next() {
    let mut boat = crew(plain(1));
    ask(&mut boat, CLIENT);
    let a = [(); 2].map(|()| ask(&mut boat, CLIENT));
    let b = [(); 2].map(|()| ask(&mut boat, SECOND));
    boat.tell(Event::CancelReceived { client: SECOND, tag: b[0] });
    assert_eq!(work_off(&mut boat), [a[0], b[1], a[1]]);
}

#[test]
fn requests_that_come_back_go_before_all_turns() {
    let mut settings = plain(1);
    settings.methods[0].retry = retry(RetryOn { failed: true, ..RetryOn::NOTHING }, 2);
    let mut boat = crew(settings);
    let back = ask(&mut boat, CLIENT);
    let a = ask(&mut boat, CLIENT);
    let b = ask(&mut boat, SECOND);
    boat.answer(back, Answer::Failed { answer: 1, again: Some(ms(0)) });
    assert_eq!(boat.sent.last().map(|sent| sent.tag), Some(back), "its client had its turn");
    assert_eq!(work_off(&mut boat), [a, b]);
    assert_eq!(boat.kind(back), Some(OutcomeKind::Ok));
}

#[test]
fn what_was_given_back_free_of_charge_comes_first_in_the_order_of_acceptance() {
    let mut settings = crate::boat::slotted(plain(1), 1, 3);
    settings.pools[0].restart.initial = ms(10);
    let mut boat = crew(settings);
    let running = ask(&mut boat, CLIENT);
    let a = ask(&mut boat, CLIENT);
    let b = ask(&mut boat, SECOND);
    let c = ask(&mut boat, THIRD);
    assert!(!boat.was_sent(c));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(running), Some(OutcomeKind::Crashed));
    boat.pass(ms(10));
    let from = boat.sent.len();
    boat.becomes_ready(life(0, 2));
    let order: Vec<ClientTag> = boat.sent[from..].iter().map(|sent| sent.tag).collect();
    assert_eq!(order, [a, b, c]);
}

#[test]
fn pools_have_turns_of_their_own() {
    let mut settings = plain(1);
    let mut pool = settings.pools[0].clone();
    pool.name = "sounds".into();
    settings.pools.push(pool);
    let mut method = settings.methods[0].clone();
    (method.name, method.pool) = ("mix".into(), lifeboat_core::ids::PoolId(1));
    settings.methods.push(method);
    let mut boat = crew(settings);
    ask(&mut boat, CLIENT);
    let mix = lifeboat_core::ids::MethodId(1);
    let other = boat.request_to(SECOND, mix, Wish::default());
    let [a1, a2] = [(); 2].map(|()| ask(&mut boat, CLIENT));
    let b = ask(&mut boat, SECOND);
    boat.ok(other);
    let first = boat.sent[0].tag;
    boat.ok(first);
    boat.ok(a1);
    assert!(boat.was_sent(b) && !boat.was_sent(a2), "a turn in one pool is none in another");
}
