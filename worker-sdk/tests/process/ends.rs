//! Exit codes, signals, inherited descriptors.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use lifeboat_protocol::{Assignment, MessageType};

use super::broker::{Started, command, end, end_by_itself, running, running_in, wait_until_delivered};

#[test]
fn children_of_the_worker_do_not_hold_its_socket() {
    for slots in [1, 3] {
        let mut started = Started::new(Assignment { slots, ..Assignment::default() });
        for order in ["descriptors at start", "descriptors"] {
            started.order(order);
            let listed = started.answer();
            assert!(listed.contains("/proc/"), "the list of descriptors is there: {listed}");
            assert!(!listed.contains("socket:") && !listed.contains("anon_inode"), "{order}: {listed}");
        }
    }
}

#[test]
fn an_idle_worker_ends_with_0_on_sigterm() {
    let mut started = Started::new(Assignment::default());
    started.order("say");
    assert_eq!(started.answer(), "said");
    started.terminate();
    assert_eq!(end_by_itself(&mut started).code(), Some(0));
}

#[test]
fn sigterm_lets_the_running_request_finish() {
    let mut started = Started::new(Assignment::default());
    let mut file = running(&mut started);
    started.terminate();
    wait_until_delivered(started.child.id());
    file.write_all(b"after all").unwrap();
    drop(file);
    assert_eq!(started.answer(), "after all");
    assert_eq!(end_by_itself(&mut started).code(), Some(0));
}

#[test]
fn a_second_sigterm_has_its_default_effect() {
    let mut started = Started::new(Assignment::default());
    let _file = running(&mut started);
    started.terminate();
    wait_until_delivered(started.child.id());
    assert_eq!(started.child.try_wait().unwrap(), None);
    started.terminate();
    assert_eq!(end_by_itself(&mut started).signal(), Some(15));
}

#[test]
fn a_panic_ends_with_70_and_is_told_to_stderr_too() {
    let mut started = Started::new(Assignment::default());
    started.order("panic");
    assert_eq!(started.next().0, MessageType::Panicked);
    assert_eq!(started.next().0, MessageType::WorkersFailed);
    assert_eq!(started.socket.read(&mut [0]).unwrap(), 0);
    let (status, told) = started.end();
    assert_eq!(status.code(), Some(70));
    assert!(told.contains("panicked at") && told.contains("as told"), "{told}");
}

#[test]
fn the_loss_of_the_broker_ends_with_69() {
    let started = Started::new(Assignment::default());
    let (status, told) = started.end();
    assert_eq!(status.code(), Some(69));
    assert!(told.contains("the broker is gone"), "{told}");

    let mut started = Started::new(Assignment::default());
    started.order("until cancelled");
    assert_eq!(started.end().0.code(), Some(69));

    // One that does not stop is not waited for longer than the grace.
    let mut started = Started::new(Assignment { stop_grace_ms: 20, ..Assignment::default() });
    started.order("for ever");
    let (status, told) = started.end();
    assert_eq!(status.code(), Some(69));
    assert!(told.contains("the broker is gone"), "{told}");
    assert!(told.contains("cut 20ms after the end: `do` (request 1, attempt 1, slot 0), given "), "{told}");
}

#[test]
fn nor_is_one_that_holds_stderr() {
    let assignment = Assignment { slots: 2, stop_grace_ms: 40, heartbeat_ms: 10, ..Assignment::default() };
    let mut started = Started::new(assignment);
    started.order("hold stderr for ever");
    while started.next().0 != MessageType::Progress {}
    started.terminate();
    // It goes on with everything else while stderr is held.
    for _ in 0..10 {
        while started.next().0 != MessageType::Heartbeat {}
    }
    let (status, told) = started.end();
    assert_eq!(status.code(), Some(69));
    assert!(
        told.contains("still runs 30ms after SIGTERM") && told.contains("cut 40ms after the end"),
        "{told}"
    );
}

#[test]
fn who_still_runs_shortly_before_sigkill_is_told() {
    let mut started = Started::new(Assignment { slots: 3, stop_grace_ms: 40, ..Assignment::default() });
    let [_kept_open, mut file] = [0, 1].map(|slot| running_in(&mut started, slot));
    started.terminate();
    let mut told = String::new();
    let mut stderr = BufReader::new(started.child.stderr.take().unwrap());
    while told.matches("still runs 30ms after SIGTERM, the broker's grace is 40ms").count() < 2 {
        assert_ne!(stderr.read_line(&mut told).unwrap(), 0, "{told}");
    }
    assert!(told.contains("`do` (request 1, attempt 1, slot 0)"), "{told}");
    assert!(told.contains("`do` (request 2, attempt 1, slot 1)"), "{told}");
    // It is only told: the one that ends in time is answered.
    file.write_all(b"after all").unwrap();
    drop(file);
    assert_eq!(started.answer(), "after all");
    started.child.kill().unwrap();
    started.child.wait().unwrap();
}

#[test]
fn a_broker_that_is_not_understood_ends_with_76() {
    let mut started = Started::new(Assignment::default());
    started.socket.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert_eq!(started.next().0, MessageType::Refused);
    assert_eq!(end_by_itself(&mut started).code(), Some(76));
}

#[test]
fn without_a_broker_it_ends_with_64() {
    let by_hand = "start it through a pool's `command`";
    let cases: [(&str, &str, &str); 5] = [
        ("NOTHING", "", by_hand),
        ("LIFEBOAT_FD", "-1", "is not a descriptor's number"),
        ("LIFEBOAT_FD", "987", by_hand),
        ("LIFEBOAT_FD", "3", "is not a socket"),
        ("LIFEBOAT_FD", "three", "is not a descriptor's number"),
    ];
    for (variable, value, expected) in cases {
        let child = command().stdin(Stdio::null()).env(variable, value).spawn().unwrap();
        let (status, told) = end(child);
        assert_eq!(status.code(), Some(64), "{variable}={value}: {told}");
        assert!(told.contains(expected), "{variable}={value}: {told}");
    }
}

#[test]
fn a_socket_that_the_environment_does_not_name_is_not_the_brokers() {
    let (socket, theirs) = UnixStream::pair().unwrap();
    let child = command().env("LIFEBOAT_WORKER", "test-0").stdin(OwnedFd::from(theirs)).spawn().unwrap();
    // A worker that took it would wait for a hello.
    let mut started = Started { child, socket };
    assert_eq!(end_by_itself(&mut started).code(), Some(64));
    assert!(started.end().1.contains("start it through a pool's `command`"));
}
