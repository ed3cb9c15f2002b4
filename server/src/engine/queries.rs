//! Answers the control plane's questions about the data plane: bounded snapshots, one at a time.

use lifeboat_core::time::Timestamp;
use lifeboat_core::view::BrokerView;
use tokio::sync::mpsc;

use super::ports::{LinkPort, ProcessPort};
use super::{Engine, Shared};
use crate::observe::{Observer, Query};

/// Answers questions until the control plane is gone. An asker that did not wait is no error.
pub async fn run<L: LinkPort, P: ProcessPort>(engine: Shared<L, P>, mut queries: mpsc::Receiver<Query>) {
    while let Some(query) = queries.recv().await {
        engine.borrow_mut().answer(query);
    }
}

impl<L: LinkPort, P: ProcessPort> Engine<L, P> {
    fn answer(&mut self, query: Query) {
        let now = self.clock.read();
        let core = &self.core;
        answer(&mut self.observer, query, now, || core.view(now));
    }
}

/// Answers a question. `look` is taken only for one about the workers: a ping asks only whether the event loop turns.
fn answer(observer: &mut Observer, query: Query, now: Timestamp, look: impl FnOnce() -> BrokerView) {
    if let Query::Ping(reply) = query {
        observer.catch_up(now);
        // A failed send means that the asker has given up; there is nobody to tell.
        let _ = reply.send(());
        return;
    }
    observer.answer(query, &look(), now);
}

#[cfg(test)]
mod tests {
    use lifeboat_core::Core;
    use tokio::sync::oneshot;

    use super::*;
    use crate::observe::tests::{observer, settings};

    #[test]
    fn a_ping_is_answered_without_a_look_at_the_workers() {
        let (reply, mut answered) = oneshot::channel();
        answer(&mut observer(), Query::Ping(reply), Timestamp::ZERO, || panic!("it looked at the workers"));
        assert_eq!(answered.try_recv(), Ok(()));
    }

    #[test]
    fn what_asks_for_the_workers_is_answered_with_one_look() {
        let core = Core::<(), ()>::new(settings(), 1, Timestamp::ZERO);
        let (reply, mut answered) = oneshot::channel();
        let mut looks = 0;
        answer(&mut observer(), Query::Health(reply), Timestamp::ZERO, || {
            looks += 1;
            core.view(Timestamp::ZERO)
        });
        assert_eq!((answered.try_recv().unwrap().workers.len(), looks), (3, 1));
    }
}
