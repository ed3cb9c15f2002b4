//! Client SDK of Lifeboat, a crash-isolating worker broker: call code that may crash, hang or be killed, and always
//! learn what became of the call.
//!
//! This crate owns the client's side of the wire: one connection, the calls on it, and the truth about each of them. It
//! must never retry what may have been executed unless its caller allows it, and never leave a call without an end.
//!
//! # A first call
//!
//! A method is a name, the type that is sent and the type that comes back. Client and worker share it, in a crate or a
//! module that both have:
//!
//! ```no_run
//! use lifeboat_client::{Client, method};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Resize {
//!     width: u32,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Thumb {
//!     height: u32,
//! }
//!
//! method!("resize": Resize => Thumb);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let boat = Client::from_env().await?;
//! let thumb = boat.call(Resize { width: 64 }).await?;
//! println!("{} pixels high", thumb.height);
//! # Ok(())
//! # }
//! ```
//!
//! Beside this crate it needs `serde` (feature `derive`) and `tokio` (features `macros` and `rt`), and a broker with a
//! worker that serves `resize`. While you write them, one command is both, and a variable tells it and this program
//! where to meet:
//!
//! ```text
//! export LIFEBOAT_SOCKET=$HOME/boat.sock    # in each terminal
//! lifeboat dev target/debug/my-worker       # in the first: the broker, the worker and what they say
//! cargo run                                 # in the second: this program
//! ```
//!
//! [`Client::call`] is the shortest way to a reply, [`Client::request`] the one with options.
//!
//! # When it does not end well
//!
//! [`CallError`] says what happened; two of its methods answer what a caller has to decide:
//!
//! ```no_run
//! # use lifeboat_client::{CallError, Client};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)]
//! # struct Resize { width: u32 }
//! # lifeboat_client::method!("resize": Resize => u32);
//! # async fn example(boat: Client) -> Result<(), CallError> {
//! use std::time::Duration;
//!
//! let reply = boat
//!     .request(Resize { width: 64 })
//!     .timeout(Duration::from_secs(5))
//!     .retry(3) // a resize may be done twice
//!     .await;
//! match reply {
//!     Ok(reply) => println!("{} after {} attempts", *reply, reply.attempts()),
//!     Err(CallError::WorkerCrashed { reason, report_id, .. }) => {
//!         eprintln!("the worker died: {reason}; see report {report_id:?}");
//!     }
//!     Err(error) if error.is_retryable() && !error.may_have_executed() => eprintln!("later: {error}"),
//!     Err(error) => return Err(error),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Time
//!
//! A call's timeout counts from when it is first polled, and includes everything: waiting for a connection, the queue,
//! all attempts. What is left of it when the request is written travels with it, and at that time **the broker** ends
//! the work and says how it ended. Its word normally wins: this client gives up by itself only when it is later than
//! the slowest death that the broker allows (the longest `kill_timeout` of its pools, told when the connection is made;
//! 1 s, if not told) and 1 s for the way, with [`CallError::TimedOut`] whose `unanswered` is true. A request that could
//! not even be written before its deadline ends at its deadline, and was not executed.
//!
//! # When the connection is lost
//!
//! Every call that was written ends at once with [`CallError::Disconnected`] and `may_have_executed`. Calls not
//! written, and one that was written only in part, are sent again on the next connection, within their deadlines; the
//! broker never acts on half a request. One that was given an [`idempotency_key`](RequestBuilder::idempotency_key) is
//! sent again even if it was written. The client connects again when there is something to send, with growing pauses.
//! It waits while there is no socket, nobody listening or a full backlog, up to `connect_timeout` from each call's
//! start.
//!
//! When a broker says that it shuts down, calls under way end there; new ones wait for its successor. A call that
//! crosses that message on its way is rejected with `draining`, and was not executed.
//!
//! [`Client::events`] tells of connections that come and go, [`Client::is_connected`] whether there is one now.
//!
//! # Cancelling
//!
//! Dropping a call's future cancels it: taken back if it was not written, else the broker ends the work. Wrap a call in
//! `tokio::spawn` to let it go on by itself and learn its end all the same, or say
//! [`no_cancel_on_drop`](RequestBuilder::no_cancel_on_drop), and nobody learns it.
//!
//! # Streams
//!
//! A request that is streamed is told of while it runs. The last [`Event`] is `Done`:
//!
//! ```no_run
//! # use lifeboat_client::{CallError, Client, Event};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)]
//! # struct Encode { file: String }
//! # lifeboat_client::method!("encode": Encode => u32, partial = String);
//! # async fn example(boat: Client) -> Result<u32, Box<dyn std::error::Error>> {
//! let mut events = boat.request(Encode { file: "a.mkv".into() }).retry(2).restartable(true).stream();
//! let mut lines = Vec::new();
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Progress(progress) => println!("{:?} {:?}", progress.fraction(), progress.text),
//!         Event::Partial(partial) => lines.push(partial.into_inner()),
//!         Event::AttemptFailed(attempt) => {
//!             eprintln!("attempt {} failed: {:?}", attempt.number, attempt.reason);
//!             lines.clear(); // what it gave is void
//!         }
//!         Event::Done(reply) => return Ok(reply?.into_inner()),
//!         _ => {}
//!     }
//! }
//! # unreachable!()
//! # }
//! ```
//!
//! Events come in the order in which they were told, and everything that was told before the end comes before `Done`,
//! also when the connection was lost. After its first partial a request is not retried, unless it is
//! [`restartable`](RequestBuilder::restartable).
//!
//! **A stream that is read too slowly is bounded, never silent.** The connection is read on in any case: it carries the
//! answers of other calls and their cancels, the wire cannot ask a worker to wait, and the broker closes a client that
//! does not read. What is unread stays here:
//!
//! * Of progress the newest 64 are kept; [`skipped`](Progress::skipped) says how many were dropped before one.
//! * Of partials and failed attempts none is ever dropped. When more are unread than the request's
//!   [`stream_backlog`](RequestBuilder::stream_backlog) holds (1024 events, 16 MiB), the request is cancelled; what is
//!   unread can still be read, and then the stream ends with [`CallError::BacklogFull`].
//!
//! # On behalf of another request
//!
//! A request that the handler of a worker makes (with `lifeboat-worker`, in the same program) is made on behalf of the
//! handler's own request: it ends when that must have ended, whatever timeout it is given, and belongs to the same
//! trace. When the handler's future is dropped for a cancel, so is the call, and that cancels it. `Client::from_env`
//! finds the worker's own broker. Tasks and threads that a handler starts say whom they work for with `Context::within`
//! and `Context::enter`; [`detached`](RequestBuilder::detached) says that a request is made on nobody's behalf. A
//! handler that asks its own pool takes two of its workers, and one that waits for its own pool's last worker waits for
//! ever: until its deadline.
//!
//! # Without types
//!
//! [`call_raw`](Client::call_raw) and [`request_raw`](Client::request_raw) take a method's name and CBOR, and give back
//! CBOR; streams too. [`encode_body`] and [`decode_body`] make it from values and read it:
//!
//! ```no_run
//! # async fn example(boat: lifeboat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use lifeboat_client::{Event, Value, decode_body, encode_body};
//!
//! let mut events = boat.request_raw("resize", encode_body(&("photo.png", 64))?).stream();
//! while let Some(event) = events.next().await {
//!     if let Event::Done(reply) = event {
//!         println!("{:?}", reply?.decode::<Value>()?);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Without a runtime
//!
//! With the feature `blocking` there is `blocking::Client`, which blocks the calling thread instead: `boat.call(..)?`
//! without `.await`, streams as iterators, and its own `admin`. It is off by default: whoever has a runtime should not
//! find a call that must not be made on it.
//!
//! # With tower
//!
//! With the feature `tower` each method is a service of that crate: `Client::service` and `Client::raw_service`, and
//! with options for each request `Client::service_with` and `Client::raw_service_with`. Its layers (timeout,
//! concurrency limit, load shedding, retry) stack on it; the example `tower` of this crate shows how.
//!
//! # The broker itself
//!
//! [`Client::admin`] shows the broker's workers and open requests, and restarts, drains and kills its workers;
//! [`Admin`] has an example.

mod admin;
mod attempt;
#[cfg(feature = "blocking")]
pub mod blocking;
mod builder;
mod call;
mod client;
mod connect_error;
mod connection_event;
mod driver;
mod error;
mod event;
mod exchange;
mod handshake;
mod inbox;
mod operate_error;
mod outbox;
mod outcome;
mod readiness;
mod reason;
mod reply;
mod request;
mod request_error;
mod retry_on;
#[cfg(feature = "tower")]
mod service;
mod session;
mod settings;
mod shared;
mod stream;
mod table;
mod times;

pub use admin::{Admin, FailedRequests, Health, Quarantine, Reports, Requests, Workers};
pub use attempt::AttemptReport;
pub use builder::ClientBuilder;
pub use bytes::Bytes;
pub use call::{Call, RawCall, RawReplyFuture, ReplyFuture};
pub use ciborium::Value;
pub use client::Client;
pub use connect_error::{ConnectError, LostReason, ProtocolError};
pub use connection_event::{ConnectionEvent, ConnectionEvents};
pub use error::CallError;
pub use event::{Accepted, Event, Partial, Progress};
#[cfg(feature = "json")]
pub use lifeboat_protocol::Json;
pub use lifeboat_protocol::{
    ALL_BODIES, Amount, AttemptEndLabel, BodyError, Cbor, ConfidenceLabel, EncodeError, Encoding, FailedRow,
    LastCrash, MAX_ROWS, Method, MethodNameError, Operate, Operated, Operation, PoolRow, PoolStateLabel,
    QuarantineRow, RefusedCode, RejectWhy, ReportRow, RequestRow, RequestStateLabel, SlotRow, SlotStateLabel,
    TimeoutWhich, WorkerRow, decode_body, encode_body, method,
};
pub use operate_error::OperateError;
pub use reason::CrashReason;
pub use reply::Reply;
pub use request::{RawRequestBuilder, RequestBuilder};
pub use request_error::RequestError;
pub use retry_on::RetryOn;
#[cfg(feature = "tower")]
pub use service::{MethodService, RawRequest, RawService};
pub use stream::{EventStream, RawEventStream};
