//! A worker's program that is built with `panic = "abort"`, as many are: nothing unwinds in it, and no handler's panic can be
//! caught.

use std::path::{Path, PathBuf};
use std::process::Command;

use lifeboat_client::{CallError, CrashReason, method};
use lifeboat_tests::harness::{Broker, Turn, misbehave, workspace};

use crate::common::crashes;
use crate::scene::{logs, says};

method!(struct Careless = "careless": u16 => (String, bool));
method!(struct Delegate = "delegate": () => bool);

/// The example `panics` of the worker SDK, built whole by the profile `abort`. `tests/run` has built it before.
fn program() -> PathBuf {
    let own = misbehave();
    let target = own.parent().and_then(Path::parent).expect("cargo's directory has one per profile");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--locked", "--profile", "abort", "-p", "lifeboat-worker", "--example", "panics"]);
    build.arg("--target-dir").arg(target).current_dir(workspace());
    let built = build.output().expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    target.join("abort/examples/panics")
}

fn config(program: &Path) -> String {
    format!(
        r#"
[pools.p]
command = ["{}"]
workers = 2
restart = {{ initial = "1ms", max = "10ms", max_restarts = "unlimited" }}

[pools.p.methods.careless]
retry = {{ on = ["crash"], max_attempts = 2 }}

[pools.p.methods.delegate]
"#,
        program.display()
    )
}

/// It says what the panic said, and where it was.
fn tells_the_panic(reason: Option<&CrashReason>, attempt: u16) {
    let reason = reason.expect("it crashed");
    assert_eq!(reason.label(), "slot_panicked", "{reason:?}");
    assert_eq!(reason.message(), Some(&*format!("attempt {attempt} was careless")));
    assert!(reason.location().is_some_and(|place| place.contains("examples/panics.rs:")), "{reason:?}");
}

#[tokio::test]
async fn a_handlers_panic_is_told_before_the_process_aborts() {
    let _turn = Turn::shared();
    let broker = Broker::start(config(&program())).await;
    broker.all_idle().await;
    let client = broker.client().await;
    let (first, aborts) = client.call_as::<Careless>(0).await.expect("it does not panic");
    assert!(aborts, "{first} runs a program that unwinds");

    let reply = client.request_as::<Careless>(1).await.expect("the second attempt is careful");
    assert_eq!(reply.attempts(), 2);
    crashes(&broker, "signal", 1).await;

    let error = client.call_as::<Careless>(2).await.expect_err("both attempts panic");
    let CallError::WorkerCrashed { attempt: 2, max_attempts: 2, attempts, .. } = &error else {
        panic!("{error:?}")
    };
    tells_the_panic(error.crash_reason(), 2);
    for (number, attempt) in (1..).zip(attempts) {
        tells_the_panic(attempt.reason.as_ref(), number);
    }
    assert_ne!(attempts[0].worker, attempts[1].worker, "the retry goes to another worker");
    assert_ne!(attempts[0].pid, attempts[1].pid);

    // The deaths themselves are judged as ever.
    crashes(&broker, "signal", 3).await;
    let metrics = broker.metrics().await;
    assert_eq!(metrics.sum("worker_crashes_total", &[("pool", "p")]), 3.0, "each death counts once");
    assert_eq!(metrics.count("retries_total", &[("reason", "slot_panicked")]), 2);
    logs(&broker, &["SIGABRT"]).await;
    client.call_as::<Careless>(0).await.expect("the pool serves on");
    broker.stop();
}

/// A panic of a thread that executes no request ends the process too, and is not laid at the handler's door.
#[tokio::test]
async fn another_threads_panic_is_the_signal_alone() {
    let _turn = Turn::shared();
    let broker = Broker::start(config(&program())).await;
    let client = broker.client().await;
    let error = client.call_as::<Delegate>(()).await.expect_err("its helper panics");
    let reason = error.crash_reason().expect("it is a crash");
    assert_eq!((reason.label(), reason.signal_name().as_deref()), ("signal", Some("SIGABRT")), "{reason:?}");
    let CallError::WorkerCrashed { attempts, .. } = &error else { panic!("{error:?}") };
    let tail = attempts[0].stderr_tail.as_deref().expect("what it wrote is kept");
    says(tail, &["the helper was careless", "examples/panics.rs:"]);
    crashes(&broker, "signal", 1).await;
    broker.stop();
}
