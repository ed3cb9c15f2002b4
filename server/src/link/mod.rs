//! The link room: every socket of the broker, and the wire on them.
//!
//! It owns the listener, one connection per client and one per process, their read and write buffers, and the
//! translation between wire and core (`translate`). It must never decide what becomes of a request or a process: it
//! tells the engine what came and writes what it is told to.
//!
//! Everything here runs on the data-plane thread. Reading is one task per connection that calls the engine
//! synchronously; writing is appending to an outbox and one flush per turn.

mod client;
mod connection;
mod digest;
mod fit;
pub mod flush;
mod hello;
mod history;
mod intake;
pub mod listener;
pub mod lock;
mod operate;
mod outbox;
mod payload;
mod peer;
pub mod recorder;
mod refusals;
mod service;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod translate;
mod watch;
mod words;
pub mod worker;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use lifeboat_core::Core;
use lifeboat_core::action::{AttemptRecord, Settlement};
use lifeboat_core::ids::{AttemptNumber, ClientId, ClientTag, ProcessKey, RequestId, SlotId};
use lifeboat_core::settings::Settings;
use lifeboat_core::time::Timestamp;
use lifeboat_protocol::{
    Accepted, FRAME_OVERHEAD, FrameError, FrameLimit, MessageType, ROUTE_END, Route, RouteFlags, Service,
    TimeLeft, put_control, put_empty,
};
use serde::Serialize;

use self::connection::Connection;
use self::intake::{Inbound, Scratch};
use self::outbox::Flushed;
use self::payload::{AnswerForm, BufferPool};
pub use self::payload::{AnswerPayload, PooledBuffer, RequestPayload};
use self::refusals::Refusals;
use self::socket::Received;
pub use self::socket::SEND_BUFFER;
use self::table::{Peer, Table};
use self::translate::MethodTable;
use crate::engine::Shared;
use crate::engine::ports::LinkPort;

/// How the broker names itself in its hellos.
const SOFTWARE: &str = concat!("lifeboat/", env!("CARGO_PKG_VERSION"));

/// What the link room tells the core.
type LinkEvent = lifeboat_core::event::Event<RequestPayload, AnswerPayload>;

/// The engine as the link room's tasks share it.
pub type SharedEngine<P> = Shared<Links, P>;

/// What the link room needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// The largest body accepted and sent, in bytes.
    pub max_body: usize,
    /// Unread answers of a client, in bytes: at half of it the client is read no further; when another answer comes while
    /// all of it is unread, it is closed.
    pub client_backlog: usize,
    /// Clients connected at once; more are refused with a clear message.
    pub max_clients: usize,
}

/// Every connection, and what they share.
pub struct Links {
    settings: LinkSettings,
    limit: FrameLimit,
    methods: MethodTable,
    /// What every client is told of the service.
    service: Service,
    scratch: Scratch,
    pool: Rc<BufferPool>,
    table: Table,
    refusals: Refusals,
    /// Open requests of which something was not sent to the client, because it was over its limit.
    withheld: BTreeSet<(ClientId, ClientTag)>,
    /// The last time that a descriptor to wait for a slow worker with was wanted, none was left.
    no_descriptor: bool,
    draining: bool,
}

impl Links {
    /// No connections yet; room for this many workers.
    #[must_use]
    pub fn new(settings: LinkSettings, core: &Settings, workers: usize) -> Self {
        Self {
            limit: FrameLimit::for_body(settings.max_body),
            methods: MethodTable::new(core),
            service: service::told(core),
            settings,
            scratch: Scratch::new(),
            pool: Rc::default(),
            table: Table::new(workers),
            refusals: Refusals::default(),
            withheld: BTreeSet::new(),
            no_descriptor: false,
            draining: false,
        }
    }

    /// Closes every client's connection.
    pub fn close_clients(&mut self) {
        let ids: Vec<ClientId> = self.table.clients().map(|client| client.id).collect();
        for id in ids {
            self.abandon(Peer::Client(id));
        }
    }

    /// Bytes that wait to be written to clients.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.table.clients().map(|client| client.connection.outbox.pending()).sum()
    }

    /// Appends to a peer's outbox and has it flushed at the end of this turn. A peer that is gone is no error; a client
    /// that has a whole backlog unread already is closed.
    fn write(&mut self, peer: Peer, append: impl FnOnce(&mut Connection, &Scratch)) {
        if let Peer::Client(client) = peer
            && self.table.client(client).is_none_or(|client| client.closing)
        {
            return;
        }
        let Some(connection) = self.table.connection(peer) else { return };
        // Before the append: a reader that is sent two of the largest answers at once has done nothing wrong.
        let most = self.settings.client_backlog.saturating_add(FRAME_OVERHEAD);
        if matches!(peer, Peer::Client(_)) && connection.outbox.pending() > most {
            // This turn may have brought it all: what the client has had no chance to read does not count.
            let flushed = connection.outbox.flush(&connection.socket);
            if matches!(flushed, Flushed::Failed(_)) {
                return self.abandon(peer);
            }
            if connection.outbox.pending() > most {
                tracing::warn!(
                    limit = self.settings.client_backlog,
                    "a client does not read its answers; closed"
                );
                return self.abandon(peer);
            }
        }
        append(connection, &self.scratch);
        self.table.mark_dirty(peer);
    }

    /// Writes a message with an encoded body to a client.
    fn tell_control<T: Serialize>(&mut self, client: ClientId, what: MessageType, route: Route, body: &T) {
        let mut frame = Vec::new();
        match put_control(&mut frame, what, Some(route), body) {
            Ok(()) => self.write(Peer::Client(client), |connection, _| {
                connection.outbox.tail().extend_from_slice(&frame);
            }),
            Err(error) => {
                // Never silence: the client is then told by the end of its connection.
                tracing::error!(%error, "a client cannot be told what became of its request; it is closed");
                self.abandon(Peer::Client(client));
            }
        }
    }

    /// Shuts a connection down for both directions; its reader sees the end and does the rest.
    fn abandon(&mut self, peer: Peer) {
        if let Peer::Client(client) = peer
            && let Some(client) = self.table.client(client)
        {
            client.closing = true;
        }
        if let Some(connection) = self.table.connection(peer) {
            connection.socket.shut_down();
            connection.written.notify_one();
        }
    }

    /// Reads once from a peer, at most `most` bytes. Follow with [`Links::next_frame`] until it gives none.
    fn read(&mut self, peer: Peer, most: usize) -> Received {
        match self.table.connection(peer) {
            Some(connection) => connection.intake.read(&connection.socket, &mut self.scratch, most),
            None => Received::Eof,
        }
    }

    /// The next whole frame of what was last read from a peer.
    fn next_frame(&mut self, peer: Peer) -> Result<Option<Inbound>, FrameError> {
        match self.table.connection(peer) {
            Some(connection) => connection.intake.next_frame(&mut self.scratch),
            None => Ok(None),
        }
    }
}

/// The route of what is said to a slot of a process about an attempt.
const fn route_to(slot: SlotId, request: RequestId, attempt: AttemptNumber, time_left: TimeLeft) -> Route {
    Route { id: request.0, attempt: attempt.0, flags: RouteFlags::NONE.with_slot(slot.0), time_left }
}

impl LinkPort for Links {
    type Request = RequestPayload;
    type Answer = AnswerPayload;

    fn dispatch(
        &mut self,
        process: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
        slot: SlotId,
        time_left: Duration,
        payload: &RequestPayload,
    ) {
        let route = route_to(slot, request, attempt, TimeLeft::from_duration(time_left));
        self.write(Peer::Process(process), |connection, _| connection.relay_request(payload, route));
    }

    fn tell_history(
        &mut self,
        core: &Core<RequestPayload, AnswerPayload>,
        process: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
        slot: SlotId,
    ) {
        self.write_history(core, process, request, attempt, slot);
    }

    fn send_cancel(&mut self, process: ProcessKey, request: RequestId, attempt: AttemptNumber, slot: SlotId) {
        let route = route_to(slot, request, attempt, TimeLeft::NONE);
        self.write(Peer::Process(process), |connection, _| {
            put_empty(connection.outbox.tail(), MessageType::Cancel, Some(route));
        });
    }

    fn send_drain(&mut self, process: ProcessKey) {
        self.write(Peer::Process(process), |connection, _| {
            put_empty(connection.outbox.tail(), MessageType::Drain, None);
        });
    }

    fn heartbeats(&mut self) -> Vec<(ProcessKey, Duration)> {
        self.noted_heartbeats()
    }

    fn release(&mut self, process: ProcessKey) {
        self.table.remove_worker(process);
    }

    fn reply(
        &mut self,
        client: ClientId,
        tag: ClientTag,
        attempts: AttemptNumber,
        late: bool,
        answer: AnswerPayload,
    ) {
        self.forget_withheld(client, tag);
        let flags = if late { RouteFlags::LATE } else { RouteFlags::NONE };
        let route = Route { id: tag.0, attempt: attempts.0, flags, time_left: TimeLeft::NONE };
        self.write(Peer::Client(client), |connection, scratch| match &answer.0 {
            AnswerForm::Frame(frame) => connection.relay_answer(frame, scratch, route),
            AnswerForm::Failure(_) | AnswerForm::Saved(_) => {
                debug_assert!(
                    false,
                    "the core settles failures and keeps what is saved, it replies with neither"
                )
            }
        });
    }

    fn tell_accepted(&mut self, client: ClientId, tag: ClientTag, request: RequestId, time_left: Duration) {
        if self.table.client(client).is_some_and(|client| client.hears_accepted) {
            let time_left = TimeLeft::from_duration(time_left);
            let route = Route { id: tag.0, attempt: 0, flags: RouteFlags::NONE, time_left };
            self.tell_control(client, MessageType::Accepted, route, &Accepted { request: request.0 });
        }
    }

    fn forward(&mut self, client: ClientId, tag: ClientTag, attempt: AttemptNumber, said: AnswerPayload) {
        let flags = RouteFlags::NONE;
        let route = Route { id: tag.0, attempt: attempt.0, flags, time_left: TimeLeft::NONE };
        if let AnswerForm::Frame(frame) = &said.0 {
            let len = frame.bytes(&self.scratch).len().saturating_sub(ROUTE_END);
            if !self.fits(client, tag, len) {
                return;
            }
            self.write(Peer::Client(client), |connection, scratch| {
                connection.relay_answer(frame, scratch, route);
            });
        }
    }

    fn tell_attempt_failed(
        &mut self,
        core: &Core<RequestPayload, AnswerPayload>,
        client: ClientId,
        tag: ClientTag,
        accepted_at: Timestamp,
        attempt: &AttemptRecord,
    ) {
        let route = Route {
            id: tag.0,
            attempt: attempt.number.0,
            flags: RouteFlags::NONE,
            time_left: TimeLeft::NONE,
        };
        self.forget_withheld(client, tag);
        let body = translate::attempt_body(core, accepted_at, attempt);
        self.tell_control(client, MessageType::AttemptFailed, route, &body);
    }

    fn settle(
        &mut self,
        core: &Core<RequestPayload, AnswerPayload>,
        client: ClientId,
        tag: ClientTag,
        settlement: Settlement<AnswerPayload>,
    ) {
        self.forget_withheld(client, tag);
        let attempts = u16::try_from(settlement.attempts.len()).unwrap_or(u16::MAX);
        let flags = if settlement.may_have_started { RouteFlags::MAY_HAVE_STARTED } else { RouteFlags::NONE };
        let route = Route { id: tag.0, attempt: attempts, flags, time_left: TimeLeft::NONE };
        let body = translate::error_body(core, settlement);
        self.tell_control(client, MessageType::Error, route, &body);
    }

    fn announce_drain(&mut self) {
        self.draining = true;
        let ids: Vec<ClientId> =
            self.table.clients().filter(|client| client.greeted).map(|client| client.id).collect();
        for id in ids {
            self.write(Peer::Client(id), |connection, _| {
                put_empty(connection.outbox.tail(), MessageType::Drain, None);
            });
        }
    }
}
