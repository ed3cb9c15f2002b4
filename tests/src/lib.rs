//! Lifeboat's proof: the real broker, worker programs that misbehave in every known way, and a harness that starts,
//! watches and cleans up both.
//!
//! It owns nothing of the product and must never reach into it: what a test learns, it learns as a user would, from the
//! client, the HTTP routes, the log, the exit code and the process table.

pub mod act;
pub mod behaviours;
pub mod chaos;
pub mod clock;
pub mod harness;
pub mod recorded;
pub mod sized;
