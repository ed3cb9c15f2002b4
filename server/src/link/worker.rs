//! A process's connection: its answers, and the first signs of its death.
//!
//! Two tasks watch a process: one reads its socket, one waits for its pidfd. Either may see the end first; the core
//! takes both in any order. When the pidfd speaks, the socket is drained once more with raw reads, so that an answer
//! written just before the death is told before the death is.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use lifeboat_core::event::Event;
use lifeboat_core::evidence::ConnectionEnd;
use lifeboat_core::ids::ProcessKey;
use lifeboat_protocol::{FrameError, MessageType, decode, put_control};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use super::connection::{Connection, WorkerConnection};
use super::hello;
use super::intake::{Inbound, SCRATCH};
use super::recorder::Recorder;
use super::socket::{Received, Socket};
use super::table::Peer;
use super::translate;
use super::watch::watch;
use super::{Links, SharedEngine};
use crate::engine::Engine;
use crate::engine::ports::ProcessPort;

/// A process that was just started, as the process room hands it over.
#[derive(Debug)]
pub struct NewProcess {
    /// Which.
    pub process: ProcessKey,
    /// Its process id.
    pub pid: u32,
    /// Readable once its leader has exited.
    pub pidfd: OwnedFd,
    /// The broker's end of its socket, non-blocking.
    pub socket: OwnedFd,
    /// The memory of its flight recorder.
    pub recorder: Option<File>,
}

/// Takes over a process's connection: tells the core, greets the process, watches both ends of its life.
pub fn adopt<P: ProcessPort + 'static>(engine: &SharedEngine<P>, new: NewProcess) {
    let NewProcess { process, pid, pidfd, socket, recorder } = new;
    let mut borrowed = engine.borrow_mut();
    borrowed.wake();
    borrowed.handle(Event::Spawned { process, pid });
    let watched = watch(pidfd, Interest::READABLE)
        .and_then(|pidfd| Socket::new(socket).map(|socket| (pidfd, Rc::new(socket))));
    match watched {
        Ok((pidfd, socket)) => {
            // Ends by itself, with the process: one that was called unkillable is watched beside its successor.
            tokio::task::spawn_local(await_exit(Rc::clone(engine), process, pidfd));
            let reader = tokio::task::spawn_local(read(Rc::clone(engine), process, Rc::clone(&socket)));
            borrowed.greet_process(process, pid, socket, recorder, reader.abort_handle());
        }
        Err(error) => {
            // Nobody will see its end: it is killed, and its evidence ordered at once; the process plane waits for it.
            let (worker, incarnation) = borrowed.life(process);
            tracing::error!(worker, incarnation, pid, %error, "a process cannot be watched; it is killed");
            let what = format!("the broker could not watch it: {error}");
            borrowed.handle(Event::ConnectionEnded { process, how: ConnectionEnd::Violation(what) });
            borrowed.handle(Event::Exited { process, unread: false });
        }
    }
}

/// How much is read after the exit if the kernel does not tell how much is there: the default of what it buffers.
const LAST_WORDS: usize = SCRATCH;

/// What one read came to.
enum Turn {
    /// Everything there was has been read.
    Emptied,
    /// More may be there.
    More,
    /// There is nothing more to read, ever.
    Over,
}

async fn read<P: ProcessPort + 'static>(engine: SharedEngine<P>, process: ProcessKey, socket: Rc<Socket>) {
    loop {
        let Ok(mut guard) = socket.readable().await else { return };
        let turn = {
            let mut engine = engine.borrow_mut();
            engine.read_process(process)
        };
        match turn {
            Turn::Emptied => guard.clear_ready(),
            Turn::More => tokio::task::yield_now().await,
            Turn::Over => return,
        }
    }
}

async fn await_exit<P: ProcessPort + 'static>(
    engine: SharedEngine<P>,
    process: ProcessKey,
    pidfd: AsyncFd<OwnedFd>,
) {
    // A failing wait means that the runtime is going down, and the process with it.
    if pidfd.readable().await.is_ok() {
        let mut engine = engine.borrow_mut();
        engine.wake();
        let unread = engine.take_last_words(process);
        engine.handle(Event::Exited { process, unread });
    }
}

impl<P: ProcessPort> Engine<Links, P> {
    fn greet_process(
        &mut self,
        process: ProcessKey,
        pid: u32,
        socket: Rc<Socket>,
        recorder: Option<File>,
        reader: AbortHandle,
    ) {
        let hello = self.assignment(process);
        self.links.table.insert_worker(WorkerConnection {
            process,
            pid,
            connection: Connection::new(socket, self.links.limit),
            greeted: false,
            history: false,
            recorder: recorder.map(Recorder::new),
            ended: false,
            reset: false,
            reader,
        });
        self.links.write(Peer::Process(process), |connection, _| {
            if let Err(error) = put_control(connection.outbox.tail(), MessageType::Hello, None, &hello) {
                tracing::error!(%error, "the hello to a worker could not be encoded");
            }
        });
    }

    /// A process's worker, and which of its lives it is, as the log names them.
    pub(super) fn life(&self, process: ProcessKey) -> (&str, u32) {
        (self.core().worker_name(process.worker), process.incarnation.0)
    }

    /// Reads what a process has written, after writing to it failed. True if its end was found and told.
    pub(super) fn read_to_the_end(&mut self, process: ProcessKey) -> bool {
        // Two reads take as much as the read buffer holds; behind the last byte a reset and the end may be told.
        let mut left = self.waiting(process) / (SCRATCH / 2) + 4;
        while left > 0 && !matches!(self.read_process(process), Turn::Over) {
            left -= 1;
        }
        self.links.table.worker(process).is_none_or(|worker| worker.ended)
    }

    fn read_process(&mut self, process: ProcessKey) -> Turn {
        if self.links.table.worker(process).is_none_or(|worker| worker.ended) {
            return Turn::Over;
        }
        let received = self.links.read(Peer::Process(process), usize::MAX);
        self.wake();
        let turn = match received {
            Received::Short(_) | Received::Nothing => Turn::Emptied,
            Received::Full(_) => Turn::More,
            Received::Failed(rustix::io::Errno::CONNRESET) => {
                self.note_reset(process);
                Turn::More
            }
            Received::Eof => return self.end_connection(process, ConnectionEnd::Closed),
            Received::Failed(errno) => {
                let how = ConnectionEnd::ReadError { errno: errno.raw_os_error() };
                return self.end_connection(process, how);
            }
        };
        match self.take_frames(process) {
            Ok(()) => turn,
            Err(violation) => self.end_connection(process, ConnectionEnd::Violation(violation)),
        }
    }

    /// What a process has written and nobody has read. A descendant that holds the socket may write for ever: nothing that
    /// comes later is waited for.
    fn waiting(&mut self, process: ProcessKey) -> usize {
        let Some(worker) = self.links.table.worker(process) else { return 0 };
        let waiting = worker.connection.socket.waiting().ok();
        waiting.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(LAST_WORDS)
    }

    /// Reads what an exited process wrote before it died, without waiting: what is there now, since the dead write no
    /// more.
    ///
    /// Tells whether the last of what was written to it, or was to be, was never read.
    pub(super) fn take_last_words(&mut self, process: ProcessKey) -> bool {
        // One more: behind the last byte it is told whether the end came with bytes unread.
        let mut left = self.waiting(process).saturating_add(1);
        while left > 0 && self.links.table.worker(process).is_some_and(|worker| !worker.ended) {
            match self.links.read(Peer::Process(process), left) {
                Received::Short(taken) | Received::Full(taken) => {
                    left = left.saturating_sub(taken);
                    if let Err(violation) = self.take_frames(process) {
                        self.end_connection(process, ConnectionEnd::Violation(violation));
                    }
                }
                Received::Failed(rustix::io::Errno::CONNRESET) => self.note_reset(process),
                Received::Nothing | Received::Eof | Received::Failed(_) => break,
            }
        }
        let Some(worker) = self.links.table.worker(process) else { return false };
        worker.ended = true;
        worker.is_unread()
    }

    fn note_reset(&mut self, process: ProcessKey) {
        if let Some(worker) = self.links.table.worker(process) {
            worker.reset = true;
        }
    }

    fn end_connection(&mut self, process: ProcessKey, how: ConnectionEnd) -> Turn {
        if let Some(worker) = self.links.table.worker(process) {
            worker.ended = true;
            let (pid, bytes) = (worker.pid, worker.connection.intake.unfinished());
            if bytes > 0 {
                let (worker, incarnation) = self.life(process);
                tracing::info!(
                    worker,
                    incarnation,
                    pid,
                    bytes,
                    "the connection ended within a frame; it is dropped"
                );
            }
        }
        self.handle(Event::ConnectionEnded { process, how });
        Turn::Over
    }

    /// Tells the core every whole frame of what was last read. The error is what the process did wrong.
    fn take_frames(&mut self, process: ProcessKey) -> Result<(), String> {
        loop {
            let cut = self.links.next_frame(Peer::Process(process));
            let Some(inbound) = cut.map_err(|error: FrameError| error.to_string())? else { return Ok(()) };
            let event = self.understand(process, &inbound)?;
            self.handle(event);
        }
    }

    fn understand(&mut self, process: ProcessKey, inbound: &Inbound) -> Result<super::LinkEvent, String> {
        let message = decode(inbound.bytes(&self.links.scratch)).map_err(|error| error.to_string())?;
        let (what, len, limit) =
            (message.header.message_type(), message.body.len(), self.links.settings.max_body);
        if len > limit {
            return Err(format!(
                "a {what} message with a body of {len} bytes is over the limit of {limit}; raise max_body or send less"
            ));
        }
        let greeted = self.links.table.worker(process).is_some_and(|worker| worker.greeted);
        if !greeted {
            return hello::read(&message).and_then(|read| self.be_greeted(process, read));
        }
        let event = translate::worker_event(process, &message, inbound);
        event.map(|event| self.fit(event, len)).map_err(|error| error.to_string())
    }
}
