//! One connection, from hello to its end.
//!
//! Owns the socket: registers it for reading only, reads once per readiness, writes everything gathered at once, and
//! asks for the writable edge only while the socket is full. Must never decide what becomes of a call: it tells the
//! table what came and what was written.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lifeboat_protocol::{Header, MessageType, Refused, Route, decode, decode_body};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::inbox::{Frame, Got, Inbox};
use crate::readiness::watch;
use crate::shared::Shared;
use crate::table::{Ended, Told, What};
use crate::{LostReason, ProtocolError};

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    shared: Arc<Shared>,
    socket: AsyncFd<Arc<OwnedFd>>,
    /// While the socket is full: a duplicate, registered for writing, since one descriptor cannot be registered twice.
    full: Option<AsyncFd<Arc<OwnedFd>>>,
    inbox: Inbox,
    /// The broker ended at least one request, or answered an operation.
    pub(crate) heard: bool,
    // Kept for their allocations.
    news: Vec<(u64, News)>,
    woken: Vec<Waker>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, socket: AsyncFd<Arc<OwnedFd>>, inbox: Inbox) -> Self {
        Self { shared, socket, full: None, inbox, heard: false, news: Vec::new(), woken: Vec::new() }
    }

    /// The socket, for callers that write themselves.
    pub(crate) fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(self.socket.get_ref())
    }

    /// Carries requests and answers until the connection ends.
    pub(crate) async fn run(&mut self) -> LostReason {
        // What came behind the hello.
        if let Err(lost) = self.take_frames() {
            return lost;
        }
        std::future::poll_fn(|cx| self.poll_run(cx)).await
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<LostReason> {
        loop {
            // Never an endless loop: tokio's cooperative budget makes readiness pending after a while.
            let read = match self.poll_read(cx) {
                Ok(read) => read,
                Err(lost) => return Poll::Ready(lost),
            };
            let wrote = match self.poll_write(cx) {
                Ok(wrote) => wrote,
                Err(lost) => return Poll::Ready(lost),
            };
            if !read && !wrote {
                return Poll::Pending;
            }
        }
    }

    /// Reads once if there is something to read.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, LostReason> {
        let Poll::Ready(ready) = self.socket.poll_read_ready(cx) else {
            return Ok(false);
        };
        let mut ready = ready?;
        let got = self.inbox.read_from(self.socket.get_ref()).map_err(io::Error::from)?;
        match got {
            // The socket is empty, and the next edge comes by itself; tokio keeps "closed" in any case.
            Got::Short | Got::Nothing => ready.clear_ready(),
            Got::Full => {}
            Got::Eof => return Err(LostReason::Closed),
        }
        self.take_frames()?;
        Ok(true)
    }

    /// Acts on every whole frame in the inbox, telling calls all at once.
    fn take_frames(&mut self) -> Result<(), LostReason> {
        let end = loop {
            let frame = match self.inbox.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(LostReason::Protocol(error.into())),
            };
            match read_frame(&frame) {
                Ok(Incoming::News(id, news)) => self.news.push((id, news)),
                Ok(Incoming::Drain) => self.shared.drain(),
                Err(lost) => break Err(lost),
            }
        };
        if !self.news.is_empty() {
            let mut state = self.shared.lock();
            for (id, news) in self.news.drain(..) {
                match news {
                    News::Ended(ended) => {
                        self.heard = true;
                        state.table.complete(id, ended, &mut self.woken);
                    }
                    News::Told(told) => state.table.tell(id, told, &mut self.woken),
                }
            }
            state.table.take_room_wanted(&mut self.woken);
            drop(state);
            self.woken.drain(..).for_each(Waker::wake);
        }
        end
    }

    /// Writes once if there is something to write and room for it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, LostReason> {
        if let Some(full) = &self.full {
            let Poll::Ready(ready) = full.poll_write_ready(cx) else {
                return Ok(false);
            };
            drop(ready?);
            self.full = None;
            self.shared.lock().blocked = false;
        }
        let mut state = self.shared.lock();
        if !state.table.has_work() {
            let window = state.table.window;
            if window.is_some_and(|window| window.draining) && state.table.is_idle() {
                return Err(LostReason::Drained);
            }
            // Together with the look at the work, or a call registered in between would wake nobody.
            state.sleep(cx);
            return Ok(false);
        }
        state.table.pump(Instant::now(), &mut self.woken);
        state.table.take_room_wanted(&mut self.woken);
        let too_short = state.table.take_too_short();
        let mut outbox = state.take_outbox();
        drop(state);
        self.shared.warn_of(&too_short);
        self.woken.drain(..).for_each(Waker::wake);
        let result = if outbox.is_empty() { Ok(0) } else { outbox.write_to(self.socket.get_ref()) };
        let blocked = result == Err(Errno::AGAIN);
        self.shared.lock().return_outbox(outbox, blocked);
        match result {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => {
                self.full = Some(watch_writable(self.socket.get_ref())?);
                Ok(true)
            }
            Err(errno) => Err(self.read_last_words(errno)),
        }
    }

    /// After a failed write: what the broker wrote before it went away is still in the socket, answers among it.
    fn read_last_words(&mut self, errno: Errno) -> LostReason {
        loop {
            match self.inbox.read_from(self.socket.get_ref()) {
                Ok(Got::Short | Got::Full) => {}
                Ok(Got::Nothing | Got::Eof) | Err(_) => return io::Error::from(errno).into(),
            }
            if let Err(lost) = self.take_frames() {
                return lost;
            }
        }
    }
}

fn watch_writable(socket: &OwnedFd) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    watch(Arc::new(socket.try_clone()?), Interest::WRITABLE)
}

/// A frame's meaning for a client.
enum Incoming {
    News(u64, News),
    Drain,
}

/// What the broker says of one call.
#[derive(Debug)]
enum News {
    Ended(Ended),
    Told(Told),
}

fn read_frame(frame: &Frame<'_>) -> Result<Incoming, LostReason> {
    let message = decode(frame.bytes()).map_err(|error| LostReason::Protocol(error.into()))?;
    let keep = || frame.keep_last(message.body.len());
    let ended = |id, ended| Ok(Incoming::News(id, News::Ended(ended)));
    let told = |route: Route, what| {
        let told = Told { attempt: route.attempt, what, body: keep() };
        Ok(Incoming::News(route.id, News::Told(told)))
    };
    match message.header {
        Header::Answer { route } => ended(route.id, Ended::Answer(route, keep())),
        Header::Error { route } => ended(route.id, Ended::Error(route, keep())),
        Header::Progress { route } => told(route, What::Progress { skipped: 0 }),
        Header::Partial { route } => told(route, What::Partial),
        Header::Accepted { route } => told(route, What::Accepted { time_left: route.time_left }),
        Header::AttemptFailed { route } => told(route, What::AttemptFailed),
        Header::Operated { route } => ended(route.id, Ended::Operated(keep())),
        Header::Drain => Ok(Incoming::Drain),
        Header::Refused => Err(match decode_body::<Refused>(message.body) {
            Ok(Refused { code, message }) => LostReason::Refused { code, message },
            Err(error) => LostReason::Protocol(error.into()),
        }),
        Header::Hello => Err(unexpected(MessageType::Hello)),
        Header::Request { .. }
        | Header::Failure { .. }
        | Header::Cancel { .. }
        | Header::WorkersFailed
        | Header::Retire
        | Header::Heartbeat
        | Header::Panicked { .. }
        | Header::Cancelled { .. }
        | Header::Operate { .. }
        | Header::Save { .. }
        | Header::History { .. } => Err(unexpected(message.header.message_type())),
    }
}

fn unexpected(message: MessageType) -> LostReason {
    LostReason::Protocol(ProtocolError::Unexpected(message))
}
