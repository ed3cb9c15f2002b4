//! What the options of `lifeboat dev` choose, and what the environment does not.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;

use lifeboat_client::Client;
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{LIMIT, Room, Turn, eventually};

use super::scene::{Dev, echo, serving, write};
use crate::scene::says;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_and_slots_execute_side_by_side() {
    let _turn = Turn::shared();
    let dev = Dev::with(&serving("sdk"), &["--workers", "2", "--slots", "2", "./worker.sh"], |_| {});
    let client = dev.client().await;
    let (gate, trace) = (dev.room.path().join("gate"), dev.room.path().join("trace"));
    let calls: Vec<_> = (0..4)
        .map(|tag| client.request(Act::when(&gate, Deed::Echo).tag(tag).traced(&trace)).into_future())
        .map(tokio::spawn)
        .collect();
    let begun = || fs::read_to_string(&trace).unwrap_or_default();
    eventually(LIMIT, "all are executed at once", async || begun().lines().count() == 4).await;
    let mut pids: Vec<_> = begun().lines().map(|line| line.split(' ').nth(1).map(str::to_owned)).collect();
    pids.sort();
    assert!(pids[0] == pids[1] && pids[1] != pids[2] && pids[2] == pids[3], "two in each process: {pids:?}");
    fs::write(&gate, "").expect("the room can be written to");
    for call in calls {
        call.await.expect("no panic").expect("it is answered");
    }
    dev.interrupt().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_where_the_option_says() {
    let _turn = Turn::shared();
    let place = Room::new();
    let socket = place.path().join("chosen.sock");
    let chosen = socket.display().to_string();
    let mut dev = Dev::with(&serving("sdk"), &["--socket", &chosen, "./worker.sh"], |_| {});
    says(&dev.prints("in the place of"), &[&format!("call --socket {chosen} act")]);
    assert!(dev.room.left_in_seat().is_empty(), "it needs no directory of its own");
    echo(&Client::connect(&socket).await.expect("it takes clients")).await;
    assert!(fs::metadata(&socket).expect("it is there").file_type().is_socket());
    dev.interrupt().await;
    assert!(!socket.exists(), "the socket is gone");
    assert!(place.path().join("chosen.sock.lock").exists(), "a lock is never deleted");
}

/// It says where clients find a broker, perhaps another one that runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_variable_of_clients_does_not_choose_the_socket() {
    let _turn = Turn::shared();
    let place = Room::new();
    let other = place.path().join("other.sock");
    let mut dev = Dev::with(&serving("sdk"), &["./worker.sh"], |command| {
        command.env("LIFEBOAT_SOCKET", &other);
    });
    dev.prints("in the place of");
    assert!(!other.exists(), "it is not this one's");
    echo(&dev.client().await).await;
    dev.interrupt().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_variable_chooses_what_it_logs_and_the_workers_does_not() {
    let _turn = Turn::shared();
    let script = format!("echo \"RUST_LOG=$RUST_LOG\" >&2; {}", serving("sdk"));
    let dev = Dev::with(&script, &["./worker.sh"], |command| {
        command.env("RUST_LOG", "error");
    });
    dev.logs("lifeboat: serving ").await;
    dev.logs("dev-0 err | RUST_LOG=error\n").await;
    dev.interrupt().await;

    let mut dev = Dev::with(&serving("sdk"), &["./worker.sh"], |command| {
        command.env("LIFEBOAT_LOG", "error");
    });
    dev.prints("in the place of");
    assert_eq!(dev.interrupt().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_watching_a_change_is_left_alone() {
    let _turn = Turn::shared();
    let left = Dev::with(&serving("sdk"), &["--no-watch", "./worker.sh"], |_| {});
    let client = left.client().await;
    let before = echo(&client).await;
    // Another one that watches the same file says when a change has been there for long enough.
    let program = left.room.path().join("worker.sh").display().to_string();
    let watching = Dev::with("", &[&program], |_| {});
    echo(&watching.client().await).await;
    for seen in 1..=2 {
        write(&left.room, &serving("mirror"));
        let changes = || watching.log().matches("worker.sh has changed: starting").count();
        eventually(LIMIT, "the change is seen", async || changes() == seen).await;
    }
    assert_eq!(echo(&client).await.pid, before.pid);
    watching.interrupt().await;
    let log = left.interrupt().await;
    assert!(!log.contains("has changed: starting"), "{log}");
}
