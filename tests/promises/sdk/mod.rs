//! What the client's library promises while processes die: streams, dropped calls, threads, layers and keys.

mod drops;
mod keys;
mod layers;
mod streams;
mod threads;
