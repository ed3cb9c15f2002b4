//! A slot: executes one request at a time and answers it.
//!
//! Owns the boundary around handlers: whatever one does, short of ending the process, becomes exactly one message
//! to the broker. Must never start a second request before it is written, and must never go on after a panic, unless the
//! broker wants that.

use std::sync::Arc;

use bytes::Bytes;
use lifeboat_protocol::{OnPanic, Panicked, Route};

use crate::adapter::{Ran, Run, Seat};
use crate::call::Call;
use crate::outbox::{self, Outbox};
use crate::panics;
use crate::pen::Pen;
use crate::process::Process;
use crate::runtime::Runtime;
use crate::{Context, HandlerError, WorkerError, last_words};

pub(crate) struct Slot<'a> {
    handlers: &'a [Box<dyn Run>],
    process: Arc<Process>,
    pen: &'a Pen,
    outbox: Outbox,
    /// Where there are asynchronous handlers.
    pub(crate) runtime: Option<Runtime>,
}

/// What a slot is after a request.
pub(crate) enum After {
    /// It can take the next one.
    Usable,
    /// The handler panicked. The slot must not be used again, beyond [telling](Slot::tell_panic) of it, unless it is
    /// [kept](Slot::is_kept).
    Panicked(Panicked),
}

impl<'a> Slot<'a> {
    pub(crate) fn new(
        handlers: &'a [Box<dyn Run>],
        process: &Arc<Process>,
        pen: &'a Pen,
        runtime: Option<Runtime>,
    ) -> Self {
        Self { handlers, pen, outbox: Outbox::new(process.limit), process: Arc::clone(process), runtime }
    }

    /// Runs the handler and writes what came of it, unless it panicked.
    ///
    /// # Errors
    ///
    /// [`WorkerError::BrokerLost`] if the answer could not be written.
    pub(crate) fn execute(&mut self, call: &Arc<Call>, body: Bytes) -> Result<After, WorkerError> {
        let Self { handlers, process, pen, outbox, runtime } = self;
        let context = Context::new(Arc::clone(call), Arc::clone(process));
        let handler = &handlers[call.method];
        let runtime = runtime.as_ref();
        process.recorder.begin(call.route);
        last_words::begin(call.route);
        let ran = panics::catch(|| handler.run(Seat { context: &context, body, runtime, outbox }));
        last_words::end();
        if call.wants_recycling() && process.retirement.wish() {
            // Should that fail, so does the answer.
            let _ = pen.write(&mut outbox::retire(), &mut Bytes::new(), None);
        }
        match ran {
            Ok(Ran::Answered) => {}
            Ok(Ran::Failed(error)) => outbox.failure(call.route, error),
            Ok(Ran::Cancelled) => outbox.cancelled(call.route),
            Err(panicked) => return Ok(After::Panicked(panicked)),
        }
        outbox.flush(pen, Some(call))?;
        process.recorder.end(call.route);
        Ok(After::Usable)
    }

    /// Whether the slot goes on after a panic.
    pub(crate) fn is_kept(&self) -> bool {
        self.process.assignment.on_panic == OnPanic::Keep
    }

    /// Tells of a panic.
    ///
    /// # Errors
    ///
    /// [`WorkerError::BrokerLost`].
    pub(crate) fn tell_panic(&mut self, call: &Call, panicked: &Panicked) -> Result<(), WorkerError> {
        // It may have come in the middle of encoding a reply.
        self.outbox.clear();
        self.outbox.panicked(call.route, panicked);
        self.outbox.flush(self.pen, Some(call))?;
        self.process.recorder.end(call.route);
        Ok(())
    }

    /// A panic, as the reason why the slot was retired.
    pub(crate) fn reason(&self, call: &Call, panicked: &Panicked) -> String {
        let Panicked { message, location, .. } = panicked;
        let at = location.as_ref().map(|location| format!(" at {location}")).unwrap_or_default();
        let method = &self.process.methods[call.method];
        format!("the handler of `{method}` panicked{at}: {message}")
    }

    /// Answers a request that was cancelled before it started.
    ///
    /// # Errors
    ///
    /// [`WorkerError::BrokerLost`].
    pub(crate) fn skip(&mut self, route: Route) -> Result<(), WorkerError> {
        self.outbox.cancelled(route);
        self.outbox.flush(self.pen, None)
    }

    /// Answers a request for a method without a handler. The broker checks the hello, so it is not expected.
    ///
    /// # Errors
    ///
    /// [`WorkerError::BrokerLost`].
    pub(crate) fn unknown(&mut self, route: Route, method: &str) -> Result<(), WorkerError> {
        let message = format!("this worker has no handler for `{method}`");
        self.outbox.failure(route, HandlerError::new("unknown_method", message));
        self.outbox.flush(self.pen, None)
    }
}
