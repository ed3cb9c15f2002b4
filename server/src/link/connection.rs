//! What the broker keeps of one connection.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use lifeboat_core::ids::{ClientId, ProcessKey};
use lifeboat_protocol::{FRAME_OVERHEAD, FrameLimit, LENGTH_PREFIX, Operate, Route, patch_route};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::intake::{Inbound, Intake, Scratch};
use super::outbox::Outbox;
use super::payload::RequestPayload;
use super::recorder::Recorder;
use super::socket::Socket;

/// Answers up to this size are copied into the outbox; larger ones go as their own slice.
const COPIED: usize = 16 << 10;

/// A socket with what was read and not yet understood, and what is to be written.
pub(super) struct Connection {
    pub(super) socket: Rc<Socket>,
    pub(super) intake: Intake,
    pub(super) outbox: Outbox,
    /// On the list of connections to flush.
    pub(super) dirty: bool,
    /// The last write would have blocked: this task waits for the writable edge, on a duplicate of the descriptor.
    pub(super) writer: Option<AbortHandle>,
    /// Told when a blocked outbox has shrunk.
    pub(super) written: Rc<Notify>,
}

impl Connection {
    pub(super) fn new(socket: Rc<Socket>, limit: FrameLimit) -> Self {
        Self {
            socket,
            intake: Intake::new(limit),
            outbox: Outbox::default(),
            dirty: false,
            writer: None,
            written: Rc::new(Notify::new()),
        }
    }

    /// Appends a request frame as it came, with its route patched for this process.
    pub(super) fn relay_request(&mut self, payload: &RequestPayload, route: Route) {
        match payload {
            RequestPayload::Small(buffer) => {
                self.relay_copied(RequestPayload::small_frame(buffer), route);
            }
            RequestPayload::Large { frame, body_at } => self.relay_sliced(frame, *body_at, route),
        }
    }

    /// Appends an answer, progress or partial frame as it came, with its route patched for this client.
    pub(super) fn relay_answer(&mut self, frame: &Inbound, scratch: &Scratch, route: Route) {
        match frame {
            Inbound::Large(frame) if frame.len() > COPIED => {
                self.relay_sliced(frame, lifeboat_protocol::ROUTE_END, route);
            }
            Inbound::Large(_) | Inbound::Small(_) => self.relay_copied(frame.bytes(scratch), route),
        }
    }

    fn relay_copied(&mut self, frame: &[u8], route: Route) {
        let tail = self.outbox.tail();
        push_length(tail, frame.len());
        let start = tail.len();
        tail.extend_from_slice(frame);
        patch_route(&mut tail[start..], route);
    }

    fn relay_sliced(&mut self, frame: &Bytes, body_at: usize, route: Route) {
        let tail = self.outbox.tail();
        push_length(tail, frame.len());
        let start = tail.len();
        tail.extend_from_slice(&frame[..body_at]);
        patch_route(&mut tail[start..], route);
        self.outbox.push_body(frame.slice(body_at..));
    }
}

impl Drop for Connection {
    /// The writer's duplicate must go too, or the peer never sees the end.
    fn drop(&mut self) {
        if let Some(writer) = &self.writer {
            writer.abort();
        }
    }
}

fn push_length(tail: &mut Vec<u8>, len: usize) {
    const { assert!(LENGTH_PREFIX == 4) };
    let len = u32::try_from(len).expect("a frame that was read fits its length prefix");
    tail.extend_from_slice(&len.to_be_bytes());
}

/// A client's connection.
pub(super) struct ClientConnection {
    pub(super) id: ClientId,
    /// The process that connected, where that is known.
    pub(super) pid: Option<u32>,
    pub(super) connection: Connection,
    /// The largest frame that it accepts.
    pub(super) max_frame: usize,
    /// Operations that it has asked for and that have not had their turn, by number.
    pub(super) asked: VecDeque<(u64, Operate)>,
    /// The highest number the client has used for a request; the next must be higher.
    pub(super) last_tag: Option<u64>,
    /// Its hello was accepted.
    pub(super) greeted: bool,
    /// It knows what an accepted message is.
    pub(super) hears_accepted: bool,
    /// It is being closed: nothing more is read from it or written to it.
    pub(super) closing: bool,
}

impl ClientConnection {
    /// The largest body that it accepts.
    pub(super) const fn max_body(&self) -> usize {
        self.max_frame.saturating_sub(FRAME_OVERHEAD)
    }
}

/// A process's connection. Dropping it ends the task that reads it.
pub(super) struct WorkerConnection {
    pub(super) process: ProcessKey,
    /// Its process id.
    pub(super) pid: u32,
    pub(super) connection: Connection,
    /// Its hello was accepted.
    pub(super) greeted: bool,
    /// It wants to be told of the attempts before its own.
    pub(super) history: bool,
    /// What it may note in memory that it shares with the broker.
    pub(super) recorder: Option<Recorder>,
    /// Its end was told to the core; nothing more is read by the reading task.
    pub(super) ended: bool,
    /// The kernel has said that the process closed its end with bytes unread. It says so once.
    pub(super) reset: bool,
    pub(super) reader: AbortHandle,
}

impl WorkerConnection {
    /// Whether the last bytes that were written to the process, or wait to be, are known not to have been read by it.
    /// Only after its exit: until then it may still read.
    ///
    /// A process reads in order, so that unread bytes are the last ones; what would be written after a reset is not.
    pub(super) const fn is_unread(&self) -> bool {
        self.reset || self.connection.outbox.pending() > 0
    }
}

impl Drop for WorkerConnection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
