//! The writing side of the socket.
//!
//! Owns that frames are written whole and one after the other, whoever writes: slots, handlers on threads of their
//! own, the watcher. Must never keep the lock while it waits for room, and must never leave a frame half written for
//! good: what did not fit is kept, goes before everything else, and is seen out by whoever waits for it or else by the
//! watcher.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};
use tokio::sync::Notify;

use crate::alarm::Alarm;
use crate::call::Call;
use crate::heart::Pulse;

/// How often a blocked partial looks whether its attempt was cancelled.
const LOOK: Duration = Duration::from_millis(4);

pub(crate) struct Pen {
    socket: Arc<OwnedFd>,
    rest: Mutex<Rest>,
    /// Somebody wants to know when there is room. The watcher looks then.
    wanted: AtomicBool,
    room: Notify,
    alarm: Arc<Alarm>,
    pub(crate) pulse: Pulse,
}

/// The rest of the frame that did not fit: `head`, then `body`.
#[derive(Default)]
struct Rest {
    head: Bytes,
    body: Bytes,
    /// Which one it is, or was.
    number: u64,
    /// It could not be written: nothing can any more.
    broken: Option<Errno>,
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.body.is_empty()
    }

    /// Keeps what comes after the first `sent` bytes of a frame. Gives its number.
    fn keep(&mut self, head: Bytes, body: Bytes, sent: usize) -> u64 {
        debug_assert!(self.is_empty(), "one frame at a time");
        (self.head, self.body) = (head, body);
        self.number += 1;
        self.advance(sent);
        self.number
    }

    fn advance(&mut self, sent: usize) {
        let of_head = sent.min(self.head.len());
        self.head.advance(of_head);
        self.body.advance(sent - of_head);
        if self.is_empty() {
            // Lets go of the memory.
            (self.head, self.body) = (Bytes::new(), Bytes::new());
        }
    }
}

/// A partial on its way.
pub(crate) struct Part {
    pub(crate) head: Bytes,
    pub(crate) body: Bytes,
    /// Its number as the rest, once a piece of it is written.
    begun: Option<u64>,
}

impl Part {
    pub(crate) const fn new(head: Bytes, body: Bytes) -> Self {
        Self { head, body, begun: None }
    }
}

/// Why a partial was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// The attempt was cancelled, or the broker is gone. It may be written all the same, if it had begun.
    Stopped,
    /// The attempt had ended before.
    Ended,
}

impl Pen {
    pub(crate) fn new(socket: Arc<OwnedFd>, alarm: Arc<Alarm>) -> Self {
        let (rest, wanted, room, pulse) = Default::default();
        Self { socket, rest, wanted, room, alarm, pulse }
    }

    fn lock(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `head`, then `body`, waiting for room where there is none. `ends` is the attempt that the frame ends:
    /// nothing about it is written after.
    ///
    /// # Errors
    ///
    /// The broker is gone.
    pub(crate) fn write(
        &self,
        head: &mut Vec<u8>,
        body: &mut Bytes,
        ends: Option<&Call>,
    ) -> Result<(), Errno> {
        let number = {
            let mut rest = self.lock_when_clear()?;
            if let Some(call) = ends {
                call.end();
            }
            let sent = send_some(&self.socket, head, body)?;
            if sent == head.len() + body.len() {
                self.pulse.felt();
                return Ok(());
            }
            rest.keep(std::mem::take(head).into(), std::mem::take(body), sent)
        };
        self.see_out(number)
    }

    fn lock_when_clear(&self) -> Result<MutexGuard<'_, Rest>, Errno> {
        loop {
            let mut rest = self.lock();
            if self.flush(&mut rest)? {
                return Ok(rest);
            }
            drop(rest);
            self.wait_for_room(None);
        }
    }

    fn see_out(&self, number: u64) -> Result<(), Errno> {
        loop {
            self.wait_for_room(None);
            let mut rest = self.lock();
            if self.flush(&mut rest)? || rest.number != number {
                return Ok(());
            }
        }
    }

    /// Writes what there is room for of the rest; whether nothing of it is left.
    fn flush(&self, rest: &mut Rest) -> Result<bool, Errno> {
        if let Some(error) = rest.broken {
            return Err(error);
        }
        if rest.is_empty() {
            return Ok(true);
        }
        match send_some(&self.socket, &rest.head, &rest.body) {
            Ok(sent) => rest.advance(sent),
            Err(error) => {
                *rest = Rest { number: rest.number, broken: Some(error), ..Rest::default() };
                return Err(error);
            }
        }
        if rest.is_empty() {
            self.pulse.felt();
        }
        Ok(rest.is_empty())
    }

    /// Writes a short frame if there is room for it now; never waits. Nothing is written about a call that ended.
    ///
    /// # Errors
    ///
    /// The broker is gone.
    pub(crate) fn try_write(&self, frame: &[u8], about: Option<&Call>) -> Result<bool, Errno> {
        let mut rest = self.lock();
        if about.is_some_and(Call::has_ended) {
            return Ok(true);
        }
        if !self.flush(&mut rest)? {
            return Ok(false);
        }
        let sent = send_some(&self.socket, frame, &[])?;
        if sent == frame.len() {
            self.pulse.felt();
        } else if sent > 0 {
            rest.keep(Bytes::copy_from_slice(frame), Bytes::new(), sent);
            self.ask_for_room();
        }
        Ok(sent > 0)
    }

    /// Writes a partial, waiting for room where there is none.
    pub(crate) fn write_part(&self, call: &Call, mut part: Part) -> Result<(), Unwritten> {
        while !self.carry_on(call, &mut part)? {
            self.wait_for_room(Some(LOOK));
        }
        Ok(())
    }

    /// The same without blocking the thread. Dropped before the first byte was written, nothing is written; dropped
    /// later, the watcher writes the rest.
    pub(crate) async fn write_part_async(&self, call: &Call, mut part: Part) -> Result<(), Unwritten> {
        loop {
            // Made before the look, so that room between the two is not missed.
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            if self.carry_on(call, &mut part)? {
                return Ok(());
            }
            self.ask_for_room();
            call.unless_stopping(room).await;
        }
    }

    /// Writes what there is room for of a partial; whether all of it is written.
    fn carry_on(&self, call: &Call, part: &mut Part) -> Result<bool, Unwritten> {
        if call.should_stop() {
            if part.begun.is_some() {
                self.ask_for_room();
            }
            return Err(Unwritten::Stopped);
        }
        let mut rest = self.lock();
        let clear = self.flush(&mut rest).map_err(|_| Unwritten::Stopped)?;
        if let Some(number) = part.begun {
            return Ok(clear || rest.number != number);
        }
        if call.has_ended() {
            return Err(Unwritten::Ended);
        }
        if !clear {
            return Ok(false);
        }
        let sent = send_some(&self.socket, &part.head, &part.body).map_err(|_| Unwritten::Stopped)?;
        if sent == part.head.len() + part.body.len() {
            self.pulse.felt();
            return Ok(true);
        }
        if sent > 0 {
            let (head, body) = (std::mem::take(&mut part.head), std::mem::take(&mut part.body));
            part.begun = Some(rest.keep(head, body, sent));
        }
        Ok(false)
    }

    /// Writes the last that this process says, waiting for room for so long at most. The lock is kept: whoever writes beside
    /// it would write into its middle. Neither allocates nor frees: it runs in a signal handler.
    pub(crate) fn write_last(&self, frame: &[u8], limit: Duration) {
        let end = Instant::now() + limit;
        let rest = loop {
            match self.rest.try_lock() {
                Ok(rest) => break rest,
                Err(TryLockError::Poisoned(error)) => break error.into_inner(),
                Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => return,
            }
        };
        for mut piece in [&*rest.head, &*rest.body, frame] {
            while !piece.is_empty() {
                match send_some(&self.socket, piece, &[]) {
                    Ok(0) if Instant::now() < end => self.wait_for_room(Some(LOOK)),
                    Ok(0) | Err(_) => return,
                    Ok(sent) => piece = &piece[sent..],
                }
            }
        }
        // Nobody writes that rest a second time.
        std::mem::forget(rest);
    }

    /// Nothing is written any more. Whoever still waits for room, on a thread that outlived its handler, is told.
    pub(crate) fn put_down(&self) {
        let mut rest = self.lock();
        *rest = Rest { number: rest.number, broken: Some(Errno::PIPE), ..Rest::default() };
        drop(rest);
        self.room.notify_waiters();
    }

    /// Has the watcher look for room.
    fn ask_for_room(&self) {
        if !self.wanted.swap(true, Ordering::SeqCst) {
            self.alarm.ring();
        }
    }

    /// The watcher's side: what to wait for, if anybody wants room.
    pub(crate) fn source(&self) -> Option<PollFd<'_>> {
        self.wanted.load(Ordering::SeqCst).then(|| PollFd::new(&*self.socket, PollFlags::OUT))
    }

    /// The watcher's side: there is room.
    pub(crate) fn has_room(&self) {
        self.wanted.store(false, Ordering::SeqCst);
        let flushed = self.flush(&mut self.lock());
        if flushed == Ok(false) {
            self.wanted.store(true, Ordering::SeqCst);
        }
        self.room.notify_waiters();
    }

    /// Waits until the socket has room or is broken. An interrupted wait is as good as one that timed out.
    fn wait_for_room(&self, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let _ = poll(&mut [PollFd::new(&*self.socket, PollFlags::OUT)], timeout.as_ref());
    }
}

/// Writes what there is room for, in one call: how many bytes.
fn send_some(socket: &OwnedFd, head: &[u8], body: &[u8]) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        let sent = if body.is_empty() {
            send(socket, head, flags)
        } else {
            let slices = [IoSlice::new(head), IoSlice::new(body)];
            sendmsg(socket, &slices, &mut SendAncillaryBuffer::default(), flags)
        };
        match sent {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            sent => return sent,
        }
    }
}
