//! Stories: one promise or rule each, told from outside. The simulator finds what nobody thought of; these say what
//! was meant.
#![expect(clippy::unwrap_used, reason = "a test helper may fail the test")]

mod boat;
mod cancels;
mod crashes;
mod limits;
mod prefetch;
mod queue;
mod restarts;
mod shutdowns;
mod unread;
mod wishes;
