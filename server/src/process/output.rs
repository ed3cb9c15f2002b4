//! A process's stdout and stderr: when they are read, what is kept of them, and what is told of them.
//!
//! It owns the reading ends. It must never wait for end of file (a descendant may hold a pipe for ever), never read
//! without bound (a flooding worker is slowed down, not the plane), and cost nothing while nothing is written.
//!
//! After quiet the first bytes are read at once. While more comes, the process is looked at in turns, and between
//! two looks its pipes are not watched: a watched pipe wakes the thread at every single write.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lifeboat_core::ids::ProcessKey;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedSender;

use super::gate::Gate;
use super::lines::{Batch, Lines};
use super::orders::{OutputStream, Report, SpawnSpec};
use super::share::Share;
use super::sys;
use super::tail::Tail;

/// The time from one look at a process that writes to the next, and from one telling of its activity to the next.
/// Below 10 ms by what a timer (up to 2 ms late) and a wake-up take.
const TURN: Duration = Duration::from_millis(7);

/// How much of a stream is read at death: a full pipe of the largest size that an unprivileged process can ask for.
const LAST_BYTES: usize = 1024 * 1024;

/// The output of one process.
#[derive(Debug)]
pub(super) struct Output {
    process: ProcessKey,
    report: UnboundedSender<Report>,
    share: Rc<Share>,
    streams: RefCell<Streams>,
    pace: Cell<Pace>,
    /// Nobody wants to hear of it any more.
    is_muted: Cell<bool>,
    /// Its pipes cannot be watched, and that has been said.
    is_blind: Cell<bool>,
}

#[derive(Debug)]
struct Streams {
    /// What it has to say of a failure, first: lines are limited.
    stderr: Stream,
    stdout: Stream,
    /// Whether lines go into the log, and how many.
    gate: Option<Gate>,
}

/// Where the reading stands.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    looked_at: Option<Instant>,
    /// When its activity was told last.
    told_at: Option<Instant>,
    /// It has written what was not told yet.
    is_owed: bool,
    /// The last look found a flood.
    is_flooding: bool,
}

#[derive(Debug)]
struct Stream {
    kind: OutputStream,
    /// `None` when every writer is gone.
    pipe: Option<Rc<OwnedFd>>,
    tail: Tail,
    lines: Lines,
}

/// What evidence says of the output.
#[derive(Debug)]
pub(super) struct LastWords {
    pub(super) stdout_tail: String,
    pub(super) stderr_tail: String,
    /// Lines that were dropped and not told of.
    pub(super) dropped: u64,
}

impl Output {
    /// Takes the reading ends, which must be non-blocking.
    pub(super) fn new(
        process: ProcessKey,
        spec: &SpawnSpec,
        report: UnboundedSender<Report>,
        share: Rc<Share>,
        [stdout, stderr]: [OwnedFd; 2],
    ) -> Rc<Self> {
        let gate = || Gate::new(spec.output_burst, spec.output_rate, Instant::now());
        let streams = Streams {
            stderr: Stream::new(OutputStream::Stderr, stderr),
            stdout: Stream::new(OutputStream::Stdout, stdout),
            gate: spec.log_output.then(gate),
        };
        Rc::new(Self {
            process,
            report,
            share,
            streams: RefCell::new(streams),
            pace: Cell::default(),
            is_muted: Cell::new(false),
            is_blind: Cell::new(false),
        })
    }

    /// From now on nothing is told.
    pub(super) fn mute(&self) {
        self.is_muted.set(true);
    }

    /// Reads until every writer is gone. To be aborted when the process is collected.
    pub(super) async fn follow(self: Rc<Self>) {
        loop {
            let pace = self.pace.get();
            if !pace.is_flooding && !pace.is_owed && !self.wait_until_readable().await {
                return;
            }
            let due = pace.next_look(&self.share);
            // The runtime's timer rounds up to a whole millisecond, even what is past.
            if let Some(due) = due.filter(|due| *due > Instant::now()) {
                tokio::time::sleep_until(due.into()).await;
            }
            self.look(self.share.look_bytes(), false);
        }
    }

    /// Reads what is there now, without waiting: the last words of a leader that has exited.
    pub(super) fn read_last_words(&self) {
        self.look(LAST_BYTES, true);
    }

    /// The end of it: reads what is there, hands out the lines that have no end.
    pub(super) fn finish(&self) -> LastWords {
        self.read_last_words();
        let mut streams = self.streams.borrow_mut();
        let Streams { stderr, stdout, gate } = &mut *streams;
        if let Some(gate) = gate {
            for stream in [&mut *stderr, &mut *stdout] {
                let mut batch = Batch::default();
                stream.lines.finish(gate, &mut batch);
                self.tell_lines(stream.kind, batch);
            }
        }
        LastWords {
            stdout_tail: stdout.tail.text(),
            stderr_tail: stderr.tail.text(),
            dropped: gate.as_mut().map_or(0, Gate::take_untold),
        }
    }

    /// Waits for something to read, without a timer. False when every writer is gone.
    async fn wait_until_readable(&self) -> bool {
        let watches = {
            let streams = self.streams.borrow();
            if streams.stdout.pipe.is_none() && streams.stderr.pipe.is_none() {
                return false;
            }
            streams.stdout.watch().and_then(|stdout| Ok((stdout, streams.stderr.watch()?)))
        };
        match watches {
            Ok((stdout, stderr)) => tokio::select! {
                () = readable(stdout.as_ref()) => {}
                () = readable(stderr.as_ref()) => {}
            },
            Err(error) => {
                if !self.is_blind.replace(true) {
                    tracing::warn!(process = %self.process, %error, "cannot watch a worker's output; looking often");
                }
                tokio::time::sleep(TURN).await;
            }
        }
        true
    }

    /// Reads up to that much of each stream, and tells what is to be told now: all, if these are the last words.
    fn look(&self, budget: usize, is_last: bool) {
        let now = Instant::now();
        let mut pace = self.pace.get();
        let was_flooding = std::mem::replace(&mut pace.is_flooding, false);
        let mut streams = self.streams.borrow_mut();
        let Streams { stderr, stdout, gate } = &mut *streams;
        if let Some(gate) = gate {
            gate.refill(now);
        }
        for stream in [stderr, stdout] {
            let mut batch = Batch::default();
            let read = stream.read(budget, gate.as_mut(), &mut batch);
            self.tell_lines(stream.kind, batch);
            pace.is_owed |= read > 0;
            pace.is_flooding |= Share::is_flood(read, budget) && !is_last;
        }
        pace.looked_at = Some(now);
        if pace.is_owed && (is_last || pace.may_tell(now)) {
            pace.is_owed = false;
            pace.told_at = Some(now);
            self.tell(Report::OutputSeen { process: self.process });
        }
        match (was_flooding, pace.is_flooding) {
            (false, true) => self.share.enter(),
            (true, false) => self.share.leave(),
            (true, true) | (false, false) => {}
        }
        self.pace.set(pace);
    }

    fn tell_lines(&self, stream: OutputStream, batch: Batch) {
        let Batch { lines, dropped } = batch;
        if !lines.is_empty() {
            self.tell(Report::Output { process: self.process, stream, lines, dropped });
        }
    }

    fn tell(&self, report: Report) {
        if !self.is_muted.get() {
            // Nobody listens any more when the data plane has ended first.
            let _ = self.report.send(report);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.pace.get().is_flooding {
            self.share.leave();
        }
    }
}

impl Pace {
    /// When to look next; at once where that is past or `None`.
    fn next_look(self, share: &Share) -> Option<Instant> {
        let turn = self.told_at.map(|told_at| told_at + TURN);
        let flood_turn = self.looked_at.map(|looked_at| looked_at + share.flood_turn());
        if self.is_flooding { turn.min(flood_turn) } else { turn }
    }

    fn may_tell(self, now: Instant) -> bool {
        self.told_at.is_none_or(|told_at| now >= told_at + TURN)
    }
}

impl Stream {
    fn new(kind: OutputStream, pipe: OwnedFd) -> Self {
        Self { kind, pipe: Some(Rc::new(pipe)), tail: Tail::default(), lines: Lines::default() }
    }

    fn watch(&self) -> io::Result<Option<AsyncFd<Rc<OwnedFd>>>> {
        self.pipe.clone().map(sys::watch_readable).transpose()
    }

    /// Reads without waiting until there is nothing more or `budget` is reached; says how much it read.
    fn read(&mut self, budget: usize, mut gate: Option<&mut Gate>, batch: &mut Batch) -> usize {
        let mut buffer = [0_u8; 16 * 1024];
        let mut read = 0;
        while read < budget
            && let Some(pipe) = &self.pipe
        {
            let wanted = buffer.len().min(budget - read);
            match rustix::io::read(pipe, &mut buffer[..wanted]) {
                Ok(count @ 1..) => {
                    read += count;
                    self.tail.push(&buffer[..count]);
                    if let Some(gate) = &mut gate {
                        self.lines.push(&buffer[..count], gate, batch);
                    }
                    // A pipe gives all that it has.
                    if count < wanted {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Ok(0) | Err(_) => self.pipe = None,
            }
        }
        read
    }
}

/// Never ends for a pipe that has no writer any more.
async fn readable(pipe: Option<&AsyncFd<Rc<OwnedFd>>>) {
    match pipe {
        // An error says that the event loop ends, and this task with it.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}
