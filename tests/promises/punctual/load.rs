//! Two thousand other requests in flight, by client processes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use lifeboat_tests::harness::{Broker, LIMIT, MARK_VARIABLE, caller, until_some};

/// Callers, each a process with a connection of its own, and the calls that each keeps in flight.
const CALLERS: usize = 10;
const CALLS: usize = 200;

/// The callers, ended when this is dropped.
pub(super) struct Load(Vec<Child>);

impl Load {
    pub(super) async fn start(broker: &Broker) -> Self {
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let mut command = Command::new(caller());
            command.arg(broker.socket()).args([&CALLS.to_string(), "5", "again"]);
            command.env(MARK_VARIABLE, broker.room().mark().value()).stdout(Stdio::piped());
            callers.push(command.spawn().expect("the caller starts"));
        }
        for caller in &mut callers {
            let mut line = String::new();
            let out = caller.stdout.as_mut().expect("it is piped");
            BufReader::new(out).read_line(&mut line).expect("it says something");
            assert_eq!(line.trim(), "sent");
        }
        let load = Self(callers);
        load.flies(broker).await;
        load
    }

    /// Two thousand requests are in flight, but for those that are between an answer and the next call.
    pub(super) async fn flies(&self, broker: &Broker) {
        until_some(LIMIT, "two thousand requests are in flight", async || {
            let metrics = broker.metrics().await;
            let waiting = metrics.sum("queue_depth", &[("pool", "load")]);
            (waiting >= (CALLERS * CALLS) as f64 * 0.95).then_some(())
        })
        .await;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for caller in &mut self.0 {
            // It may have ended by itself, which its calls' errors would tell.
            drop(caller.kill());
            drop(caller.wait());
        }
    }
}
