//! One attempt at one request, as the process knows it: shared by the slot that runs it, the watcher that may
//! cancel it and every clone of its context.
//!
//! Owns the cancel state and how waiting for it works, whether it has ended, and when progress is due. Must never
//! decide what a cancel means for the handler.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use lifeboat_protocol::{Ext, History, Origin, Route};
use tokio::sync::Notify;

use crate::progress::Throttle;

/// Nothing happened.
const GOING_ON: u8 = 0;
/// The broker is gone: the handler has a bounded time.
const BROKER_LOST: u8 = 1;
/// The broker cancelled the request: an asynchronous handler is dropped at its next await.
const CANCELLED: u8 = 2;

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) route: Route,
    /// Which of the process's methods.
    pub(crate) method: usize,
    /// When its request was read.
    pub(crate) received: Instant,
    pub(crate) deadline: Option<Instant>,
    ext: Option<Bytes>,
    /// What came before it; nothing before a first attempt.
    pub(crate) history: Option<Box<History>>,
    decoded: OnceLock<Ext>,
    state: AtomicU8,
    changed: Notify,
    /// What ends it is written, or about to be.
    ended: AtomicBool,
    /// Its handler wants the process replaced.
    recycle: AtomicBool,
    pub(crate) progress: Throttle,
}

impl Call {
    pub(crate) fn new(
        route: Route,
        method: usize,
        ext: Option<Bytes>,
        history: Option<Box<History>>,
        received: Instant,
    ) -> Self {
        Self {
            route,
            method,
            received,
            deadline: route.time_left.as_duration().and_then(|left| received.checked_add(left)),
            ext,
            history,
            decoded: OnceLock::new(),
            state: AtomicU8::new(GOING_ON),
            changed: Notify::new(),
            ended: AtomicBool::new(false),
            recycle: AtomicBool::new(false),
            progress: Throttle::new(received),
        }
    }

    /// What travels beside the body. A map that cannot be read counts as empty: it came through the broker, which
    /// reads it first.
    pub(crate) fn ext(&self) -> &Ext {
        self.decoded.get_or_init(|| {
            let decoded = self.ext.as_deref().and_then(|bytes| Ext::decode(bytes).ok());
            decoded.unwrap_or_default()
        })
    }

    /// The broker cancelled it.
    pub(crate) fn cancel(&self) {
        self.raise(CANCELLED);
    }

    /// The broker went away.
    pub(crate) fn lose_broker(&self) {
        self.raise(BROKER_LOST);
    }

    fn raise(&self, state: u8) {
        self.state.fetch_max(state, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Nothing is written about it beyond the frame that ends it. Called, and asked, under the pen's lock.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The process is to be replaced once this is answered.
    pub(crate) fn ask_for_recycling(&self) {
        self.recycle.store(true, Ordering::Release);
    }

    pub(crate) fn wants_recycling(&self) -> bool {
        self.recycle.load(Ordering::Acquire)
    }

    /// Whether the handler should stop, for either reason.
    pub(crate) fn should_stop(&self) -> bool {
        self.state.load(Ordering::Acquire) != GOING_ON
    }

    /// Waits until the handler should stop.
    pub(crate) async fn stopping(&self) {
        self.wait(BROKER_LOST).await;
    }

    /// Waits for something else, but no longer than until the handler should stop.
    pub(crate) async fn unless_stopping(&self, other: impl Future<Output = ()>) {
        let (mut other, mut stopping) = (pin!(other), pin!(self.stopping()));
        poll_fn(|task| match other.as_mut().poll(task) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => stopping.as_mut().poll(task),
        })
        .await;
    }

    /// Waits until the broker cancels it.
    pub(crate) async fn cancelled(&self) {
        self.wait(CANCELLED).await;
    }

    async fn wait(&self, least: u8) {
        loop {
            // Made before the check, so that a change between the two is not missed.
            let changed = self.changed.notified();
            if self.state.load(Ordering::Acquire) >= least {
                return;
            }
            changed.await;
        }
    }
}

/// What requests that its handler makes have from it.
impl Origin for Call {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn trace(&self) -> Option<(&str, &str)> {
        let Ext { traceparent, tracestate, .. } = self.ext();
        Some((traceparent.as_deref()?, tracestate.as_deref().unwrap_or_default()))
    }
}
