//! Values for the protocol's tests: one of every message, arbitrary ones, and CBOR as ciborium sees it.
//!
//! Owns the generators that several test binaries share. Must never encode or decode anything with the code
//! under test.

#![expect(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod operations;

use lifeboat_protocol::*;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

/// Messages with a route and a body of their own, or none.
pub(crate) const ROUTED: [MessageType; 14] = [
    MessageType::Accepted,
    MessageType::Answer,
    MessageType::Failure,
    MessageType::Error,
    MessageType::Cancel,
    MessageType::Panicked,
    MessageType::Cancelled,
    MessageType::Progress,
    MessageType::Partial,
    MessageType::AttemptFailed,
    MessageType::Operate,
    MessageType::Operated,
    MessageType::Save,
    MessageType::History,
];

/// Messages without a route.
pub(crate) const UNROUTED: [MessageType; 6] = [
    MessageType::Hello,
    MessageType::Drain,
    MessageType::WorkersFailed,
    MessageType::Heartbeat,
    MessageType::Refused,
    MessageType::Retire,
];

/// The header that a message of this type must decode to, requests excepted.
pub(crate) fn header_of(message_type: MessageType, route: Route) -> Header<'static> {
    match message_type {
        MessageType::Hello => Header::Hello,
        MessageType::Answer => Header::Answer { route },
        MessageType::Failure => Header::Failure { route },
        MessageType::Error => Header::Error { route },
        MessageType::Cancel => Header::Cancel { route },
        MessageType::Drain => Header::Drain,
        MessageType::WorkersFailed => Header::WorkersFailed,
        MessageType::Refused => Header::Refused,
        MessageType::Panicked => Header::Panicked { route },
        MessageType::Cancelled => Header::Cancelled { route },
        MessageType::Progress => Header::Progress { route },
        MessageType::Partial => Header::Partial { route },
        MessageType::Heartbeat => Header::Heartbeat,
        MessageType::Accepted => Header::Accepted { route },
        MessageType::AttemptFailed => Header::AttemptFailed { route },
        MessageType::Operate => Header::Operate { route },
        MessageType::Operated => Header::Operated { route },
        MessageType::Save => Header::Save { route },
        MessageType::History => Header::History { route },
        MessageType::Retire => Header::Retire,
        MessageType::Request => panic!("a request's header has more than a route"),
    }
}

/// The one frame in `bytes`, without its length prefix.
pub(crate) fn only_frame(bytes: &[u8]) -> &[u8] {
    match split_frame(bytes, FrameLimit::for_body(usize::MAX)) {
        Ok(Split::Frame { frame, rest: [] }) => frame,
        other => panic!("not exactly one frame: {other:?}"),
    }
}

/// A value as ciborium writes it.
pub(crate) fn cbor(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).expect("a value is written");
    out
}

pub(crate) fn routes() -> impl Strategy<Value = Route> {
    (any::<u64>(), any::<u16>(), any::<u16>(), any::<u32>()).prop_map(|(id, attempt, bits, left)| Route {
        id,
        attempt,
        flags: RouteFlags::from_bits(bits),
        time_left: TimeLeft::from_millis(left),
    })
}

/// Method names of every length class: one-byte heads, two-byte heads, many-byte characters.
pub(crate) fn methods() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_.]{1,23}",
        "[a-z_.]{24,255}",
        "[a-zäß漢🦀]{1,60}",
        Just("x".repeat(255)),
        Just("x".to_owned())
    ]
}

pub(crate) fn texts() -> impl Strategy<Value = String> {
    prop_oneof![4 => "\\PC{0,30}", 1 => "[ -~]{200,300}"]
}

fn limits() -> impl Strategy<Value = Limits> {
    let limit = || of(prop_oneof![any::<u64>(), 0..100_000_u64]);
    (limit(), limit(), limit(), limit()).prop_map(|(attempt, queue, progress, output)| Limits {
        attempt_timeout_ms: attempt,
        queue_timeout_ms: queue,
        progress_timeout_ms: progress,
        output_timeout_ms: output,
    })
}

pub(crate) fn exts() -> impl Strategy<Value = Ext> {
    let retry = (of(any::<u16>()), vec(texts(), 0..5));
    let retry = retry.prop_map(|(max_attempts, on)| RetryExt { max_attempts, on });
    let wishes = (any::<bool>(), any::<bool>(), of(texts()), of(texts()));
    (of(texts()), of(texts()), limits(), vec((texts(), texts()), 0..30), of(retry), wishes).prop_map(
        |(traceparent, tracestate, limits, metadata, retry, (stream, restartable, idempotency_key, pool))| {
            Ext {
                traceparent,
                tracestate,
                limits,
                metadata,
                retry,
                stream,
                restartable,
                idempotency_key,
                pool,
            }
        },
    )
}

/// CBOR values without floats (which need not equal themselves) and without tags (which ciborium may turn into
/// big integers), nested up to `depth` deep.
pub(crate) fn values(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        texts().prop_map(Value::from),
        vec(any::<u8>(), 0..40).prop_map(Value::from),
    ];
    leaf.prop_recursive(depth, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec((inner.clone(), inner), 0..6).prop_map(Value::Map),
        ]
    })
}

pub(crate) fn failures() -> impl Strategy<Value = Failure> {
    (texts(), texts(), any::<bool>(), any::<Option<u64>>(), values(4)).prop_map(
        |(code, message, retryable, retry_after_ms, details)| Failure {
            code,
            message,
            retryable,
            retry_after_ms,
            details,
        },
    )
}

pub(crate) fn hellos() -> impl Strategy<Value = Hello> {
    let role = prop_oneof![Just(Role::Client), Just(Role::Broker), Just(Role::Worker)];
    let worker = (vec(texts(), 0..5), any::<u32>());
    let worker = worker.prop_map(|(methods, slots)| WorkerHello { methods, slots });
    let times = (any::<u64>(), any::<u64>());
    let times =
        times.prop_map(|(deadline_ms, answer_within_ms)| MethodTimes { deadline_ms, answer_within_ms });
    let service = (any::<u32>(), btree_map(texts(), times, 0..5), of(any::<u64>()));
    let service = service.prop_map(|(max_in_flight, methods, after_deadline_ms)| Service {
        max_in_flight,
        methods,
        after_deadline_ms,
    });
    let own = (of(worker), of(assignments()), of(service));
    (vec(any::<u16>(), 0..5), role, any::<u64>(), texts(), vec(texts(), 0..4), of(any::<u32>()), own)
        .prop_map(|(versions, role, max_body, software, features, pid, (worker, assignment, service))| {
            Hello { versions, role, max_body, software, features, pid, worker, assignment, service }
        })
}

fn assignments() -> impl Strategy<Value = Assignment> {
    let graces = (any::<u64>(), any::<u64>());
    let numbers = (any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>());
    let on_panic = prop_oneof![Just(OnPanic::RetireSlot), Just(OnPanic::Keep)];
    (texts(), texts(), numbers, graces, on_panic).prop_map(|(pool, worker, numbers, graces, on_panic)| {
        Assignment {
            pool,
            worker,
            incarnation: numbers.0,
            prefetch: numbers.1,
            cancel_grace_ms: graces.0,
            stop_grace_ms: graces.1,
            slots: numbers.2,
            heartbeat_ms: numbers.3,
            on_panic,
        }
    })
}

pub(crate) fn panics() -> impl Strategy<Value = Panicked> {
    (texts(), of(texts()), any::<bool>()).prop_map(|(message, location, kept)| Panicked {
        message,
        location,
        kept,
    })
}

pub(crate) fn refusals() -> impl Strategy<Value = Refused> {
    let code = prop_oneof![8 => prop::sample::select(RefusedCode::ALL), 1 => Just(RefusedCode::Other)];
    (code, texts()).prop_map(|(code, message)| Refused { code, message })
}

pub(crate) fn reasons() -> impl Strategy<Value = ReasonBody> {
    let confidence = prop::sample::select(ConfidenceLabel::ALL);
    let os = (of(any::<i32>()), of(any::<u32>()), of(any::<bool>()));
    (texts(), os, confidence, of(texts()), of(texts())).prop_map(
        |(label, (code, signal, core_dumped), confidence, message, location)| ReasonBody {
            label,
            code,
            signal,
            core_dumped,
            confidence,
            message,
            location,
        },
    )
}

pub(crate) fn attempts() -> impl Strategy<Value = AttemptBody> {
    let end = prop::sample::select(AttemptEndLabel::ALL);
    let times = (any::<u64>(), any::<u64>());
    (any::<u16>(), texts(), any::<u64>(), of(any::<u32>()), times, end, of(reasons()), of(texts())).prop_map(
        |(number, worker, incarnation, pid, (start_ms, duration_ms), end, reason, stderr_tail)| AttemptBody {
            number,
            worker,
            incarnation,
            pid,
            start_ms,
            duration_ms,
            end,
            reason,
            stderr_tail,
        },
    )
}

pub(crate) fn errors() -> impl Strategy<Value = ErrorBody> {
    let crashed = (of(reasons()), of(any::<u16>()), of(texts()));
    let timed_out = (of(prop::sample::select(TimeoutWhich::ALL)), of(any::<u64>()), of(texts()));
    let rejected = (of(prop::sample::select(RejectWhy::ALL)), of(any::<u64>()));
    let outcome = prop::sample::select(OutcomeLabel::ALL);
    (outcome, methods(), of(failures()), crashed, timed_out, rejected, of(texts()), vec(attempts(), 0..4))
        .prop_map(|(outcome, method, failure, crashed, timed_out, rejected, message, attempts)| ErrorBody {
            outcome,
            method,
            failure,
            reason: crashed.0,
            max_attempts: crashed.1,
            report_id: crashed.2,
            which: timed_out.0,
            limit_ms: timed_out.1,
            output_so_far: timed_out.2,
            why: rejected.0,
            retry_after_ms: rejected.1,
            message,
            attempts,
        })
}

/// Numbers of every kind, those that are equal to nothing left out.
fn amounts() -> impl Strategy<Value = Amount> {
    let real = any::<f64>().prop_filter("not a number", |number| !number.is_nan());
    prop_oneof![any::<u64>().prop_map(Amount::Whole), real.prop_map(Amount::Real)]
}

pub(crate) fn progress() -> impl Strategy<Value = Progress> {
    let progress = (of(amounts()), of(amounts()), of(texts()));
    progress.prop_map(|(done, total, text)| Progress { done, total, text })
}

/// The folder of the frozen vectors of version 1.
pub(crate) const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1");

/// Every frozen vector: its name and its bytes, length prefix included. Lines that begin with `#` are comments.
pub(crate) fn golden_files() -> std::collections::BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(GOLDEN).expect("the folder of the frozen vectors");
    let entries = entries.map(|entry| entry.expect("an entry of the folder").path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        let name = name.strip_suffix(".hex").expect("only .hex files among the frozen vectors").to_owned();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let digits = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::chars);
        let digits: Vec<_> = digits.filter(|digit| !digit.is_whitespace()).collect();
        let pairs = digits.chunks(2).map(String::from_iter);
        let bytes = pairs.map(|pair| u8::from_str_radix(&pair, 16).expect("hex"));
        (name, bytes.collect())
    };
    entries.map(read).collect()
}
