//! A slot: executes one request at a time and answers it.
//!
//! Owns the boundary around handlers: whatever one does, short of ending the process, becomes exactly one message
//! to the broker, written before this returns. Must never start a second request before, and must never go on
//! after a panic.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_protocol::{Panicked, Route};

use crate::adapter::{Ran, Run, Seat};
use crate::call::Call;
use crate::context::Process;
use crate::outbox::Outbox;
use crate::panics;
use crate::runtime::Runtime;
use crate::{Context, HandlerError, WorkerError};

pub(crate) struct Slot {
    handlers: Vec<Box<dyn Run>>,
    process: Arc<Process>,
    outbox: Outbox,
}

impl Slot {
    pub(crate) fn new(handlers: Vec<Box<dyn Run>>, process: Arc<Process>, outbox: Outbox) -> Self {
        Self { handlers, process, outbox }
    }

    /// Runs the handler and writes what came of it.
    ///
    /// # Errors
    ///
    /// [`WorkerError::BrokerLost`] if the answer could not be written; [`WorkerError::SlotsFailed`] if the handler
    /// panicked. The slot is then of no further use.
    pub(crate) fn execute(
        &mut self,
        call: &Arc<Call>,
        body: Bytes,
        runtime: Option<&Runtime>,
        socket: &UnixStream,
    ) -> Result<(), WorkerError> {
        let context = Context::new(Arc::clone(call), Arc::clone(&self.process));
        let handler = &self.handlers[call.method];
        let outbox = &mut self.outbox;
        let ran = panics::catch(|| handler.run(Seat { context: &context, body, runtime, outbox }));
        match ran {
            Ok(Ran::Answered) => {}
            Ok(Ran::Failed(error)) => self.outbox.failure(call.route, error),
            Ok(Ran::Cancelled) => self.outbox.cancelled(call.route),
            Err(panicked) => return Err(self.retire(call, panicked, socket)),
        }
        self.outbox.flush(socket)
    }

    /// Answers a request that was cancelled before it started.
    ///
    /// # Errors
    ///
    /// [`WorkerError::BrokerLost`].
    pub(crate) fn skip(&mut self, route: Route, socket: &UnixStream) -> Result<(), WorkerError> {
        self.outbox.cancelled(route);
        self.outbox.flush(socket)
    }

    /// Answers a request for a method without a handler. The broker checks the hello, so it is not expected.
    ///
    /// # Errors
    ///
    /// [`WorkerError::BrokerLost`].
    pub(crate) fn unknown(
        &mut self,
        route: Route,
        method: &str,
        socket: &UnixStream,
    ) -> Result<(), WorkerError> {
        let message = format!("this worker has no handler for `{method}`");
        self.outbox.failure(route, HandlerError::new("unknown_method", message));
        self.outbox.flush(socket)
    }

    /// Tells of the panic and, this being the only slot, that none is left.
    fn retire(&mut self, call: &Call, panicked: Panicked, socket: &UnixStream) -> WorkerError {
        // The panic may have come in the middle of encoding a reply.
        self.outbox.clear();
        self.outbox.panicked(call.route, &panicked);
        let Panicked { message, location } = panicked;
        let at = location.map(|location| format!(" at {location}")).unwrap_or_default();
        let method = &self.process.methods[call.method];
        let reasons = vec![format!("the handler of `{method}` panicked{at}: {message}")];
        self.outbox.workers_failed(&reasons);
        match self.outbox.flush(socket) {
            // The panic is what ends the process, whether or not anybody heard of it.
            Ok(()) | Err(_) => WorkerError::SlotsFailed { reasons },
        }
    }
}
