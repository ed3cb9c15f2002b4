//! This binary as a worker: does as it is told.

use std::io::Read;
use std::process::Command;

use lifeboat_worker::prelude::*;
use serde::{Deserialize, Serialize};

/// Says what the process is to be.
pub(super) const AS_WORKER: &str = "LIFEBOAT_TEST_AS_WORKER";

#[derive(Serialize, Deserialize)]
struct Do(String);

method!("do": Do => String);

/// What the worker found out while its state was built.
struct AtStart(String);

fn obey(Do(order): Do, context: Context, at_start: State<AtStart>) -> Result<String, HandlerError> {
    match &*order {
        "say" => Ok("said".to_owned()),
        "say much" => Ok("much".repeat(225_000)),
        "panic" => panic!("as told"),
        order if order.starts_with("abort") => abort(order),
        "descriptors" => Ok(descriptors()?),
        "descriptors at start" => Ok(at_start.0.clone()),
        "until cancelled" => loop {
            context.check_cancel()?;
            std::thread::yield_now();
        },
        "for ever" => loop {
            std::thread::park();
        },
        "hold stderr for ever" => {
            let _stderr = std::io::stderr().lock();
            context.progress(Progress::new());
            loop {
                std::thread::park();
            }
        }
        "spin for ever" => loop {
            std::hint::spin_loop();
        },
        "until the file ends" => {
            let mut line = String::new();
            std::fs::File::open(context.metadata()[0].1.as_str())?.read_to_string(&mut line)?;
            Ok(line)
        }
        other => Err(HandlerError::new("what", other)),
    }
}

/// Panics in ways that cannot be caught; the last one aborts without a panic.
fn abort(order: &str) -> ! {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as told, while it dropped");
        }
    }
    extern "C" fn across() {
        panic!("as told, across C");
    }
    match order {
        "abort in a drop" => {
            let _bomb = Bomb;
            panic!("the first of two");
        }
        "abort across C" => across(),
        "abort in a hook" => {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                before(info);
                std::process::abort();
            }));
            panic!("as told, into a hook");
        }
        _ => drop(std::panic::catch_unwind(|| panic!("caught"))),
    }
    std::process::abort();
}

/// What a child of this process has open.
fn descriptors() -> std::io::Result<String> {
    let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).output()?;
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}

#[test]
fn worker_process() {
    if std::env::var_os(AS_WORKER).is_none() {
        return;
    }
    let worker = Worker::new();
    let at_start = AtStart(descriptors().unwrap());
    let exit = worker.state(at_start).handle_blocking::<Do>(obey).run().unwrap();
    if let Some(error) = exit.error() {
        eprintln!("{error}");
    }
    std::process::exit(exit.code().into());
}
