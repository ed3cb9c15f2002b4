//! Lifeboat's wire, version 1: frames, headers, messages and their limits.
//!
//! This crate owns the bytes that clients, the broker and workers exchange, and what a client and a worker share in one
//! program: the declaration of a [`Method`], and the [`Origin`] of nested requests. It must never do I/O, read a clock,
//! log, or know what a pool or a retry is; it turns bytes into values and values into bytes. What it reads comes from
//! outside: no input makes it panic, recurse without a bound, or allocate by a length that the input merely claims.
//!
//! A frame is a 4-byte big-endian length, then two CBOR items: a short header array and the body. Headers are
//! read and written by hand over the slice, without allocating; bodies and control messages go through ciborium.
//!
//! ```
//! use lifeboat_protocol::{Ext, FrameLimit, Header, Route, Split, TimeLeft};
//!
//! let mut out = Vec::new();
//! let route = Route::request(7, TimeLeft::NONE);
//! let body = lifeboat_protocol::encode_body(&"hello")?;
//! lifeboat_protocol::put_request(&mut out, route, "greet", &Ext::default(), &body);
//!
//! let limit = FrameLimit::for_body(lifeboat_protocol::DEFAULT_MAX_BODY);
//! let Split::Frame { frame, .. } = lifeboat_protocol::split_frame(&out, limit)? else { panic!("whole frame") };
//! let message = lifeboat_protocol::decode(frame)?;
//! assert_eq!(message.header, Header::Request { route, method: "greet", ext: None });
//! assert_eq!(lifeboat_protocol::decode_body::<String>(message.body)?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The same wire, for other languages: `protocol/lifeboat.cddl` and `docs/protocol.md`.

mod body;
mod cbor;
#[cfg(feature = "codec")]
mod codec;
mod encoding;
mod error_body;
mod ext;
mod frame;
mod header;
mod hello;
mod history;
mod labels;
mod message_type;
mod messages;
mod method;
mod operations;
mod origin;
mod progress;
mod put;
mod recorder;
mod report_rows;
mod route;
mod rows;

pub use body::{BodyError, EncodeError, MAX_DEPTH, NULL_BODY, decode_body, encode_body, encode_body_into};
pub use ciborium::Value;
#[cfg(feature = "codec")]
pub use codec::{CodecError, FrameCodec};
#[cfg(feature = "json")]
pub use encoding::Json;
pub use encoding::{Cbor, Encoding, append_body};
pub use error_body::{
    AttemptBody, AttemptEndLabel, ConfidenceLabel, ErrorBody, OutcomeLabel, ReasonBody, RejectWhy,
    TimeoutWhich,
};
pub use ext::{Ext, ExtError, Limits, RetryExt};
pub use frame::{FrameError, FrameLimit, FrameStart, LENGTH_PREFIX, Split, begin_frame, split_frame};
pub use header::{Header, HeaderError, Message, decode};
pub use hello::{
    ACCEPTED_FEATURE, Assignment, HEARTBEAT_FEATURE, HISTORY_FEATURE, Hello, MAX_SLOTS, MethodTimes,
    OTHER_METHOD, OnPanic, POOL_FEATURE, RECORDER_FEATURE, RETIRE_FEATURE, Role, SAVE_FEATURE, Service,
    WorkerHello, agree_version,
};
pub use history::{History, MAX_PREVIOUS_ATTEMPTS, MAX_SAVED, PreviousAttempt, SavedItem};
pub use message_type::MessageType;
pub use messages::{Accepted, Failure, Panicked, Refused, RefusedCode, WorkersFailed};
pub use method::{MAX_METHOD, Method, MethodNameError, check_method};
pub use operations::{ALL_BODIES, DEFAULT_ROWS, MAX_OPERATE_BODY, MAX_ROWS, Operate, Operated, Operation};
pub use origin::{Entered, Origin, enter, origin, within};
pub use progress::{Amount, MAX_PROGRESS_TEXT, Progress};
pub use put::{
    put_answer, put_answer_head, put_control, put_empty, put_partial, put_partial_head, put_request,
    put_request_head, put_save, put_save_head,
};
pub use recorder::{Beats, BeganNote, FlightRecorder, RECORDER_VARIABLE, SlotNote, recorder_len};
pub use report_rows::{FailedRow, QuarantineRow, ReportRow};
pub use route::{ROUTE_END, ROUTE_OFFSET, Route, RouteFlags, TimeLeft, patch_route, read_route};
pub use rows::{
    LastCrash, PoolRow, PoolStateLabel, RequestRow, RequestStateLabel, SlotRow, SlotStateLabel, WorkerRow,
};

/// The newest version of the wire that this crate speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// Every version of the wire that this crate speaks, for [`Hello::versions`].
pub const VERSIONS: &[u16] = &[PROTOCOL_VERSION];

/// What a frame may hold beside its body, in bytes: 64 KiB. A header longer than this is refused.
pub const FRAME_OVERHEAD: usize = 64 * 1024;

/// The largest body accepted unless the configuration says otherwise, in bytes: 16 MiB.
pub const DEFAULT_MAX_BODY: usize = 16 * 1024 * 1024;
