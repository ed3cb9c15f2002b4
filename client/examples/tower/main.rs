//! A method behind layers of the crate `tower`: a timeout for everything, a limit on calls at a time, and another try
//! where that is safe.

#![expect(clippy::print_stdout, reason = "an example shows what it is told")]

mod again;

use std::time::Duration;

use lifeboat_client::{Client, method};
use serde::{Deserialize, Serialize};
use tower::{Service, ServiceBuilder, ServiceExt};

use self::again::Again;

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
