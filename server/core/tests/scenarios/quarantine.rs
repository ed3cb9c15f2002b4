//! Bodies that crash one process after the other are refused before they crash the next one.

use std::num::{NonZeroU16, NonZeroU32};

use lifeboat_core::action::{AttemptCause, Outcome};
use lifeboat_core::event::{Answer, Event, Operation, Target};
use lifeboat_core::evidence::{Evidence, OomEvidence, WaitStatus};
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{ClientId, ClientTag, Digest, MethodId, PoolId, ReportId};
use lifeboat_core::reason::{OutcomeKind, RejectWhy};
use lifeboat_core::recorder::{Recording, SlotRecording};
use lifeboat_core::settings::{Heartbeat, QuarantineSettings, RetryOn, Settings};

use crate::boat::{Boat, CLIENT, Wish, exit, life, ms, plain, retry, retrying, signal, slotted};

const POISON: Digest = Digest([13; 16]);
const OTHER: Digest = Digest([7; 16]);
const OK: Option<OutcomeKind> = Some(OutcomeKind::Ok);
const CRASHED: Option<OutcomeKind> = Some(OutcomeKind::Crashed);
const REJECTED: Option<OutcomeKind> = Some(OutcomeKind::Rejected);

fn watched(mut settings: Settings, crash_limit: u32) -> Settings {
    settings.methods[0].quarantine =
        Some(QuarantineSettings { crash_limit: NonZeroU32::new(crash_limit).unwrap(), expiry: ms(60_000) });
    settings
}

fn send(boat: &mut Boat, digest: Digest) -> ClientTag {
    boat.request_of(CLIENT, Wish { digest: Some(digest), ..Wish::default() })
}

/// The process of a worker dies, and the next one is ready.
fn dies(boat: &mut Boat, worker: u16, wait: WaitStatus) {
    let incarnation = boat.core.view(boat.now).workers[usize::from(worker)].process.unwrap().incarnation.0;
    boat.dies(life(worker, incarnation), wait);
    boat.pass(ms(1000));
    boat.becomes_ready(life(worker, incarnation + 1));
}

/// A body crashes so many processes of the first worker, one after the other.
fn crash(boat: &mut Boat, digest: Digest, times: u32) {
    for _ in 0..times {
        let tag = send(boat, digest);
        dies(boat, 0, signal(11));
        assert_eq!(boat.kind(tag), CRASHED);
    }
}

/// The digests in quarantine.
fn quarantine(boat: &Boat) -> Vec<Digest> {
    boat.core.quarantine(boat.now).iter().map(|view| view.digest).collect()
}

#[test]
fn a_body_is_refused_once_it_has_crashed_as_many_processes_as_it_may() {
    let mut boat = Boat::afloat(watched(plain(1), 3));
    crash(&mut boat, POISON, 3);
    let refused = send(&mut boat, POISON);
    let settlement = boat.settlement(refused);
    let view = settlement.quarantined.unwrap();
    assert_eq!((view.crashes, view.report), (3, Some(ReportId(3))), "with the last report");
    let left = view.until - boat.now;
    assert!(left < ms(60_000), "it counts from the last crash");
    let told = matches!(settlement.outcome, Outcome::Rejected { why: RejectWhy::Quarantined, retry_after }
        if retry_after == Some(left));
    assert!(told, "{:?}", settlement.outcome);
    let other = send(&mut boat, OTHER);
    boat.ok(other);
    assert_eq!(boat.kind(other), OK, "other bodies run");
    assert_eq!(boat.count(|fact| matches!(fact, Fact::Quarantined(_))), 1);
}

#[test]
fn crashes_count_over_all_clients() {
    let mut boat = Boat::afloat(watched(plain(1), 2));
    boat.tell(Event::ClientOpened { client: ClientId(2) });
    crash(&mut boat, POISON, 1);
    boat.request_of(ClientId(2), Wish { digest: Some(POISON), ..Wish::default() });
    dies(&mut boat, 0, exit(1));
    let refused = send(&mut boat, POISON);
    assert_eq!(boat.kind(refused), REJECTED);
}

#[test]
fn a_method_without_a_quarantine_refuses_nobody() {
    let mut boat = Boat::afloat(plain(1));
    crash(&mut boat, POISON, 5);
    assert_eq!(quarantine(&boat), []);
}

#[test]
fn the_same_digest_of_another_method_is_another_body() {
    let mut settings = watched(plain(1), 1);
    settings.methods.push(settings.methods[0].clone());
    let mut boat = Boat::afloat(settings);
    crash(&mut boat, POISON, 1);
    let wish = Wish { digest: Some(POISON), ..Wish::default() };
    let tag = boat.request_to(CLIENT, MethodId(1), wish);
    assert!(boat.was_sent(tag));
}

#[test]
fn an_ok_forgets_the_crashes_before_it() {
    let mut boat = Boat::afloat(watched(plain(1), 2));
    for _ in 0..3 {
        crash(&mut boat, POISON, 1);
        let tag = send(&mut boat, POISON);
        boat.ok(tag);
    }
    assert_eq!(quarantine(&boat), []);
}

#[test]
fn a_quarantine_stands_when_one_that_ran_already_is_answered() {
    let mut boat = Boat::afloat(watched(plain(2), 1));
    let [lucky, unlucky] = [(); 2].map(|()| send(&mut boat, POISON));
    dies(&mut boat, 1, signal(11));
    assert_eq!(boat.kinds([lucky, unlucky]), [None, CRASHED], "what runs is not touched");
    boat.ok(lucky);
    assert_eq!(quarantine(&boat), [POISON]);
}

#[test]
fn neighbours_are_never_counted() {
    let mut boat = Boat::afloat(watched(slotted(plain(1), 2, 1), 1));
    for digest in [POISON, OTHER] {
        send(&mut boat, digest);
    }
    dies(&mut boat, 0, signal(11));
    assert_eq!(quarantine(&boat), [], "nobody knows which of them it was");
}

#[test]
fn a_suspect_that_crashes_alone_is_counted() {
    let mut boat = Boat::afloat(watched(slotted(retrying(1, 2), 2, 1), 1));
    let [poison, neighbour] = [POISON, OTHER].map(|digest| send(&mut boat, digest));
    dies(&mut boat, 0, signal(11));
    dies(&mut boat, 0, signal(11));
    assert_eq!((boat.kind(poison), quarantine(&boat)), (CRASHED, vec![POISON]));
    boat.ok(neighbour);
    assert_eq!(boat.kind(neighbour), OK);
}

#[test]
fn deaths_from_outside_and_kills_are_not_counted() {
    let mut boat = Boat::afloat(watched(plain(1), 1));
    for wait in [signal(9), signal(15), WaitStatus::Unknown] {
        send(&mut boat, POISON);
        dies(&mut boat, 0, wait);
    }
    send(&mut boat, POISON);
    boat.operate(Operation::Kill, Target::Pool(PoolId(0)));
    dies(&mut boat, 0, signal(9));
    assert_eq!(quarantine(&boat), []);
    send(&mut boat, POISON);
    let process = boat.core.view(boat.now).workers[0].process.unwrap();
    boat.tell(Event::MemoryExceeded { process, resident: 2, limit: 1 });
    dies(&mut boat, 0, signal(9));
    assert_eq!(quarantine(&boat), [POISON], "but for what it was killed for using");
}

/// Somebody else may have used up the memory or the CPU time, and a machine that stands still makes nobody guilty.
#[test]
fn what_may_have_had_another_cause_is_not_counted() {
    let mut settings = watched(plain(1), 1);
    settings.pools[0].heartbeat = Some(Heartbeat { interval: ms(5000), missed: NonZeroU16::MIN });
    let mut boat = Boat::afloat(settings);
    let found = |boat: &mut Boat, evidence: Evidence| {
        send(boat, POISON);
        let process = boat.core.view(boat.now).workers[0].process.unwrap();
        boat.exits(process);
        boat.tell(Event::EvidenceGathered { process, evidence: Box::new(evidence) });
        boat.pass(ms(1000));
        boat.becomes_ready(life(0, process.incarnation.0 + 1));
        boat.crashes().last().unwrap().reason.label()
    };
    let oom = |oom| Evidence { wait: signal(9), oom, ..Evidence::default() };
    let cpu = Evidence { wait: signal(24), cpu_limit: Some(ms(1)), ..Evidence::default() };
    assert_eq!(found(&mut boat, oom(OomEvidence::SharedCounterRose)), "oom");
    assert_eq!(found(&mut boat, cpu), "cpu_limit");
    send(&mut boat, POISON);
    boat.pass(ms(5100));
    dies(&mut boat, 0, signal(9));
    assert_eq!(boat.crashes().last().unwrap().reason.label(), "unresponsive");
    assert_eq!(quarantine(&boat), []);
    assert_eq!(found(&mut boat, oom(OomEvidence::OwnCounterRose)), "oom");
    assert_eq!(quarantine(&boat), [POISON], "it alone can have used its process's memory");
}

/// Whoever says that its neighbour had not begun may have written that into its recorder.
#[test]
fn who_is_alone_on_its_processs_word_is_not_counted() {
    let mut boat = Boat::afloat(watched(slotted(plain(1), 2, 1), 1));
    let [poison, other] = [POISON, OTHER].map(|digest| send(&mut boat, digest));
    let process = boat.sent(poison).process;
    boat.exits(process);
    let slots = vec![SlotRecording::Unused, SlotRecording::Unreadable];
    let recorder = Some(Recording { beats: 1, slots });
    let evidence = Box::new(Evidence { wait: signal(11), recorder, ..Evidence::default() });
    boat.tell(Event::EvidenceGathered { process, evidence });
    assert_eq!(boat.kinds([poison, other]), [None, CRASHED], "the first goes back");
    assert_eq!(quarantine(&boat), []);
}

/// Four thousand bodies that crashed once do not push out one that is refused.
#[test]
fn a_quarantine_outlasts_whatever_is_not_in_one() {
    let mut settings = watched(plain(1), 2);
    settings.quarantine_room = 2;
    let mut boat = Boat::afloat(settings);
    crash(&mut boat, POISON, 2);
    for digest in [OTHER, Digest([8; 16]), Digest([9; 16])] {
        crash(&mut boat, digest, 1);
    }
    assert_eq!(quarantine(&boat), [POISON]);
    crash(&mut boat, Digest([9; 16]), 1);
    assert_eq!(quarantine(&boat), [Digest([9; 16]), POISON], "the newest was counted");
}

#[test]
fn a_panic_that_costs_a_slot_is_counted() {
    let mut boat = Boat::afloat(watched(slotted(plain(1), 2, 1), 1));
    let tag = send(&mut boat, POISON);
    boat.panic(tag);
    let refused = send(&mut boat, POISON);
    assert_eq!(boat.kind(refused), REJECTED);
    assert_eq!(boat.settlement(refused).quarantined.unwrap().report, None, "no process died");
}

#[test]
fn a_retry_in_quarantine_is_not_granted() {
    let mut boat = Boat::afloat(watched(retrying(1, 9), 2));
    let tag = send(&mut boat, POISON);
    dies(&mut boat, 0, signal(11));
    dies(&mut boat, 0, signal(11));
    let settlement = boat.settlement(tag);
    assert!(matches!(settlement.outcome, Outcome::Crashed { max_attempts: 9 }), "as if they were used up");
    assert_eq!(settlement.attempts.len(), 2);
}

#[test]
fn those_that_wait_with_the_same_body_end_when_it_is_quarantined() {
    let mut settings = watched(retrying(1, 3), 2);
    settings.methods[0].retry = retry(RetryOn { failed: true, ..RetryOn::default() }, 3);
    let mut boat = Boat::afloat(settings);
    let failed = send(&mut boat, POISON);
    boat.answer(failed, Answer::Failed { answer: 1, again: Some(ms(9000)) });
    let crashed = send(&mut boat, POISON);
    let [fresh, other] = [POISON, OTHER].map(|digest| send(&mut boat, digest));
    dies(&mut boat, 0, signal(11));
    dies(&mut boat, 0, signal(11));
    assert_eq!(boat.kinds([crashed, fresh, failed, other]), [CRASHED, REJECTED, REJECTED, None]);
    assert!(!boat.was_sent(fresh) && boat.settlement(fresh).attempts.is_empty(), "it never ran");
    assert_eq!(boat.settlement(failed).attempts.len(), 1, "what it said is told with its attempts");
    boat.ok(other);
}

#[test]
fn one_between_attempts_ends_as_the_last_of_them() {
    let mut settings = watched(retrying(2, 3), 2);
    settings.pools[0].restart.initial = ms(10_000);
    settings.pools[0].restart.max = ms(10_000);
    let mut boat = Boat::afloat(settings);
    let [first, second] = [(); 2].map(|()| send(&mut boat, POISON));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kinds([first, second]), [None, None], "the first one waits for its next attempt");
    boat.dies(life(1, 1), signal(11));
    assert_eq!(boat.kinds([first, second]), [CRASHED, CRASHED]);
    let last = boat.settlement(first).attempts.last().unwrap();
    assert!(matches!(&last.cause, Some(AttemptCause::Death(death)) if death.report == ReportId(1)));
}

#[test]
fn what_was_behind_the_last_crash_is_refused_and_not_given_back() {
    let mut boat = Boat::afloat(watched(slotted(plain(1), 1, 2), 1));
    let [first, behind] = [(); 2].map(|()| send(&mut boat, POISON));
    dies(&mut boat, 0, signal(11));
    assert_eq!(boat.kinds([first, behind]), [CRASHED, REJECTED]);
    assert_eq!(boat.count(|fact| matches!(fact, Fact::RequeuedFree { .. })), 0);
}

#[test]
fn a_quarantine_expires_after_its_last_crash_and_is_forgotten() {
    let mut boat = Boat::afloat(watched(plain(1), 2));
    crash(&mut boat, POISON, 2);
    let view = boat.core.quarantine(boat.now)[0];
    boat.pass(view.until - boat.now - ms(1));
    let early = send(&mut boat, POISON);
    assert_eq!(boat.kind(early), REJECTED);
    boat.pass(ms(1));
    assert_eq!(quarantine(&boat), []);
    crash(&mut boat, POISON, 1);
    assert_eq!(quarantine(&boat), [], "it counts anew");
}

#[test]
fn a_person_releases_one_body_or_all() {
    let mut boat = Boat::afloat(watched(plain(1), 1));
    for digest in [POISON, OTHER] {
        crash(&mut boat, digest, 1);
    }
    assert_eq!(quarantine(&boat), [OTHER, POISON], "the last crash first");
    boat.tell(Event::QuarantineReleased { which: Some(POISON) });
    assert_eq!(quarantine(&boat), [OTHER]);
    let tag = send(&mut boat, POISON);
    boat.ok(tag);
    boat.tell(Event::QuarantineReleased { which: None });
    assert_eq!(quarantine(&boat), []);
    assert_eq!(boat.count(|fact| matches!(fact, Fact::QuarantineReleased(_))), 2);
}

#[test]
fn the_body_that_crashed_longest_ago_makes_room() {
    let mut settings = watched(plain(1), 1);
    settings.quarantine_room = 2;
    let mut boat = Boat::afloat(settings);
    let bodies = [1, 2, 3].map(|number| Digest([number; 16]));
    for digest in bodies {
        crash(&mut boat, digest, 1);
    }
    assert_eq!(quarantine(&boat), [bodies[2], bodies[1]]);
    assert_eq!(boat.core.view(boat.now).pools[0].quarantined, 2);
}
