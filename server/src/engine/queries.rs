//! Answers the control plane's questions about the data plane: bounded snapshots, one at a time.

use tokio::sync::mpsc;

use super::ports::{LinkPort, ProcessPort};
use super::{Engine, Shared};
use crate::observe::Query;

/// Answers questions until the control plane is gone. An asker that did not wait is no error.
pub async fn run<L: LinkPort, P: ProcessPort>(engine: Shared<L, P>, mut queries: mpsc::Receiver<Query>) {
    while let Some(query) = queries.recv().await {
        engine.borrow_mut().answer(query);
    }
}

impl<L: LinkPort, P: ProcessPort> Engine<L, P> {
    fn answer(&mut self, query: Query) {
        let now = self.clock.read();
        // Without a look at the workers: it asks only whether the event loop turns.
        if let Query::Ping(reply) = query {
            self.observer.catch_up(now);
            // A failed send means that the asker has given up; there is nobody to tell.
            let _ = reply.send(());
            return;
        }
        let view = self.core.view(now);
        self.observer.answer(query, &view, now);
    }
}
