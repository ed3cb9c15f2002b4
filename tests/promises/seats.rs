//! The socket's place: one broker per path, and clear words for whoever cannot have it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use lifeboat_tests::harness::{Broker, Room, Start, Turn, broker_program};

use crate::common::{echo, plain};
use crate::scene::{Beside, says};

/// A pool whose program every user may execute.
const ANYBODYS_POOL: &str = "[pools.p]\ncommand = [\"true\"]\nmethods.m = {}\n";

/// Where the socket is to be.
fn at(socket: &Path) -> String {
    format!("[broker]\nsocket = {:?}\n{}", socket.display().to_string(), plain())
}

#[tokio::test]
async fn a_second_broker_is_refused_and_the_first_undisturbed() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let beside = Beside::start(broker.client().await);
    for _ in 0..5 {
        let refusal =
            Start::new(plain()).in_room(broker.room()).try_start().await.expect_err("the path is taken");
        assert_eq!(refusal.code, Some(1), "{}", refusal.log);
        assert!(refusal.log.contains("another broker is running on"), "{}", refusal.log);
        assert!(refusal.log.contains(broker.socket().to_str().expect("UTF-8")), "{}", refusal.log);
        assert_eq!(echo(&client, 2).await.pid, before.pid);
        let newcomer = broker.client().await;
        assert_eq!(echo(&newcomer, 3).await.pid, before.pid);
    }
    beside.undisturbed().await;
    broker.stop();
}

#[tokio::test]
async fn a_stale_socket_is_taken_over() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let room = broker.kill();
    assert_eq!(room.left_in_seat(), ["broker.sock", "broker.sock.lock"], "SIGKILL leaves both");
    let next = Start::new(plain()).in_room(&room).start().await;
    echo(&next.client().await, 1).await;
    next.stop();
}

#[tokio::test]
async fn the_socket_is_its_owners_alone() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let mode = fs::metadata(broker.socket()).expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "mode {mode:o}");
    broker.stop();
}

#[tokio::test]
async fn a_path_that_is_too_long() {
    let _turn = Turn::shared();
    let room = Arc::new(Room::new());
    let socket = room.seat().join("x".repeat(120));
    let refusal =
        Start::new(at(&socket)).in_room(&room).try_start().await.expect_err("no socket has such a path");
    assert_eq!(refusal.code, Some(2), "{}", refusal.log);
    assert!(refusal.log.contains("107"), "the limit is named: {}", refusal.log);
    assert!(room.left_in_seat().is_empty());
}

#[tokio::test]
async fn a_directory_that_cannot_be_made() {
    let _turn = Turn::shared();
    let room = Arc::new(Room::new());
    let file = room.path().join("file");
    fs::write(&file, "").expect("a fresh directory");
    let refusal = Start::new(at(&file.join("broker.sock")))
        .in_room(&room)
        .try_start()
        .await
        .expect_err("a file is no directory");
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains(file.to_str().expect("UTF-8")), "{}", refusal.log);
}

/// The broker as a user who may do no more than others: root may write anywhere, so it becomes nobody first.
fn as_nobody(room: &Room, start: Start) -> Start {
    if !rustix::process::geteuid().is_root() {
        return start;
    }
    // Nobody may not look into the build's directory, or the room.
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let program = room.path().join("lifeboat");
    fs::copy(broker_program(), &program).expect("the room can be written to");
    start
        .by(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        .program(program, ["serve", "--config"])
}

#[tokio::test]
async fn a_directory_without_permission() {
    let _turn = Turn::shared();
    let room = Arc::new(Room::new());
    let directory = room.path().join("closed");
    fs::create_dir(&directory).expect("a fresh directory");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o555)).expect("it is ours");
    for (socket, words) in [
        (directory.join("broker.sock"), "the lock file"),
        (directory.join("deeper").join("broker.sock"), "the directory"),
    ] {
        let text = format!("[broker]\nsocket = {:?}\n{ANYBODYS_POOL}", socket.display().to_string());
        let start = as_nobody(&room, Start::new(text).in_room(&room));
        let refusal = start.try_start().await.expect_err("nobody may write there");
        assert_eq!(refusal.code, Some(1), "{}", refusal.log);
        says(&refusal.log, &[words, "closed", "Permission denied (os error 13)"]);
    }
    assert_eq!(fs::read_dir(&directory).expect("it is there").count(), 0, "nothing was left in it");
}

#[tokio::test]
async fn what_is_not_a_brokers_socket_is_left_alone() {
    let _turn = Turn::shared();
    let room = Arc::new(Room::new());
    fs::write(room.socket(), "precious").expect("a fresh directory");
    let refusal = Start::new(plain()).in_room(&room).try_start().await.expect_err("a file is there");
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains("not a socket"), "{}", refusal.log);
    assert_eq!(fs::read_to_string(room.socket()).expect("it is there still"), "precious");

    fs::remove_file(room.socket()).expect("it is ours");
    let _foreign = UnixListener::bind(room.socket()).expect("the path is free");
    let refusal = Start::new(plain()).in_room(&room).try_start().await.expect_err("a program listens there");
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(room.socket().exists(), "another program's socket is not removed");
}

#[tokio::test]
async fn a_taken_http_address() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let text = format!("[broker]\nhttp = \"{}\"\n{}", broker.http(), plain());
    let refusal = Start::new(text).try_start().await.expect_err("the port is taken");
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains("broker.http"), "it says what to change: {}", refusal.log);
    broker.stop();
}
