//! A client without a runtime: threads that call at the same time, and a stream as an iterator.

#![expect(clippy::print_stdout, reason = "an example shows what it is told")]

use std::time::Duration;

use lifeboat_client::blocking::Client;
use lifeboat_client::{Event, method};
use serde::{Deserialize, Serialize};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let boat = Client::from_env()?;
    std::thread::scope(|threads| {
        for width in [64, 128, 256] {
            let boat = boat.clone();
            threads.spawn(move || {
                match boat.request(Resize { width }).timeout(Duration::from_secs(5)).send() {
                    Ok(height) => println!("{width}: {} pixels high", *height),
                    Err(error) => println!("{width}: {error}"),
                }
            });
        }
    });
    for event in boat.request(Resize { width: 512 }).stream() {
        match event {
            Event::Progress(progress) => println!("{:?}", progress.fraction()),
            Event::Done(height) => println!("512: {} pixels high", *height?),
            Event::Accepted(_) | Event::Partial(_) | Event::AttemptFailed(_) | _ => {}
        }
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Resize {
    width: u32,
}

method!("resize": Resize => u32);
