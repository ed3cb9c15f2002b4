//! How `lifeboat dev` ends: soon, in order, and whoever does not read or has left it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, PipeReader, PipeWriter, Write as _, pipe};
use std::process::{Command, Stdio};

use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Turn, broker_program};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::scene::{Dev, echo, serving, write};
use crate::scene::says;

const SECOND: &str = "told to end a second time: ending at once";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_signal_waits_for_a_request_that_goes_on() {
    let _turn = Turn::shared();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut dev = Dev::start(&serving("sdk"));
        let _client = dev.occupied().await;
        dev.signal(signal);
        let log = dev.ends().await;
        assert!(!log.contains(SECOND), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once_and_a_second_hangup_is_none() {
    let _turn = Turn::shared();
    let mut dev = Dev::start(&serving("sdk"));
    let _client = dev.occupied().await;
    // Both wait to be heeded before its patience has begun.
    dev.signal(Signal::INT);
    dev.signal(Signal::TERM);
    says(&dev.ends().await, &[SECOND]);

    let mut dev = Dev::with(&serving("sdk"), &["./worker.sh"], |command| {
        command.env("LIFEBOAT_LOG", "info");
    });
    let _client = dev.occupied().await;
    dev.signal(Signal::HUP);
    dev.logs("told to end: draining").await;
    dev.signal(Signal::HUP);
    let log = dev.ends().await;
    assert!(!log.contains(SECOND), "{log}");
}

/// The master's end of a terminal, and its slave.
fn terminal() -> (File, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&master).expect("it is ours");
    unlockpt(&master).expect("it is ours");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = open(name.as_c_str(), flags, Mode::empty()).expect("its other end");
    (master.into(), slave.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_is_closed_ends_it_and_nothing_is_left() {
    let _turn = Turn::shared();
    let (master, slave) = terminal();
    let mut setsid = Command::new("setsid");
    setsid.arg("--ctty").arg(broker_program());
    let mut dev = Dev::by(setsid, &serving("sdk"), &["./worker.sh"], |command| {
        let other = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(other()).stdout(other()).stderr(other());
    });
    drop(slave);
    let mut shown = BufReader::new(master).lines().map(|line| line.expect("it lives"));
    assert!(shown.any(|line| line.contains("It serves act, wait")), "it ended before it served");
    let _client = dev.occupied().await;
    drop(shown);
    dev.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_that_is_ignored_stays_so() {
    let _turn = Turn::shared();
    let mut nohup = Command::new("nohup");
    nohup.arg(broker_program());
    let mut dev = Dev::by(nohup, &serving("sdk"), &["./worker.sh"], |_| {});
    dev.prints("in the place of");
    let client = dev.client().await;
    dev.signal(Signal::HUP);
    echo(&client).await;
    // The interrupt is the first signal that counts.
    let log = dev.interrupt().await;
    assert!(!log.contains(SECOND), "{log}");
}

/// A pipe that nobody has read for long.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("it is ours");
    let error = loop {
        if let Err(error) = writer.write(&[b'.'; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    fcntl_setfl(&writer, OFlags::empty()).expect("it is ours");
    (reader, writer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stdout_that_nobody_reads_holds_up_nothing_else() {
    let _turn = Turn::shared();
    let (_reader, writer) = full_pipe();
    let dev = Dev::with(&serving("sdk"), &["./worker.sh"], |command| {
        command.stdout(writer);
    });
    let client = dev.client().await;
    echo(&client).await;
    // What comes after the text that cannot be printed is told, and done.
    client.call(Act::new(Deed::Exit(3))).await.expect_err("it dies");
    dev.logs("dev-0 died while it executed a request: exit code 3\n").await;
    write(&dev.room, &serving("sdk"));
    dev.logs("worker.sh has changed: starting").await;
    dev.interrupt().await;
}
