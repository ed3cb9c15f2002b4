//! The watcher: a thread that sleeps unless handlers run long, a heartbeat is due or the process is asked to stop.
//!
//! Owns noticing a cancel, a drain and the loss of the broker while every slot runs a handler, SIGTERM at any time,
//! heartbeats, room in a socket that was full, and the bounded time that handlers have once the broker is gone. Must
//! never run a handler, and must never wait for room in the socket.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::SigId;
use signal_hook::consts::SIGTERM;

use crate::heart::Heart;
use crate::link::{Link, Terms};
use crate::pace::Phase;
use crate::{WorkerError, cut, stderr};

/// Called when handlers outlived the time they had after the loss of the broker. The real one does not return.
pub(crate) type Abandon = Box<dyn Fn(&WorkerError) + Send>;

/// Stack of the watcher's thread, in bytes: it runs no code of others.
const STACK: usize = 256 * 1024;

/// The running watcher. Dropping it ends the thread and gives SIGTERM its default meaning to this worker's part.
pub(crate) struct Watch {
    link: Arc<Link>,
    signals: Vec<SigId>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts it. With `signals`, the first SIGTERM means: finish what runs, then stop; a second one has its
    /// default effect.
    ///
    /// # Errors
    ///
    /// [`WorkerError::Setup`] if the system refuses the thread or the signal handler.
    pub(crate) fn start(link: &Arc<Link>, signals: bool, abandon: Abandon) -> Result<Self, WorkerError> {
        let setup = |what| move |source| WorkerError::Setup { what, source };
        let signals = if signals { catch_signals(link) } else { Ok(Vec::new()) };
        let signals = signals.map_err(setup("the handlers of SIGTERM and SIGABRT"))?;
        let watcher = Watcher {
            link: Arc::clone(link),
            seen: link.pace.phase(),
            watching: false,
            leaving: Leaving::No,
            stopping: Stopping::No,
            heart: None,
            abandon,
        };
        let thread = std::thread::Builder::new().name("lifeboat-watch".to_owned()).stack_size(STACK);
        let thread = thread.spawn(move || watcher.run()).map_err(setup("the watcher's thread"))?;
        Ok(Self { link: Arc::clone(link), signals, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for signal in self.signals.drain(..) {
            signal_hook::low_level::unregister(signal);
        }
        self.link.alarm.end();
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            debug_assert!(joined.is_ok(), "the watcher runs no code of others");
        }
    }
}

/// In this order: a signal after the first finds the flag set and has its default effect; the first sets the flag,
/// then wakes the watcher.
fn catch_signals(link: &Link) -> std::io::Result<Vec<SigId>> {
    crate::last_words::install()?;
    let flag = &link.terminate;
    Ok(vec![
        signal_hook::flag::register_conditional_default(SIGTERM, Arc::clone(flag))?,
        signal_hook::flag::register(SIGTERM, Arc::clone(flag))?,
        signal_hook::low_level::pipe::register(SIGTERM, link.alarm.button()?)?,
    ])
}

struct Watcher {
    link: Arc<Link>,
    /// The phase at the latest tick.
    seen: Phase,
    /// Whether all handlers run long, so that the socket is this thread's to read.
    watching: bool,
    leaving: Leaving,
    stopping: Stopping,
    /// Where heartbeats are wanted, from the worker's hello on.
    heart: Option<Heart>,
    abandon: Abandon,
}

/// What becomes of handlers that run when the connection is over.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    /// It is not over.
    No,
    /// They have until then.
    At(Instant),
    /// They ended, or were abandoned.
    Done,
}

/// What is told of handlers that run after a SIGTERM.
#[derive(Debug, Clone, Copy)]
enum Stopping {
    /// There was none.
    No,
    /// Those that still run then are told.
    TellAt(Instant),
    /// That is done.
    Told,
}

/// What became ready.
#[derive(Debug, Clone, Copy)]
struct Ready {
    alarm: bool,
    tick: bool,
    socket: bool,
    room: bool,
}

impl Watcher {
    fn run(mut self) {
        loop {
            let ready = self.wait();
            if ready.alarm && !self.heed_alarm() {
                return;
            }
            if ready.tick {
                self.tick();
            }
            if ready.socket && self.watching {
                self.read();
            }
            if ready.room {
                self.link.pen.has_room();
            }
            self.tell_if_due();
            self.leave_if_due();
            if let Some(heart) = &mut self.heart {
                heart.beat_if_due(&self.link.pen);
            }
        }
    }

    fn wait(&self) -> Ready {
        let socket = self.watching.then(|| PollFd::new(&*self.link.socket, PollFlags::IN));
        let optional = [socket, self.link.pen.source()];
        let mut sources = vec![self.link.alarm.source(), self.link.pace.source()];
        sources.extend(optional.iter().flatten().cloned());
        let due = match self.leaving {
            Leaving::At(at) => Some(at),
            Leaving::No | Leaving::Done => None,
        };
        let told = if let Stopping::TellAt(at) = self.stopping { Some(at) } else { None };
        let due = due.into_iter().chain(told).chain(self.heart.as_ref().and_then(Heart::due)).min();
        let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
        // What is too long for the system is for ever. An interrupted wait finds nothing ready.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let _ = poll(&mut sources, timeout.as_ref());
        let mut ready = sources.iter().map(|source| !source.revents().is_empty());
        let mut next = |there: bool| there && ready.next().unwrap_or(false);
        Ready {
            alarm: next(true),
            tick: next(true),
            socket: next(optional[0].is_some()),
            room: next(optional[1].is_some()),
        }
    }

    /// A SIGTERM, or something new in the link (true); or the end of this watcher (false).
    fn heed_alarm(&mut self) -> bool {
        if !self.link.alarm.hear() {
            return false;
        }
        if self.link.told_to_stop() {
            // Those that run a handler find the flag after it.
            self.link.crew.ring_all();
            if let (Stopping::No, Some(terms)) = (self.stopping, self.link.terms.get()) {
                let at = Instant::now().checked_add(most_of(terms.grace));
                self.stopping = at.map_or(Stopping::Told, Stopping::TellAt);
            }
        }
        if self.heart.is_none()
            && let Some(terms) = self.link.terms.get()
            && let Some(interval) = terms.heartbeat
        {
            self.heart = Some(Heart::start(interval, terms.recorder, &self.link.pen));
        }
        true
    }

    fn tick(&mut self) {
        self.link.pace.hear();
        let phase = self.link.pace.phase();
        let unchanged = phase == self.seen;
        let unattended = self.link.pace.is_unattended(phase);
        self.seen = phase;
        self.watching = unchanged && unattended && !self.link.is_lost();
        if unchanged && !unattended {
            self.link.pace.stop_ticking();
        }
    }

    /// Reads for the slots, whose handlers run long.
    fn read(&mut self) {
        let mut inbox = self.link.lock();
        if inbox.over.is_none() && self.link.pace.is_unattended(self.link.pace.phase()) {
            inbox.read(&self.link.socket);
        } else {
            // A handler ended, and its slot reads again; or there is nothing more to read.
            self.watching = false;
        }
        if inbox.over.is_some() {
            self.link.lose();
        }
        self.link.release(inbox);
    }

    /// SIGKILL leaves no moment to say anything: whoever still runs shortly before it is told now.
    fn tell_if_due(&mut self) {
        if let Stopping::TellAt(at) = self.stopping
            && Instant::now() >= at
            && let Some(Terms { grace, .. }) = self.link.terms.get()
        {
            self.stopping = Stopping::Told;
            let late = cut::late(&self.link.lock(), most_of(*grace), *grace);
            // The slots need the lock, and stderr may keep this thread waiting.
            let _ = late.iter().all(|line| stderr::tell(line));
        }
    }

    fn leave_if_due(&mut self) {
        let busy = self.link.pace.phase().running() > 0;
        match self.leaving {
            Leaving::No if self.link.is_lost() => {
                let grace = self.link.terms.get().map_or(Duration::ZERO, |terms| terms.grace);
                // One too long to be said is for ever.
                self.leaving = Instant::now().checked_add(grace).map_or(Leaving::Done, Leaving::At);
            }
            Leaving::No | Leaving::Done => {}
            // They ended in time; their slots find out why they must stop.
            Leaving::At(_) if !busy => self.leaving = Leaving::Done,
            Leaving::At(at) if Instant::now() < at => {}
            Leaving::At(_) => self.abandon(),
        }
    }

    fn abandon(&mut self) {
        self.leaving = Leaving::Done;
        let inbox = self.link.lock();
        let busy = self.link.pace.phase().running() > 0;
        if let Some(error) = inbox.over.as_ref().filter(|_| busy) {
            let grace = self.link.terms.get().map_or(Duration::ZERO, |terms| terms.grace);
            let _ = cut::after_the_end(&inbox, grace).iter().all(|line| stderr::tell(line));
            (self.abandon)(error);
        }
    }
}

/// Three quarters of a grace.
fn most_of(grace: Duration) -> Duration {
    grace - grace / 4
}
