//! The messages behind the frozen vectors: how each is written, and what it must be read as.
//!
//! Owns the list of values; their bytes are frozen in `tests/golden/v1`. Must never be changed to follow the code:
//! a new form is a new entry.

#[path = "vectors/operations.rs"]
mod operations;
#[path = "vectors/streams.rs"]
mod streams;

use std::fmt::Debug;

use lifeboat_protocol::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::{cbor, header_of};

/// What a vector's bytes must be, and what they must decode to.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) message_type: MessageType,
    pub(crate) bytes: Vec<u8>,
    pub(crate) decodes: Box<dyn Fn(&Message<'_>)>,
}

/// Between client and broker, and between broker and worker.
pub(crate) const CLIENT: Route = Route::request(0x0102_0304_0506_0708, TimeLeft::from_millis(5000));
pub(crate) const WORKER: Route =
    Route { id: 42, attempt: 2, flags: RouteFlags::NONE, time_left: TimeLeft::NONE };

/// The same, from the broker to the fourth slot of a process.
fn to_slot(route: Route) -> Route {
    Route { flags: route.flags.with_slot(3), ..route }
}

fn request(name: &'static str, route: Route, method: &'static str, ext: Ext, body: Value) -> Vector {
    let mut bytes = Vec::new();
    let body = cbor(&body);
    put_request(&mut bytes, route, method, &ext, &body);
    let decodes = move |message: &Message<'_>| {
        let Header::Request { route: got, method: named, ext: map } = message.header else {
            panic!("{message:?}")
        };
        assert_eq!((got, named), (route, method));
        assert_eq!(map.map(|map| Ext::decode(map).expect("an ext map")).unwrap_or_default(), ext);
        assert_eq!(message.body, body);
    };
    Vector { name, message_type: MessageType::Request, bytes, decodes: Box::new(decodes) }
}

fn answer(name: &'static str, route: Route, body: Value) -> Vector {
    let mut bytes = Vec::new();
    let body = cbor(&body);
    put_answer(&mut bytes, route, &body);
    let decodes = move |message: &Message<'_>| {
        assert_eq!(message.header, Header::Answer { route });
        assert_eq!(message.body, body);
    };
    Vector { name, message_type: MessageType::Answer, bytes, decodes: Box::new(decodes) }
}

fn empty(name: &'static str, message_type: MessageType, route: Option<Route>) -> Vector {
    let mut bytes = Vec::new();
    put_empty(&mut bytes, message_type, route);
    let decodes = move |message: &Message<'_>| {
        assert_eq!(message.header, header_of(message_type, route.unwrap_or(WORKER)));
        assert_eq!(message.body, NULL_BODY);
    };
    Vector { name, message_type, bytes, decodes: Box::new(decodes) }
}

fn control<T>(name: &'static str, message_type: MessageType, route: Option<Route>, value: T) -> Vector
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
{
    let mut bytes = Vec::new();
    put_control(&mut bytes, message_type, route, &value).expect("a control message");
    let decodes = move |message: &Message<'_>| {
        assert_eq!(message.header, header_of(message_type, route.unwrap_or(WORKER)));
        assert_eq!(decode_body::<T>(message.body).as_ref(), Ok(&value));
    };
    Vector { name, message_type, bytes, decodes: Box::new(decodes) }
}

/// Every message that this version writes.
pub(crate) fn vectors() -> Vec<Vector> {
    let mut all = hellos();
    all.extend(requests_and_answers());
    all.extend(from_worker());
    all.extend(errors());
    all.extend(streams::vectors());
    all.extend(operations::vectors());
    all.extend([
        empty("cancel", MessageType::Cancel, Some(Route::request(CLIENT.id, TimeLeft::NONE))),
        empty("cancel_to_worker", MessageType::Cancel, Some(WORKER)),
        empty("cancel_to_slot", MessageType::Cancel, Some(to_slot(WORKER))),
        empty("drain", MessageType::Drain, None),
        control(
            "refused",
            MessageType::Refused,
            None,
            Refused::new(RefusedCode::UnsupportedVersion, "speak version 1"),
        ),
    ]);
    all
}

fn hellos() -> Vec<Vector> {
    let hello = |name, hello| control(name, MessageType::Hello, None, hello);
    let new =
        |role, software: &str| Hello { pid: Some(4711), ..Hello::new(role, DEFAULT_MAX_BODY, software) };
    let worker = Hello {
        worker: Some(WorkerHello { methods: vec!["resize".into(), "thumbnail".into()], slots: 4 }),
        ..new(Role::Worker, "lifeboat-worker/0.1.0")
    };
    let assignment = Assignment {
        pool: "images".into(),
        worker: "images-0".into(),
        incarnation: 3,
        prefetch: 1,
        cancel_grace_ms: 1000,
        stop_grace_ms: 5000,
        ..Assignment::default()
    };
    let to_worker =
        |assignment| Hello { assignment: Some(assignment), ..new(Role::Broker, "lifeboat/0.1.0") };
    let service = Service { max_in_flight: 65536, ..Service::default() };
    let to_client = |service| Hello { service: Some(service), ..new(Role::Broker, "lifeboat/0.1.0") };
    let times = |deadline_ms| MethodTimes { deadline_ms, answer_within_ms: deadline_ms + 1000 };
    let methods = [("resize", 30_000), (OTHER_METHOD, 300_000)];
    let methods = methods.map(|(name, deadline_ms)| (name.to_owned(), times(deadline_ms))).into();
    vec![
        hello("hello_minimal", Hello::new(Role::Client, 0, "")),
        hello("hello_client", new(Role::Client, "lifeboat-client/0.1.0")),
        hello(
            "hello_client_with_features",
            Hello { features: vec![ACCEPTED_FEATURE.into()], ..new(Role::Client, "lifeboat-client/0.1.0") },
        ),
        hello(
            "hello_broker_to_worker_keeping_slots",
            Hello {
                features: vec![RETIRE_FEATURE.into()],
                ..to_worker(Assignment { on_panic: OnPanic::Keep, ..Assignment::default() })
            },
        ),
        hello("hello_worker", worker.clone()),
        hello(
            "hello_worker_with_heartbeat",
            Hello { features: vec![HEARTBEAT_FEATURE.into()], ..worker.clone() },
        ),
        hello(
            "hello_worker_with_history",
            Hello { features: vec![HISTORY_FEATURE.into()], ..worker.clone() },
        ),
        hello(
            "hello_worker_with_recorder",
            Hello {
                features: [HEARTBEAT_FEATURE, HISTORY_FEATURE, RECORDER_FEATURE].map(String::from).into(),
                ..worker
            },
        ),
        hello("hello_broker_to_client", to_client(service.clone())),
        hello(
            "hello_broker_to_client_with_features",
            Hello { features: vec![POOL_FEATURE.into()], ..to_client(service.clone()) },
        ),
        hello("hello_broker_to_client_with_methods", to_client(Service { methods, ..service.clone() })),
        hello(
            "hello_broker_to_client_after_deadline",
            to_client(Service { after_deadline_ms: Some(1000), ..service }),
        ),
        hello("hello_broker_to_worker", to_worker(assignment.clone())),
        hello(
            "hello_broker_to_worker_with_save",
            Hello { features: vec![SAVE_FEATURE.into()], ..to_worker(assignment.clone()) },
        ),
        hello(
            "hello_broker_to_worker_with_slots",
            to_worker(Assignment { slots: 4, heartbeat_ms: 2000, ..assignment }),
        ),
    ]
}

fn requests_and_answers() -> Vec<Vector> {
    let ext = Ext {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        tracestate: Some("congo=t61rcWkgMzE".into()),
        limits: Limits {
            attempt_timeout_ms: Some(10_000),
            queue_timeout_ms: Some(500),
            progress_timeout_ms: Some(3_000),
            output_timeout_ms: Some(23),
        },
        metadata: vec![("tenant".into(), "blue".into()), ("größe".into(), "".into())],
        retry: Some(RetryExt { max_attempts: Some(3), on: vec!["crash".into(), "stall".into()] }),
        ..Ext::default()
    };
    let keyed = Ext { idempotency_key: Some("order-17".into()), ..Ext::default() };
    let pooled = Ext { pool: Some("sandbox".into()), ..Ext::default() };
    let trace_only = Ext { traceparent: ext.traceparent.clone(), ..Ext::default() };
    let picture = Value::Map(vec![
        (Value::from("width"), Value::from(64)),
        (Value::from("png"), Value::Bytes(vec![0x89, 0x50, 0x4e, 0x47])),
    ]);
    let dispatched = Route { time_left: TimeLeft::from_millis(9_998), ..WORKER };
    let late = Route { attempt: 1, flags: RouteFlags::LATE, ..CLIENT.answer() };
    let long_name = "a.method.whose.name.takes.two.bytes.of.length";
    vec![
        request("request", CLIENT, "resize", Ext::default(), picture.clone()),
        request("request_no_time_limit", Route::request(1, TimeLeft::NONE), "m", Ext::default(), Value::Null),
        request("request_long_method", CLIENT, long_name, Ext::default(), Value::from("x")),
        request("request_keyed", CLIENT, "resize", keyed, Value::Null),
        request("request_pooled", CLIENT, "resize", pooled, Value::Null),
        request("request_traced", CLIENT, "resize", trace_only, picture.clone()),
        request("request_full_ext", CLIENT, "resize", ext, picture),
        request("request_to_worker", dispatched, "resize", Ext::default(), Value::Array(vec![])),
        request("request_to_slot", to_slot(dispatched), "resize", Ext::default(), Value::Array(vec![])),
        answer("answer", WORKER, Value::Map(vec![(Value::from("height"), Value::from(48))])),
        answer("answer_late", late, Value::Null),
    ]
}

fn failure() -> Failure {
    Failure {
        code: "bad_image".into(),
        message: "not a PNG".into(),
        retryable: true,
        retry_after_ms: None,
        details: Value::Map(vec![(Value::from("offset"), Value::from(17))]),
    }
}

fn from_worker() -> Vec<Vector> {
    let failed = |name, failure| control(name, MessageType::Failure, Some(WORKER), failure);
    let panicked = |name, panicked| control(name, MessageType::Panicked, Some(WORKER), panicked);
    let reasons = vec!["slot 0: index out of bounds at src/main.rs:3:7".into(), "slot 1: boom".into()];
    vec![
        failed("failure", failure()),
        failed(
            "failure_retry_after",
            Failure {
                retryable: true,
                retry_after_ms: Some(1_500),
                ..Failure::new("busy", "come back later")
            },
        ),
        failed("failure_plain", Failure::new("busy", "try another day")),
        panicked(
            "panicked",
            Panicked {
                message: "index out of bounds".into(),
                location: Some("src/main.rs:3:7".into()),
                kept: false,
            },
        ),
        panicked("panicked_nowhere", Panicked { message: "boom".into(), location: None, kept: false }),
        panicked("panicked_kept", Panicked { message: "boom".into(), location: None, kept: true }),
        empty("cancelled", MessageType::Cancelled, Some(WORKER)),
        control("workers_failed", MessageType::WorkersFailed, None, WorkersFailed { reasons }),
        empty("retire", MessageType::Retire, None),
    ]
}

fn attempt(number: u16, end: AttemptEndLabel, reason: Option<ReasonBody>) -> AttemptBody {
    AttemptBody {
        number,
        worker: "images-0".into(),
        incarnation: 6 + u64::from(number),
        pid: Some(4711),
        start_ms: 12,
        duration_ms: 345,
        end,
        reason,
        stderr_tail: Some("libpng error\n".into()),
    }
}

fn segv() -> ReasonBody {
    ReasonBody {
        signal: Some(11),
        core_dumped: Some(true),
        ..ReasonBody::new("signal", ConfidenceLabel::Proven)
    }
}

fn errors() -> Vec<Vector> {
    let flagged = |name, flags, error: ErrorBody| {
        let made = u16::try_from(error.attempts.len()).expect("few attempts");
        let route = Route { attempt: made, flags, ..CLIENT.answer() };
        control(name, MessageType::Error, Some(route), error)
    };
    let error = |name, error| flagged(name, RouteFlags::NONE, error);
    let new = |outcome| ErrorBody::new(outcome, "resize");
    let exit = ReasonBody { code: Some(-1), ..ReasonBody::new("exit", ConfidenceLabel::Inferred) };
    let panicked = ReasonBody {
        message: Some("boom".into()),
        location: Some("src/main.rs:3:7".into()),
        ..ReasonBody::new("slot_panicked", ConfidenceLabel::Unknown)
    };
    let crashed = |reason: &ReasonBody| attempt(1, AttemptEndLabel::Crashed, Some(reason.clone()));
    vec![
        error(
            "error_failed",
            ErrorBody {
                failure: Some(failure()),
                attempts: vec![attempt(1, AttemptEndLabel::Failed, None)],
                ..new(OutcomeLabel::Failed)
            },
        ),
        error(
            "error_crashed",
            ErrorBody {
                reason: Some(segv()),
                max_attempts: Some(2),
                report_id: Some("r-0001".into()),
                attempts: vec![crashed(&exit), attempt(2, AttemptEndLabel::Crashed, Some(segv()))],
                ..new(OutcomeLabel::Crashed)
            },
        ),
        error(
            "error_panicked",
            ErrorBody {
                attempts: vec![crashed(&panicked)],
                reason: Some(panicked),
                max_attempts: Some(1),
                ..new(OutcomeLabel::Crashed)
            },
        ),
        error(
            "error_timed_out",
            ErrorBody {
                which: Some(TimeoutWhich::Progress),
                limit_ms: Some(3000),
                attempts: vec![attempt(1, AttemptEndLabel::TimedOut, None)],
                ..new(OutcomeLabel::TimedOut)
            },
        ),
        error(
            "error_timed_out_with_output",
            ErrorBody {
                which: Some(TimeoutWhich::Attempt),
                limit_ms: Some(3000),
                output_so_far: Some("page 1\n".into()),
                attempts: vec![attempt(1, AttemptEndLabel::TimedOut, None)],
                ..new(OutcomeLabel::TimedOut)
            },
        ),
        error("error_cancelled", new(OutcomeLabel::Cancelled)),
        error(
            "error_rejected",
            ErrorBody {
                why: Some(RejectWhy::QueueFull),
                retry_after_ms: Some(250),
                message: Some("1024 requests wait already".into()),
                ..new(OutcomeLabel::Rejected)
            },
        ),
        error("error_closed", new(OutcomeLabel::Closed)),
        flagged("error_may_have_started", RouteFlags::MAY_HAVE_STARTED, new(OutcomeLabel::Closed)),
    ]
}
