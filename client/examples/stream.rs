//! A long request watched while it runs, and the broker asked about its workers.

#![expect(clippy::print_stdout, reason = "an example shows what it is told")]

use lifeboat_client::{Client, Event, method};
use serde::{Deserialize, Serialize};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let boat = Client::from_env().await?;
    for worker in boat.admin().workers().await?.workers {
        println!("{} is {}", worker.worker, worker.state);
    }
    let request = Encode { file: "holiday.mkv".into() };
    let mut events = boat.request(request).retry(2).restartable(true).stream();
    let mut chapters: Vec<String> = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Accepted(accepted) => println!("the broker calls it {}", accepted.request_id),
            Event::Progress(progress) => println!("{:.0} %", progress.fraction().unwrap_or_default() * 100.0),
            Event::Partial(chapter) => chapters.push(chapter.into_inner()),
            Event::AttemptFailed(attempt) => {
                println!("attempt {} failed on {}; again", attempt.number, attempt.worker);
                chapters.clear();
            }
            Event::Done(encoded) => println!("{} bytes, chapters: {chapters:?}", encoded?.bytes),
            _ => {}
        }
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Encode {
    file: String,
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    bytes: u64,
}

method!("encode": Encode => Encoded, partial = String);
