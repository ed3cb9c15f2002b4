//! The watcher: a thread that sleeps unless a handler runs long or the process is asked to stop.
//!
//! Owns noticing a cancel, a drain and the loss of the broker during a handler, SIGTERM at any time, and the
//! bounded time a handler has once the broker is gone. Must never run a handler or write to the socket.

use std::io::Read;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::SigId;
use signal_hook::consts::SIGTERM;

use crate::WorkerError;
use crate::inbox::Reading;
use crate::link::{Link, Phase};

/// Called when a handler outlived the time it had after the loss of the broker. The real one does not return.
pub(crate) type Abandon = Box<dyn Fn(&WorkerError) + Send>;

/// Stack of the watcher's thread, in bytes: it runs no code but this file's and the inbox's.
const STACK: usize = 256 * 1024;

/// The running watcher. Dropping it ends the thread and gives SIGTERM its default meaning to this worker's part.
pub(crate) struct Watch {
    /// The watcher ends when this end is shut.
    wake: UnixStream,
    signals: Vec<SigId>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts it. With `signals`, the first SIGTERM means: finish what runs, then stop; a second one has its
    /// default effect.
    ///
    /// # Errors
    ///
    /// [`WorkerError::Setup`] if the system refuses the thread, its wake-up or the signal handler.
    pub(crate) fn start(link: &Arc<Link>, signals: bool, abandon: Abandon) -> Result<Self, WorkerError> {
        let setup = |what| move |source| WorkerError::Setup { what, source };
        let (wake, woken) = UnixStream::pair().map_err(setup("the watcher's wake-up"))?;
        let signals = if signals { catch_sigterm(link, &wake) } else { Ok(Vec::new()) };
        let signals = signals.map_err(setup("the handler of SIGTERM"))?;
        let watcher = Watcher {
            link: Arc::clone(link),
            woken,
            seen: link.phase(),
            watching: false,
            stream_ended_here: false,
            leaving: None,
            abandon,
        };
        let thread = std::thread::Builder::new().name("lifeboat-watch".to_owned()).stack_size(STACK);
        let thread = thread.spawn(move || watcher.run()).map_err(setup("the watcher's thread"))?;
        Ok(Self { wake, signals, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for signal in self.signals.drain(..) {
            signal_hook::low_level::unregister(signal);
        }
        // It fails only if the watcher ended already.
        let _ = self.wake.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            debug_assert!(joined.is_ok(), "the watcher runs no code of others");
        }
    }
}

/// In this order: a signal after the first finds the flag set and has its default effect; the first sets the flag,
/// then wakes the watcher.
fn catch_sigterm(link: &Link, wake: &UnixStream) -> std::io::Result<Vec<SigId>> {
    let flag = &link.terminate;
    Ok(vec![
        signal_hook::flag::register_conditional_default(SIGTERM, Arc::clone(flag))?,
        signal_hook::flag::register(SIGTERM, Arc::clone(flag))?,
        signal_hook::low_level::pipe::register(SIGTERM, wake.try_clone()?)?,
    ])
}

struct Watcher {
    link: Arc<Link>,
    woken: UnixStream,
    /// The phase at the latest tick.
    seen: Phase,
    /// Whether a handler runs long, so that the socket is this thread's to read.
    watching: bool,
    /// The stream was ended on this side, just as a handler began: it tells nothing about the broker any more.
    stream_ended_here: bool,
    /// The connection is over: the handler of this phase has until then.
    leaving: Option<(Phase, Instant)>,
    abandon: Abandon,
}

/// What became ready.
#[derive(Debug, Clone, Copy)]
struct Ready {
    woken: bool,
    tick: bool,
    socket: bool,
}

impl Watcher {
    fn run(mut self) {
        loop {
            let ready = self.wait();
            if ready.woken && !self.asked_to_stop() {
                return;
            }
            if ready.tick {
                self.tick();
            }
            if ready.socket && self.watching {
                self.read();
            }
            self.leave_if_due();
        }
    }

    fn wait(&self) -> Ready {
        let timer = self.link.timer();
        let mut sources = vec![PollFd::new(&self.woken, PollFlags::IN), PollFd::new(&timer, PollFlags::IN)];
        if self.watching {
            sources.push(PollFd::new(&*self.link.socket, PollFlags::IN));
        }
        let timeout = self.leaving.map(|(_, at)| timespec(at.saturating_duration_since(Instant::now())));
        // An interrupted wait finds nothing ready.
        let _ = poll(&mut sources, timeout.as_ref());
        let ready = |at: usize| sources.get(at).is_some_and(|source| !source.revents().is_empty());
        Ready { woken: ready(0), tick: ready(1), socket: ready(2) }
    }

    /// A SIGTERM (true), or the end of this watcher (false). A slot that waits for requests is woken by ending the
    /// stream on this side; one that runs a handler finds the flag after it.
    fn asked_to_stop(&mut self) -> bool {
        if matches!(self.woken.read(&mut [0; 16]), Ok(0)) {
            return false;
        }
        if !self.link.phase().is_running() {
            self.stream_ended_here = true;
            // It fails only if the broker is gone, and then the slot wakes anyway.
            let _ = self.link.socket.shutdown(Shutdown::Read);
        }
        true
    }

    fn tick(&mut self) {
        // The number of ticks missed does not matter.
        let _ = rustix::io::read(self.link.timer().as_fd(), &mut [0; 8]);
        let phase = self.link.phase();
        let unchanged = phase == self.seen;
        self.seen = phase;
        let readable = self.leaving.is_none() && !self.stream_ended_here;
        self.watching = unchanged && phase.is_running() && readable;
        if unchanged && !phase.is_running() {
            self.link.stop_ticking();
        }
    }

    /// Reads for the slot, whose handler runs long.
    fn read(&mut self) {
        let link = Arc::clone(&self.link);
        // Held by the slot: the handler ended, and the slot reads again.
        let Some(mut inbox) = link.try_lock() else {
            return self.watching = false;
        };
        let Some(call) = inbox.running.clone() else {
            return self.watching = false;
        };
        if inbox.over.is_none() && inbox.read(&link.socket, false) == Reading::Nothing {
            return;
        }
        if inbox.over.is_none() {
            return;
        }
        // Nothing more can be read; the socket would be ready for ever.
        self.watching = false;
        call.lose_broker();
        let grace = inbox.hello.as_ref().map_or(5_000, |hello| hello.assignment.stop_grace_ms);
        let at = Instant::now().checked_add(Duration::from_millis(grace));
        self.leaving = at.map(|at| (link.phase(), at));
    }

    fn leave_if_due(&mut self) {
        let Some((phase, at)) = self.leaving else { return };
        if self.link.phase() != phase || !phase.is_running() {
            // The handler ended in time; the slot finds out why it must stop.
            self.leaving = None;
            return;
        }
        if Instant::now() < at {
            return;
        }
        self.leaving = None;
        if let Some(inbox) = self.link.try_lock()
            && let Some(error) = &inbox.over
        {
            (self.abandon)(error);
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
