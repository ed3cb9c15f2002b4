//! Starting and stopping the timers of requests.
//!
//! It owns which timer of a request runs, and with which timeout class. It must never decide what one means: `limits`
//! does.

use crate::core::Core;
use crate::ids::{AttemptNumber, RequestId};
use crate::request::Limit;
use crate::settings::MethodSettings;
use crate::timers::{ClassId, Timer, TimerOwner, Timers};
use crate::view::{OUTPUT_LAG, TimerKind};

/// The timeout classes of a method's limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MethodClasses {
    pub(crate) deadline: ClassId,
    pub(crate) queue: Option<ClassId>,
    pub(crate) attempt: Option<ClassId>,
}

impl MethodClasses {
    pub(crate) fn new(timers: &mut Timers, method: &MethodSettings) -> Self {
        let mut class = |kind, length| timers.class(kind, length);
        Self {
            deadline: class(TimerKind::Deadline, method.deadline),
            queue: method.queue_timeout.map(|limit| class(TimerKind::QueueTimeout, limit)),
            attempt: method.attempt_timeout.map(|limit| class(TimerKind::AttemptTimeout, limit)),
        }
    }
}

impl<Q, A> Core<Q, A> {
    /// Starts the deadline of a request that was accepted now.
    pub(crate) fn arm_deadline(&mut self, id: RequestId) {
        let now = self.now;
        let record = self.requests.open_record(id);
        record.armed.deadline = true;
        if record.armed.deadline_by_class {
            let class = self.classes[usize::from(record.method.0)].deadline;
            self.timers.arm_limit(class, now, id, AttemptNumber(0));
        } else {
            let owner = TimerOwner::Request(id, AttemptNumber(0));
            self.timers.arm(Timer { at: record.deadline, kind: TimerKind::Deadline, owner });
        }
    }

    pub(crate) fn disarm_deadline(&mut self, id: RequestId) {
        let record = self.requests.open_record(id);
        if !std::mem::replace(&mut record.armed.deadline, false) {
            return;
        }
        if record.armed.deadline_by_class {
            let class = self.classes[usize::from(record.method.0)].deadline;
            self.timers.cancel_limit(class, id, &self.requests);
        } else {
            let owner = TimerOwner::Request(id, AttemptNumber(0));
            self.timers.cancel(Timer { at: record.deadline, kind: TimerKind::Deadline, owner });
        }
    }

    /// Starts the limit of a request that was accepted now and has to wait.
    pub(crate) fn arm_queue(&mut self, id: RequestId) {
        let now = self.now;
        let record = self.requests.open_record(id);
        let Limit { length: Some(length), by_class } = record.limits.queue else { return };
        record.armed.queue = true;
        match self.classes[usize::from(record.method.0)].queue.filter(|_| by_class) {
            Some(class) => self.timers.arm_limit(class, now, id, AttemptNumber(0)),
            None => {
                let owner = TimerOwner::Request(id, AttemptNumber(0));
                self.timers.arm(Timer { at: now + length, kind: TimerKind::QueueTimeout, owner });
            }
        }
    }

    pub(crate) fn disarm_queue(&mut self, id: RequestId) {
        let record = self.requests.open_record(id);
        if !std::mem::replace(&mut record.armed.queue, false) {
            return;
        }
        let Limit { length, by_class } = record.limits.queue;
        match self.classes[usize::from(record.method.0)].queue.filter(|_| by_class) {
            Some(class) => self.timers.cancel_limit(class, id, &self.requests),
            None => {
                let at = record.accepted_at + length.unwrap_or_default();
                let owner = TimerOwner::Request(id, AttemptNumber(0));
                self.timers.cancel(Timer { at, kind: TimerKind::QueueTimeout, owner });
            }
        }
    }

    /// A suspect that waits avoids the worker of its last attempt for half of the time that it has left: another one may
    /// be busy, or not come up, for as long as it has.
    pub(crate) fn arm_avoidance(&mut self, id: RequestId) {
        let now = self.now;
        let record = self.requests.open_record(id);
        if record.avoid.is_none() {
            return;
        }
        let at = now + record.deadline.since(now) / 2;
        record.armed.avoidance = Some(at);
        let owner = TimerOwner::Request(id, record.attempt());
        self.timers.arm(Timer { at, kind: TimerKind::Avoidance, owner });
    }

    pub(crate) fn disarm_avoidance(&mut self, id: RequestId) {
        let record = self.requests.open_record(id);
        if let Some(at) = record.armed.avoidance.take() {
            let owner = TimerOwner::Request(id, record.attempt());
            self.timers.cancel(Timer { at, kind: TimerKind::Avoidance, owner });
        }
    }

    /// Starts the limits of an attempt that starts now.
    pub(crate) fn arm_attempt(&mut self, id: RequestId) {
        let now = self.now;
        let record = self.requests.open_record(id);
        let (limits, attempt) = (record.limits, record.attempt());
        let owner = TimerOwner::Request(id, attempt);
        if let Some(length) = limits.progress {
            record.armed.progress = Some(now + length);
            self.timers.arm(Timer { at: now + length, kind: TimerKind::ProgressTimeout, owner });
        }
        if let Some(length) = limits.output {
            let at = now + length + OUTPUT_LAG;
            record.armed.output = Some(at);
            self.timers.arm(Timer { at, kind: TimerKind::OutputTimeout, owner });
        }
        let Limit { length: Some(length), by_class } = limits.attempt else { return };
        record.armed.attempt = true;
        match self.classes[usize::from(record.method.0)].attempt.filter(|_| by_class) {
            Some(class) => self.timers.arm_limit(class, now, id, attempt),
            None => self.timers.arm(Timer { at: now + length, kind: TimerKind::AttemptTimeout, owner }),
        }
    }

    /// Stops the limits of the present attempt.
    pub(crate) fn disarm_attempt(&mut self, id: RequestId) {
        let record = self.requests.open_record(id);
        let owner = TimerOwner::Request(id, record.attempt());
        if let Some(at) = record.armed.progress.take() {
            self.timers.cancel(Timer { at, kind: TimerKind::ProgressTimeout, owner });
        }
        if let Some(at) = record.armed.output.take() {
            self.timers.cancel(Timer { at, kind: TimerKind::OutputTimeout, owner });
        }
        if !std::mem::replace(&mut record.armed.attempt, false) {
            return;
        }
        let Limit { length, by_class } = record.limits.attempt;
        match self.classes[usize::from(record.method.0)].attempt.filter(|_| by_class) {
            Some(class) => self.timers.cancel_limit(class, id, &self.requests),
            None => {
                let at = record.started_at + length.unwrap_or_default();
                self.timers.cancel(Timer { at, kind: TimerKind::AttemptTimeout, owner });
            }
        }
    }
}
