//! One history: a core, a world, a shadow, a clock and the random order of things.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use fastrand::Rng;
use lifeboat_core::Core;
use lifeboat_core::action::Action;
use lifeboat_core::event::Event;
use lifeboat_core::fact::Fact;
use lifeboat_core::time::Timestamp;

use super::coverage::Coverage;
use super::setup::{self, Temper};
use super::shadow::Shadow;
use super::world::World;

/// How late the shell may tell the time: its coarse tick.
const TICK: Duration = Duration::from_millis(15);

/// A drain that takes more steps than this has got stuck.
const DRAIN_STEPS: u64 = 200_000;

pub(crate) struct History {
    core: Core<u64, u64>,
    rng: Rng,
    temper: Temper,
    world: World,
    shadow: Shadow,
    now: Timestamp,
    events: u64,
    facts: Vec<Fact>,
    actions: Vec<Action<u64>>,
    print: bool,
    trace: Option<DefaultHasher>,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let settings = setup::settings(&mut rng);
        let temper = setup::temper(&mut rng);
        let core = Core::new(settings.clone(), rng.u64(..), Timestamp::ZERO);
        Self {
            world: World::new(&settings),
            shadow: Shadow::new(settings),
            core,
            rng,
            temper,
            now: Timestamp::ZERO,
            events: 0,
            facts: Vec::new(),
            actions: Vec::new(),
            print: false,
            trace: None,
        }
    }

    pub(crate) fn print_trace(&mut self) {
        self.print = true;
        println!("{:#?}\n{:#?}", self.core.settings(), self.temper);
    }

    pub(crate) fn keep_trace(&mut self) {
        self.trace = Some(DefaultHasher::new());
    }

    pub(crate) fn trace_hash(&self) -> Option<u64> {
        self.trace.as_ref().map(Hasher::finish)
    }

    /// Lets the history happen, shuts the broker down and drains to empty.
    pub(crate) fn run(&mut self, coverage: &mut Coverage) {
        self.core.start(self.now);
        self.settle_accounts(coverage);
        let mut after_the_end = 0;
        while (self.events < self.temper.events || !self.core.is_draining()) && after_the_end < 50 {
            after_the_end += u32::from(self.core.is_finished());
            if self.is_time_to_shut_down() && !self.core.is_draining() {
                self.shut_down(coverage);
            }
            self.step(coverage, false);
        }
        let mut steps = 0;
        while !self.core.is_finished() {
            self.step(coverage, true);
            steps += 1;
            assert!(steps < DRAIN_STEPS, "the broker does not drain: {:#?}", self.core.view(self.now));
        }
        coverage.see("finished");
        self.shadow.assert_empty();
        self.world.assert_nothing_lives();
        assert_eq!(self.core.poll_timeout(), None, "no timer is left after the end");
    }

    fn is_time_to_shut_down(&self) -> bool {
        let since = self.events.checked_sub(self.temper.shutdown_at.min(self.temper.events));
        since.is_some_and(|since| since >= self.temper.patience || self.world.somebody_is_lost_unread())
    }

    fn shut_down(&mut self, coverage: &mut Coverage) {
        let event = if self.temper.hurried { Event::ShutdownHurried } else { Event::ShutdownRequested };
        self.tell(event, coverage);
    }

    /// Time passes, or something happens in the world.
    fn step(&mut self, coverage: &mut Coverage, ending: bool) {
        if ending && self.rng.u32(0..400) == 0 {
            self.tell(Event::ShutdownHurried, coverage);
        }
        if self.rng.u32(0..16) == 0 {
            self.pass_time(coverage);
        }
        match self.world.next_event(&mut self.rng, &self.temper, ending) {
            Some(event) => self.tell(event, coverage),
            None if self.rng.u32(0..4) == 0 => self.pass_time(coverage),
            None => {}
        }
    }

    /// Moves the clock, by a little or to the next timer, and never past a timer by more than the tick.
    fn pass_time(&mut self, coverage: &mut Coverage) {
        let due = self.core.poll_timeout();
        let little = Duration::from_micros(self.rng.u64(0..=as_micros(self.temper.pace)));
        let late = Duration::from_micros(self.rng.u64(0..=as_micros(TICK)));
        let mut to = self.now + little;
        if let Some((at, _)) = due {
            let jump = self.rng.u32(0..1000) < self.temper.jumps;
            match self.rng.u32(0..3) {
                0 if jump => to = to.max(at + late),
                _ if jump => to = to.max(at),
                _ => {}
            }
            to = to.min((at + TICK).max(self.now));
        }
        self.now = to;
        let Some((at, kind)) = due else { return };
        let must = self.now >= at + TICK;
        if must || self.rng.u32(0..3) == 0 {
            if at <= self.now {
                coverage.timer(kind);
            }
            self.trace("time", &kind);
            self.shadow.time_told(self.now, coverage);
            self.core.handle_timeout(self.now);
            self.settle_accounts(coverage);
        }
    }

    fn tell(&mut self, event: Event<u64, u64>, coverage: &mut Coverage) {
        self.events += 1;
        coverage.events += 1;
        self.trace("event", &event);
        self.shadow.event(self.now, &event, coverage);
        self.core.handle_event(self.now, event);
        self.settle_accounts(coverage);
    }

    /// Fetches what the core says and has the shadow check it and the world carry it out.
    fn settle_accounts(&mut self, coverage: &mut Coverage) {
        while let Some(fact) = self.core.poll_fact() {
            coverage.fact(&fact);
            self.trace("  fact", &fact);
            self.shadow.fact(&fact, &self.core, coverage);
            self.facts.push(fact);
        }
        self.facts.clear();
        let mut actions = std::mem::take(&mut self.actions);
        // Payloads are gone once `poll_action` has given `None`: each action is looked at as it comes.
        while let Some(action) = self.core.poll_action() {
            self.trace("  action", &action);
            self.shadow.action(&action, &self.core, coverage);
            actions.push(action);
        }
        self.shadow.after(&self.core);
        for action in actions.drain(..) {
            self.world.carry_out(&mut self.rng, &self.temper, &action);
        }
        self.actions = actions;
        if self.rng.u32(0..512) == 0 {
            self.core.check_invariants();
            self.shadow.compare(&self.core.view(self.now));
        }
    }

    fn trace(&mut self, what: &str, thing: &dyn std::fmt::Debug) {
        if self.print {
            println!("{} {what} {thing:?}", self.now);
        }
        if let Some(hasher) = &mut self.trace {
            format!("{} {what} {thing:?}", self.now).hash(hasher);
        }
    }
}

fn as_micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap()
}
