//! Writes what the turn has left in the outboxes: one gathered write per connection and turn.

use std::rc::Rc;
use std::time::Duration;

use lifeboat_core::event::Event;
use lifeboat_core::evidence::ConnectionEnd;

use super::SharedEngine;
use super::outbox::Flushed;
use super::table::Peer;
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
    let writable = loop {
        let writable = match engine.borrow_mut().links.table.connection(peer) {
            Some(connection) => connection.socket.writable(),
            None => return,
        };
        match (writable, peer) {
            (Ok(writable), _) => break writable,
            (Err(error), Peer::Client(_)) => {
                tracing::warn!(%error, "no descriptor to wait for a slow reader with; its connection is closed");
                return engine.borrow_mut().links.abandon(peer);
            }
            (Err(error), Peer::Process(process)) => {
                tracing::warn!(%process, %error, "no descriptor to wait for a slow worker with; it is tried again");
                tokio::time::sleep(EXHAUSTED_WAIT).await;
                if write_again(&engine, peer) {
                    return;
                }
            }
        }
    };
    loop {
        let Ok(mut guard) = writable.writable().await else { return };
        if write_again(&engine, peer) {
            return;
        }
        guard.clear_ready();
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
