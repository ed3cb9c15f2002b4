//! A client, whole. `Resize` and `Thumb` are what it shares with the worker.

use lifeboat_client::{Client, method};
use serde::{Deserialize, Serialize};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let boat = Client::from_env().await?;
    let thumb = boat.call(Resize { width: 64, png: std::fs::read("photo.png")? }).await?;
    std::fs::write("thumb.png", thumb.png)?;
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Resize {
    width: u32,
    png: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Thumb {
    png: Vec<u8>,
}

method!("resize": Resize => Thumb);
