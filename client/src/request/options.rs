//! What both kinds of builder hold: a request and all that was said about it.
//!
//! Owns its defaults, and whether it can be sent. Must never send it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lifeboat_protocol::{Ext, FRAME_OVERHEAD, RetryExt, Route, check_method, origin};

use crate::client::Handle;
use crate::exchange::Exchange;
use crate::table::{Kind, Room, Spec};
use crate::{Client, RequestError};

/// The options both kinds of builder share.
#[derive(Debug, Clone)]
pub(super) struct Options {
    handle: Arc<Handle>,
    method: Cow<'static, str>,
    body: Result<Bytes, RequestError>,
    pub(super) timeout: Option<Duration>,
    pub(super) ext: Ext,
    pub(super) room: Room,
    pub(super) goes_on: bool,
    /// When the request must have ended on whose behalf this one is made.
    until: Option<Instant>,
}

impl Options {
    pub(super) fn new(client: &Client, method: Cow<'static, str>, body: Result<Bytes, RequestError>) -> Self {
        let handle = Arc::clone(client.handle());
        let timeout = handle.shared.settings.timeout;
        let mut options = Self {
            handle,
            method,
            body,
            timeout,
            ext: Ext::default(),
            room: Room::DEFAULT,
            goes_on: false,
            until: None,
        };
        if let Some(origin) = origin() {
            options.until = origin.deadline();
            if let Some((traceparent, tracestate)) = origin.trace() {
                options.trace(traceparent, tracestate);
            }
        }
        options
    }

    pub(super) fn trace(&mut self, traceparent: impl Into<String>, tracestate: impl Into<String>) {
        self.ext.traceparent = Some(traceparent.into());
        self.ext.tracestate = Some(tracestate.into()).filter(|state: &String| !state.is_empty());
    }

    /// Whatever was said of it, it is made on nobody's behalf.
    pub(super) fn detach(&mut self) {
        (self.until, self.ext.traceparent, self.ext.tracestate) = (None, None, None);
    }

    pub(super) fn retry(&mut self) -> &mut RetryExt {
        self.ext.retry.get_or_insert_default()
    }

    pub(super) fn into_exchange(self) -> Exchange {
        // What else stands in a header: its fixed part, and the head of the method's name.
        const FIXED: usize = Route::LEN + 16;
        let header =
            FIXED + self.method.len() + if self.ext.is_empty() { 0 } else { self.ext.max_encoded_len() };
        let body = match (check_method(&self.method), self.body) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(_)) if header > FRAME_OVERHEAD => {
                Err(RequestError::Metadata { len: header, limit: FRAME_OVERHEAD })
            }
            (Ok(()), Ok(body)) => Ok(body),
        };
        let room = self.ext.stream.then_some(self.room);
        let kind = Kind::Request { method: self.method.clone(), ext: self.ext };
        let spec = body.map(|body| Spec { kind, body });
        Exchange::request(self.handle, self.method, spec, self.timeout, room)
            .goes_on(self.goes_on)
            .until(self.until)
    }

    pub(super) fn into_streamed_exchange(mut self) -> Exchange {
        self.ext.stream = true;
        self.into_exchange()
    }
}
