//! A method behind layers of the crate `tower`: a timeout for everything, a limit on calls at a time, and another try where
//! that is safe.

#![expect(clippy::print_stdout, reason = "an example shows what it is told")]

use std::future::{Ready, ready};
use std::time::Duration;

use lifeboat_client::{CallError, Client, method};
use serde::{Deserialize, Serialize};
use tower::retry::Policy;
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let boat = Client::from_env().await?;
    // From the outside in. The timeout drops the call, and that cancels the request.
    let mut resize = ServiceBuilder::new()
        .timeout(Duration::from_secs(5))
        .concurrency_limit(8)
        .retry(Again { left: 2 })
        .service(boat.service::<Resize>());
    let height = resize.ready().await?.call(Resize { width: 64 }).await?;
    println!("{height} pixels high");
    Ok(())
}

#[derive(Clone, Serialize, Deserialize)]
struct Resize {
    width: u32,
}

method!("resize": Resize => u32);

/// Tries again what may succeed then, and certainly was not done.
#[derive(Clone)]
struct Again {
    left: u32,
}

impl<R: Clone, T> Policy<R, T, CallError> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut R, result: &mut Result<T, CallError>) -> Option<Ready<()>> {
        let error = result.as_ref().err()?;
        if self.left == 0 || !error.is_retryable() || error.may_have_executed() {
            return None;
        }
        self.left -= 1;
        // A program would wait here: for as long as `retry_after` of `Rejected` says, if it says.
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        Some(request.clone())
    }
}
