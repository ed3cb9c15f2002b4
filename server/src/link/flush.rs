//! Writes what the turn has left in the outboxes: one gathered write per connection and turn.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use lifeboat_core::event::Event;
use lifeboat_core::evidence::ConnectionEnd;
use lifeboat_core::ids::ProcessKey;
use tokio::io::unix::AsyncFd;

use super::outbox::Flushed;
use super::table::Peer;
use super::{Links, SharedEngine};
use crate::engine::Engine;
use crate::engine::ports::ProcessPort;

/// The wait after no descriptor was left to wait for a worker with. The lack is the broker's: the worker pays nothing.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// Flushes whatever a turn has made dirty. Woken behind the tasks of the same turn, so that all their frames for one
/// peer go out together. Runs as long as the data plane.
pub async fn run<P: ProcessPort + 'static>(engine: SharedEngine<P>) {
    let wanted = engine.borrow().links.table.flush_wanted();
    loop {
        wanted.notified().await;
        while let Some(peer) = { engine.borrow_mut().links.table.pop_dirty() } {
            flush(&engine, peer);
        }
    }
}

/// Flushes one connection; if it would block, a task waits for the writable edge.
fn flush<P: ProcessPort + 'static>(engine: &SharedEngine<P>, peer: Peer) {
    let mut borrowed = engine.borrow_mut();
    let Some(connection) = borrowed.links.table.connection(peer) else { return };
    match connection.outbox.flush(&connection.socket) {
        Flushed::All => {}
        Flushed::Blocked => {
            let writer = tokio::task::spawn_local(write_when_possible(Rc::clone(engine), peer));
            connection.writer = Some(writer.abort_handle());
        }
        Flushed::Failed(errno) => match peer {
            // Its reader sees the end and does the rest; a client that cannot be told anything has no use.
            Peer::Client(_) => borrowed.links.abandon(peer),
            // A peer that has closed is told of by its end of file. Otherwise answers may still come: reading goes on.
            Peer::Process(process) => {
                borrowed.wake();
                if !borrowed.read_to_the_end(process) {
                    let how = ConnectionEnd::WriteError { errno: errno.raw_os_error() };
                    borrowed.handle(Event::ConnectionEnded { process, how });
                }
            }
        },
    }
}

/// Waits for the writable edge until the outbox is empty. Holds a duplicate of the descriptor while it waits, and ends
/// with the connection.
async fn write_when_possible<P: ProcessPort + 'static>(engine: SharedEngine<P>, peer: Peer) {
    let Some(writable) = await_descriptor(&engine, peer).await else { return };
    loop {
        let Ok(mut guard) = writable.writable().await else { return };
        if write_again(&engine, peer) {
            return;
        }
        guard.clear_ready();
    }
}

/// A duplicate of the descriptor to wait with. While none is left, a worker is written to now and then without one; a
/// client is closed. `None` if there is nothing to wait for any more.
async fn await_descriptor<P: ProcessPort + 'static>(
    engine: &SharedEngine<P>,
    peer: Peer,
) -> Option<AsyncFd<OwnedFd>> {
    let mut waited = false;
    loop {
        let writable = engine.borrow_mut().links.table.connection(peer)?.socket.writable();
        match (writable, peer) {
            (Ok(writable), Peer::Client(_)) => return Some(writable),
            (Ok(writable), Peer::Process(_)) => {
                engine.borrow_mut().links.say_descriptor_left();
                return Some(writable);
            }
            (Err(error), Peer::Client(_)) => {
                tracing::warn!(%error, "no descriptor to wait for a slow reader with; its connection is closed");
                engine.borrow_mut().links.abandon(peer);
                return None;
            }
            (Err(error), Peer::Process(process)) => {
                if waited && write_again(engine, peer) {
                    return None;
                }
                engine.borrow_mut().say_no_descriptor(process, &error);
                tokio::time::sleep(EXHAUSTED_WAIT).await;
                waited = true;
            }
        }
    }
}

/// Flushes a connection that would have blocked. True unless it still does.
fn write_again<P: ProcessPort + 'static>(engine: &SharedEngine<P>, peer: Peer) -> bool {
    let mut borrowed = engine.borrow_mut();
    let Some(connection) = borrowed.links.table.connection(peer) else { return true };
    let flushed = connection.outbox.flush(&connection.socket);
    connection.written.notify_one();
    match flushed {
        Flushed::Blocked => return false,
        Flushed::All => connection.writer = None,
        Flushed::Failed(_) => {
            connection.writer = None;
            drop(borrowed);
            flush(engine, peer);
        }
    }
    true
}

/// A lack of descriptors is said when it begins and when it ends, not with each try.
impl<P: ProcessPort> Engine<Links, P> {
    fn say_no_descriptor(&mut self, process: ProcessKey, error: &io::Error) {
        if std::mem::replace(&mut self.links.no_descriptor, true) {
            return;
        }
        let pid = self.links.table.worker(process).map(|worker| worker.pid);
        let (worker, incarnation) = self.life(process);
        tracing::warn!(
            worker,
            incarnation,
            pid,
            %error,
            "no descriptor to wait for a slow worker with; such workers are written to now and then"
        );
    }
}

impl Links {
    fn say_descriptor_left(&mut self) {
        if std::mem::take(&mut self.no_descriptor) {
            tracing::info!("there are descriptors to wait for a slow worker with again");
        }
    }
}
