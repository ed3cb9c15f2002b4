//! What the slots' threads and the watcher share.
//!
//! Owns the lock around the inbox. Must never keep it while somebody waits: for the broker, for room in the socket or for
//! a handler. Whoever has it reads what is there.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::alarm::Alarm;
use crate::crew::Crew;
use crate::inbox::Inbox;
use crate::pace::Pace;
use crate::pen::Pen;
use crate::recorder::Recorder;

pub(crate) struct Link {
    pub(crate) socket: Arc<OwnedFd>,
    pub(crate) pen: Arc<Pen>,
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) pace: Pace,
    inbox: Mutex<Inbox>,
    pub(crate) crew: Crew,
    /// Known from the hello of a worker on.
    pub(crate) terms: OnceLock<Terms>,
    /// SIGTERM came.
    pub(crate) terminate: Arc<AtomicBool>,
    /// Nothing more will be read: what runs has a bounded time.
    lost: AtomicBool,
}

/// What the watcher must know of what the broker asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// How often to send a heartbeat, if at all.
    pub(crate) heartbeat: Option<Duration>,
    /// How long handlers may go on once the broker is gone.
    pub(crate) grace: Duration,
    /// Where heartbeats are noted instead of being sent, if there is one.
    pub(crate) recorder: Recorder,
}

impl Link {
    /// # Errors
    ///
    /// Those of creating descriptors.
    pub(crate) fn new(socket: UnixStream, inbox: Inbox) -> std::io::Result<Self> {
        let socket = Arc::new(OwnedFd::from(socket));
        let alarm = Arc::new(Alarm::new()?);
        Ok(Self {
            pen: Arc::new(Pen::new(Arc::clone(&socket), Arc::clone(&alarm))),
            crew: Crew::new(&socket)?,
            socket,
            alarm,
            pace: Pace::new()?,
            inbox: Mutex::new(inbox),
            terms: OnceLock::new(),
            terminate: Arc::default(),
            lost: AtomicBool::new(false),
        })
    }

    /// Waits for at most one read of somebody else.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks, and wakes the slots for which something was read.
    pub(crate) fn release(&self, mut inbox: MutexGuard<'_, Inbox>) {
        let bells = inbox.take_bells();
        drop(inbox);
        if !bells.is_empty() {
            self.crew.ring(bells);
        }
    }

    /// A slot takes nothing more, for whatever reason.
    pub(crate) fn leave(&self, inbox: MutexGuard<'_, Inbox>) {
        let over = inbox.over.is_some();
        self.release(inbox);
        self.pace.leave();
        if over {
            self.lose();
            self.alarm.ring();
        }
    }

    /// Nothing more will be read.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    pub(crate) fn told_to_stop(&self) -> bool {
        self.terminate.load(Ordering::SeqCst)
    }
}
