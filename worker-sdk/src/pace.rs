//! Whether somebody reads the socket, and the timer that makes the watcher look.
//!
//! Owns the count of slots at work and the timer. Must never cost the usual request a wake-up or a system call.
//!
//! **The phase** counts handlers that run and handlers that ended. While every slot runs one, the socket is
//! unattended; a watcher that finds it so at two ticks in a row, in the same phase, has met handlers that run long.
//!
//! **The timer** ticks while there is work and is stopped by the watcher at the first tick that finds none, so a
//! busy worker arms it never and an idle one sleeps.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Handlers that run longer than one to two of these are watched: the most time by which a cancel, a drain or the
/// loss of the broker is noticed late.
const TICK: Duration = Duration::from_millis(2);

/// The part of a phase that counts the handlers that run; above it are those that ended.
const RUNNING: u64 = 0xffff;

/// One handler that ended, in a phase.
const ENDED: u64 = RUNNING + 1;

pub(crate) struct Pace {
    phase: AtomicU64,
    /// Slots that take requests, or still may.
    serving: AtomicU64,
    timer: OwnedFd,
    ticking: AtomicBool,
}

/// How many handlers run, and how many ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phase(u64);

impl Phase {
    /// How many handlers run.
    pub(crate) const fn running(self) -> u64 {
        self.0 & RUNNING
    }
}

impl Pace {
    /// For one slot, at first.
    ///
    /// # Errors
    ///
    /// Those of creating the timer.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            phase: AtomicU64::new(0),
            serving: AtomicU64::new(1),
            timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?,
            ticking: AtomicBool::new(false),
        })
    }

    /// Sets how many slots there are, before the first begins.
    pub(crate) fn serve(&self, slots: usize) {
        self.serving.store(slots as u64, Ordering::SeqCst);
    }

    /// A handler begins.
    pub(crate) fn begin(&self) {
        // Sequentially consistent, as all of this protocol: the phase must be seen before `ticking` is read.
        let phase = Phase(self.phase.fetch_add(1, Ordering::SeqCst) + 1);
        if self.is_unattended(phase) {
            self.start_ticking();
        }
    }

    /// A handler ended.
    pub(crate) fn end(&self) {
        self.phase.fetch_add(ENDED - 1, Ordering::SeqCst);
    }

    /// A slot, which runs no handler, will run none any more and does not read either.
    pub(crate) fn leave(&self) {
        self.serving.fetch_sub(1, Ordering::SeqCst);
        if self.is_unattended(self.phase()) {
            self.start_ticking();
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase(self.phase.load(Ordering::SeqCst))
    }

    /// Whether handlers run and no slot is left to read.
    pub(crate) fn is_unattended(&self, phase: Phase) -> bool {
        phase.running() > 0 && phase.running() >= self.serving.load(Ordering::SeqCst)
    }

    /// What the watcher waits for.
    pub(crate) fn source(&self) -> PollFd<'_> {
        PollFd::new(&self.timer, PollFlags::IN)
    }

    /// Takes note of a tick. How many were missed does not matter.
    pub(crate) fn hear(&self) {
        let _ = rustix::io::read(self.timer.as_fd(), &mut [0; 8]);
    }

    fn start_ticking(&self) {
        if !self.ticking.load(Ordering::SeqCst) && !self.ticking.swap(true, Ordering::SeqCst) {
            self.set_timer(TICK);
        }
    }

    /// Stops the timer, unless the socket is unattended again: who left it may have seen the timer still ticking.
    pub(crate) fn stop_ticking(&self) {
        self.set_timer(Duration::ZERO);
        self.ticking.store(false, Ordering::SeqCst);
        if self.is_unattended(self.phase()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_unattended_when_every_slot_that_is_left_runs_a_handler() {
        let pace = Pace::new().unwrap();
        pace.serve(3);
        let unattended = || pace.is_unattended(pace.phase());
        pace.begin();
        pace.begin();
        assert!(!unattended() && !pace.ticking.load(Ordering::SeqCst));
        pace.leave();
        assert!(unattended() && pace.ticking.load(Ordering::SeqCst), "the third left: nobody reads");
        let before = pace.phase();
        pace.end();
        assert!(!unattended());
        pace.stop_ticking();
        assert!(!pace.ticking.load(Ordering::SeqCst));
        pace.begin();
        assert!(unattended() && pace.ticking.load(Ordering::SeqCst));
        assert_ne!(pace.phase(), before, "another handler runs now");
        pace.stop_ticking();
        assert!(pace.ticking.load(Ordering::SeqCst), "not while it is unattended");
        pace.end();
        pace.leave();
        pace.end();
        pace.leave();
        assert!(!unattended(), "nothing runs");
    }
}
