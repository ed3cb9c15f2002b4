//! Lifeboat's pure core: it is told events, with the time, and answers with actions and facts.
//!
//! It owns every decision that is hard to get right: who runs where, who has died and why, who is retried, who waits,
//! who is refused. It must never read a clock, start a process, touch a socket, allocate by a peer's word or depend
//! on iteration order; the shell around it (the broker's other rooms) does all that and is told what to do.
//!
//! See [`Core`] for the contract.

pub mod action;
pub mod event;
pub mod evidence;
pub mod fact;
pub mod ids;
pub mod judge;
pub mod reason;
pub mod recorder;
pub mod restart;
pub mod retry;
pub mod settings;
pub mod signals;
pub mod time;
pub mod view;

mod abandon;
mod aftermath;
mod answer;
mod arming;
mod berth;
mod breaker;
mod checkpoint;
mod clients;
mod core;
mod death;
mod dispatch;
mod health;
mod intake;
mod invariants;
mod ladder;
mod lanes;
mod life;
mod limits;
mod operate;
mod output;
mod phase;
mod pool;
mod process;
mod quarantine;
mod queue;
mod recycle;
mod request;
mod returned;
mod send;
mod settle;
mod shutdown;
mod signs;
mod slot;
mod snapshot;
mod stream;
mod suspects;
mod timers;
mod trip;
mod turns;
mod worker;

pub use crate::checkpoint::{Past, SAVED_PER_SLOT};
pub use crate::core::Core;
