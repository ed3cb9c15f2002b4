//! The process plane against real processes: how deaths are seen, what a worker finds when it starts, and that
//! nothing of a tree survives.
//!
//! Workers are `sh` and `python3` scripts that speak over descriptor 3 in lines. Tests that need this process to be
//! theirs alone (limits, all children) run themselves again in a process of their own.

#![expect(clippy::wildcard_enum_match_arm, reason = "to a test, every other variant is a failure")]

mod alone;
mod bounds;
mod cgroups;
mod deaths;
mod exits;
mod flood;
mod limits;
mod looks;
mod output;
mod rig;
mod search;
mod starts;
mod traced;
mod trees;
