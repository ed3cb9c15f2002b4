//! The smallest worker: answers every request with itself. A pool runs it with `command = ["echo"]`.

use lifeboat_worker::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Echo(String);

impl Method for Echo {
    const NAME: &'static str = "echo";
    type Request = Self;
    type Reply = Self;
}

async fn echo(request: Echo) -> Result<Echo, HandlerError> {
    Ok(request)
}

fn main() -> lifeboat_worker::Result {
    Worker::new().handle::<Echo>(echo).run()
}
