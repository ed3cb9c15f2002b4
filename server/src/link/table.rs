//! The table of connections, and the list of those with something to flush.

use std::rc::Rc;

use lifeboat_core::ids::{ClientId, ProcessKey};
use tokio::sync::Notify;

use super::connection::{ClientConnection, Connection, WorkerConnection};

/// A client's place is in the low bits of its id, so that finding it needs no search; the rest is never reused.
const CLIENT_INDEX_BITS: u32 = 20;

/// One end of a connection, by the name that never outlives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Client(ClientId),
    Process(ProcessKey),
}

/// Every connection.
pub(super) struct Table {
    clients: Vec<Option<ClientConnection>>,
    free: Vec<usize>,
    sequence: u64,
    /// By worker, the processes it has at this moment: usually one, two while one takes over from the other. The newest
    /// come first.
    workers: Vec<Vec<WorkerConnection>>,
    dirty: Vec<Peer>,
    flush: Rc<Notify>,
}

impl Table {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            clients: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            workers: (0..workers).map(|_| Vec::new()).collect(),
            dirty: Vec::new(),
            flush: Rc::new(Notify::new()),
        }
    }

    /// Clients connected now.
    pub(super) fn client_count(&self) -> usize {
        self.clients.len() - self.free.len()
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = &ClientConnection> {
        self.clients.iter().flatten()
    }

    /// Takes in a client; its connection is made with the id it gets.
    pub(super) fn insert_client(&mut self, make: impl FnOnce(ClientId) -> ClientConnection) -> ClientId {
        self.sequence += 1;
        let index = self.free.pop().unwrap_or(self.clients.len());
        let id = ClientId(self.sequence << CLIENT_INDEX_BITS | index as u64);
        let client = Some(make(id));
        if index == self.clients.len() {
            self.clients.push(client);
        } else {
            self.clients[index] = client;
        }
        id
    }

    pub(super) fn remove_client(&mut self, id: ClientId) -> Option<ClientConnection> {
        let index = client_index(id);
        let removed = self.clients.get_mut(index)?.take_if(|client| client.id == id)?;
        self.free.push(index);
        Some(removed)
    }

    pub(super) fn client(&mut self, id: ClientId) -> Option<&mut ClientConnection> {
        self.clients.get_mut(client_index(id))?.as_mut().filter(|client| client.id == id)
    }

    pub(super) fn look_up_client(&self, id: ClientId) -> Option<&ClientConnection> {
        self.clients.get(client_index(id))?.as_ref().filter(|client| client.id == id)
    }

    pub(super) fn insert_worker(&mut self, worker: WorkerConnection) {
        let place = usize::from(worker.process.worker.0);
        self.workers[place].insert(0, worker);
    }

    pub(super) fn remove_worker(&mut self, process: ProcessKey) {
        if let Some(processes) = self.workers.get_mut(usize::from(process.worker.0)) {
            processes.retain(|worker| worker.process != process);
        }
    }

    pub(super) fn workers(&mut self) -> impl Iterator<Item = &mut WorkerConnection> {
        self.workers.iter_mut().flatten()
    }

    pub(super) fn worker(&mut self, process: ProcessKey) -> Option<&mut WorkerConnection> {
        let processes = self.workers.get_mut(usize::from(process.worker.0))?;
        processes.iter_mut().find(|worker| worker.process == process)
    }

    pub(super) fn connection(&mut self, peer: Peer) -> Option<&mut Connection> {
        match peer {
            Peer::Client(client) => self.client(client).map(|client| &mut client.connection),
            Peer::Process(process) => self.worker(process).map(|worker| &mut worker.connection),
        }
    }

    /// Has a connection's outbox flushed at the end of this turn.
    pub(super) fn mark_dirty(&mut self, peer: Peer) {
        let Some(connection) = self.connection(peer) else { return };
        if connection.dirty || connection.writer.is_some() {
            return;
        }
        connection.dirty = true;
        if self.dirty.is_empty() {
            self.flush.notify_one();
        }
        self.dirty.push(peer);
    }

    /// Told when something became dirty.
    pub(super) fn flush_wanted(&self) -> Rc<Notify> {
        Rc::clone(&self.flush)
    }

    /// Takes the next connection to flush off the list.
    pub(super) fn pop_dirty(&mut self) -> Option<Peer> {
        let peer = self.dirty.pop()?;
        if let Some(connection) = self.connection(peer) {
            connection.dirty = false;
        }
        Some(peer)
    }
}

const fn client_index(id: ClientId) -> usize {
    (id.0 & ((1 << CLIENT_INDEX_BITS) - 1)) as usize
}
