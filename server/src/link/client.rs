//! A client's connection: its hello, its requests, its cancels, its end.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use lifeboat_core::event::{Event, NewRequest};
use lifeboat_core::ids::{ClientId, ClientTag};
use lifeboat_protocol::{
    ACCEPTED_FEATURE, Header, Hello, MessageType, POOL_FEATURE, Refused, Role, VERSIONS, agree_version,
    decode, decode_body, put_control,
};
use rustix::net::SendFlags;
use tokio::sync::Notify;

use super::connection::{ClientConnection, Connection};
use super::digest::digest;
use super::intake::Inbound;
use super::refusals::{ClientError, HELLO_TIMEOUT};
use super::socket::{Received, Socket};
use super::table::Peer;
use super::translate::Wishes;
use super::{LinkEvent, Links, SharedEngine, translate};
use crate::engine::Engine;
use crate::engine::ports::ProcessPort;

/// Takes a connection in and has it served, unless there are as many as there may be. Those that have not said hello yet
/// count as well: otherwise they would take the descriptors that workers need.
pub(super) fn admit<P: ProcessPort + 'static>(engine: &SharedEngine<P>, fd: OwnedFd, pid: Option<u32>) {
    let mut borrowed = engine.borrow_mut();
    let limit = borrowed.links.settings.max_clients;
    if borrowed.links.table.client_count() >= limit {
        drop(borrowed);
        return turn_away(engine, &fd, &ClientError::TooMany { limit });
    }
    match Socket::new(fd) {
        Ok(socket) => {
            let socket = Rc::new(socket);
            let id = borrowed.links.insert_client(Rc::clone(&socket), pid);
            tokio::task::spawn_local(serve(Rc::clone(engine), id, socket));
        }
        Err(error) => tracing::warn!(%error, "a client's socket cannot be watched; it is closed"),
    }
}

/// Tells a connection that is not taken in why, as far as it listens.
pub(super) fn turn_away<P: ProcessPort>(engine: &SharedEngine<P>, fd: &OwnedFd, error: &ClientError) {
    let mut engine = engine.borrow_mut();
    engine.wake();
    let now = engine.now();
    engine.links.log_refusal(error, now);
    let mut out = Vec::new();
    let refused = Refused::new(error.code(), error.to_string());
    match put_control(&mut out, MessageType::Refused, None, &refused) {
        Ok(()) => {
            // A fresh socket's buffer takes it at once; who has gone already does not miss it.
            let _ = rustix::net::send(fd, &out, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        Err(error) => tracing::error!(%error, "a refusal could not be encoded"),
    }
}

/// Serves one client until its connection ends.
async fn serve<P: ProcessPort + 'static>(engine: SharedEngine<P>, id: ClientId, socket: Rc<Socket>) {
    match tokio::time::timeout(HELLO_TIMEOUT, read(&engine, id, &socket, Until::Greeted)).await {
        Ok(Turn::Greeted) => drop(read(&engine, id, &socket, Until::Over).await),
        Ok(Turn::Over) => {}
        Err(_) => {
            let mut engine = engine.borrow_mut();
            engine.wake();
            engine.refuse_client(id, &ClientError::HelloTimeout);
        }
    }
    let mut engine = engine.borrow_mut();
    engine.wake();
    engine.remove_client(id);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Greeted,
    Over,
}

/// Where reading has stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Greeted,
    Over,
}

async fn read<P: ProcessPort>(engine: &SharedEngine<P>, id: ClientId, socket: &Socket, until: Until) -> Turn {
    loop {
        while engine.borrow_mut().operate_once(id) {
            tokio::task::yield_now().await;
            let_it_read(engine, id).await;
        }
        let_it_read(engine, id).await;
        let Ok(mut guard) = socket.readable().await else { return Turn::Over };
        let (received, greeted) = {
            let mut engine = engine.borrow_mut();
            let received = engine.read_client(id);
            (received, engine.links.table.client(id).is_some_and(|client| client.greeted))
        };
        match received {
            Received::Short(_) | Received::Nothing => guard.clear_ready(),
            Received::Full(_) => tokio::task::yield_now().await,
            Received::Eof | Received::Failed(_) => return Turn::Over,
        }
        if greeted && until == Until::Greeted {
            return Turn::Greeted;
        }
    }
}

/// While half of the allowed backlog is unread, nothing more is taken from the client until it reads.
async fn let_it_read<P: ProcessPort>(engine: &SharedEngine<P>, id: ClientId) {
    while let Some(written) = { engine.borrow_mut().links.congestion(id) } {
        written.notified().await;
    }
}

impl Links {
    /// What to wait for before more is read from a client that does not read its answers.
    fn congestion(&mut self, id: ClientId) -> Option<Rc<Notify>> {
        let limit = self.settings.client_backlog / 2;
        let client = self.table.client(id).filter(|client| !client.closing)?;
        let connection = &client.connection;
        let congested = connection.writer.is_some() && connection.outbox.pending() > limit;
        congested.then(|| Rc::clone(&connection.written))
    }

    fn insert_client(&mut self, socket: Rc<Socket>, pid: Option<u32>) -> ClientId {
        let limit = self.limit;
        self.table.insert_client(|id| ClientConnection {
            id,
            pid,
            connection: Connection::new(socket, limit),
            max_frame: limit.max_frame(),
            asked: VecDeque::new(),
            last_tag: None,
            greeted: false,
            hears_accepted: false,
            closing: false,
        })
    }

    /// Tells a client why it is refused, as far as it listens, and closes.
    fn refuse(&mut self, id: ClientId, error: &ClientError) {
        let refused = Refused::new(error.code(), error.to_string());
        let Some(client) = self.table.client(id) else { return };
        let connection = &mut client.connection;
        if let Err(error) = put_control(connection.outbox.tail(), MessageType::Refused, None, &refused) {
            tracing::error!(%error, "a refusal could not be encoded");
        }
        connection.outbox.flush(&connection.socket);
        self.abandon(Peer::Client(id));
    }
}

impl<P: ProcessPort> Engine<Links, P> {
    fn remove_client(&mut self, id: ClientId) {
        if let Some(client) = self.links.table.remove_client(id)
            && client.greeted
        {
            self.links.withheld.retain(|(of, _)| *of != id);
            self.observer().client_closed();
            self.handle(Event::ClientClosed { client: id });
        }
    }

    fn refuse_client(&mut self, id: ClientId, error: &ClientError) {
        let now = self.now();
        self.links.log_refusal(error, now);
        self.links.refuse(id, error);
    }

    fn read_client(&mut self, id: ClientId) -> Received {
        if self.links.table.client(id).is_none_or(|client| client.closing) {
            return Received::Eof;
        }
        let received = self.links.read(Peer::Client(id), usize::MAX);
        // After the read: what came just before it must not be taken for older than it is, or its limits fire early.
        self.wake();
        if let Received::Short(_) | Received::Full(_) = received
            && let Err(error) = self.take_requests(id)
        {
            self.refuse_client(id, &error);
            return Received::Eof;
        }
        received
    }

    fn take_requests(&mut self, id: ClientId) -> Result<(), ClientError> {
        while let Some(inbound) = self.links.next_frame(Peer::Client(id))? {
            match self.links.understand(id, &inbound)? {
                Understood::Nothing => {}
                Understood::Event(event) => self.handle(event),
                Understood::Opened(event) => {
                    self.handle(event);
                    self.observer().client_opened();
                }
            }
        }
        Ok(())
    }
}

/// What a client's message means.
enum Understood {
    /// Nothing yet: an operation waits for its turn. Or the client is gone.
    Nothing,
    /// The core is to be told.
    Event(LinkEvent),
    /// The core is to be told of the client itself.
    Opened(LinkEvent),
}

impl ClientConnection {
    /// Numbers rise within a connection, over requests and operations.
    fn number(&mut self, id: u64) -> Result<(), ClientError> {
        match self.last_tag.replace(id) {
            Some(last) if id <= last => Err(ClientError::DuplicateId { id, last }),
            Some(_) | None => Ok(()),
        }
    }
}

impl Links {
    fn understand(&mut self, id: ClientId, inbound: &Inbound) -> Result<Understood, ClientError> {
        let frame = inbound.bytes(&self.scratch);
        let message = decode(frame)?;
        let Some(client) = self.table.client(id) else { return Ok(Understood::Nothing) };
        match message.header {
            Header::Hello if !client.greeted => {
                let hello: Hello = decode_body(message.body)?;
                self.greet(id, hello).map(Understood::Opened)
            }
            _ if !client.greeted => Err(ClientError::NoHello),
            Header::Request { route, method, ext } => {
                client.number(route.id)?;
                let (len, limit) = (message.body.len(), self.settings.max_body);
                if len > limit {
                    return Err(ClientError::BodyTooLarge { len, limit });
                }
                let Wishes { limits, stream, restartable, pool } = translate::wishes(route, ext)
                    .map_err(|source| ClientError::Ext { id: route.id, source })?;
                let payload = self.pool.hold(frame, inbound, frame.len() - len);
                let found = self.methods.find(method, pool.as_deref());
                let watched = found.filter(|id| self.methods.has_quarantine(*id));
                Ok(Understood::Event(Event::RequestReceived(NewRequest {
                    client: id,
                    tag: ClientTag(route.id),
                    method: found,
                    digest: watched.map(|_| digest(method, message.body)),
                    bytes: payload.pinned(),
                    payload,
                    limits,
                    stream,
                    restartable,
                })))
            }
            Header::Cancel { route } => {
                Ok(Understood::Event(Event::CancelReceived { client: id, tag: ClientTag(route.id) }))
            }
            Header::Operate { route } => {
                client.number(route.id)?;
                let asked = decode_body(message.body).map_err(ClientError::Operation)?;
                client.asked.push_back((route.id, asked));
                Ok(Understood::Nothing)
            }
            Header::Hello
            | Header::Answer { .. }
            | Header::Failure { .. }
            | Header::Error { .. }
            | Header::Drain
            | Header::WorkersFailed
            | Header::Retire
            | Header::Refused
            | Header::Panicked { .. }
            | Header::Cancelled { .. }
            | Header::Progress { .. }
            | Header::Partial { .. }
            | Header::Heartbeat
            | Header::AttemptFailed { .. }
            | Header::Operated { .. }
            | Header::Accepted { .. }
            | Header::Save { .. }
            | Header::History { .. } => Err(ClientError::Unexpected(message.header.message_type())),
        }
    }

    fn greet(&mut self, id: ClientId, hello: Hello) -> Result<LinkEvent, ClientError> {
        if hello.role != Role::Client {
            return Err(ClientError::Role(hello.role));
        }
        if agree_version(VERSIONS, &hello.versions).is_none() {
            return Err(ClientError::Version { theirs: hello.versions });
        }
        let ours = Hello {
            service: Some(self.service.clone()),
            pid: Some(std::process::id()),
            features: vec![POOL_FEATURE.to_owned()],
            ..Hello::new(Role::Broker, self.settings.max_body, super::SOFTWARE)
        };
        let draining = self.draining;
        if let Some(client) = self.table.client(id) {
            client.greeted = true;
            client.hears_accepted = hello.has_feature(ACCEPTED_FEATURE);
            client.max_frame = hello.frame_limit().max_frame();
        }
        self.write(Peer::Client(id), |connection, _| {
            let tail = connection.outbox.tail();
            if let Err(error) = put_control(tail, MessageType::Hello, None, &ours) {
                tracing::error!(%error, "the hello to a client could not be encoded");
            }
            if draining {
                lifeboat_protocol::put_empty(tail, MessageType::Drain, None);
            }
        });
        Ok(Event::ClientOpened { client: id })
    }
}
