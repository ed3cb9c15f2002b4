//! Nothing left behind: whatever a worker started goes with it, however it ends.

use std::time::Duration;

use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually, zombies_of};

use crate::common::{config, echo};

const GRACES: &str = "cancel_grace = \"50ms\"\nstop_grace = \"50ms\"";

#[tokio::test]
async fn story_05_no_descendant_survives_any_death() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, GRACES, "attempt_timeout = \"500ms\"")).await;
    let client = broker.client().await;
    for death in
        [Deed::Exit(0), Deed::Exit(3), Deed::Abort, Deed::Segfault, Deed::Signal(9), Deed::Panic, Deed::Hang]
    {
        let before = echo(&client, 1).await;
        let died = client.call(Act::new(Deed::Litter(Box::new(death.clone())))).await;
        assert!(died.is_err(), "{death:?}: {died:?}");
        echo(&client, 2).await;
        eventually(
            Duration::from_secs(1),
            &format!("nothing of the worker is left after {death:?}"),
            async || {
                broker.tree_of(&before.worker, before.incarnation).is_empty()
                    && zombies_of(broker.pid()).is_empty()
            },
        )
        .await;
    }
    let leaks = broker.metrics().await.sum("process_leaks_total", &[("pool", "p")]);
    assert_eq!(leaks, 0.0, "everything could be killed");
    broker.stop();
}

/// What an answered request left behind lives as long as its worker, and not longer; also what the kernel shows as zombies
/// because it has lost its main thread.
#[tokio::test]
async fn litter_of_a_healthy_worker_goes_with_it() {
    let _turn = Turn::shared();
    for deed in [Deed::Litter(Box::new(Deed::Echo)), Deed::LitterUndead(Box::new(Deed::Echo))] {
        let broker = Broker::start(config("sdk", 1, GRACES, "")).await;
        let client = broker.client().await;
        let before = client.call(Act::new(deed)).await.expect("it answers");
        eventually(LIMIT, "worker, child and daemon live", async || {
            broker.tree_of(&before.worker, before.incarnation).len() == 3
        })
        .await;
        assert_eq!(echo(&client, 2).await.pid, before.pid);
        // `stop` itself checks that nothing is left.
        broker.stop();
    }
}
