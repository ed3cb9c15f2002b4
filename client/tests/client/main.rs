//! The client against a scripted broker on a real socket: one module per promise.

mod answers;
mod backlog;
#[cfg(feature = "blocking")]
mod blocking;
mod cancel;
mod connecting;
mod deadlines;
mod errors;
mod events;
mod hostile;
mod let_go;
mod lost;
mod nested;
mod operations;
mod operations_sent;
mod pools;
mod repeated;
mod streams;
mod support;
mod times;
#[cfg(feature = "tower")]
mod tower;
mod window;
