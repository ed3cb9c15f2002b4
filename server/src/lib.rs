//! Lifeboat's broker: pools of worker processes that may crash, served to clients over a Unix socket.
//!
//! The rooms, and what each may import:
//!
//! | room | owns | may import |
//! |---|---|---|
//! | [`engine`] | the core, the clock, the timers | core, [`observe`] |
//! | [`link`] | sockets, frames, wire to core and back | protocol, core, [`engine`] |
//! | [`process`] | spawning, watching, killing, reaping | core, [`engine`] |
//! | [`observe`] | facts to metrics, health and logs | core |
//! | [`http`] | the HTTP routes | [`observe`] |
//! | [`config`] | the file to validated settings | core |
//! | [`cli`] | subcommands, and the wiring of all of these | everything |
//!
//! The pure core is the package `lifeboat-core`.

pub mod cli;
pub mod config;
pub mod engine;
pub mod http;
pub mod link;
pub mod observe;
pub mod process;
