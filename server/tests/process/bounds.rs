//! What the kernel bounds for a worker, and what its end looks like when it passes a bound.

use std::fs;
use std::time::Duration;

use lifeboat::process::ProcessLimits;
use lifeboat_core::evidence::WaitStatus;
use rustix::process::{Resource, Signal};

use super::rig::{Rig, Worker, program, python, sh};
use super::starts::plain;

/// The soft and the hard limit of that name.
fn limits(worker: &Worker, name: &str) -> (String, String) {
    let text = fs::read_to_string(worker.proc("limits")).expect("a living worker");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("always there");
    let mut columns = line.split_ascii_whitespace().map(String::from);
    (columns.next().expect("a soft limit"), columns.next().expect("a hard limit"))
}

#[test]
fn it_dumps_no_core_to_a_file_or_a_pipe() {
    let mut rig = Rig::new();
    let worker = plain(&mut rig);
    let hard = rustix::process::getrlimit(Resource::Core).maximum;
    let expected = if hard == Some(0) { "0" } else { "1" };
    assert_eq!(limits(&worker, "Max core file size"), (expected.into(), expected.into()));
}

#[test]
fn its_limit_on_open_files_is_the_one_asked_for() {
    let mut rig = Rig::new();
    let own = rustix::process::getrlimit(Resource::Nofile);
    let text = |limit: Option<u64>| limit.map_or_else(|| "unlimited".into(), |limit| limit.to_string());
    let hard = text(own.maximum);
    let below = own.current.map_or(500, |current| current - 1);
    for (asked, soft) in [
        (None, text(own.current)),
        (Some(below), below.to_string()),
        // More than is allowed is as much as is allowed.
        (Some(u64::MAX - 1), text(own.maximum.or(Some(u64::MAX - 1)))),
    ] {
        let mut spec = program(&["sleep", "1000"]);
        spec.limits.soft_open_files = asked;
        let worker = rig.spawn(spec);
        worker.wait_until_it_is("sleep");
        assert_eq!(limits(&worker, "Max open files"), (soft, hard.clone()), "{asked:?}");
    }
}

#[test]
fn the_kernel_bounds_what_it_is_asked_to() {
    let mut rig = Rig::new();
    let mut spec = program(&["sleep", "1000"]);
    spec.limits = ProcessLimits {
        open_files: Some(64),
        soft_open_files: Some(500),
        cpu_time: Some(Duration::from_millis(2500)),
        file_size: Some(4096),
        core_size: Some(8192),
        nice: 3,
    };
    let worker = rig.spawn(spec);
    worker.wait_until_it_is("sleep");
    let both = |soft: &str, hard: &str| (soft.to_owned(), hard.to_owned());
    assert_eq!(limits(&worker, "Max open files"), both("64", "64"));
    assert_eq!(limits(&worker, "Max cpu time"), both("3", "4"), "whole seconds, and one more");
    assert_eq!(limits(&worker, "Max file size"), both("4096", "4096"));
    let hard = rustix::process::getrlimit(Resource::Core).maximum;
    let core = hard.map_or(8192, |hard| hard.min(8192)).to_string();
    assert_eq!(limits(&worker, "Max core file size"), both(&core, &core));
    let niceness = |stat: &str| -> i32 {
        let fields = stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace();
        fields.skip(16).map(|field| field.parse().expect("a number")).next().expect("it is the 19th")
    };
    let own = niceness(&fs::read_to_string("/proc/self/stat").expect("we live"));
    let its = niceness(&fs::read_to_string(worker.proc("stat")).expect("alive"));
    assert_eq!(its, (own + 3).min(19));
}

#[test]
fn core_dumps_are_possible_when_asked_for() {
    let mut rig = Rig::new();
    let mut spec = python(
        "import resource; print(resource.getrlimit(resource.RLIMIT_CORE), file=open('/dev/stderr', 'w'))",
    );
    spec.limits.core_size = None;
    let limit = rustix::process::getrlimit(Resource::Core).maximum;
    let expected = limit.map_or_else(|| String::from("(-1, -1)\n"), |limit| format!("({limit}, {limit})\n"));
    assert_eq!(rig.evidence_of(spec).stderr_tail, expected);
}

#[test]
fn a_file_that_grows_too_large_ends_it() {
    let mut rig = Rig::new();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut spec = sh("exec dd if=/dev/zero of=large bs=1024 count=64");
    spec.current_dir = Some(dir.path().to_owned());
    spec.limits.file_size = Some(8192);
    let WaitStatus::Signaled { signal, .. } = rig.evidence_of(spec).wait else { panic!("a signal") };
    assert_eq!(signal, Signal::XFSZ.as_raw());
    assert_eq!(fs::metadata(dir.path().join("large")).expect("it was begun").len(), 8192);
}

#[test]
fn cpu_time_that_is_used_up_ends_it_at_the_latest_a_second_later() {
    let mut rig = Rig::new();
    for (heeds, signal) in [("signal.SIG_DFL", Signal::XCPU), ("signal.SIG_IGN", Signal::KILL)] {
        let mut spec =
            python(&format!("import signal\nsignal.signal(signal.SIGXCPU, {heeds})\nwhile True: pass"));
        spec.limits.cpu_time = Some(Duration::from_millis(10));
        let evidence = rig.evidence_of(spec);
        let WaitStatus::Signaled { signal: by, .. } = evidence.wait else { panic!("a signal: {evidence:?}") };
        assert_eq!(by, signal.as_raw());
        assert_eq!(evidence.cpu_limit, Some(Duration::from_secs(2)));
        assert_eq!(evidence.is_cpu_used_up(), signal == Signal::KILL, "{evidence:?}");
        let bound = if signal == Signal::KILL { 2 } else { 1 };
        let counted = evidence.cpu_counted.expect("the kernel's own count is read");
        assert_eq!(counted.as_secs(), bound, "it is killed by that very count: {evidence:?}");
    }
}
