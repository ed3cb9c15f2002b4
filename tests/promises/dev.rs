//! `lifeboat dev`: one command, no configuration, and a worker that changes while it is written.

mod changes;
mod ends;
mod options;
mod scene;

use std::fs;
use std::path::Path;
use std::process::Command;

use lifeboat_client::{Value, encode_body};
use lifeboat_tests::act::{Act, Deed, MIRROR};
use lifeboat_tests::harness::{Room, Turn, run_lifeboat};

use self::scene::{Dev, echo, serving, write};
use crate::scene::says;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_served_shown_and_restarted_when_it_changes() {
    let _turn = Turn::shared();
    let mut dev = Dev::start(&serving("sdk"));
    says(&dev.prints("in the place of"), &["It serves act, wait", " act '\"hello\"'", "request_raw(\"act\""]);
    let client = dev.client().await;
    let before = echo(&client).await;

    // A crash is told in a line, and the next process serves.
    client.call(Act::new(Deed::Exit(3))).await.expect_err("it dies");
    let second = echo(&client).await;
    assert_eq!(second.incarnation, before.incarnation + 1);
    dev.logs("lifeboat: WARN dev-0 died while it executed a request: exit code 3\n").await;

    // The program changes: its methods are shown anew.
    write(&dev.room, &serving("mirror"));
    let told = dev.prints("in the place of");
    says(&told, &["the worker is ready. It serves mirror"]);
    // The lines for a shell and for Rust work as they are.
    let line = told.lines().find(|line| line.contains(" mirror '\"hello\"'")).expect("a line for a shell");
    let pasted = Command::new("sh").args(["-c", line]).output().expect("there is a shell");
    assert_eq!(String::from_utf8_lossy(&pasted.stdout), "\"hello\"\n", "{line}: {pasted:?}");
    says(&told, &["let reply = boat.request_raw(\"mirror\", encode_body(&\"hello\")?).await?;"]);
    let reply = client.request_raw(MIRROR, encode_body(&"hello").expect("a text")).await.expect("it serves");
    assert_eq!(reply.decode::<Value>().expect("a value"), Value::from("hello"));

    says(&dev.interrupt().await, &["worker.sh has changed: starting the next process"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_work_says_why_until_it_does() {
    let _turn = Turn::shared();
    let mut dev = Dev::start("echo 'no such model' >&2; exit 5");
    dev.logs("dev-0 did not start: exit code 5\n").await;
    dev.logs("at once when its file has changed\n").await;
    write(&dev.room, &serving("sdk"));
    says(&dev.prints("in the place of"), &["It serves act, wait"]);
    dev.logs("worker.sh has changed: starting").await;
    echo(&dev.client().await).await;

    // A change that does not work leaves the process before it serving.
    write(&dev.room, "exit 0");
    dev.logs("dev-0 did not start: exit code 0; is it a Lifeboat worker?").await;
    echo(&dev.client().await).await;
    let log = dev.interrupt().await;
    says(&log, &["dev-0 err | no such model\n"]);
    assert_eq!(log.matches("did not start: exit code 5").count(), 1, "it is complained of once:\n{log}");
}

#[test]
fn what_cannot_be_run_is_refused() {
    let _turn = Turn::shared();
    let room = Room::new();
    let file = room.path().join("worker.py");
    fs::write(&file, "pass").expect("the room can be written to");
    let refused = |code: i32, words: &[&str], said: &str| {
        let output = run_lifeboat(&room, [&["dev"], words].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {told}");
        says(&told, &[said]);
    };
    let text = |path: &Path| path.display().to_string();
    refused(2, &[], "COMMAND");
    refused(2, &["--workers", "0", "true"], "--workers");
    refused(2, &["/nowhere/worker"], "/nowhere/worker does not exist: build it first");
    refused(2, &["--", "no-such-worker", "--fast"], "no-such-worker is not in PATH");
    refused(2, &[&text(room.path())], "it is a directory");
    refused(2, &[&text(&file)], "chmod +x");
    fs::write(room.socket(), "no socket").expect("the room can be written to");
    refused(1, &["--socket", &text(&room.socket()), "true"], "is not a socket");
}
