//! What is told of a process's output: its lines, and that it writes at all.

use std::time::{Duration, Instant};

use lifeboat::process::{Order, OutputStream, SpawnSpec};
use lifeboat_core::evidence::{Evidence, StopSignal, WaitStatus};

use super::rig::{Output, Rig, Worker, python, sh};

/// Writes what it is told to, piece by piece: `out TEXT` or `err TEXT`, in Python's notation. Says when that is done.
const PARROT: &str = r#"
import os
with open(3, "r", buffering=1, closefd=False) as socket:
    for line in socket:
        stream, text = line.split(" ", 1)
        text = eval("b'" + text.strip() + "'")
        while text: text = text[os.write({"out": 1, "err": 2}[stream], text):]
        os.write(3, b"done\n")
"#;

fn parrot(rig: &mut Rig, change: impl FnOnce(&mut SpawnSpec)) -> Worker {
    let mut spec = python(PARROT);
    change(&mut spec);
    rig.spawn(spec)
}

impl Worker {
    fn write(&mut self, what: &str) {
        self.say(what);
        assert_eq!(self.line(), "done");
    }
}

/// Runs a script to its end; its lines and what was dropped before each batch of them.
fn run(rig: &mut Rig, spec: SpawnSpec) -> (Evidence, Vec<Output>) {
    let evidence = rig.evidence_of(spec);
    (evidence, rig.unread_output())
}

fn lines_of(outputs: &[Output], stream: OutputStream) -> Vec<&str> {
    let of_it = outputs.iter().filter(|output| output.stream == stream);
    of_it.flat_map(|output| &output.lines).map(String::as_str).collect()
}

fn dropped(outputs: &[Output]) -> u64 {
    outputs.iter().map(|output| output.dropped).sum()
}

#[test]
fn a_line_is_handed_out_when_it_is_complete() {
    let mut rig = Rig::new();
    let mut parrot = parrot(&mut rig, |_| {});
    for (what, expected) in [
        ("out he", None),
        ("out llo\\nwor", Some((OutputStream::Stdout, vec!["hello"]))),
        ("err in between\\n", Some((OutputStream::Stderr, vec!["in between"]))),
        // The parts of a character that came in two reads are one.
        ("out ld \\xe2\\x82", None),
        ("out \\xac\\r\\n\\n3\\n", Some((OutputStream::Stdout, vec!["world €", "", "3"]))),
    ] {
        parrot.write(what);
        rig.activity();
        let outputs = rig.unread_output();
        let found: Vec<_> = outputs.iter().map(|output| (output.stream, output.lines.clone())).collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(stream, lines)| (stream, lines.into_iter().map(String::from).collect::<Vec<_>>()))
            .collect();
        assert_eq!(found, expected, "{what}");
        assert!(outputs.iter().all(|output| output.process == parrot.key && output.dropped == 0));
    }
}

#[test]
fn a_line_can_neither_forge_nor_colour_nor_fill_the_log() {
    let mut rig = Rig::new();
    let script = "import os\n\
        os.write(1, b'\\x1b[2J\\x1b[31mERROR all is lost\\x1b[0m\\n')\n\
        os.write(1, b'ok\\r2026-01-01 ERROR forged\\n')\n\
        os.write(1, 'a\\u2028b\\u202ec\\x85\\td\\n'.encode())\n\
        os.write(1, b'\\xff\\xfe broken \\xe2\\x82\\n')\n\
        os.write(1, b'x' * 8192 + b'\\n' + b'y' * 100000 + b'\\n' + b'z\\n')";
    let (_, outputs) = run(&mut rig, python(script));
    let lines = lines_of(&outputs, OutputStream::Stdout);
    let (whole, cut) = ("x".repeat(8192), "y".repeat(8192) + "… (cut)");
    assert_eq!(
        lines,
        [
            r"\u{1b}[2J\u{1b}[31mERROR all is lost\u{1b}[0m",
            r"ok\r2026-01-01 ERROR forged",
            "a\\u{2028}b\\u{202e}c\\u{85}\td",
            "\u{fffd}\u{fffd} broken \u{fffd}",
            whole.as_str(),
            cut.as_str(),
            "z"
        ]
    );
}

#[test]
fn a_last_line_without_an_end_is_handed_out() {
    let mut rig = Rig::new();
    for (script, wait) in [
        ("printf 'a\\nout' ; printf err >&2; exit 3", WaitStatus::Exited { code: 3 }),
        (
            "printf 'a\\nout' ; printf err >&2; kill -KILL $$",
            WaitStatus::Signaled { signal: 9, core_dumped: false },
        ),
    ] {
        let (evidence, outputs) = run(&mut rig, sh(script));
        assert_eq!(evidence.wait, wait);
        assert_eq!(lines_of(&outputs, OutputStream::Stdout), ["a", "out"]);
        assert_eq!(lines_of(&outputs, OutputStream::Stderr), ["err"]);
        assert_eq!(evidence.output_dropped, 0);
    }
}

#[test]
fn what_is_left_is_counted_in_the_evidence() {
    let mut rig = Rig::new();
    let mut spec = sh("seq 1000; seq 1000 >&2; printf last");
    (spec.output_burst, spec.output_rate) = (10, 0);
    let (evidence, outputs) = run(&mut rig, spec.clone());
    let passed = outputs.iter().map(|output| output.lines.len()).sum::<usize>();
    assert_eq!((passed, dropped(&outputs), evidence.output_dropped), (10, 0, 1991));
    // None may pass.
    spec.output_burst = 0;
    let (evidence, outputs) = run(&mut rig, spec);
    assert_eq!((outputs.len(), evidence.output_dropped), (0, 2001));
}

#[test]
fn a_burst_passes_and_every_other_line_is_counted() {
    let mut rig = Rig::new();
    let started = Instant::now();
    let (evidence, outputs) = run(&mut rig, sh("seq 100000"));
    let lines = lines_of(&outputs, OutputStream::Stdout);
    let expected: Vec<_> = (1..=100).map(|number| number.to_string()).collect();
    assert_eq!(lines[..100], expected);
    let refilled = started.elapsed().as_secs_f64() * 20.0;
    assert!((lines.len() as f64) < 101.0 + refilled, "{} lines", lines.len());
    assert_eq!(lines.len() as u64 + dropped(&outputs) + evidence.output_dropped, 100_000);
}

#[test]
fn dropped_lines_are_told_with_the_next_that_passes() {
    let mut rig = Rig::new();
    let mut parrot = parrot(&mut rig, |spec| (spec.output_burst, spec.output_rate) = (2, 4));
    let started = Instant::now();
    parrot.write("out 1\\n2\\n3\\n4\\n5\\n");
    rig.activity();
    let first = rig.output();
    assert_eq!((&first.lines[..], first.dropped), (&[String::from("1"), String::from("2")][..], 0));
    // One line at a time, until a quarter of a second has passed.
    let mut written = 5;
    let next = loop {
        written += 1;
        parrot.write(&format!("err {written}\\n"));
        rig.activity();
        if let Some(output) = rig.unread_output().pop() {
            break output;
        }
    };
    assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
    assert_eq!((next.stream, &next.lines[..]), (OutputStream::Stderr, &[written.to_string()][..]));
    assert_eq!(next.dropped, written - 3, "of both streams, up to the line that passed");
    rig.signal(&parrot, StopSignal::Kill);
    assert_eq!(rig.collect(&parrot).output_dropped, 0);
}

#[test]
fn without_a_log_the_last_words_are_kept_all_the_same() {
    let mut rig = Rig::new();
    let mut spec = sh("echo out; echo err >&2");
    spec.log_output = false;
    let (evidence, outputs) = run(&mut rig, spec);
    assert_eq!((evidence.stdout_tail.as_str(), evidence.stderr_tail.as_str()), ("out\n", "err\n"));
    assert_eq!((outputs.len(), evidence.output_dropped), (0, 0));
    assert!(rig.seen >= 1);
}

#[test]
fn no_line_comes_after_the_evidence() {
    let mut rig = Rig::new();
    let mut spec = sh("while :; do echo child; done & echo >&3; read x <&3; exit 0");
    spec.output_burst = u32::MAX;
    let mut worker = rig.spawn(spec);
    worker.line();
    rig.activity();
    worker.say("go");
    let evidence = rig.collect(&worker);
    assert_eq!(evidence.descendants_killed, 1);
    assert!(evidence.stdout_tail.ends_with("child\n"), "{evidence:?}");
    assert!(!rig.unread_output().is_empty() && evidence.output_dropped == 0, "{evidence:?}");
    let seen = rig.seen;
    let (_, outputs) = run(&mut rig, sh("exit 0"));
    assert_eq!((outputs.len(), rig.seen), (0, seen));
}

#[test]
fn of_a_forgotten_process_nothing_is_told() {
    let mut rig = Rig::new();
    let mut worker = rig.spawn(sh("trap '' TERM; echo >&3; while :; do echo x; done"));
    worker.line();
    rig.activity();
    rig.order(Order::Forget { process: worker.key });
    // Reports come in order, and this one is ordered behind the other's end.
    let other = rig.spawn(sh("exit 0"));
    rig.collect(&other);
    rig.unread_output();
    let seen = rig.seen;
    worker.wait_for_exit();
    assert_eq!(rig.evidence_of(sh("exit 0")).wait, WaitStatus::Exited { code: 0 });
    assert!(rig.unread_output().is_empty());
    assert_eq!(rig.seen, seen);
}

#[test]
fn activity_is_told_once_for_every_sign_of_it() {
    let mut rig = Rig::new();
    let mut parrot = parrot(&mut rig, |spec| spec.log_output = false);
    // Enough to be looked at as a flood is, more often than it is told.
    let much = format!("out {}", "x".repeat(30_000));
    for round in 1..=60 {
        // Nothing before it is written.
        assert!(rig.unread_output().is_empty());
        assert_eq!(rig.seen, round - 1);
        parrot.write(if round <= 20 { "err x" } else { &much });
        rig.activity();
    }
}

#[test]
fn activity_is_told_at_once_and_the_last_of_it_within_10_ms() {
    let mut rig = Rig::new();
    let mut parrot = parrot(&mut rig, |_| {});
    let mut answer = |rig: &mut Rig| {
        let asked = Instant::now();
        parrot.write("err x");
        rig.activity();
        asked.elapsed()
    };
    let (mut after_quiet, mut at_once_again): (Vec<_>, Vec<_>) = (0..15)
        .map(|_| {
            // By the time that another has lived and died it has been quiet for long.
            let quiet = Instant::now();
            while quiet.elapsed() < Duration::from_millis(15) {
                rig.evidence_of(sh("exit 0"));
            }
            (answer(&mut rig), answer(&mut rig))
        })
        .unzip();
    after_quiet.sort();
    at_once_again.sort();
    // The way to the worker and back is in both, and what the machine does beside.
    assert!(after_quiet[3] < Duration::from_millis(5), "{after_quiet:?}");
    assert!(at_once_again[3] < Duration::from_millis(10), "{at_once_again:?}");
    assert!(at_once_again[7] > Duration::from_millis(4), "too often: {at_once_again:?}");
}

#[test]
fn activity_that_goes_on_is_told_every_7_ms() {
    let mut rig = Rig::new();
    for script in [
        "import os, time\nend = time.monotonic() + 0.5\nwhile time.monotonic() < end: os.write(1, b'x'); time.sleep(0.0005)",
        "import os, time\nend = time.monotonic() + 0.5\nwhile time.monotonic() < end: os.write(2, b'x' * 60000)",
    ] {
        let started = Instant::now();
        let before = rig.seen;
        rig.evidence_of(python(script));
        let most = started.elapsed().as_millis() / 7 + 3;
        let seen = rig.seen - before;
        assert!(u128::from(seen) <= most && seen >= 10, "{seen} of at most {most}");
    }
}
