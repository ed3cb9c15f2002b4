//! The brokers that the worker SDK gives to tests: in a line, with real processes, and gone with the test.

use std::path::PathBuf;
use std::time::Duration;

use lifeboat_client::{CallError, Client, TimeoutWhich};
use lifeboat_tests::act::{Act, Acted, Deed};
use lifeboat_tests::harness::{LIMIT, MARK_VARIABLE, Room, Turn, broker_program, eventually, misbehave};
use lifeboat_worker::testing::{BrokerError, Pool, Setup, TestBroker};

use crate::scene::says;

fn pool(name: &str, kind: &str) -> Pool {
    Pool::new(name, misbehave()).args([kind])
}

/// A broker of this build, with the room's mark.
fn setup(room: &Room, pools: impl IntoIterator<Item = Pool>) -> Setup {
    TestBroker::with(pools).lifeboat(broker_program()).env(MARK_VARIABLE, room.mark().value())
}

async fn connected(broker: &TestBroker) -> Client {
    Client::connect(broker.socket()).await.expect("it takes clients")
}

async fn act(client: &Client, act: Act) -> Result<Acted, CallError> {
    Ok(client.request(act).timeout(LIMIT).await?.into_inner())
}

fn home(broker: &TestBroker) -> PathBuf {
    broker.socket().parent().expect("a socket lies in a directory").to_owned()
}

async fn nothing_is_left(room: &Room, home: PathBuf) {
    eventually(LIMIT, "no process is left", async || room.mark().alive().is_empty()).await;
    assert!(!home.exists(), "{} is left", home.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_its_own_settings_serves_until_it_is_dropped() {
    let _turn = Turn::shared();
    let room = Room::new();
    let twice = "retry = { on = [\"crash\"], max_attempts = 2 }";
    let acting = pool("acting", "sdk").workers(2).slots(2).method("act", twice).settings("prefetch = 2");
    let broker = setup(&room, [acting, pool("rest", "mirror")]).start().expect("it starts");
    let client = connected(&broker).await;
    let error = act(&client, Act::new(Deed::Exit(3))).await.expect_err("it dies");
    assert!(matches!(&error, CallError::WorkerCrashed { max_attempts: 2, attempt: 2, .. }), "{error:?}");
    act(&client, Act::echo(1)).await.expect("the next process serves");
    let workers = client.admin().workers().await.expect("they are shown").workers;
    let named = |pool: &str| workers.iter().filter(|worker| worker.pool == pool).count();
    assert_eq!((named("acting"), named("rest")), (2, 1));
    says(&broker.log(), &["worker crashed", "reason=\"exit\""]);
    let home = home(&broker);
    drop(broker);
    nothing_is_left(&room, home).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_that_panics_leaves_nothing_whatever_its_worker_does() {
    let _turn = Turn::shared();
    let room = Room::new();
    let broker = setup(&room, [pool("test", "sdk")]).start().expect("it starts");
    let (client, home) = (connected(&broker).await, home(&broker));
    // It hangs for ever, and what it has started would outlive it.
    let hanging =
        tokio::spawn(async move { act(&client, Act::new(Deed::Litter(Box::new(Deed::Hang)))).await });
    eventually(LIMIT, "it has started others", async || room.mark().alive().len() >= 4).await;
    let test = std::thread::spawn(move || {
        let _broker = broker;
        panic!("as a test does");
    });
    test.join().expect_err("it panicked");
    nothing_is_left(&room, home).await;
    hanging.await.expect("no panic").expect_err("its broker is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_configuration_can_be_changed_stopped_and_killed() {
    let _turn = Turn::shared();
    let room = Room::new();
    let config = format!(
        "[broker]\nsocket = \"/nowhere/lifeboat.sock\"\n[pools.p]\ncommand = [\"{}\", \"sdk\"]\n\
         methods = {{ act = {{ attempt_timeout = \"1h\" }} }}\ndefaults = {{ deadline = \"2h\" }}\n\
         cancel_grace = \"50ms\"\nstop_grace = \"50ms\"\n",
        misbehave().display()
    );
    let start = || {
        let setup =
            TestBroker::configured(config.clone()).set("POOLS__P__METHODS__ACT__ATTEMPT_TIMEOUT", "200ms");
        let setup = setup.lifeboat(broker_program()).env(MARK_VARIABLE, room.mark().value());
        setup.ready_within(LIMIT).start().expect("it starts")
    };
    let broker = start();
    let error = act(&connected(&broker).await, Act::new(Deed::Hang)).await.expect_err("it hangs");
    assert!(matches!(&error, CallError::TimedOut { which: TimeoutWhich::Attempt, .. }), "{error:?}");
    let left = home(&broker);
    says(&broker.stop().expect("it ends in order"), &["serving", "draining", "ended"]);
    nothing_is_left(&room, left).await;

    let broker = start();
    let left = home(&broker);
    assert!(room.mark().alive().iter().any(|process| process.pid == broker.pid()));
    broker.kill();
    nothing_is_left(&room, left).await;
}

#[test]
fn what_does_not_start_is_told() {
    let _turn = Turn::shared();
    let room = Room::new();
    let missing = setup(&room, [pool("p", "sdk")]).lifeboat("/nowhere/lifeboat").start();
    let error = missing.expect_err("there is no such program");
    says(&error.to_string(), &["/nowhere/lifeboat is no file", "LIFEBOAT_BIN"]);

    let error = setup(&room, [pool("p", "sdk").settings("worker = 3")]).start().expect_err("no such key");
    assert!(matches!(&error, BrokerError::Ended { status, .. } if status.code() == Some(2)), "{error}");
    says(&error.to_string(), &["worker"]);

    let never = || setup(&room, [pool("p", "fail-start")]);
    let error = never().ready_within(Duration::from_millis(300)).start().expect_err("it never serves");
    assert!(matches!(error, BrokerError::NotReady { .. }), "{error}");
    says(&error.to_string(), &["not ready", "start_failed"]);
    drop(never().without_workers().start().expect("the broker itself is there"));
    assert!(room.mark().alive().is_empty());
}
