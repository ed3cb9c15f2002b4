//! The queue between those who log and the writer that may block: bounded, lossy, counted.
//!
//! It owns what waits to be written. Who logs must never wait for whoever reads: a line for which there is no room is
//! dropped and counted, and the count is told once the lines flow again.

use std::cell::Cell;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// So many lines may wait.
const LINES: usize = 4096;

/// So many bytes may wait: a full queue of the longest lines of workers would be several times as much.
const BYTES: usize = 8 * 1024 * 1024;

/// What was dropped is told at most this often while more is being dropped.
const TELL_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    /// This thread is telling what was dropped: there is room for that when there is none for anything else.
    static IS_TELLING: Cell<bool> = const { Cell::new(false) };
}

/// Where lines go. Cheap to clone; every clone is the same queue.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    appender: NonBlocking,
    waiting: Arc<Waiting>,
}

/// The thread that writes. Dropping it ends the thread, once it has written what waits; bounded to a second. What is
/// logged later is dropped.
#[derive(Debug)]
pub(super) struct QueueThread {
    waiting: Arc<Waiting>,
    _thread: WorkerGuard,
}

/// What has not been written yet, and what never will be.
#[derive(Debug, Default)]
struct Waiting {
    lines: AtomicUsize,
    bytes: AtomicUsize,
    written: AtomicUsize,
    dropped: Arc<AtomicU64>,
    /// How many of the dropped ones were told of.
    told: AtomicU64,
    /// Nothing is written any more.
    is_closed: AtomicBool,
    /// Locked for an instant only, never while something is written.
    empty: Mutex<()>,
    became_empty: Condvar,
}

impl Queue {
    /// A queue in front of `inner`, which may block. `tell` is to log how many lines were dropped since it did so last,
    /// and in all, in a single line; it is called on the writing thread.
    pub(super) fn new<W, T>(inner: W, tell: T) -> (Self, QueueThread)
    where
        W: Write + AsFd + Send + 'static,
        T: Fn(u64, u64) + Send + 'static,
    {
        let waiting = Arc::new(Waiting::default());
        let end = Writing { inner, waiting: Arc::clone(&waiting), tell, told_at: None, tell_after: 0 };
        // Two places more than lines may wait: for the line that tells of the others, and for the order to end. With
        // that, the library never finds its channel full, which it would say on stdout.
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES + 2);
        let (appender, thread) = builder.thread_name("log").finish(end);
        (Self { appender, waiting: Arc::clone(&waiting) }, QueueThread { waiting, _thread: thread })
    }

    /// Whether what is logged is still written.
    pub(super) fn is_open(&self) -> bool {
        !self.waiting.is_closed.load(Ordering::SeqCst)
    }

    /// The count of the lines that were dropped.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.waiting.dropped)
    }

    /// How many lines were dropped since this was asked last, and in all.
    pub(super) fn take_dropped(&self) -> (u64, u64) {
        self.waiting.take_dropped()
    }

    /// Blocks until everything has been written, at most for `longest`, and not when nothing could be written for
    /// `stuck`. Tells whether everything was.
    pub(super) fn wait_until_written(&self, longest: Duration, stuck: Duration) -> bool {
        let waiting = &*self.waiting;
        let give_up = Instant::now() + longest;
        let mut before = waiting.written.load(Ordering::SeqCst);
        let mut lock = waiting.empty.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if waiting.lines.load(Ordering::SeqCst) == 0 {
                return true;
            }
            let left = stuck.min(give_up.saturating_duration_since(Instant::now()));
            let waited = waiting.became_empty.wait_timeout(lock, left);
            let (relocked, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            lock = relocked;
            let written = waiting.written.load(Ordering::SeqCst);
            if timeout.timed_out() && (written == before || Instant::now() >= give_up) {
                return waiting.lines.load(Ordering::SeqCst) == 0;
            }
            before = written;
        }
    }
}

impl Write for Queue {
    /// Takes a whole line, or drops it. Never blocks, never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.waiting.has_room_for(line.len()) {
            self.appender.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Waiting {
    /// Takes a line's place, or counts it as dropped.
    fn has_room_for(&self, bytes: usize) -> bool {
        let lines = self.lines.fetch_add(1, Ordering::SeqCst) + 1;
        let all = self.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        // A single line finds room whatever its length.
        let fits = lines <= LINES && (all <= BYTES || all == bytes);
        let has_room = (fits || IS_TELLING.get()) && !self.is_closed.load(Ordering::SeqCst);
        if !has_room {
            self.drop_one();
            self.give_back(bytes);
        }
        has_room
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if self.lines.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Locked, so that nobody misses it between a look at the count and the wait.
            drop(self.empty.lock());
            self.became_empty.notify_all();
        }
    }

    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }

    fn take_dropped(&self) -> (u64, u64) {
        let all = self.dropped.load(Ordering::SeqCst);
        let told = self.told.fetch_max(all, Ordering::SeqCst);
        (all.saturating_sub(told), all)
    }
}

/// The far end of the queue, on the writing thread.
struct Writing<W, T> {
    inner: W,
    waiting: Arc<Waiting>,
    tell: T,
    told_at: Option<Instant>,
    /// So many lines will have been written when the last telling is: no two of them wait.
    tell_after: usize,
}

impl Drop for QueueThread {
    fn drop(&mut self) {
        self.waiting.is_closed.store(true, Ordering::SeqCst);
    }
}

impl<W: Write + AsFd, T: Fn(u64, u64)> Writing<W, T> {
    /// As `write_all`, also where another program has made the descriptor that is shared with it non-blocking.
    fn write_whole(&mut self, mut line: &[u8]) -> io::Result<()> {
        while !line.is_empty() {
            match self.inner.write(line) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => line = &line[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_until_writable()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait_until_writable(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.inner, PollFlags::OUT)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn tell_dropped(&mut self) {
        let waiting = &self.waiting;
        let has_untold = waiting.dropped.load(Ordering::SeqCst) > waiting.told.load(Ordering::SeqCst);
        let written = waiting.written.load(Ordering::SeqCst);
        let is_due = || self.told_at.is_none_or(|told_at| told_at.elapsed() >= TELL_EVERY);
        if has_untold && written >= self.tell_after && is_due() {
            let (new, all) = waiting.take_dropped();
            self.told_at = Some(Instant::now());
            IS_TELLING.set(true);
            (self.tell)(new, all);
            IS_TELLING.set(false);
            self.tell_after = written + waiting.lines.load(Ordering::SeqCst);
        }
    }
}

impl<W: Write + AsFd, T: Fn(u64, u64)> Write for Writing<W, T> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line).map(|()| line.len())
    }

    /// One line.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let outcome = self.write_whole(line);
        if outcome.is_err() {
            self.waiting.drop_one();
        }
        self.waiting.written.fetch_add(1, Ordering::SeqCst);
        self.waiting.give_back(line.len());
        // Nobody can be told while nothing can be written.
        if outcome.is_ok() {
            self.tell_dropped();
        }
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
