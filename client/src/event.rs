//! What is told of a request while it runs, in the caller's terms.
//!
//! Owns the shapes, and what an unreadable or senseless progress message means: one that says nothing.

use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_protocol::{Amount, BodyError, MAX_PROGRESS_TEXT, decode_body};
use serde::de::DeserializeOwned;

use crate::{AttemptReport, CallError, Reply};

/// One item of a stream. `R` is what the request answers, `P` what a part of it is.
///
/// ```
/// use lifeboat_client::Event;
///
/// /// A line about an event, for a log.
/// fn line<R, P>(event: &Event<R, P>) -> String {
///     match event {
///         Event::Accepted(accepted) => format!("the broker calls it {}", accepted.request_id),
///         Event::Progress(progress) => progress.text.clone().unwrap_or_else(|| "it moves".to_owned()),
///         Event::Partial(partial) => format!("a part, by attempt {}", partial.attempt()),
///         Event::AttemptFailed(attempt) => format!("attempt {} {}; again", attempt.number, attempt.end),
///         Event::Done(Ok(reply)) => format!("done after {} attempts", reply.attempts()),
///         Event::Done(Err(error)) => error.to_string(),
///         _ => "something newer than this program".to_owned(),
///     }
/// }
///
/// # use lifeboat_client::{CallError, LostReason};
/// # let lost = CallError::Disconnected { may_have_executed: false, source: LostReason::Closed };
/// assert_eq!(
///     line(&Event::<u32, ()>::Done(Err(lost))),
///     "the connection to the broker was lost; the request was not executed"
/// );
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<R, P> {
    /// The broker has taken the request in: it waits, or runs already. The first event; a request that is rejected has
    /// none, and one that is repeated (see [`idempotency_key`](crate::RequestBuilder::idempotency_key)) has another for
    /// each time.
    Accepted(Accepted),
    /// The work moves.
    Progress(Progress),
    /// A part of the reply, before the answer. What parts are, and whether the answer repeats them, is between handler
    /// and caller.
    Partial(Partial<P>),
    /// An attempt failed, and another follows: its partials are void. The last attempt is told in `Done` only.
    AttemptFailed(AttemptReport),
    /// How the request ended. The last item.
    Done(Result<Reply<R>, CallError>),
}

/// The broker has taken a request in.
///
/// ```no_run
/// # async fn example(boat: lifeboat_client::Client, body: Vec<u8>) {
/// use lifeboat_client::Event;
///
/// let mut events = boat.request_raw("encode", body).stream();
/// if let Some(Event::Accepted(accepted)) = events.next().await {
///     println!("see `lifeboat requests` for {}", accepted.request_id);
///     println!("it has {:?}", accepted.time_left);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The broker's id of the request, as its log and `lifeboat requests` show it. Not that of
    /// [`Reply::request_id`](crate::Reply::request_id), which is this client's own.
    pub request_id: u64,
    /// How long until the request's deadline, when the broker took it in: the configured one, or this call's timeout if
    /// that is shorter.
    pub time_left: Option<Duration>,
}

/// The work moves, says its handler. Everything may be missing: that it came says enough.
///
/// ```
/// use lifeboat_client::Progress;
///
/// /// What a user sees of it.
/// fn bar(progress: &Progress) -> String {
///     let text = progress.text.as_deref().unwrap_or("working");
///     match (progress.fraction(), progress.done) {
///         (Some(fraction), _) => format!("{text}: {:.0} %", fraction * 100.0),
///         (None, Some(done)) => format!("{text}: {}", done.as_f64()),
///         (None, None) => text.to_owned(),
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The attempt, from 1.
    pub attempt: u16,
    /// How much is done. Never negative, never infinite.
    pub done: Option<Amount>,
    /// How much there is to do, in the same unit. Never negative, never infinite.
    pub total: Option<Amount>,
    /// What is being done, for people; at most 1024 bytes.
    pub text: Option<String>,
    /// How many before this one were dropped because they were not read in time.
    pub skipped: u64,
}

impl Progress {
    pub(crate) fn read(attempt: u16, skipped: u64, body: &[u8]) -> Self {
        let said = decode_body::<lifeboat_protocol::Progress>(body).unwrap_or_default();
        let mut text = said.text;
        if let Some(text) = &mut text {
            text.truncate(text.floor_char_boundary(MAX_PROGRESS_TEXT));
        }
        let sensible = |amount: &Amount| amount.as_f64().is_finite() && amount.as_f64() >= 0.0;
        let (done, total) = (said.done.filter(sensible), said.total.filter(sensible));
        Self { attempt, done, total, text, skipped }
    }

    /// The part that is done, from 0 to 1; `None` unless both numbers are said and there is something to do.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        lifeboat_protocol::Progress { done: self.done, total: self.total, text: None }.fraction()
    }
}

/// A part of a reply. Dereferences to it.
///
/// ```
/// use lifeboat_client::{BodyError, Bytes, Partial};
///
/// /// Keeps the parts of the last attempt alone.
/// fn keep(parts: &mut Vec<String>, last: &mut u16, part: Partial<String>) {
///     if part.attempt() != *last {
///         *last = part.attempt();
///         parts.clear();
///     }
///     parts.push(part.into_inner());
/// }
///
/// /// By name a part is CBOR, and this reads it.
/// fn read(part: &Partial<Bytes>) -> Result<String, BodyError> {
///     part.decode()
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial<P> {
    attempt: u16,
    value: P,
}

impl<P> Partial<P> {
    pub(crate) const fn new(attempt: u16, value: P) -> Self {
        Self { attempt, value }
    }

    /// The attempt that gave it, from 1. Partials of different attempts do not belong together.
    #[must_use]
    pub const fn attempt(&self) -> u16 {
        self.attempt
    }

    /// The part itself.
    #[must_use]
    pub fn into_inner(self) -> P {
        self.value
    }
}

impl Partial<Bytes> {
    /// The CBOR of a part of a reply to a call by name, as a value.
    ///
    /// # Errors
    ///
    /// [`BodyError`] if it is not of that type, or no CBOR.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, BodyError> {
        decode_body(&self.value)
    }
}

impl<P> Deref for Partial<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_protocol::encode_body;

    use super::*;

    const NOTHING: Progress = Progress { attempt: 1, done: None, total: None, text: None, skipped: 0 };

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for body in [&b""[..], b"\xff", b"\xf6", b"\xa0\xa0", b"\xa1\x64done\x20", b"\x63abc"] {
            assert_eq!(Progress::read(1, 0, body), NOTHING, "{body:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_says_nothing() {
        for number in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let wire = lifeboat_protocol::Progress {
                done: Some(Amount::Real(number)),
                total: Some(Amount::Whole(10)),
                text: Some("page".into()),
            };
            let read = Progress::read(1, 0, &encode_body(&wire).expect("encoded"));
            let total = Some(Amount::Whole(10));
            assert_eq!(read, Progress { total, text: Some("page".into()), ..NOTHING });
            assert_eq!(read.fraction(), None);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        // Written by hand: our own encoder cuts too.
        let body = encode_body(&std::collections::BTreeMap::from([("text", "ä".repeat(1000))]));
        let text = Progress::read(1, 0, &body.expect("encoded")).text.expect("a text");
        assert_eq!(text, "ä".repeat(MAX_PROGRESS_TEXT / 2));
    }
}
