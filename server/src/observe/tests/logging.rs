//! One line per death with everything needed, nothing about single requests, and no floods.

use std::io::{self, Write};
use std::sync::Mutex;

use lifeboat_core::reason::KillReason;
use tracing::{Level, Subscriber};

use super::*;

/// A log in memory.
#[derive(Clone, Default)]
pub(super) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|_| io::Error::other("poisoned"))?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `act` writes to a log of this make.
pub(super) fn captured<S: Subscriber + Send + Sync>(
    make: impl FnOnce(Captured) -> S,
    act: impl FnOnce(&mut Observer),
) -> String {
    let log = Captured::default();
    tracing::subscriber::with_default(make(log.clone()), || act(&mut observer()));
    let bytes = log.0.lock().expect("not poisoned").clone();
    String::from_utf8(bytes).expect("text")
}

/// The lines that `act` logs at `level` and above.
pub(in crate::observe) fn logged(level: Level, act: impl FnOnce(&mut Observer)) -> Vec<String> {
    let plain = |log: Captured| {
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .with_writer(move || log.clone())
            .finish()
    };
    captured(plain, act).lines().map(|line| line.trim().to_owned()).collect()
}

/// The lines that these facts are worth, told one after another.
pub(super) fn lines_of(facts: &[Fact]) -> Vec<String> {
    logged(Level::INFO, |observer| {
        for fact in facts {
            observer.record(fact, Timestamp::ZERO);
        }
    })
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
            "requeued=2 report=\"start-12\" lived=1.904s productive=true stderr=last words",
        )]
    );
}

#[test]
fn a_death_of_several_requests_names_three_and_counts_all() {
    let mut death = death(0, 1, CrashReason::Oom);
    let attempt = |number: u16| (RequestId(u64::from(number)), AttemptNumber(number), MethodId(number % 2));
    death.executing = (1..=2).map(attempt).collect();
    let line = &lines_of(&[Fact::WorkerCrashed(Arc::new(death.clone()))])[0];
    let two = " executing=2 requests=\"r1 attempt 1 of convert, r2 attempt 2 of thumbnail\" requeued=2 ";
    assert!(line.contains(two), "{line}");
    assert!(!line.contains(" request=") && !line.contains(" method="), "{line}");
    death.executing = (1..=5).map(attempt).collect();
    let line = &lines_of(&[Fact::WorkerCrashed(Arc::new(death.clone()))])[0];
    let five = "executing=5 requests=\"r1 attempt 1 of convert, r2 attempt 2 of thumbnail, \
                r3 attempt 3 of convert, 2 more\"";
    assert!(line.contains(five), "{line}");
    death.executing.clear();
    let line = &lines_of(&[Fact::WorkerCrashed(Arc::new(death))])[0];
    assert!(
        !line.contains(" executing=") && !line.contains(" request=") && line.contains("requeued"),
        "{line}"
    );
}

#[test]
fn a_death_tells_the_rungs_of_its_ladder() {
    let ms = |millis| Some(Timestamp::from_millis(millis));
    let mut death = death(0, 1, CrashReason::Killed(KillReason::AttemptTimeout));
    death.rungs =
        Rungs { asked_at: ms(1_000), terminated_at: ms(1_200), killed_at: ms(1_700), exited_at: ms(1_702) };
    death.evidence.output_dropped = 41;
    let line = &lines_of(&[Fact::WorkerCrashed(Arc::new(death.clone()))])[0];
    let ladder = " ladder=\"asked +0 ms, terminated +200 ms, killed +700 ms, exited +702 ms, verified +1004 ms\" \
                  output_dropped=41 stderr=";
    assert!(line.contains(ladder), "{line}");
    death.rungs = Rungs { killed_at: ms(2_000), ..Rungs::default() };
    let line = &lines_of(&[Fact::WorkerCrashed(Arc::new(death.clone()))])[0];
    assert!(line.contains(" ladder=\"killed +0 ms, verified +4 ms\""), "{line}");
    // What cannot be killed is not verified dead, and what died by itself climbed no ladder.
    death.reason = CrashReason::Killed(KillReason::Unkillable);
    let line = &lines_of(&[Fact::WorkerCrashed(Arc::new(death.clone()))])[0];
    assert!(line.contains(" ladder=\"killed +0 ms\""), "{line}");
    death.rungs = Rungs { exited_at: ms(2_001), ..Rungs::default() };
    let line = &lines_of(&[Fact::WorkerCrashed(Arc::new(death))])[0];
    assert!(!line.contains(" ladder="), "{line}");
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
        observer.record(&Fact::DrainBegan, Timestamp::from_millis(202));
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

#[test]
fn saves_that_are_not_kept_are_warned_of_and_then_counted() {
    let dropped =
        Fact::SaveDropped { pool: TEXT, method: TEXT_OTHER, request: RequestId(7), bytes: 1_000_023 };
    let mut facts = vec![Fact::Saved { pool: TEXT, request: RequestId(7) }];
    facts.extend((0..50).map(|_| dropped.clone()));
    facts.push(Fact::DrainBegan);
    let lines = lines_of(&facts);
    assert_eq!(lines.len(), 5 + 2, "{lines:#?}");
    let start = r#"WARN a save was not kept: the pool's requests have saved all that queue.max_bytes allows; no retry"#;
    assert_eq!(lines[0], format!(r#"{start} pool="text" method="_other" bytes=1000023"#));
    assert_eq!(lines[5], r#"WARN saves could not be kept again pool="text" repeats=45"#);
}
