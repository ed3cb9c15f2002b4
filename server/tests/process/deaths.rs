//! Every way to die, and what the evidence says of it.

use std::time::Duration;

use lifeboat::process::Order;
use lifeboat_core::evidence::{OomEvidence, StopSignal, WaitStatus};

use super::alone::is_alone;
use super::rig::{LIMIT, Rig, lives, program, python, sh, shim};

const fn exited(code: i32) -> WaitStatus {
    WaitStatus::Exited { code }
}

const fn signaled(signal: i32) -> WaitStatus {
    WaitStatus::Signaled { signal, core_dumped: false }
}

fn matrix(rig: &mut Rig) {
    let cases = [
        (sh("exit 0"), exited(0)),
        (sh("exit 3"), exited(3)),
        (sh("exit 255"), exited(255)),
        (sh("kill -KILL $$"), signaled(9)),
        (sh("kill -TERM $$"), signaled(15)),
        (python("import os; os.abort()"), signaled(6)),
        (python("import ctypes; ctypes.string_at(0)"), signaled(11)),
        (
            // Recursion through C, so that it is the machine's stack that overflows.
            python("import sys; sys.setrecursionlimit(10**9)\ndef f(_): return sorted([1, 2], key=f)\nf(0)"),
            signaled(11),
        ),
    ];
    for (spec, expected) in cases {
        let command = spec.command.clone();
        for _ in 0..3 {
            let evidence = rig.evidence_of(spec.clone());
            assert_eq!(evidence.wait, expected, "{command:?}: {evidence:?}");
            assert_eq!((evidence.descendants_killed, evidence.descendants_leaked), (0, 0), "{command:?}");
            assert_ne!(evidence.oom, OomEvidence::OwnCounterRose, "{command:?}");
        }
    }
    assert!(rig.unread_report().is_none());
}

#[test]
fn every_death_shows_its_true_status() {
    matrix(&mut Rig::new());
}

#[test]
fn a_broker_started_with_sigchld_ignored_sees_them_too() {
    let test = "deaths::a_broker_started_with_sigchld_ignored_sees_them_too";
    if is_alone(test, &["sh", "-c", "trap '' CHLD; exec \"$0\" \"$@\""]) {
        matrix(&mut Rig::of_a_broker());
    }
}

#[test]
fn the_evidence_says_what_was_used() {
    let mut rig = Rig::new();
    let script = "import time\nx = bytearray(150 << 20)\nwhile time.process_time() < 0.3: pass";
    let usage = rig.evidence_of(python(script)).usage;
    assert!(usage.user_time + usage.system_time >= Duration::from_millis(300), "{usage:?}");
    assert!(usage.user_time < LIMIT, "{usage:?}");
    assert!((150 << 20..400 << 20).contains(&usage.max_rss_bytes), "{usage:?}");
}

#[test]
fn the_last_words_are_kept() {
    let mut rig = Rig::new();
    let evidence = rig.evidence_of(sh("echo first; echo last words >&2; kill -KILL $$"));
    assert_eq!(evidence.stderr_tail, "last words\n");
    assert_eq!(evidence.stdout_tail, "first\n");
    // More than a pipe holds, so it must have been read while it was written.
    let evidence = rig.evidence_of(sh("seq 100000 >&2; echo the end >&2; seq 100000; exit 4"));
    assert_eq!(evidence.wait, exited(4));
    assert_eq!(evidence.stderr_tail.len(), 16 * 1024);
    assert!(evidence.stderr_tail.ends_with("99999\n100000\nthe end\n"));
    assert_eq!(evidence.stdout_tail.len(), 16 * 1024);
    assert!(evidence.stdout_tail.ends_with("99999\n100000\n"));
}

#[test]
fn a_descendant_that_holds_everything_open_delays_nothing() {
    let mut rig = Rig::new();
    let mut worker = rig.spawn(sh("sleep 1000 & echo $! >&3; echo bye >&2; exit 5"));
    let child = worker.line().parse().expect("a pid");
    let evidence = rig.collect(&worker);
    assert_eq!(evidence.wait, exited(5));
    assert_eq!(evidence.stderr_tail, "bye\n");
    assert_eq!((evidence.descendants_killed, evidence.descendants_leaked), (1, 0));
    assert!(!lives(child));
}

#[test]
fn a_start_that_fails_says_why() {
    let mut rig = Rig::new();
    let evidence = rig.evidence_of(program(&["no-such-program-here", "x"]));
    assert_eq!(evidence.wait, exited(127));
    assert_eq!(
        evidence.stderr_tail,
        "lifeboat: cannot start 'no-such-program-here': No such file or directory (os error 2)\n"
    );
    let evidence = rig.evidence_of(program(&["/etc/passwd"]));
    assert_eq!(evidence.wait, exited(126));
    assert_eq!(
        evidence.stderr_tail,
        "lifeboat: cannot start '/etc/passwd': Permission denied (os error 13)\n"
    );
    let mut elsewhere = sh("exit 0");
    elsewhere.current_dir = Some("/no/such/place".into());
    let evidence = rig.evidence_of(elsewhere);
    assert_eq!(evidence.wait, exited(125));
    assert!(evidence.stderr_tail.contains("'/no/such/place'"), "{}", evidence.stderr_tail);
    assert!(rig.spawn_error(program(&[])).contains("empty"));
}

#[test]
fn a_shim_that_went_missing_is_a_failed_spawn() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let link = dir.path().join("lifeboat");
    std::os::unix::fs::symlink(shim(), &link).expect("an empty directory");
    let mut rig = Rig::with(|options| options.shim = link.clone());
    drop(dir);
    let error = rig.spawn_error(sh("exit 0"));
    assert!(error.contains(link.to_str().expect("text")) && error.contains("No such file"), "{error}");
}

#[test]
fn a_crash_just_before_our_kill_stays_a_crash() {
    let mut rig = Rig::new();
    let mut crashes = 0;
    for _ in 0..30 {
        let mut worker = rig.spawn(sh("echo >&3; kill -SEGV $$"));
        worker.line();
        rig.signal(&worker, StopSignal::Kill);
        match rig.collect(&worker).wait {
            WaitStatus::Signaled { signal: 11, .. } => crashes += 1,
            WaitStatus::Signaled { signal: 9, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    // Which of the two comes first is a race; once the crash has come, it must not be renamed.
    let mut worker = rig.spawn(sh("echo >&3; kill -SEGV $$"));
    worker.line();
    worker.wait_for_exit();
    rig.signal(&worker, StopSignal::Kill);
    assert_eq!(rig.collect(&worker).wait, signaled(11), "{crashes} crashes before");
}

#[test]
fn orders_for_the_dead_are_harmless() {
    let mut rig = Rig::new();
    let worker = rig.spawn(sh("exit 0"));
    rig.collect(&worker);
    rig.signal(&worker, StopSignal::Kill);
    rig.signal(&worker, StopSignal::Terminate);
    rig.order(Order::Collect { process: worker.key });
    rig.order(Order::Forget { process: worker.key });
    assert_eq!(rig.evidence_of(sh("exit 6")).wait, exited(6));
    assert!(rig.unread_report().is_none());
}
