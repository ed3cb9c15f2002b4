//! Readers that are fast, stuck, gone or slow: whoever logs never notices, and nothing is lost without being counted.

use std::io::{PipeReader, PipeWriter, Read as _, pipe};
use std::sync::mpsc;
use std::thread;

use rustix::io::ioctl_fionbio;

use super::*;

/// More than any test needs; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A telling of dropped lines: how many new ones, and how many in all.
type Told = (u64, u64);

struct Rig {
    queue: Queue,
    thread: QueueThread,
    reader: PipeReader,
    told: mpsc::Receiver<Told>,
}

/// A queue in front of a pipe. What is told is also written, through the queue, as a line `told NEW ALL`.
fn rig() -> Rig {
    let (reader, writer) = pipe().expect("a pipe");
    rig_of(reader, writer)
}

fn rig_of(reader: PipeReader, writer: PipeWriter) -> Rig {
    let (tell, told) = mpsc::channel();
    let (give, given) = mpsc::channel::<Queue>();
    let itself = std::sync::OnceLock::new();
    let (queue, thread) = Queue::new(writer, move |new, all| {
        let queue: &Queue = itself.get_or_init(|| given.recv().expect("given at once"));
        drop(queue.clone().write(format!("told {new} {all}\n").as_bytes()));
        tell.send((new, all)).unwrap_or_default();
    });
    give.send(queue.clone()).expect("kept until the first telling");
    Rig { queue, thread, reader, told }
}

/// A queue in front of a pipe that is full, and what it is full of: not a byte of a line can be written before that is
/// read.
fn full_rig() -> (Rig, usize) {
    let (reader, mut writer) = pipe().expect("a pipe");
    ioctl_fionbio(&writer, true).expect("pipes can be non-blocking");
    let mut filling = 0;
    while let Ok(written) = writer.write(&[b'#'; 4096]) {
        filling += written;
    }
    ioctl_fionbio(&writer, false).expect("pipes can be blocking");
    (rig_of(reader, writer), filling)
}

fn log(queue: &Queue, line: impl AsRef<str>) {
    let line = format!("{}\n", line.as_ref());
    assert_eq!(queue.clone().write(line.as_bytes()).expect("never fails"), line.len());
}

/// Reads everything until the queue's end is closed, on a thread of its own.
fn read_all(mut reader: PipeReader) -> thread::JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        text.lines().map(str::to_owned).collect()
    })
}

#[test]
fn everything_is_written_in_order_before_the_end() {
    let Rig { queue, thread, reader, told } = rig();
    let reading = read_all(reader);
    let expected: Vec<String> = (0..LINES).map(|number| format!("line {number}")).collect();
    for line in &expected {
        log(&queue, line);
    }
    assert!(queue.wait_until_written(PATIENCE, PATIENCE));
    assert!(queue.is_open());
    drop(thread);
    assert!(!queue.is_open());
    assert_eq!(reading.join().expect("no panic"), expected);
    assert!(told.try_recv().is_err(), "nothing was dropped");
    log(&queue, "too late");
    assert_eq!(queue.take_dropped(), (1, 1));
}

#[test]
fn a_reader_that_is_stuck_keeps_nobody_waiting_and_hears_what_it_missed() {
    let (Rig { queue, thread, mut reader, told }, filling) = full_rig();
    let offered = 3 * LINES;
    for number in 0..offered {
        log(&queue, format!("{number:099}"));
    }
    let dropped = (offered - LINES) as u64;
    assert_eq!(queue.dropped().load(Ordering::SeqCst), dropped, "the queue is bounded");
    assert!(!queue.wait_until_written(PATIENCE, Duration::from_millis(20)), "nothing moves");
    assert!(told.try_recv().is_err(), "nobody could hear it");

    // Somebody reads again. The first telling finds the queue as good as full.
    reader.read_exact(&mut vec![0; filling]).expect("what the pipe was full of");
    assert_eq!(told.recv_timeout(PATIENCE).expect("told as soon as a line was written"), (dropped, dropped));
    let reading = read_all(reader);
    assert!(queue.wait_until_written(PATIENCE, PATIENCE));
    drop(thread);
    let lines = reading.join().expect("no panic");
    let (last, lines) = lines.split_last().expect("lines");
    assert_eq!(lines.len(), LINES, "every line was written or counted");
    assert!((0..LINES).all(|number| lines[number].parse() == Ok(number)), "the oldest are kept, in order");
    assert_eq!(*last, format!("told {dropped} {dropped}"));
}

#[test]
fn a_flood_that_goes_on_is_told_in_between() {
    let Rig { queue, thread, mut reader, told } = rig();
    // A reader that takes a little at a time, and a writer that always has more.
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let flood = queue.clone();
    let flooding = thread::spawn(move || {
        while !stopped.load(Ordering::SeqCst) {
            log(&flood, "x".repeat(999));
        }
    });
    let mut some = [0; 4096];
    let mut tellings = Vec::new();
    while tellings.len() < 2 {
        assert!(reader.read(&mut some).expect("more") > 0);
        tellings.extend(told.try_iter());
    }
    stop.store(true, Ordering::SeqCst);
    flooding.join().expect("no panic");
    assert!(tellings[0].1 < tellings[1].1, "{tellings:?}");
    assert_eq!(tellings[0].1 + tellings[1].0, tellings[1].1, "{tellings:?}");
    let reading = read_all(reader);
    assert!(queue.wait_until_written(PATIENCE, PATIENCE));
    drop(thread);
    drop(reading.join().expect("no panic"));
}

#[test]
fn long_lines_are_bounded_by_their_bytes() {
    let (Rig { queue, thread, mut reader, .. }, filling) = full_rig();
    let long = "x".repeat(BYTES / 8);
    for _ in 0..100 {
        log(&queue, &long);
    }
    assert_eq!(
        queue.dropped().load(Ordering::SeqCst),
        100 - 7,
        "the newline is what the eighth has no room for"
    );
    reader.read_exact(&mut vec![0; filling]).expect("what the pipe was full of");
    let reading = read_all(reader);
    assert!(queue.wait_until_written(PATIENCE, PATIENCE));
    log(&queue, "x".repeat(2 * BYTES));
    assert!(queue.wait_until_written(PATIENCE, PATIENCE));
    drop(thread);
    let longest = reading.join().expect("no panic").iter().map(String::len).max();
    assert_eq!(longest, Some(2 * BYTES), "a single line always finds room");
}

#[test]
fn the_end_does_not_wait_for_a_reader_that_is_stuck() {
    let (Rig { queue, thread, reader, .. }, _) = full_rig();
    for _ in 0..2 * LINES {
        log(&queue, "x".repeat(99));
    }
    let began = Instant::now();
    drop(thread);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(reader);
}

#[test]
fn a_reader_that_is_gone_costs_only_the_lines() {
    let Rig { queue, thread, reader, told } = rig();
    drop(reader);
    for _ in 0..100 {
        log(&queue, "nobody reads this");
    }
    assert!(queue.wait_until_written(PATIENCE, PATIENCE), "there is nothing to wait for");
    assert_eq!(queue.take_dropped(), (100, 100));
    assert_eq!(queue.take_dropped(), (0, 100));
    drop(thread);
    assert!(told.try_recv().is_err());
}

#[test]
fn a_descriptor_that_somebody_made_non_blocking_loses_nothing() {
    let (reader, writer) = pipe().expect("a pipe");
    ioctl_fionbio(&writer, true).expect("pipes can be non-blocking");
    let Rig { queue, thread, reader, .. } = rig_of(reader, writer);
    let line = "x".repeat(9_999);
    for _ in 0..100 {
        log(&queue, &line);
    }
    let reading = read_all(reader);
    assert!(queue.wait_until_written(PATIENCE, PATIENCE));
    drop(thread);
    assert_eq!(reading.join().expect("no panic"), vec![line; 100]);
    assert_eq!(queue.take_dropped(), (0, 0));
}
