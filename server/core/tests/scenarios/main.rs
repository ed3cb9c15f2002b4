//! Stories: one promise or rule each, told from outside. The simulator finds what nobody thought of; these say what
//! was meant.
#![expect(clippy::unwrap_used, reason = "a test helper may fail the test")]

mod asks;
mod boat;
mod cancels;
mod chances;
mod checkpoints;
mod crashes;
mod health;
mod heartbeat;
mod keeping;
mod limits;
mod operator;
mod orders;
mod prefetch;
mod quarantine;
mod queue;
mod recorder;
mod recycling;
mod restarts;
mod retry_after;
mod settings;
mod shutdowns;
mod slots;
mod stalls;
mod streams;
mod successors;
mod suspects;
mod trip;
mod turns;
mod unread;
mod wishes;
