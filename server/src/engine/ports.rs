//! What the engine asks of the rooms that act. They implement these; the engine knows nothing else of them.

use std::time::Duration;

use lifeboat_core::Core;
use lifeboat_core::action::{AttemptRecord, Settlement};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::ids::{AttemptNumber, ClientId, ClientTag, PoolId, ProcessKey, RequestId, SlotId};
use lifeboat_core::time::Timestamp;

/// The connections. Every call appends to an out-buffer and returns; a peer that is gone is no error here, since
/// its end is told by an event of its own.
pub trait LinkPort {
    /// The handle of a request's payload, kept by the core while the request is open.
    type Request;
    /// The handle of an answer's payload. The core consumes it within the entry point that brought it, but for what an
    /// attempt saves: that it keeps while the request is open.
    type Answer;

    /// Writes a request to a process.
    fn dispatch(
        &mut self,
        process: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
        slot: SlotId,
        time_left: Duration,
        payload: &Self::Request,
    );

    /// Writes to a process what came before a further attempt, whose request is written next. The core is there for names.
    fn tell_history(
        &mut self,
        core: &Core<Self::Request, Self::Answer>,
        process: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
        slot: SlotId,
    );

    /// Writes a cancel frame to a process.
    fn send_cancel(&mut self, process: ProcessKey, request: RequestId, attempt: AttemptNumber, slot: SlotId);

    /// Writes a drain frame to a process.
    fn send_drain(&mut self, process: ProcessKey);

    /// The processes that have noted a heartbeat since the last call, which nobody sends, and how long ago the latest was.
    fn heartbeats(&mut self) -> Vec<(ProcessKey, Duration)>;

    /// Closes the connection of a process.
    fn release(&mut self, process: ProcessKey);

    /// Writes an answer to a client.
    fn reply(
        &mut self,
        client: ClientId,
        tag: ClientTag,
        attempts: AttemptNumber,
        late: bool,
        answer: Self::Answer,
    );

    /// Writes to a client that streams that its request was accepted, and for how long.
    fn tell_accepted(&mut self, client: ClientId, tag: ClientTag, request: RequestId, time_left: Duration);

    /// Passes on to a client what a handler says before its answer: progress, or a part of the reply.
    fn forward(&mut self, client: ClientId, tag: ClientTag, attempt: AttemptNumber, said: Self::Answer);

    /// Writes to a client that an attempt failed and another one follows. The core is there for names.
    fn tell_attempt_failed(
        &mut self,
        core: &Core<Self::Request, Self::Answer>,
        client: ClientId,
        tag: ClientTag,
        accepted_at: Timestamp,
        attempt: &AttemptRecord,
    );

    /// Writes to a client how its request ended without an answer. The core is there for names.
    fn settle(
        &mut self,
        core: &Core<Self::Request, Self::Answer>,
        client: ClientId,
        tag: ClientTag,
        settlement: Settlement<Self::Answer>,
    );

    /// Tells every client that the broker is shutting down.
    fn announce_drain(&mut self);
}

/// The processes. Every call hands an order to the process plane and returns at once; what comes of it is told by
/// events.
pub trait ProcessPort {
    /// Starts a process of a pool for the worker of this name.
    fn spawn(&mut self, process: ProcessKey, pool: PoolId, worker: &str);

    /// Sends a signal to a process's tree, after a `look` at what it does.
    fn signal(&mut self, process: ProcessKey, signal: StopSignal, look: bool);

    /// Gathers an exited process's evidence, kills what is left of its tree and reaps it.
    fn collect(&mut self, process: ProcessKey);

    /// Forgets a process.
    fn release(&mut self, process: ProcessKey);
}
