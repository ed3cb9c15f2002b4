//! Attempts by handlers of every kind, and what becomes of what they do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::{Attempt, AttemptError, End, Ended, Said, ToldProgress};
use crate::prelude::*;
use crate::{Amount, AttemptEnd, MAX_SAVED, PreviousAttempt, SaveError, WorkerError};

/// How long anything that must happen may take.
const LIMIT: Duration = Duration::from_secs(20);

method!(struct Say = "say": String => String, partial = String);

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

fn said<T>(attempt: Result<Ended<T>, AttemptError>) -> Ended<T>
where
    T: Method,
{
    attempt.unwrap()
}

/// Tells all that a context knows.
async fn tell(text: String, context: Context, state: State<u8>) -> Result<String, HandlerError> {
    assert!(context.remaining().is_some_and(|left| left <= Duration::from_secs(7)), "{context:?}");
    Ok(format!(
        "{text} {} {} {:?} {:?} {:?} {} {} {}",
        *state,
        context.attempt(),
        context.metadata(),
        context.idempotency_key(),
        context.traceparent(),
        context.method(),
        context.worker(),
        context.slot(),
    ))
}

#[test]
fn a_handler_is_given_all_that_is_chosen() {
    let attempt = Attempt::<Say>::of(tell).state(7_u8).number(3).deadline(Duration::from_secs(7));
    let attempt = attempt.metadata("a", "b").metadata("c", "d").idempotency_key("key").traceparent("00-1");
    let ended = said(run(attempt.run("text".to_owned())));
    assert_eq!(
        ended.reply(),
        "text 7 3 [(\"a\", \"b\"), (\"c\", \"d\")] Some(\"key\") Some(\"00-1\") say test-0 0"
    );
}

#[test]
fn all_progress_and_every_part_is_kept_in_order() {
    let blocking = |text: String, context: Context, parts: Parts<Say>| {
        for done in 0..100_u64 {
            context.progress(Progress::of(done, 100_u64).text(&text));
            parts.send_blocking(&format!("{text} {done}"))?;
        }
        Ok::<_, HandlerError>(text)
    };
    let ended = said(Attempt::<Say>::of_blocking(blocking).run_blocking("part".to_owned()));
    let amount = |number| Some(Amount::from(number));
    let expected =
        |done| ToldProgress { done: amount(done), total: amount(100), text: Some("part".to_owned()) };
    assert_eq!(ended.progress, (0..100_u64).map(expected).collect::<Vec<_>>());
    assert_eq!(ended.parts, (0..100).map(|done| format!("part {done}")).collect::<Vec<_>>());
    assert_eq!(ended.end, End::Answered("part".to_owned()));
}

#[test]
fn parts_that_fill_the_socket_are_all_told() {
    let large = async |text: String, parts: Parts<Say>| {
        for _ in 0..20 {
            parts.send(&"x".repeat(1 << 20)).await?;
        }
        Ok::<_, HandlerError>(text)
    };
    let ended = said(run(Attempt::<Say>::of(large).run(String::new())));
    assert!(ended.parts.iter().all(|part| part.len() == 1 << 20));
    assert_eq!((ended.parts.len(), ended.end), (20, End::Answered(String::new())));
}

#[test]
fn failures_and_panics_are_told_apart() {
    fn error() -> HandlerError {
        HandlerError::new("no", "not now").retryable().details([1, 2])
    }
    let ended =
        said(run(Attempt::<Say>::of(move |_: String| async move { Err(error()) }).run(String::new())));
    assert_eq!(ended.error(), error());

    let line = line!() + 1;
    let panics = |text: String| -> Result<String, HandlerError> { panic!("no {text}") };
    let ended = said(Attempt::<Say>::of_blocking(panics).run_blocking("luck".to_owned()));
    let End::Panicked { message, location: Some(location) } = &ended.end else { panic!("{ended:?}") };
    assert_eq!(message, "no luck");
    assert!(location.starts_with(&format!("{}:{line}:", file!())), "{location}");
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ended.reply())).unwrap_err();
    let told = told.downcast_ref::<String>().unwrap();
    assert!(told.starts_with("the handler of `say` gave no reply: it panicked at "), "{told}");
}

#[test]
fn replies_go_the_way_of_the_sdk() {
    let long = async |_: String| Ok::<_, HandlerError>("x".repeat(2000));
    let ended = said(run(Attempt::<Say>::of(long).max_body(1000).run(String::new())));
    assert_eq!(ended.error().code(), "reply_too_large");
}

#[test]
fn an_asynchronous_handler_is_cancelled_midway() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&dropped);
    let waits = move |_: String, context: Context| {
        let dropped = Dropped(Arc::clone(&dropped));
        async move {
            let _dropped = dropped;
            context.progress(Progress::new());
            std::future::pending::<Result<String, HandlerError>>().await
        }
    };
    run(async {
        let mut running = Attempt::<Say>::of(waits).start(String::new()).unwrap();
        let first = running.said().await.unwrap();
        assert_eq!(first, Some(Said::Progress(ToldProgress::default())));
        running.cancel();
        let ended = running.ended().await.unwrap();
        assert_eq!((ended.end, ended.progress.len()), (End::Cancelled, 1));
    });
    assert!(seen.load(Ordering::SeqCst));
}

/// Works until it is told to stop, and says then that it was.
fn works(told: mpsc::Sender<()>) -> impl Fn(String, Context) -> Result<String, HandlerError> + Send + Sync {
    let told = std::sync::Mutex::new(told);
    move |_, context| {
        context.progress(Progress::new());
        while !context.is_cancelled() {
            std::thread::yield_now();
        }
        let _ = told.lock().unwrap().send(());
        context.check_cancel()?;
        Ok(String::new())
    }
}

#[test]
fn a_blocking_handler_sees_the_cancel_and_the_end_of_its_test() {
    let (tell, told) = mpsc::channel();
    let mut running = Attempt::<Say>::of_blocking(works(tell.clone())).start(String::new()).unwrap();
    assert!(running.said_blocking().unwrap().is_some());
    running.cancel();
    assert_eq!(running.ended_blocking().unwrap().end, End::Cancelled);
    told.recv_timeout(LIMIT).unwrap();

    let mut running = Attempt::<Say>::of_blocking(works(tell)).start(String::new()).unwrap();
    assert!(running.said_blocking().unwrap().is_some());
    drop(running);
    told.recv_timeout(LIMIT).expect("what is dropped is cancelled");
}

#[test]
fn a_cancel_at_once_is_as_good_as_any() {
    for len in [0, 1 << 22] {
        for _ in 0..10 {
            let waits = async |_: String| std::future::pending::<Result<String, HandlerError>>().await;
            let running = Attempt::<Say>::of(waits).start("x".repeat(len)).unwrap();
            running.cancel();
            running.cancel();
            assert_eq!(run(running.ended()).unwrap().end, End::Cancelled);
        }
    }
}

#[test]
fn a_deadline_ends_an_attempt_that_never_stops_talking() {
    let talks = |_: String, parts: Parts<Say>| -> Result<String, HandlerError> {
        loop {
            parts.send_blocking(&"on and on".to_owned())?;
        }
    };
    let attempt = Attempt::<Say>::of_blocking(talks).deadline(Duration::from_millis(50));
    let ended = said(attempt.run_blocking(String::new()));
    assert_eq!(ended.end, End::TimedOut);
    assert!(!ended.parts.is_empty(), "what it had said is kept");
}

#[test]
fn a_deadline_ends_the_attempt_and_stops_the_handler() {
    let (tell, told) = mpsc::channel();
    let attempt = Attempt::<Say>::of_blocking(works(tell)).deadline(Duration::from_millis(50));
    assert_eq!(said(attempt.run_blocking(String::new())).end, End::TimedOut);
    told.recv_timeout(LIMIT).unwrap();
}

#[test]
fn a_whole_worker_can_be_tried_and_its_mistakes_are_told() {
    let worker = || Worker::new().handle::<Say>(tell);
    assert!(
        said(run(Attempt::<Say>::by(worker().state(1_u8)).deadline(LIMIT / 4).run("a".to_owned())))
            .reply()
            .starts_with("a 1")
    );
    let error = run(Attempt::<Say>::by(worker()).run(String::new())).unwrap_err();
    assert!(matches!(error, AttemptError::Worker(WorkerError::MissingState { .. })), "{error:?}");
    method!(struct Other = "other": u8 => u8);
    let ended = said(run(Attempt::<Other>::by(worker().state(1_u8)).run(1)));
    assert_eq!(ended.error().code(), "unknown_method");
}

/// Saves how many letters it has seen, of all that the attempts have; tells what it knew when it began.
async fn count(text: String, context: Context) -> Result<String, HandlerError> {
    let begin: usize = context.last_saved()?.unwrap_or(0);
    for seen in begin..text.len() {
        context.save(&(seen + 1)).await?;
    }
    let ends: Vec<_> = context.previous_attempts().iter().map(|one| (one.number, one.end)).collect();
    Ok(format!("{begin} {} {ends:?}", context.attempt()))
}

fn before(number: u16, end: AttemptEnd) -> PreviousAttempt {
    PreviousAttempt { number, worker: "w".into(), incarnation: 1, end, reason: None, duration_ms: 5 }
}

#[test]
fn what_is_saved_is_told_in_order_and_the_last_is_left() {
    let ended = said(run(Attempt::<Say>::of(count).run("abc".to_owned())));
    assert_eq!(ended.saves.iter().map(super::Saved::read::<u8>).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(ended.saved::<usize>(), Some(3));
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ended.saved::<String>()));
    let told = told.unwrap_err();
    assert!(told.downcast_ref::<String>().unwrap().contains("of another type"));
    assert_eq!(ended.reply(), "0 1 []");

    let mut running = Attempt::<Say>::of_blocking(|text: String, context: Context| {
        context.save_blocking("half")?;
        Ok::<_, HandlerError>(text)
    })
    .start(String::new())
    .unwrap();
    let Some(Said::Saved(saved)) = running.said_blocking().unwrap() else { panic!("{running:?}") };
    assert_eq!(saved.read::<String>(), "half");
    assert_eq!(running.said_blocking().unwrap(), None);
    assert_eq!(running.ended_blocking().unwrap().saved::<String>().as_deref(), Some("half"));

    let nothing = said(run(Attempt::<Say>::of(count).saved(&3).run("abc".to_owned())));
    assert_eq!(nothing.saved::<usize>(), None, "what was saved before is not this attempt's");
}

#[test]
fn an_attempt_knows_what_came_before_it() {
    let again = |attempt: Attempt<Say>| said(run(attempt.run("abc".to_owned()))).reply();
    let attempt = || Attempt::<Say>::of(count);
    let ends = [before(1, AttemptEnd::Failed), before(2, AttemptEnd::TimedOut)];
    assert_eq!(again(attempt().saved(&2)), "2 2 [(1, Crashed)]");
    assert_eq!(again(attempt().previous(ends.clone())), "0 3 [(1, Failed), (2, TimedOut)]");
    assert_eq!(again(attempt().number(9).previous(ends).saved(&1)), "1 9 [(1, Failed), (2, TimedOut)]");
    let many = (1..=130).map(|number| before(number, AttemptEnd::Crashed));
    let told = again(attempt().previous(many));
    assert!(told.starts_with("0 131 [(31, Crashed), "), "{told}");
}

#[test]
fn what_cannot_have_been_saved_is_told() {
    let fits = "x".repeat(MAX_SAVED - 5);
    let read = |_: String, context: Context| Ok::<_, HandlerError>(context.last_saved::<String>()?.unwrap());
    let ended = said(Attempt::<Say>::of_blocking(read).saved(&fits).run_blocking(String::new()));
    assert_eq!(ended.reply(), fits);
    for (max_body, limit) in [(1 << 24, MAX_SAVED), (1000, 1000)] {
        let attempt = Attempt::<Say>::of_blocking(read).max_body(max_body).saved(&"x".repeat(MAX_SAVED));
        let error = attempt.run_blocking(String::new()).unwrap_err();
        let AttemptError::Saved(SaveError::TooLarge { len, limit: told }) = error else {
            panic!("{error:?}")
        };
        assert_eq!((len, told), (MAX_SAVED + 5, limit));
    }
    let ended = said(Attempt::<Say>::of_blocking(read).saved(&1).run_blocking(String::new()));
    assert!(ended.error().to_string().contains("saved"), "of another type");
}

#[test]
fn an_attempt_may_ask_for_another_process() {
    let answers = async |text: String, context: Context| {
        context.progress(Progress::new());
        context.recycle();
        Ok::<_, HandlerError>(text)
    };
    run(async {
        let mut running = Attempt::<Say>::of(answers).start("a".to_owned()).unwrap();
        assert!(matches!(running.said().await.unwrap(), Some(Said::Progress(_))));
        assert_eq!(running.said().await.unwrap(), None, "the rest is told at the end");
        let ended = running.ended().await.unwrap();
        assert!(ended.recycle_asked);
        assert_eq!(ended.reply(), "a");
    });
    let fails = |_: String| Err::<String, _>(HandlerError::new("bad_cache", "gone bad").and_recycle());
    let ended = said(Attempt::<Say>::of_blocking(fails).run_blocking(String::new()));
    assert!(ended.recycle_asked);
    assert_eq!(ended.error().code(), "bad_cache");
}
