//! The broker's HTTP side: `/metrics`, `/livez`, `/readyz`, `/worker-health` and an index.
//!
//! It owns the routes and what is allowed to reach them: sizes, times, how many at once. It runs on the control plane
//! and asks the data plane by bounded questions. It must never change anything in the broker (actions go over the
//! broker's socket, where the peer's uid is known), never wait for the data plane without a limit, and never depend
//! on workers.

mod responses;
mod routes;
mod server;
#[cfg(test)]
mod tests;

pub use self::server::serve;
