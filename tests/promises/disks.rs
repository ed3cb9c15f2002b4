//! A disk that hangs: what is kept there waits for it, and nobody else does.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use lifeboat_tests::act::Deed;
use lifeboat_tests::harness::{LIMIT, Room, Start, Turn, eventually};

use crate::commands::lifeboat;
use crate::common::{config, echo};
use crate::other_languages::python::outside;
use crate::reports::{crash, file, kept_in, written};
use crate::scene::logs;

/// Holds up whoever opens a file, until it is dropped.
struct Held(Child);

impl Held {
    fn hold(file: &Path, room: &Room) -> Self {
        let mut holder = outside("hold.py", room);
        let mut child =
            holder.arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python is there");
        let mut said = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut said).expect("it says what it does");
        assert_eq!(said, "held\n");
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("it ends with its stdin");
    }
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_neither_the_start_nor_anybody() {
    let _turn = Turn::shared();
    let room = Room::new();
    let state = room.path().join("state");
    let start = Start::new(kept_in(&state, &config("sdk", 1, "", "")));
    let broker = start.clone().start().await;
    let earlier = crash(&broker.client().await, Deed::Exit(3)).await;
    written(&state, &earlier).await;
    broker.kill();

    let held = Held::hold(&file(&state, &earlier), &room);
    let broker = start.start().await;
    logs(&broker, &["the folder of reports cannot be used", "the disk does not answer"]).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    let id = crash(&client, Deed::Abort).await;
    assert_eq!(lifeboat(&broker, &["report", &id, "--json"]).await.json()["id"], id.as_str());
    assert_eq!(broker.page("/livez").await.expect("HTTP answers").status, 200);
    drop(held);
    let again = async || {
        crash(&client, Deed::Abort).await;
        broker.log().contains("reports are written again")
    };
    eventually(LIMIT, "there are files again", again).await;
    let last = crash(&client, Deed::Abort).await;
    written(&state, &last).await;
    broker.stop();
}
