//! Every outcome as the caller sees it: the variant, the text, the source, and the three questions.

use std::error::Error;
use std::time::Duration;

use lifeboat_client::{AttemptEndLabel, CallError, ConfidenceLabel, RejectWhy, TimeoutWhich, Value};
use lifeboat_protocol::{
    AttemptBody, BodyError, Cbor, EncodeError, Encoding, ErrorBody, Failure, MessageType, OutcomeLabel,
    ReasonBody, Route, RouteFlags, method,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::support::{Broker, Resize, attempt, limit, told_of};

/// What a call returns when the broker says this after so many attempts.
async fn outcome(attempts: u16, body: ErrorBody) -> CallError {
    flagged_outcome(attempts, RouteFlags::NONE, body).await
}

async fn flagged_outcome(attempts: u16, flags: RouteFlags, body: ErrorBody) -> CallError {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let serve = async {
        let route = Route { flags, ..told_of(peer.request().await.route.id, attempts) };
        peer.control(MessageType::Error, Some(route), &body).await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 64 })), serve);
    reply.expect_err("an error")
}

fn body(outcome: OutcomeLabel) -> ErrorBody {
    ErrorBody::new(outcome, "resize")
}

fn segfault() -> ReasonBody {
    attempt(1).reason.expect("a reason")
}

fn source_of(error: &CallError) -> String {
    error.source().expect("the reason is the source").to_string()
}

#[tokio::test]
async fn a_crash_after_several_attempts() {
    let error = outcome(
        3,
        ErrorBody {
            reason: Some(segfault()),
            max_attempts: Some(3),
            report_id: Some("r-1".into()),
            attempts: (1..=3).map(attempt).collect(),
            ..body(OutcomeLabel::Crashed)
        },
    )
    .await;
    assert_eq!(error.to_string(), "Worker crashed after 3 attempts while processing 'resize'");
    assert_eq!(source_of(&error), "signal SIGSEGV, core dumped");
    assert_eq!(error.attempts().len(), 3);
    let first = &error.attempts()[0];
    assert_eq!(
        (first.number, first.worker.as_str(), first.incarnation, first.pid),
        (1, "images-0", 4, Some(77))
    );
    assert_eq!((first.start, first.duration), (Duration::from_millis(5), Duration::from_millis(20)));
    assert_eq!(first.stderr_tail.as_deref(), Some("oh no"));
    assert!(error.may_have_executed() && error.is_retryable());
    let CallError::WorkerCrashed { reason, method, attempt, max_attempts, report_id, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (method.as_str(), *attempt, *max_attempts, report_id.as_deref()),
        ("resize", 3, 3, Some("r-1"))
    );
    assert_eq!((reason.label(), reason.signal(), reason.exit_code()), ("signal", Some(11), None));
    assert_eq!((reason.confidence(), reason.core_dumped()), (ConfidenceLabel::Proven, true));
    assert_eq!(error.crash_reason(), Some(reason));
}

#[tokio::test]
async fn a_crash_with_details() {
    let error = outcome(
        1,
        ErrorBody { reason: Some(segfault()), attempts: vec![attempt(1)], ..body(OutcomeLabel::Crashed) },
    )
    .await;
    assert_eq!(error.to_string(), "Worker crashed (signal SIGSEGV, core dumped) while processing 'resize'");
    assert_eq!(source_of(&error), "signal SIGSEGV, core dumped");
    let mut exit = ReasonBody::new("exit", ConfidenceLabel::Proven);
    exit.code = Some(3);
    let error = outcome(1, ErrorBody { reason: Some(exit), ..body(OutcomeLabel::Crashed) }).await;
    assert_eq!(error.to_string(), "Worker crashed (exit code 3) while processing 'resize'");
    let timeout = ReasonBody::new("attempt_timeout", ConfidenceLabel::Proven);
    let error = outcome(1, ErrorBody { reason: Some(timeout), ..body(OutcomeLabel::Crashed) }).await;
    assert_eq!(
        error.to_string(),
        "Worker crashed (killed by the broker: attempt timeout) while processing 'resize'"
    );
}

#[tokio::test]
async fn a_crash_of_which_the_evidence_says_nothing() {
    let unknown = ReasonBody::new("connection_closed", ConfidenceLabel::Unknown);
    for reason in [Some(unknown), Some(ReasonBody::new("exit", ConfidenceLabel::Proven)), None] {
        let error = outcome(1, ErrorBody { reason, ..body(OutcomeLabel::Crashed) }).await;
        assert_eq!(error.to_string(), "Worker crashed unexpectedly while processing 'resize'");
        assert!(error.source().is_some());
    }
}

#[tokio::test]
async fn a_handlers_no() {
    let mut failure = Failure::new("too_wide", "no more than 4096");
    (failure.retryable, failure.details) = (true, Value::from(4096));
    let error = outcome(
        1,
        ErrorBody {
            failure: Some(failure),
            attempts: vec![AttemptBody { end: AttemptEndLabel::Failed, reason: None, ..attempt(1) }],
            ..body(OutcomeLabel::Failed)
        },
    )
    .await;
    assert_eq!(error.to_string(), "'resize' failed: no more than 4096 (too_wide)");
    assert!(error.may_have_executed() && error.is_retryable() && error.attempts().len() == 1);
    let CallError::Failed { code, details, retryable, .. } = error else { panic!("{error:?}") };
    assert_eq!((code.as_str(), *details, retryable), ("too_wide", Value::from(4096), true));
}

#[tokio::test]
async fn a_failure_says_when_to_try_again_if_that_is_of_use() {
    for (retryable, said, told) in [
        (true, Some(1_500), Some(Duration::from_millis(1_500))),
        (true, None, None),
        (false, Some(1_500), None),
    ] {
        let failure = Failure { retryable, retry_after_ms: said, ..Failure::new("busy", "later") };
        let failed = ErrorBody { failure: Some(failure), ..body(OutcomeLabel::Failed) };
        let error = outcome(1, failed).await;
        assert_eq!((error.retry_after(), error.is_retryable()), (told, retryable));
    }
}

#[tokio::test]
async fn a_timeout_that_the_broker_tells_of() {
    let timed_out = |which, attempts| ErrorBody {
        which: Some(which),
        limit_ms: Some(1500),
        attempts,
        ..body(OutcomeLabel::TimedOut)
    };
    let error = outcome(0, timed_out(TimeoutWhich::Queue, Vec::new())).await;
    assert_eq!(error.to_string(), "'resize' timed out: queue_timeout of 1.5s");
    assert!(!error.may_have_executed() && error.is_retryable());
    let error = outcome(1, timed_out(TimeoutWhich::Deadline, vec![attempt(1)])).await;
    assert_eq!(error.to_string(), "'resize' timed out: deadline of 1.5s");
    assert!(error.may_have_executed() && error.is_retryable());
}

#[tokio::test]
async fn what_the_broker_says_beside_an_end_is_shown() {
    let died = "worker images-0 ended: exit (exit code 3); its last words: no model";
    let said = |label| ErrorBody { message: Some(died.into()), ..body(label) };
    let waited =
        ErrorBody { which: Some(TimeoutWhich::Queue), limit_ms: Some(300), ..said(OutcomeLabel::TimedOut) };
    let error = outcome(0, waited).await;
    assert_eq!(error.to_string(), format!("'resize' timed out: queue_timeout of 300ms; {died}"));
    assert!(matches!(&error, CallError::TimedOut { message: Some(message), .. } if message == died));
    let error = outcome(0, said(OutcomeLabel::Cancelled)).await;
    assert_eq!(error.to_string(), format!("'resize' was cancelled; {died}"));
    let error = outcome(0, said(OutcomeLabel::Closed)).await;
    assert_eq!(error.to_string(), format!("'resize' was ended by a planned shutdown; {died}"));
}

#[tokio::test]
async fn refusals_never_executed() {
    use RejectWhy::{
        AllWorkersBusy, Draining, NotAllowed, Quarantined, QueueFull, TooLarge, Tripped, UnknownMethod,
    };
    let passing = [QueueFull, AllWorkersBusy, Tripped, Draining];
    let lasting = [UnknownMethod, TooLarge, NotAllowed, Quarantined];
    for why in RejectWhy::ALL {
        let error = outcome(
            0,
            ErrorBody {
                why: Some(*why),
                retry_after_ms: Some(250),
                message: Some("come back later".into()),
                ..body(OutcomeLabel::Rejected)
            },
        )
        .await;
        assert_eq!(error.to_string(), format!("'resize' was rejected ({why}): come back later"));
        assert!(!error.may_have_executed());
        assert_eq!(error.is_retryable(), passing.contains(why));
        assert_ne!(error.is_retryable(), lasting.contains(why));
        let CallError::Rejected { retry_after, .. } = error else { panic!("{error:?}") };
        assert_eq!(retry_after, Some(Duration::from_millis(250)));
    }
}

#[tokio::test]
async fn a_planned_end() {
    let error = outcome(0, body(OutcomeLabel::Closed)).await;
    assert!(matches!(&error, CallError::Closed { .. }) && !error.may_have_executed() && error.is_retryable());
    let error = outcome(1, ErrorBody { attempts: vec![attempt(1)], ..body(OutcomeLabel::Closed) }).await;
    assert!(error.may_have_executed());
    let error = outcome(0, body(OutcomeLabel::Cancelled)).await;
    assert!(
        matches!(&error, CallError::Cancelled { .. }) && !error.may_have_executed() && !error.is_retryable()
    );
}

#[tokio::test]
async fn what_may_have_started_may_have_executed() {
    use OutcomeLabel::{Cancelled, Closed, Rejected, TimedOut};
    for label in [Cancelled, Closed, Rejected, TimedOut] {
        let may =
            async |attempts, flags, body| flagged_outcome(attempts, flags, body).await.may_have_executed();
        let told = || ErrorBody { attempts: vec![attempt(1)], ..body(label) };
        assert!(!may(0, RouteFlags::NONE, body(label)).await, "{label}: no process was given it");
        assert!(!may(0, RouteFlags::LATE, body(label)).await, "{label}: the flag of something else");
        assert!(may(0, RouteFlags::MAY_HAVE_STARTED, body(label)).await, "{label}: a process was given it");
        assert!(may(1, RouteFlags::NONE, body(label)).await, "{label}: an attempt that is not listed");
        assert!(may(1, RouteFlags::NONE, told()).await, "{label}: an attempt");
        assert!(
            may(1, RouteFlags::MAY_HAVE_STARTED, told()).await,
            "{label}: an attempt, and perhaps another"
        );
    }
}

#[tokio::test]
async fn an_error_that_cannot_be_read_is_not_taken_for_harmless() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let serve = async {
        let request = peer.request().await;
        let mut route = request.route;
        route.attempt = 1;
        peer.control(MessageType::Error, Some(route), &"no map at all").await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 64 })), serve);
    let error = reply.expect_err("an error");
    assert!(matches!(&error, CallError::Decode { .. }) && error.may_have_executed());
}

#[test]
fn errors_are_cheap_to_return() {
    assert!(size_of::<CallError>() < 128, "{} bytes", size_of::<CallError>());
}

/// An encoding that forgets to write.
enum Mute {}

impl Encoding for Mute {
    fn encode_into<T: Serialize + ?Sized>(_: &mut Vec<u8>, _: &T) -> Result<(), EncodeError> {
        Ok(())
    }

    fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
        Cbor::decode(body)
    }
}

method!(struct Hush = "hush": String => String, encoding = Mute);

#[tokio::test]
async fn a_request_without_a_body_is_never_sent() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let error = limit(client.call_as::<Hush>("x".to_owned())).await.expect_err("it has no body");
    assert!(matches!(error, CallError::Encode { .. }) && !error.may_have_executed(), "{error:?}");
    assert!(source_of(&error).contains("wrote nothing"), "{error}");
    // The connection is as good as ever, and the next request is the first that the broker sees.
    let serve = async {
        let request = peer.request().await;
        assert_eq!(request.method, "resize");
        peer.answer(request.route, &32).await;
    };
    assert!(tokio::join!(limit(client.call(Resize { width: 64 })), serve).0.is_ok());
}
