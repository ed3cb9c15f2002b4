//! The smallest worker: answers every request with itself. A pool runs it with `command = ["echo"]`.

use lifeboat_worker::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Echo(String);

method!("echo": Echo => Echo);

async fn echo(request: Echo) -> Result<Echo, HandlerError> {
    Ok(request)
}

fn main() -> lifeboat_worker::Result {
    Worker::new().handle::<Echo>(echo).run()
}
