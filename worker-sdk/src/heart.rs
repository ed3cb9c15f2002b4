//! Heartbeats: that the process is scheduled, said by a thread that runs no handler.
//!
//! Owns when one is due. They are noted in the flight recorder, where the process has one, and cost no message. Must never
//! say anything of the work, and must never wait for room.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lifeboat_protocol::{MessageType, put_empty};

use crate::pen::Pen;
use crate::recorder::Recorder;

/// How soon a heartbeat that found no room is tried again, at most.
const RETRY: Duration = Duration::from_millis(50);

/// When the broker was last told anything, as any message counts as a heartbeat. Not kept where none are wanted.
#[derive(Default)]
pub(crate) struct Pulse {
    begin: OnceLock<Instant>,
    /// In microseconds after `begin`.
    latest: AtomicU64,
}

impl Pulse {
    /// Begins to be kept.
    fn begin(&self) {
        self.begin.get_or_init(Instant::now);
    }

    /// A frame was written.
    pub(crate) fn felt(&self) {
        if let Some(begin) = self.begin.get() {
            let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.latest.store(micros, Ordering::Relaxed);
        }
    }

    fn latest(&self) -> Option<Instant> {
        self.begin.get()?.checked_add(Duration::from_micros(self.latest.load(Ordering::Relaxed)))
    }
}

/// The watcher's side.
pub(crate) struct Heart {
    interval: Duration,
    recorder: Recorder,
    due: Option<Instant>,
}

impl Heart {
    /// One that beats once per `interval`, counted from now.
    pub(crate) fn start(interval: Duration, recorder: Recorder, pen: &Pen) -> Self {
        if !recorder.is_there() {
            pen.pulse.begin();
        }
        Self { interval, recorder, due: Instant::now().checked_add(interval) }
    }

    /// When to look again; `None`: never.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Notes a heartbeat, or sends one if nothing else was sent for so long.
    pub(crate) fn beat_if_due(&mut self, pen: &Pen) {
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        if self.recorder.beat() {
            self.due = now.checked_add(self.interval);
            return;
        }
        self.due = self.after_latest(pen);
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        let mut frame = Vec::new();
        put_empty(&mut frame, MessageType::Heartbeat, None);
        self.due = match pen.try_write(&frame, None) {
            Ok(true) => self.after_latest(pen),
            // The broker has much to read before it could miss anything.
            Ok(false) => now.checked_add(RETRY.min(self.interval)),
            // The broker is gone, which others notice.
            Err(_) => None,
        };
    }

    fn after_latest(&self, pen: &Pen) -> Option<Instant> {
        pen.pulse.latest()?.checked_add(self.interval)
    }
}
