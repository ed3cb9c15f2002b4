//! The client against a scripted broker on a real socket: one module per promise.

mod answers;
mod cancel;
mod connecting;
mod deadlines;
mod errors;
mod lost;
mod support;
