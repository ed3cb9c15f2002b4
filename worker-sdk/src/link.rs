//! What the slot's thread and the watcher share.
//!
//! Owns whose turn it is to read the socket and the timer that makes the watcher look. Must never cost the usual
//! request a wake-up or a system call.
//!
//! **Whose turn.** The slot's thread holds the inbox's lock at all times except while a handler runs. The watcher
//! only ever tries the lock, so neither waits for the other longer than one read.
//!
//! **The phase** counts handlers begun and ended: odd while one runs. A watcher that finds the same odd phase at
//! two ticks in a row has met a handler that runs long.
//!
//! **The timer** ticks while there is work and is stopped by the watcher at the first tick that finds none, so a
//! busy worker arms it never and an idle one sleeps.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::inbox::Inbox;

/// A handler that runs longer than one to two of these is watched: the most time by which a cancel, a drain or the
/// loss of the broker is noticed late.
pub(crate) const TICK: Duration = Duration::from_millis(2);

pub(crate) struct Link {
    pub(crate) socket: Arc<UnixStream>,
    inbox: Mutex<Inbox>,
    phase: AtomicU64,
    timer: OwnedFd,
    ticking: AtomicBool,
    /// SIGTERM came.
    pub(crate) terminate: Arc<AtomicBool>,
}

impl Link {
    /// # Errors
    ///
    /// Those of creating the timer.
    pub(crate) fn new(socket: UnixStream, inbox: Inbox) -> std::io::Result<Self> {
        Ok(Self {
            socket: Arc::new(socket),
            inbox: Mutex::new(inbox),
            phase: AtomicU64::new(0),
            timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?,
            ticking: AtomicBool::new(false),
            terminate: Arc::new(AtomicBool::new(false)),
        })
    }

    /// The slot's side: waits for at most one read of the watcher.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watcher's side: `None` while no handler runs.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Inbox>> {
        match self.inbox.try_lock() {
            Ok(inbox) => Some(inbox),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// A handler begins.
    pub(crate) fn begin(&self) {
        // Sequentially consistent, as all of this protocol: the phase must be seen before `ticking` is read.
        self.phase.fetch_add(1, Ordering::SeqCst);
        self.start_ticking();
    }

    /// The handler ended.
    pub(crate) fn end(&self) {
        self.phase.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase(self.phase.load(Ordering::SeqCst))
    }

    pub(crate) fn timer(&self) -> impl AsFd + '_ {
        self.timer.as_fd()
    }

    fn start_ticking(&self) {
        if !self.ticking.load(Ordering::SeqCst) && !self.ticking.swap(true, Ordering::SeqCst) {
            self.set_timer(TICK);
        }
    }

    /// Stops the timer, unless a handler began meanwhile: it may have seen the timer still ticking.
    pub(crate) fn stop_ticking(&self) {
        self.set_timer(Duration::ZERO);
        self.ticking.store(false, Ordering::SeqCst);
        if self.phase().is_running() {
            self.start_ticking();
        }
    }

    fn set_timer(&self, interval: Duration) {
        let interval = Timespec { tv_sec: 0, tv_nsec: interval.subsec_nanos().into() };
        let set = Itimerspec { it_interval: interval, it_value: interval };
        let result = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &set);
        debug_assert!(result.is_ok(), "a valid timer and a valid time: {result:?}");
    }
}

/// How many times handlers began or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phase(u64);

impl Phase {
    pub(crate) const fn is_running(self) -> bool {
        self.0 % 2 == 1
    }
}
