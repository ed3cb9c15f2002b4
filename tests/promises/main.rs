//! The promises of `docs/`, kept by the real broker with real processes: one module per topic.

mod bad_input;
mod broker_death;
mod cancels;
mod common;
mod demo;
mod failures;
mod hosts;
mod http;
mod intruders;
mod last_words;
mod limits;
mod log;
mod messages;
mod punctual;
mod reasons;
mod retries;
mod scene;
mod seats;
mod shutdown;
mod starts;
mod steady;
mod trees;
mod violations;
