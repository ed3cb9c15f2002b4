//! What a process's flight recorder says at its death, and what it does to what the process held.

use std::num::NonZeroU16;

use lifeboat_core::action::Action;
use lifeboat_core::event::Event;
use lifeboat_core::evidence::{Evidence, WaitStatus};
use lifeboat_core::ids::{AttemptNumber, ClientTag, ProcessKey, RequestId};
use lifeboat_core::reason::{AttemptEnd, OutcomeKind, TimeoutWhich};
use lifeboat_core::recorder::{Began, MOST_SPARED, Recording, SlotRecording};
use lifeboat_core::settings::Settings;

use crate::boat::{Boat, life, ms, plain, retrying, signal};

/// The first process of the first worker.
const FIRST: ProcessKey = life(0, 1);

fn holding(mut settings: Settings, prefetch: u16) -> Settings {
    settings.pools[0].prefetch = NonZeroU16::new(prefetch).unwrap();
    settings
}

fn began(boat: &Boat, tag: ClientTag) -> SlotRecording {
    let sent = boat.sent(tag);
    said(sent.request, sent.attempt)
}

fn said(request: RequestId, attempt: AttemptNumber) -> SlotRecording {
    SlotRecording::Began(Began { request, attempt, executing: true, ago: Some(ms(1)), progress: 0 })
}

/// A process is found dead, with this in its recorder.
fn is_found(boat: &mut Boat, process: ProcessKey, wait: WaitStatus, slots: Vec<SlotRecording>) {
    let recorder = Some(Recording { beats: 1, slots });
    let evidence = Box::new(Evidence { wait, recorder, ..Evidence::default() });
    boat.tell(Event::EvidenceGathered { process, evidence });
}

fn dies(boat: &mut Boat, process: ProcessKey, slots: Vec<SlotRecording>) {
    boat.exits(process);
    is_found(boat, process, signal(9), slots);
}

#[test]
fn the_executing_one_pays_and_those_that_were_read_behind_it_go_back() {
    let mut boat = Boat::afloat(holding(plain(1), 4));
    let tags: Vec<_> = (0..4).map(|_| boat.request()).collect();
    let front = began(&boat, tags[0]);
    dies(&mut boat, FIRST, vec![front]);
    let kinds: Vec<_> = tags.iter().map(|tag| boat.kind(*tag)).collect();
    assert_eq!(kinds, [Some(OutcomeKind::Crashed), None, None, None]);
    assert_eq!(boat.given_back(), 3);
    assert_eq!(boat.crashes()[0].evidence.recorder.as_ref().map(|said| said.slots.len()), Some(1));
}

#[test]
fn a_front_that_was_read_and_not_begun_goes_back_too() {
    for recorded in [SlotRecording::Unused, said(RequestId(7), AttemptNumber::FIRST)] {
        let mut boat = Boat::afloat(holding(plain(1), 4));
        let tags: Vec<_> = (0..4).map(|_| boat.request()).collect();
        dies(&mut boat, FIRST, vec![recorded]);
        assert!(tags.iter().all(|tag| boat.kind(*tag).is_none()), "{recorded:?}");
        assert_eq!((boat.given_back(), boat.attempt_ends().len()), (4, 0));
        assert_eq!((boat.crashes()[0].executing.len(), boat.crashes()[0].requeued), (0, 4));
        boat.becomes_ready(life(0, 2));
        assert_eq!(boat.sent(tags[0]).attempt, AttemptNumber::FIRST, "it has its number again");
    }
}

#[test]
fn it_is_the_attempt_that_counts_and_the_slot() {
    let mut settings = retrying(1, 2);
    settings.pools[0].slots = NonZeroU16::new(2).unwrap();
    let mut boat = Boat::afloat(settings);
    let (here, there) = (boat.request(), boat.request());
    let swapped = vec![began(&boat, there), said(boat.sent(there).request, AttemptNumber(2))];
    dies(&mut boat, FIRST, swapped);
    assert_eq!((boat.kind(here), boat.kind(there)), (None, None));
    assert_eq!(boat.given_back(), 2, "neither slot has begun what it held");
}

#[test]
fn a_slot_that_cannot_be_read_or_is_not_noted_is_judged_by_its_order() {
    for slots in [vec![SlotRecording::Unreadable], vec![]] {
        let mut boat = Boat::afloat(holding(plain(1), 2));
        let tags = [boat.request(), boat.request()];
        dies(&mut boat, FIRST, slots);
        assert_eq!(tags.map(|tag| boat.kind(tag)), [Some(OutcomeKind::Crashed), None]);
    }
}

#[test]
fn what_it_had_told_of_it_had_begun() {
    for tell in [Boat::progress, Boat::part, Boat::save] {
        let mut boat = Boat::afloat(plain(1));
        let tag = boat.stream(false);
        tell(&mut boat, tag, 1);
        dies(&mut boat, FIRST, vec![SlotRecording::Unused]);
        assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed), "whatever it says now");
    }
}

#[test]
fn what_began_behind_answers_that_were_not_read_pays_like_what_it_was_behind() {
    let mut boat = Boat::afloat(holding(plain(1), 3));
    let tags = [boat.request(), boat.request(), boat.request()];
    let second = began(&boat, tags[1]);
    dies(&mut boat, FIRST, vec![second]);
    let crashed = Some(OutcomeKind::Crashed);
    assert_eq!(tags.map(|tag| boat.kind(tag)), [crashed, crashed, None], "both may have run to their end");
    assert_eq!(boat.attempt_ends(), [AttemptEnd::Crashed; 2]);
    assert_eq!((boat.crashes()[0].executing.len(), boat.crashes()[0].requeued), (2, 1));
}

#[test]
fn the_kernels_proof_that_it_was_not_read_beats_what_it_says() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    let recorded = began(&boat, tag);
    boat.exits_unread(FIRST);
    is_found(&mut boat, FIRST, signal(11), vec![recorded]);
    assert_eq!((boat.kind(tag), boat.given_back()), (None, 1));
}

#[test]
fn it_is_believed_so_often_and_no_more() {
    let mut settings = plain(1);
    settings.pools[0].restart.initial = ms(0);
    settings.pools[0].restart.max_restarts = None;
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    for incarnation in 1..=u32::from(MOST_SPARED) {
        dies(&mut boat, life(0, incarnation), vec![SlotRecording::Unused]);
        assert_eq!((boat.kind(tag), boat.given_back()), (None, incarnation as usize));
        boat.becomes_ready(life(0, incarnation + 1));
    }
    dies(&mut boat, life(0, u32::from(MOST_SPARED) + 1), vec![SlotRecording::Unused]);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed), "as without a recorder");
}

#[test]
fn a_limit_of_the_attempt_that_has_passed_stays_passed() {
    let mut settings = plain(1);
    settings.methods[0].attempt_timeout = Some(ms(1000));
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.pass(ms(1300));
    dies(&mut boat, FIRST, vec![SlotRecording::Unused]);
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Attempt);
    assert_eq!(boat.settlement(tag).attempts.len(), 1, "it had the time");
}

#[test]
fn what_did_not_begin_until_its_deadline_is_timed_out_without_an_attempt() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.pass(ms(10_000));
    dies(&mut boat, FIRST, vec![SlotRecording::Unused]);
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
    assert!(boat.settlement(tag).attempts.is_empty());
}

#[test]
fn a_deadline_that_passes_between_death_and_evidence_is_not_waited_out_in_the_queue() {
    let mut settings = plain(1);
    settings.pools[0].kill_timeout = ms(20_000);
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.exits(FIRST);
    boat.pass(ms(10_000));
    is_found(&mut boat, FIRST, signal(9), vec![SlotRecording::Unused]);
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
    assert_eq!(boat.given_back(), 0);
}

#[test]
fn a_shutdown_ends_what_had_not_begun_without_an_attempt() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.tell(Event::ShutdownRequested);
    dies(&mut boat, FIRST, vec![SlotRecording::Unused]);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
    assert!(boat.settlement(tag).attempts.is_empty());
    assert!(boat.was_ordered(|order| matches!(order, Action::Finished)));
}
