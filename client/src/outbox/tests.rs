//! Whatever the writes take, and whatever is taken back, what is written is whole frames in order.

use std::borrow::Cow;
use std::io::Read;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use lifeboat_protocol::{
    Ext, FrameLimit, Header, Operate, Operation, Split, decode, put_control, split_frame,
};
use std::sync::Arc;

use super::*;

fn spec(body: Vec<u8>) -> Arc<Spec> {
    let kind = Kind::Request { method: Cow::Borrowed("m"), ext: Ext::default() };
    Arc::new(Spec { kind, body: Bytes::from(body) })
}

fn operation() -> Arc<Spec> {
    let (operate, route) = (Operate::new(Operation::Health), Route::request(0, TimeLeft::NONE));
    let mut frame = Vec::new();
    put_control(&mut frame, MessageType::Operate, Some(route), &operate).expect("short");
    Arc::new(Spec { kind: Kind::Operation, body: Bytes::from(frame) })
}

/// What the outbox would write, cut into messages: request ids with body lengths, cancels as None.
fn written(outbox: &mut Outbox, step: usize) -> Vec<(u64, Option<usize>)> {
    let mut bytes = Vec::new();
    while !outbox.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = outbox.gather(&mut slices);
        let before = bytes.len();
        bytes.extend(slices[..used].iter().flat_map(|slice| slice.iter()).take(step));
        let step = bytes.len() - before;
        assert!(step > 0, "something is left, so something is gathered");
        outbox.consume(step);
    }
    assert_eq!(outbox.left(), 0);
    let mut messages = Vec::new();
    let mut rest = bytes.as_slice();
    while let Ok(Split::Frame { frame, rest: after }) = split_frame(rest, FrameLimit::for_body(1 << 24)) {
        let message = decode(frame).expect("a whole message");
        let id = message.header.route().expect("requests and cancels have one").id;
        let is_request = matches!(message.header, Header::Request { .. });
        messages.push((id, is_request.then_some(message.body.len())));
        rest = after;
    }
    assert!(rest.is_empty(), "no bytes beyond the last frame");
    messages
}

fn filled() -> Outbox {
    let mut outbox = Outbox::default();
    outbox.put(1, 1, TimeLeft::NONE, spec(vec![0xf6]));
    outbox.put(2, 2, TimeLeft::NONE, spec(vec![7; LARGE + 1]));
    outbox.put_cancel(1);
    outbox.put(3, 3, TimeLeft::NONE, spec(vec![0xf6; 3]));
    outbox.put(4, 4, TimeLeft::NONE, spec(vec![8; 2 * LARGE]));
    outbox
}

#[test]
fn every_split_of_the_writes_gives_the_same_frames() {
    let expected = [(1, Some(1)), (2, Some(LARGE + 1)), (1, None), (3, Some(3)), (4, Some(2 * LARGE))];
    for step in [1, 2, 23, 24, 25, 1000, LARGE, usize::MAX] {
        assert_eq!(written(&mut filled(), step), expected, "in steps of {step}");
    }
}

#[test]
fn more_large_bodies_than_slices_are_written_in_turns() {
    let mut outbox = Outbox::default();
    for id in 1..=40 {
        outbox.put(id, id, TimeLeft::NONE, spec(vec![9; LARGE + 1]));
    }
    assert_eq!(written(&mut outbox, usize::MAX).len(), 40);
}

#[test]
fn what_is_removed_is_not_written() {
    for (removed, written_before) in [(1, 0), (2, 0), (3, 0), (4, 0), (2, 5), (3, 40), (4, 40 + LARGE)] {
        let mut outbox = filled();
        outbox.consume(written_before);
        assert!(outbox.remove(removed).is_some(), "{removed} after {written_before} bytes");
        let total: Vec<u64> = outbox.take_unsent().iter().map(|unsent| unsent.id).collect();
        assert!(!total.contains(&removed));
    }
    let mut outbox = filled();
    outbox.remove(3);
    outbox.remove(1);
    assert_eq!(written(&mut outbox, 13), [(2, Some(LARGE + 1)), (1, None), (4, Some(2 * LARGE))]);
}

#[test]
fn a_frame_half_written_is_not_removed_but_is_unsent() {
    let mut outbox = filled();
    outbox.consume(3);
    assert!(outbox.remove(1).is_none());
    let unstarted: Vec<u64> = outbox.take_unstarted_requests().iter().map(|unsent| unsent.id).collect();
    assert_eq!(unstarted, [2, 3, 4]);
    let unsent = outbox.take_unsent();
    assert_eq!(unsent.len(), 1);
    assert!(unsent[0].id == 1 && unsent[0].partial);
    assert!(outbox.is_empty() && outbox.left() == 0);
}

#[test]
fn a_call_is_written_under_its_other_id_and_kept_under_its_own() {
    let mut outbox = Outbox::default();
    outbox.put(1, 7, TimeLeft::NONE, spec(vec![0xf6]));
    outbox.put(2, 8, TimeLeft::from_millis(5), operation());
    outbox.put_cancel(7);
    assert!(outbox.remove(7).is_none());
    assert_eq!(written(&mut outbox, usize::MAX), [(7, Some(1)), (8, None), (7, None)]);
}

#[test]
fn operations_stay_when_requests_are_taken_out() {
    let mut outbox = filled();
    outbox.put(5, 5, TimeLeft::NONE, operation());
    let unstarted: Vec<u64> = outbox.take_unstarted_requests().iter().map(|unsent| unsent.id).collect();
    assert_eq!(unstarted, [1, 2, 3, 4]);
    let unsent = outbox.take_unsent();
    assert!(unsent.len() == 1 && unsent[0].id == 5 && unsent[0].spec.is_operation());
}

#[test]
fn a_full_socket_says_again() {
    let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
    let mut outbox = Outbox::default();
    outbox.put(1, 1, TimeLeft::NONE, spec(vec![1; 4 << 20]));
    let total = outbox.left();
    while outbox.write_to(&ours).is_ok() {}
    assert!(outbox.left() > 0 && outbox.left() < total);
    let mut sink = vec![0; total - outbox.left()];
    theirs.read_exact(&mut sink).expect("what was written");
    assert!(outbox.write_to(&ours).is_ok());
}
