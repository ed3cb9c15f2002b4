//! What a worker finds when it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use lifeboat::process::{Order, Report};
use lifeboat_core::evidence::{StopSignal, WaitStatus};
use lifeboat_protocol::RECORDER_VARIABLE;

use super::alone::{command, is_alone, runs_as};
use super::rig::{Rig, Worker, lives, program, sh, wait_at_most, wait_until};

/// A process whose state is only what it was given.
pub(super) fn plain(rig: &mut Rig) -> Worker {
    let worker = rig.spawn(program(&["sleep", "1000"]));
    worker.wait_until_it_is("sleep");
    worker
}

fn descriptors(worker: &Worker) -> BTreeMap<String, String> {
    let entries = fs::read_dir(worker.proc("fd")).expect("a living worker");
    let describe = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), target.to_string_lossy().into_owned()))
    };
    entries.filter_map(|entry| describe(entry.expect("a readable list"))).collect()
}

#[test]
fn it_has_four_descriptors_and_no_other() {
    // Descriptors that survive exec, as a careless library or parent leaves them; one of them at the worker's 3.
    let leaked: Vec<_> = (0..3)
        .map(|_| rustix::io::dup(fs::File::open("/etc/passwd").expect("there")).expect("room"))
        .collect();
    let check = || {
        let mut rig = Rig::new();
        let workers: Vec<_> = (0..16).map(|_| plain(&mut rig)).collect();
        for worker in &workers {
            // The loader has files open for a moment; what leaks stays.
            let names = || descriptors(worker).into_keys().collect::<Vec<_>>();
            wait_until("four descriptors", || names() == ["0", "1", "2", "3"]);
            let found = descriptors(worker);
            assert_eq!(found["0"], "/dev/null");
            assert!(found["1"].starts_with("pipe:") && found["2"].starts_with("pipe:"), "{found:?}");
            assert_ne!(found["1"], found["2"]);
            assert!(found["3"].starts_with("socket:"), "{found:?}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(check);
        }
    });
    assert!(leaked.iter().all(|fd| fd.as_raw_fd() > 2));
}

#[test]
fn its_signals_are_clean_whatever_the_broker_s_were() {
    let past = "import os, signal, sys\n\
                for name in (signal.SIGUSR1, signal.SIGHUP, signal.SIGPIPE, signal.SIGRTMIN + 3):\n\
                \x20   signal.signal(name, signal.SIG_IGN)\n\
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])\n\
                os.execv(sys.argv[1], sys.argv[1:])";
    if is_alone("starts::its_signals_are_clean_whatever_the_broker_s_were", &["python3", "-c", past]) {
        let own = fs::read_to_string("/proc/thread-self/status").expect("we live");
        assert!(!own.contains("SigBlk:\t0000000000000000"), "the past did not work:\n{own}");
        let mut rig = Rig::of_a_broker();
        let worker = plain(&mut rig);
        for set in ["SigBlk", "SigIgn", "SigCgt"] {
            assert_eq!(worker.status(set), "0000000000000000", "{set}");
        }
    }
}

#[test]
fn it_leads_a_session_and_knows_its_name() {
    let mut rig = Rig::new();
    let mut spec = program(&["sleep", "1000"]);
    spec.env = vec![("GREETING".into(), "hello".into()), ("LIFEBOAT_WORKER".into(), "forged".into())];
    let dir = tempfile::tempdir().expect("a temporary directory");
    spec.current_dir = Some(dir.path().to_owned());
    let worker = rig.spawn(spec);
    worker.wait_until_it_is("sleep");
    let stat = fs::read_to_string(worker.proc("stat")).expect("alive");
    let fields: Vec<_> = stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace().collect();
    let pid = worker.pid.to_string();
    assert_eq!((fields[2], fields[3]), (pid.as_str(), pid.as_str()), "group and session");
    let environ = fs::read_to_string(worker.proc("environ")).expect("alive");
    let variables: BTreeMap<_, _> = environ.split('\0').filter_map(|entry| entry.split_once('=')).collect();
    assert_eq!(variables["LIFEBOAT_FD"], "3");
    assert_eq!(variables["LIFEBOAT_WORKER"], "images-0");
    assert_eq!(variables["LIFEBOAT_INCARNATION"], "1");
    assert!(variables["LIFEBOAT_BROKER"].starts_with(&std::process::id().to_string()));
    assert_eq!(variables["GREETING"], "hello");
    let found = fs::read_link(worker.proc("cwd")).expect("alive");
    assert_eq!(found, dir.path().canonicalize().expect("there"));
}

#[test]
fn the_memory_of_its_flight_recorder_is_its_fourth_descriptor_where_it_has_one() {
    let mut rig = Rig::new();
    for len in [8192, 0] {
        let mut spec = program(&["sleep", "1000"]);
        spec.recorder_len = len;
        spec.env = vec![(RECORDER_VARIABLE.into(), "17".into())];
        let worker = rig.spawn(spec);
        worker.wait_until_it_is("sleep");
        let environ = fs::read_to_string(worker.proc("environ")).expect("alive");
        let said =
            environ.split('\0').find_map(|entry| entry.strip_prefix(RECORDER_VARIABLE)?.strip_prefix('='));
        // The loader has files open for a moment; what leaks stays.
        let expected = if len > 0 { 5 } else { 4 };
        wait_until("as many as it is to have", || descriptors(&worker).len() == expected);
        let found = descriptors(&worker);
        assert!(found["3"].starts_with("socket:"), "{found:?}");
        let size = worker.recorder.as_ref().map(|memory| memory.metadata().expect("it is open").len());
        if len > 0 {
            assert!(found["4"].contains("lifeboat-recorder"), "{found:?}");
            assert_eq!((said, size), (Some("4"), Some(8192)));
            let theirs =
                fs::OpenOptions::new().write(true).open(worker.proc("fd/4")).expect("it can be opened");
            theirs.write_all_at(&7_u64.to_ne_bytes(), 8).expect("it can be written");
            let mut word = [0; 8];
            worker.recorder.as_ref().expect("it has one").read_exact_at(&mut word, 8).expect("it is there");
            assert_eq!(u64::from_ne_bytes(word), 7, "it is the same memory");
        } else {
            assert_eq!((said, size), (None, None), "{found:?}");
        }
    }
}

#[test]
fn it_inherits_the_variables_that_it_is_to_have() {
    let test = "starts::it_inherits_the_variables_that_it_is_to_have";
    if is_alone(test, &["env", "NEEDED=yes", "SECRET=no", "LISTEN_FDNAMES=a"]) {
        let mut rig = Rig::new();
        let mut spec = program(&["sleep", "1000"]);
        spec.inherit_env = Some(["PATH", "NEEDED", "NOT_THERE", "LISTEN_FDNAMES"].map(OsString::from).into());
        spec.env = vec![("OWN".into(), "mine".into())];
        let worker = rig.spawn(spec);
        worker.wait_until_it_is("sleep");
        let environ = fs::read_to_string(worker.proc("environ")).expect("alive");
        let mut names: Vec<_> =
            environ.split_terminator('\0').filter_map(|pair| pair.split_once('=')).collect();
        names.retain(|(name, _)| !name.starts_with("LIFEBOAT_"));
        let path = std::env::var("PATH").expect("it is set");
        let expected = BTreeSet::from([("PATH", path.as_str()), ("NEEDED", "yes"), ("OWN", "mine")]);
        assert_eq!(BTreeSet::from_iter(names), expected);
        assert!(environ.contains("LIFEBOAT_BROKER="), "it is found by that when it must be ended");
    }
}

#[test]
fn what_is_told_the_broker_alone_is_not_told_to_it() {
    let test = "starts::what_is_told_the_broker_alone_is_not_told_to_it";
    let told = [
        "LIFEBOAT__POOLS__OTHER__ENV__TOKEN=secret",
        "LISTEN_FDNAMES=a",
        "LISTEN_FDS=0",
        "LISTEN_PID=1",
        "LISTEN_PIDFDID=1",
        "NOTIFY_SOCKET=/no/such/socket",
        "WATCHDOG_PID=1",
        "WATCHDOG_USEC=30000000",
    ];
    if !is_alone(test, &[&["env", "KEPT=yes"][..], &told].concat()) {
        return;
    }
    let mut rig = Rig::of_a_broker();
    let worker = plain(&mut rig);
    let environ = fs::read_to_string(worker.proc("environ")).expect("alive");
    let variables: Vec<_> = environ.split('\0').collect();
    assert!(variables.contains(&"KEPT=yes"), "{variables:?}");
    for variable in told {
        let name = variable.split('=').next().expect("a name");
        assert!(std::env::var_os(name).is_some(), "the broker was not told {name}");
        assert!(!variables.iter().any(|entry| entry.split('=').next() == Some(name)), "{name}");
    }
}

#[test]
fn its_socket_works_both_ways_and_blocks() {
    let mut rig = Rig::new();
    let mut spec = sh("while read line <&3; do echo \"got $line\" >&3; done; exit 9");
    spec.send_buffer = 1 << 20;
    let mut worker = rig.spawn(spec);
    for word in ["one", "two"] {
        worker.say(word);
        assert_eq!(worker.line(), format!("got {word}"));
    }
    worker.socket.shutdown(std::net::Shutdown::Both).expect("open");
    assert_eq!(rig.collect(&worker).wait, WaitStatus::Exited { code: 9 });
}

#[test]
fn it_dies_with_a_broker_that_is_killed() {
    use std::io::BufRead;
    let test = "starts::it_dies_with_a_broker_that_is_killed";
    if runs_as(test) {
        be_killed_with_a_worker();
    }
    let mut broker =
        command(test, &[]).stdout(std::process::Stdio::piped()).spawn().expect("this very program");
    let stdout = std::io::BufReader::new(broker.stdout.take().expect("piped"));
    let line =
        stdout.lines().map_while(Result::ok).find_map(|line| Some(line.split_once("WORKER ")?.1.to_owned()));
    let pid = line.expect("the broker's worker").parse().expect("a pid");
    assert!(lives(pid));
    broker.kill().expect("our child");
    wait_at_most(Duration::from_secs(1), "the worker dies", &mut || !lives(pid));
    broker.wait().expect("our child");
}

/// The broker of the test above, in its own process.
fn be_killed_with_a_worker() -> ! {
    let mut rig = Rig::of_a_broker();
    let worker = plain(&mut rig);
    writeln!(std::io::stdout(), "WORKER {}", worker.pid).expect("the test listens");
    worker.wait_for_exit();
    panic!("the worker ended before its broker was killed");
}

#[test]
fn a_start_costs_the_same_in_a_big_broker() {
    if !is_alone("starts::a_start_costs_the_same_in_a_big_broker", &[]) {
        return;
    }
    let ballast = vec![1_u8; 1 << 30];
    let mut rig = Rig::of_a_broker();
    let mut times: Vec<_> = (0..21)
        .map(|_| {
            let started = Instant::now();
            let worker = rig.spawn(sh("exit 0"));
            let elapsed = started.elapsed();
            let usage = rig.collect(&worker).usage;
            assert!(
                usage.max_rss_bytes < 1 << 29,
                "the broker's own memory counted as the worker's: {usage:?}"
            );
            elapsed
        })
        .collect();
    times.sort();
    assert!(times[10] < Duration::from_millis(5), "{times:?}");
    assert_eq!(ballast.iter().step_by(4096).map(|byte| usize::from(*byte)).sum::<usize>(), 1 << 18);
}

#[test]
fn a_start_still_waiting_its_turn_obeys_orders() {
    let mut rig = Rig::new();
    // Spawns let other orders pass, but not those for the same process.
    let keys: Vec<_> = (0..8).map(|_| rig.order_spawn(sh("exec sleep 1000"))).collect();
    for key in &keys {
        rig.order(Order::Signal { process: *key, signal: StopSignal::Kill, look: true });
        rig.order(Order::Collect { process: *key });
    }
    let mut ends = 0;
    while ends < keys.len() {
        match rig.report() {
            Report::Evidence { evidence, .. } => {
                assert_eq!(evidence.wait, WaitStatus::Signaled { signal: 9, core_dumped: false });
                ends += 1;
            }
            Report::Spawned { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
