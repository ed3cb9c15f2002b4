//! The out-buffer of actions and facts.
//!
//! It owns the order in which the shell hears them: actions and facts each in the order in which they were decided.
//! It must never drop, merge or reorder one.

use std::collections::VecDeque;

use crate::action::Action;
use crate::fact::Fact;

/// Actions and facts that the shell has not fetched yet. The buffers are reused: no allocation in the steady state.
#[derive(Debug)]
pub(crate) struct Output<A> {
    actions: VecDeque<Action<A>>,
    facts: VecDeque<Fact>,
}

impl<A> Output<A> {
    pub(crate) fn new() -> Self {
        Self { actions: VecDeque::with_capacity(64), facts: VecDeque::with_capacity(64) }
    }

    pub(crate) fn act(&mut self, action: Action<A>) {
        self.actions.push_back(action);
    }

    pub(crate) fn tell(&mut self, fact: Fact) {
        self.facts.push_back(fact);
    }

    pub(crate) fn next_action(&mut self) -> Option<Action<A>> {
        self.actions.pop_front()
    }

    pub(crate) fn next_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.actions.is_empty()
    }
}
