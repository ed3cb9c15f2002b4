//! The writing side alone, in a socket so small that almost nothing fits.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use lifeboat_protocol::{
    Cbor, FrameLimit, Header, MessageType, Route, TimeLeft, decode, decode_body, put_empty,
};
use rustix::event::poll;

use super::broker::{LIMIT, wait_until};
use crate::alarm::Alarm;
use crate::buffer::ReadBuffer;
use crate::call::Call;
use crate::outbox::{self, Outbox};
use crate::pen::{Pen, Unwritten};

fn limit() -> FrameLimit {
    FrameLimit::for_body(1 << 20)
}

/// A pen and the other side of its socket.
fn pen() -> (Arc<Pen>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(&ours, 4_096).unwrap();
    theirs.set_read_timeout(Some(LIMIT)).unwrap();
    (Arc::new(Pen::new(Arc::new(ours.into()), Arc::new(Alarm::new().unwrap()))), theirs)
}

fn call(id: u64) -> Call {
    Call::new(Route { attempt: 1, ..Route::request(id, TimeLeft::NONE) }, 0, None, None, Instant::now())
}

fn heartbeat() -> Vec<u8> {
    let mut beat = Vec::new();
    put_empty(&mut beat, MessageType::Heartbeat, None);
    beat
}

/// What the watcher does for the pen.
fn watch(pen: &Pen, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        if let Some(source) = pen.source() {
            poll(&mut [source], Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 1_000_000 })).unwrap();
            pen.has_room();
        }
        std::thread::yield_now();
    }
}

/// One attempt after the other, each with parts and an answer, in one of four ways; cancelled now and then.
fn speak(pen: &Pen, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut outbox = Outbox::new(limit());
    for number in 0..40 {
        let call = call(seed * 1_000 + number);
        for part in 0..random.u8(0..4) {
            let text = format!("{part}").repeat(1 << random.u8(0..15));
            let part = outbox::partial::<Cbor, _>(call.route, &text, limit()).unwrap();
            let raw = outbox::raw_partial(
                call.route,
                lifeboat_protocol::encode_body(&text).unwrap().into(),
                limit(),
            );
            if random.u8(0..10) == 0 {
                call.cancel();
            }
            let written = match random.u8(0..4) {
                0 => pen.write_part(&call, part),
                1 => runtime.block_on(pen.write_part_async(&call, part)),
                2 => pen.write_part(&call, raw.unwrap()),
                _ => runtime.block_on(pen.write_part_async(&call, raw.unwrap())),
            };
            assert_eq!(written.is_err(), call.should_stop());
            pen.try_write(&outbox::progress(call.route, crate::Progress::new().text(&text)), Some(&call))
                .unwrap();
        }
        let text = "a".repeat(random.usize(0..20_000));
        outbox.reply::<Cbor>(call.route, &text).unwrap();
        outbox.flush(pen, Some(&call)).unwrap();
        assert_eq!(pen.try_write(b"never written", Some(&call)), Ok(true));
    }
}

/// Ends the other threads, also when the test fails: they find the flag or the socket's end.
struct Reader<'a> {
    theirs: UnixStream,
    over: &'a AtomicBool,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.theirs.shutdown(Shutdown::Both);
    }
}

#[test]
fn frames_stay_whole_and_in_order_whoever_writes() {
    const SPEAKERS: u64 = 4;
    let (pen, theirs) = pen();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (pen, over) = (&*pen, &over);
        let reader = Reader { theirs, over };
        scope.spawn(|| watch(pen, over));
        // Far more often than the real one, so that it meets every state of the pen.
        scope.spawn(|| while !over.load(Ordering::SeqCst) && pen.try_write(&heartbeat(), None).is_ok() {});
        for seed in 1..=SPEAKERS {
            scope.spawn(move || speak(pen, seed));
        }
        let mut buffer = ReadBuffer::new(limit());
        let mut next: BTreeMap<u64, u64> = BTreeMap::new();
        let mut answers = 0;
        while answers < SPEAKERS * 40 {
            while let Some(frame) = buffer.next_frame().unwrap() {
                let message = decode(&frame).unwrap();
                let Some(Route { id, .. }) = message.header.route() else {
                    assert_eq!(message.header, Header::Heartbeat);
                    continue;
                };
                let next = next.entry(id / 1_000).or_default();
                assert_eq!(id % 1_000, *next, "nothing of an attempt comes after its answer");
                if let Header::Answer { .. } = message.header {
                    assert!(decode_body::<String>(message.body).unwrap().bytes().all(|byte| byte == b'a'));
                    *next += 1;
                    answers += 1;
                } else if let Header::Partial { .. } = message.header {
                    let text: String = decode_body(message.body).unwrap();
                    assert!(text.bytes().all(|byte| byte == text.as_bytes()[0]));
                } else {
                    assert_eq!(message.header.message_type(), MessageType::Progress);
                }
            }
            if answers < SPEAKERS * 40 {
                assert_ne!(buffer.read(&reader.theirs, rustix::net::RecvFlags::empty()).unwrap(), 0);
            }
        }
    });
}

#[test]
fn a_part_that_had_begun_is_seen_out_by_the_watcher() {
    for (id, cancelled) in [(1, false), (2, true)] {
        let (pen, theirs) = pen();
        let over = AtomicBool::new(false);
        let call = call(id);
        let part = || outbox::partial::<Cbor, _>(call.route, &"x".repeat(500_000), limit()).unwrap();
        if cancelled {
            std::thread::scope(|scope| {
                let writing = scope.spawn(|| pen.write_part(&call, part()));
                wait_until(|| rustix::io::ioctl_fionread(&theirs).unwrap() > 0);
                call.cancel();
                assert_eq!(writing.join().unwrap(), Err(Unwritten::Stopped));
            });
        } else {
            // Polled once, and dropped.
            let polled =
                pin!(pen.write_part_async(&call, part())).poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(polled, Poll::Pending);
        }
        std::thread::scope(|scope| {
            let reader = Reader { theirs, over: &over };
            scope.spawn(|| watch(&pen, &over));
            let mut buffer = ReadBuffer::new(limit());
            let frame = loop {
                if let Some(frame) = buffer.next_frame().unwrap() {
                    break frame;
                }
                assert_ne!(buffer.read(&reader.theirs, rustix::net::RecvFlags::empty()).unwrap(), 0);
            };
            assert_eq!(decode_body::<String>(decode(&frame).unwrap().body).unwrap().len(), 500_000);
        });
    }
}

#[test]
fn a_heartbeat_waits_for_nobody() {
    let (pen, mut theirs) = pen();
    let beat = heartbeat();
    let mut written = 0;
    while pen.try_write(&beat, None) == Ok(true) {
        written += beat.len();
    }
    let mut all = vec![0; written];
    theirs.read_exact(&mut all).unwrap();
    assert!(all.chunks(beat.len()).all(|chunk| chunk == beat));
    wait_until(|| pen.try_write(&beat, None) == Ok(true));
    drop(theirs);
    assert!(pen.try_write(&beat, None).is_err());
}

#[test]
fn a_pen_that_is_put_down_keeps_nobody_waiting() {
    let (pen, mut theirs) = pen();
    let part = |text: &str| outbox::partial::<Cbor, _>(call(1).route, text, limit()).unwrap();
    let long = "x".repeat(100_000);
    std::thread::scope(|scope| {
        let blocking = scope.spawn(|| pen.write_part(&call(1), part(&long)));
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(pen.write_part_async(&call(2), part(&long)))
        });
        // The first bytes of either.
        theirs.read_exact(&mut [0; 10]).unwrap();
        pen.put_down();
        assert_eq!(blocking.join().unwrap(), Err(Unwritten::Stopped));
        assert_eq!(waiting.join().unwrap(), Err(Unwritten::Stopped));
    });
    assert!(pen.try_write(b"beat", None).is_err());
}
