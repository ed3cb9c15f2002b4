//! The promises of `docs/`, kept by the real broker with real processes: one module per topic.

mod broker_death;
mod cancels;
mod common;
mod demo;
mod hosts;
mod http;
mod intruders;
mod last_words;
mod limits;
mod messages;
mod reasons;
mod retries;
mod seats;
mod shutdown;
mod starts;
mod steady;
mod trees;
mod violations;
