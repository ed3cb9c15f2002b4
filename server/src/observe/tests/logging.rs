//! One line per death with everything needed, nothing about single requests, and no floods.

use std::io::{self, Write};
use std::sync::Mutex;

use lifeboat_core::reason::StopReason;
use tracing::Level;

use super::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|_| io::Error::other("poisoned"))?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `act` logs at `level` and above.
fn logged(level: Level, act: impl FnOnce(&mut Observer)) -> Vec<String> {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || act(&mut observer()));
    let bytes = captured.0.lock().expect("not poisoned").clone();
    String::from_utf8(bytes).expect("text").lines().map(|line| line.trim().to_owned()).collect()
}

fn segv(worker: u16, incarnation: u32) -> Fact {
    crashed(worker, incarnation, CrashReason::Signal { signal: 11, core_dumped: true })
}

#[test]
fn a_death_says_everything_in_one_line() {
    let lines = logged(Level::INFO, |observer| observer.record(&segv(1, 7), Timestamp::ZERO));
    assert_eq!(
        lines,
        [concat!(
            "WARN worker crashed worker=\"images-1\" incarnation=7 pid=4321 reason=\"signal\" ",
            "detail=signal SIGSEGV, core dumped confidence=\"proven\" method=\"thumbnail\" request=r4d attempt=1 ",
            "requeued=2 lived=1.904s productive=true stderr=last words",
        )]
    );
}

#[test]
fn single_requests_are_silent_above_trace() {
    let ok = request_ended(OutcomeKind::Ok, Duration::ZERO);
    let failed = attempt_ended(AttemptEnd::Failed, Duration::ZERO);
    let refused = request_refused(None, None, RejectWhy::UnknownMethod);
    let lines = logged(Level::DEBUG, |observer| {
        for fact in [&ok, &failed, &refused] {
            observer.record(fact, Timestamp::ZERO);
        }
    });
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn repeats_are_counted_and_told() {
    let lines = logged(Level::INFO, |observer| {
        for incarnation in 1..=100 {
            let now = Timestamp::from_millis(u64::from(incarnation));
            observer.record(&segv(0, incarnation), now);
            let ready = Fact::WorkerReady {
                pool: IMAGES,
                process: process(0, incarnation + 1),
                pid: 9,
                took: Duration::ZERO,
            };
            observer.record(&ready, now);
        }
        // A different worker, and a different death, are news.
        observer.record(&segv(1, 1), Timestamp::from_millis(200));
        observer.record(&crashed(0, 101, CrashReason::Oom), Timestamp::from_millis(201));
    });
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("worker crashed worker=\"images-0\" "), 5 + 1);
    assert_eq!(count("worker crashed worker=\"images-1\" "), 1);
    assert_eq!(count("worker ready"), 4, "a repeating worker's readiness is quiet too");
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("again")).collect();
    assert_eq!(told.len(), 1, "{lines:#?}");
    assert!(told[0].contains("repeats=95"), "{}", told[0]);
}

#[test]
fn hidden_deaths_are_told_when_their_window_is_over_even_if_no_other_comes() {
    let lines = logged(Level::INFO, |observer| {
        for incarnation in 1..=8 {
            observer.record(&segv(0, incarnation), Timestamp::ZERO);
        }
        let (reply, _answer) = tokio::sync::oneshot::channel();
        observer.answer(super::super::Query::Ping(reply), &view(), Timestamp::from_millis(9_999));
        let (reply, _answer) = tokio::sync::oneshot::channel();
        observer.answer(super::super::Query::Ping(reply), &view(), Timestamp::from_millis(10_000));
    });
    assert_eq!(lines.len(), 5 + 1, "{lines:#?}");
    assert!(lines[5].contains("repeats=3"), "{}", lines[5]);
}

#[test]
fn hidden_deaths_are_told_before_the_next_notable_fact() {
    let lines = logged(Level::INFO, |observer| {
        for incarnation in 1..=7 {
            observer.record(&segv(0, incarnation), Timestamp::ZERO);
        }
        observer.record(&segv(1, 1), Timestamp::from_millis(10_000));
    });
    assert_eq!(lines.len(), 5 + 2, "{lines:#?}");
    assert!(lines[5].contains("repeats=2"), "{}", lines[5]);
}

#[test]
fn the_steps_of_a_life_are_told() {
    let stopped = Fact::WorkerStopped {
        pool: IMAGES,
        process: process(0, 1),
        reason: StopReason::Shutdown,
        evidence: Box::default(),
    };
    let waits = Fact::WorkerBackingOff {
        pool: IMAGES,
        worker: WorkerId(1),
        wait: Duration::from_millis(200),
        unproductive: 2,
    };
    let lines = logged(Level::INFO, |observer| {
        for fact in [&stopped, &waits, &Fact::DrainBegan] {
            observer.record(fact, Timestamp::ZERO);
        }
    });
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("INFO worker stopped worker=\"images-0\""), "{}", lines[0]);
    assert!(lines[1].contains("worker=\"images-1\" wait=200ms unproductive=2"), "{}", lines[1]);
}

#[test]
fn a_broken_promise_is_warned_of() {
    let late = RequestEnded { past_deadline: true, ..ended(OutcomeKind::TimedOut, Duration::from_secs(9)) };
    let lines = logged(Level::INFO, |observer| {
        for _ in 0..50 {
            observer.record(&Fact::RequestEnded(late), Timestamp::ZERO);
        }
    });
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(lines[0].starts_with("WARN request ended later than its deadline"), "{}", lines[0]);
}
