//! The engine: owns the core, the clock and the observer, and carries the core's orders to the rooms that act.
//!
//! It is called synchronously on the data-plane thread, by connections and process watchers, with one event at a
//! time; it must never await, block, decide or know the wire. Decisions are the core's; bytes are the link room's;
//! processes are the process room's. It reaches both through the [ports].

mod clock;
pub mod ports;
pub mod queries;
#[cfg(test)]
pub(crate) mod tests;
pub mod ticker;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lifeboat_core::Core;
use lifeboat_core::action::Action;
use lifeboat_core::event::Event;
use lifeboat_core::ids::{AttemptNumber, ProcessKey};
use lifeboat_core::settings::Settings;
use lifeboat_core::time::Timestamp;
use tokio::sync::Notify;

pub use self::clock::Clock;
use self::ports::{LinkPort, ProcessPort};
use crate::observe::Observer;
pub use crate::observe::{FailedRequest, ReportHead};

/// The engine as the data plane's tasks share it: one thread, never borrowed across an await.
pub type Shared<L, P> = Rc<RefCell<Engine<L, P>>>;

/// The core with its clock, its observer and its two ports.
pub struct Engine<L: LinkPort, P: ProcessPort> {
    core: Core<L::Request, L::Answer>,
    clock: Clock,
    observer: Observer,
    /// The connections.
    pub links: L,
    /// The processes.
    pub processes: P,
    /// When the ticker will wake by itself; `FAR_FUTURE` while it sleeps without a timer.
    armed_for: Timestamp,
    /// Wakes the ticker when a deadline earlier than `armed_for` appeared.
    rearm: Rc<Notify>,
    /// Told once the core says that its shutdown is complete.
    finished: Rc<Notify>,
}

impl<L: LinkPort, P: ProcessPort> Engine<L, P> {
    /// An engine over a fresh core; nothing is started yet.
    pub fn new(
        settings: Settings,
        seed: u64,
        clock: Clock,
        observer: Observer,
        links: L,
        processes: P,
    ) -> Self {
        Self {
            core: Core::new(settings, seed, clock.now()),
            clock,
            observer,
            links,
            processes,
            armed_for: Timestamp::FAR_FUTURE,
            rearm: Rc::new(Notify::new()),
            finished: Rc::new(Notify::new()),
        }
    }

    /// Orders the first processes.
    pub fn start(&mut self) {
        let now = self.clock.read();
        self.core.start(now);
        self.carry_out(now);
    }

    /// Reads the clock for this wake-up; the events handled until the next call share the reading.
    pub fn wake(&mut self) {
        self.clock.read();
    }

    /// The reading of the clock for this wake-up.
    pub const fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells the core what happened and carries out what it orders.
    pub fn handle(&mut self, event: Event<L::Request, L::Answer>) {
        let now = self.clock.now();
        self.core.handle_event(now, event);
        self.carry_out(now);
    }

    /// A process wrote lines to one of its streams: they are logged with what it executes. `dropped` were left out
    /// before them.
    pub fn worker_wrote(
        &mut self,
        process: ProcessKey,
        stream: &'static str,
        lines: &[String],
        dropped: u64,
    ) {
        let executing = self.core.executing(process);
        self.observer.worker_wrote(process, stream, &executing, lines, dropped);
    }

    /// Lets the core act on the limits that have passed. It may be somebody's silence: heartbeats that nobody sends are
    /// looked for first.
    pub fn handle_timeout(&mut self) {
        let now = self.clock.read();
        for (process, ago) in self.links.heartbeats() {
            self.handle(Event::HeartbeatReceived { process, ago });
        }
        self.core.handle_timeout(now);
        self.carry_out(now);
    }

    /// The core, for reading.
    pub const fn core(&self) -> &Core<L::Request, L::Answer> {
        &self.core
    }

    /// The observer, for what is not the core's to tell.
    pub const fn observer(&mut self) -> &mut Observer {
        &mut self.observer
    }

    /// Completes when the shutdown is complete.
    pub fn finished(&self) -> Rc<Notify> {
        Rc::clone(&self.finished)
    }

    /// How long until [`Engine::handle_timeout`] is due; the ticker promises to wake then.
    fn next_timeout(&mut self) -> Option<Duration> {
        let due = self.core.poll_timeout().map(|(at, _)| at);
        self.armed_for = due.unwrap_or(Timestamp::FAR_FUTURE);
        due.map(|at| at.since(self.clock.read()))
    }

    fn carry_out(&mut self, now: Timestamp) {
        while let Some(action) = self.core.poll_action() {
            self.route(action);
        }
        while let Some(fact) = self.core.poll_fact() {
            self.observer.record(&fact, now);
        }
        if let Some((at, _)) = self.core.poll_timeout()
            && at < self.armed_for
        {
            self.armed_for = at;
            self.rearm.notify_one();
        }
    }

    fn route(&mut self, action: Action<L::Answer>) {
        match action {
            Action::Spawn { process } => {
                let name = self.core.worker_name(process.worker).to_owned();
                let pool = self.core.worker_pool(process.worker);
                self.processes.spawn(process, pool, &name);
            }
            Action::Dispatch { process, request, attempt, slot, time_left } => {
                if attempt != AttemptNumber::FIRST {
                    self.links.tell_history(&self.core, process, request, attempt, slot);
                }
                let payload = self.core.payload(request).expect("a dispatched request keeps its payload");
                self.links.dispatch(process, request, attempt, slot, time_left, payload);
            }
            Action::SendCancel { process, request, attempt, slot } => {
                self.links.send_cancel(process, request, attempt, slot);
            }
            Action::SendDrain { process } => self.links.send_drain(process),
            Action::Signal { process, signal, look } => self.processes.signal(process, signal, look),
            Action::Collect { process } => self.processes.collect(process),
            Action::Release { process } => {
                self.links.release(process);
                self.processes.release(process);
            }
            Action::Reply { client, tag, attempts, late, answer } => {
                self.links.reply(client, tag, attempts, late, answer);
            }
            Action::TellAccepted { client, tag, request, time_left } => {
                self.links.tell_accepted(client, tag, request, time_left);
            }
            Action::ForwardProgress { client, tag, attempt, note: said }
            | Action::ForwardPart { client, tag, attempt, part: said } => {
                self.links.forward(client, tag, attempt, said);
            }
            Action::TellAttemptFailed { client, tag, accepted_at, attempt } => {
                self.links.tell_attempt_failed(&self.core, client, tag, accepted_at, &attempt);
            }
            Action::Settle { client, tag, settlement } => {
                self.links.settle(&self.core, client, tag, *settlement);
            }
            Action::AnnounceDrain => self.links.announce_drain(),
            Action::Finished => self.finished.notify_one(),
        }
    }
}
