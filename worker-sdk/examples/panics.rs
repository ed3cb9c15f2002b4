//! A worker whose handlers panic. Built with `panic = "abort"`, a panic ends the process, and the caller is told of it all
//! the same:
//!
//!     cargo build --profile abort -p lifeboat-worker --example panics
//!
//! A pool runs it with `command = ["target/abort/examples/panics"]`.

use lifeboat_worker::prelude::*;

method!(struct Careless = "careless": u16 => (String, bool));
method!(struct Delegate = "delegate": () => bool);

/// Panics up to this attempt; a later one tells which worker made it, and whether a panic ends its process.
async fn careless(until: u16, context: Context) -> Result<(String, bool), HandlerError> {
    assert!(context.attempt() > until, "attempt {} was careless", context.attempt());
    Ok((context.worker().to_owned(), cfg!(panic = "abort")))
}

/// Has a thread panic that is not its own. Where that does not end the process, an error comes of it.
fn delegate((): ()) -> Result<bool, HandlerError> {
    let helper = std::thread::spawn(|| -> bool { panic!("the helper was careless") });
    helper.join().map_err(|_| HandlerError::new("helper", "the helper did not finish"))
}

fn main() -> lifeboat_worker::Result {
    Worker::new().handle::<Careless>(careless).handle_blocking::<Delegate>(delegate).run()
}
