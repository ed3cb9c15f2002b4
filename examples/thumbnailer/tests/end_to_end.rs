//! The thumbnailer with a real broker, real workers and files that a decoder should not survive.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use lifeboat_client::{CallError, Client, ConfidenceLabel, RequestBuilder, TimeoutWhich};
use support::{Ran, Room, until};
use thumbnailer::{SourceFormat, ThumbFormat, Thumbnail, samples};

const SIDE: u32 = 128;

/// Longer than the shipped 2 s, so that a machine that is busy with other tests has the time to fill the memory.
const PATIENT: (&str, &str) = ("POOLS__THUMBNAILS__METHODS__THUMBNAIL__ATTEMPT_TIMEOUT", "8s");

/// What a caller is told of a process that used too much memory: the broker kills it, or where it may make cgroups the kernel.
const TOO_MUCH_MEMORY: &str = "memory_limit: killed by the broker: memory limit";
const TOO_MUCH_FOR_THE_KERNEL: &str = "oom: out of memory";

#[test]
fn every_file_gets_a_thumbnail_or_the_true_reason() {
    let mut room = Room::new();
    samples::write_all(&room.path("images")).expect("the room is writable");
    File::create(room.path("images/large.bin")).unwrap().set_len(5 << 20).unwrap();
    File::create(room.path("images/huge.bin")).unwrap().set_len(1 << 30).unwrap();
    symlink("..", room.path("images/holiday/circle")).unwrap();
    let broker = room.broker(&[PATIENT, ("BROKER__MAX_BODY", "4MiB")]);

    let ran = room.run("images", "out", &["--size", "128", "--max-file", "6MiB"]);

    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let wanted = [
        ("broken/cut.jpg", "failed", "broken: JPEG: ", "1"),
        ("broken/cut.png", "failed", "broken: PNG: ", "1"),
        ("broken/cut.webp", "failed", "broken: WebP: ", "1"),
        ("broken/empty.jpg", "failed", "broken: the file is empty", "1"),
        ("broken/text.png", "failed", "unsupported: not a PNG, JPEG or WebP image", "1"),
        ("holiday/circle", "not_sent", "a link that leads in a circle, back to .", "0"),
        ("hostile/bomb.png", "crashed", TOO_MUCH_MEMORY, "2"),
        ("hostile/loop.endless", "timed_out", "attempt: the limit of 8s has passed", "1"),
        ("hostile/wild.segv", "crashed", "signal: signal SIGSEGV", "2"),
        ("huge.bin", "not_sent", "cannot be read: its 1.0 GiB are more than the 6.0 MiB of --max-file", "0"),
        ("large.bin", "rejected", "too_large: ", "0"),
    ];
    let table = ran.table();
    for (file, outcome, reason, attempts) in wanted {
        let found = table.get(file).unwrap_or_else(|| panic!("{file} is missing in\n{}", ran.stdout));
        assert_eq!((found.0.as_str(), found.2.as_str()), (outcome, attempts), "{file}: {found:?}");
        let ends_so = |reason: &str| found.1.starts_with(reason);
        let by_the_kernel = reason == TOO_MUCH_MEMORY && ends_so(TOO_MUCH_FOR_THE_KERNEL);
        assert!(ends_so(reason) || by_the_kernel, "{file}: {found:?}");
    }
    assert_eq!(table.len(), wanted.len(), "{}", ran.stdout);
    let summary =
        "8 of 19 files have a thumbnail; 5 failed, 2 crashed, 1 timed_out, 1 rejected, 2 not_sent; ";
    assert!(ran.summary().starts_with(summary), "{}", ran.summary());
    assert!(ran.stderr.contains("thumbnailer: 18 of 18 files"), "{}", ran.stderr);
    assert_thumbnails(&room.path("out"));
    room.stop(broker);
}

#[test]
fn errors_are_typed_and_the_neighbours_do_not_suffer() {
    let mut room = Room::new();
    samples::write_all(&room.path("images")).expect("the room is writable");
    let broker = room.broker(&[PATIENT]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(room.socket()).await.expect("the broker listens");
        let call = |name: &str| {
            let bytes = fs::read(room.path("images").join(name)).expect("a sample");
            client.request(Thumbnail { name: name.to_owned(), bytes, max_side: SIDE })
        };
        let neighbours = tokio::task::LocalSet::new();
        let mut good = Vec::new();
        for (name, ..) in samples::GOOD.iter().cycle().take(40) {
            good.push(neighbours.spawn_local(call(name).into_future()));
        }
        neighbours
            .run_until(async {
                assert_hostile_ends(&call).await;
                for reply in good {
                    let reply = reply.await.expect("not cancelled").expect("a good image");
                    assert_eq!(reply.attempts(), 1, "nobody pays for what a neighbour did");
                }
            })
            .await;
    });
    room.stop(broker);
}

async fn assert_hostile_ends(call: &impl Fn(&str) -> RequestBuilder<Thumbnail>) {
    let error = call("hostile/wild.segv").await.expect_err("it crashes");
    let CallError::WorkerCrashed { reason, attempt: 2, max_attempts: 2, attempts, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((reason.label(), reason.signal()), ("signal", Some(11)));
    assert_eq!(reason.confidence(), ConfidenceLabel::Proven);
    assert_ne!(attempts[0].pid, attempts[1].pid);

    let error = call("hostile/bomb.png").retry(1).await.expect_err("it is too much");
    let CallError::WorkerCrashed { reason, attempt: 1, .. } = &error else { panic!("{error:?}") };
    assert!(["memory_limit", "oom"].contains(&reason.label()), "{reason:?}");
    assert_eq!(reason.confidence(), ConfidenceLabel::Proven);

    let error = call("hostile/loop.endless")
        .attempt_timeout(Duration::from_secs(1))
        .await
        .expect_err("it never ends");
    let CallError::TimedOut { which: TimeoutWhich::Attempt, attempts, unanswered: false, .. } = &error else {
        panic!("{error:?}");
    };
    let reason = attempts[0].reason.as_ref().expect("its process was killed");
    assert_eq!((attempts.len(), reason.label()), (1, "attempt_timeout"));

    for (name, wanted) in
        [("broken/text.png", "unsupported"), ("broken/empty.jpg", "broken"), ("broken/cut.png", "broken")]
    {
        let error = call(name).await.expect_err("no image");
        let CallError::Failed { code, retryable: false, .. } = &error else { panic!("{name}: {error:?}") };
        assert_eq!(code, wanted, "{name}");
    }
}

#[test]
fn good_files_alone_are_a_success() {
    let mut room = Room::new();
    samples::write_all(&room.path("images")).expect("the room is writable");
    let broker = room.broker(&[]);
    let ran = room.run("images/holiday", "out", &["--jobs", "1"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.summary().starts_with("3 of 3 files have a thumbnail; "), "{}", ran.summary());
    room.stop(broker);
}

#[test]
fn a_lost_broker_is_told_and_takes_its_workers_along() {
    let mut room = Room::new();
    fs::create_dir(room.path("images")).unwrap();
    let dot = samples::picture(SourceFormat::Png, 1, 1).unwrap();
    for name in ["1.png", "2.endless", "3.png"] {
        fs::write(room.path("images").join(name), &dot).unwrap();
    }
    let broker = room.broker(&[("POOLS__THUMBNAILS__METHODS__THUMBNAIL__ATTEMPT_TIMEOUT", "120s")]);
    let running = room.start("images", "out", &["--jobs", "1"]);
    until("the first thumbnail is there", || room.path("out/1.png.png").exists());
    broker.kill();
    let ran = running.end();
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    let table = ran.table();
    // Whether it was sent just before is a matter of luck; that it has an end is not.
    assert!(["disconnected", "not_sent"].contains(&table["2.endless"].0.as_str()), "{table:?}");
    assert_eq!(table["3.png"].0, "not_sent", "{table:?}");
    assert_eq!(table.len(), 2);
    room.assert_nothing_left();
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_written() {
    let room = Room::new();
    fs::create_dir(room.path("images")).unwrap();
    let refused = |ran: Ran, words: &str| {
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    };
    refused(room.run("missing", "out", &[]), "cannot read the directory");
    refused(room.run("stdout", "out", &[]), "is not a directory");
    refused(room.run("images", "images/thumbs", &[]), "choose a directory elsewhere for --out");
    refused(room.run("images", "out", &["--size", "0"]), "--size");
    refused(room.run("images", "out", &["--jobs", "0"]), "--jobs");
    refused(room.run("images", "out", &[]), "is `lifeboat serve` running");
    fs::write(room.socket(), "no socket").expect("the room is writable");
    refused(room.run("images", "out", &[]), "cannot connect to the broker at");
    assert!(!room.path("out").exists() && !room.path("images/thumbs").exists());
}

/// Every good sample has a thumbnail of the right size and colours, and nothing else has one.
fn assert_thumbnails(out: &Path) {
    for (name, source, width, height) in samples::GOOD {
        let format = if source == SourceFormat::Jpeg { ThumbFormat::Jpeg } else { ThumbFormat::Png };
        let path = out.join(format!("{name}.{}", format.suffix()));
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let image = image::load_from_memory(&bytes).expect("a thumbnail is an image").into_rgb8();
        let scale = (f64::from(SIDE) / f64::from(width.max(height))).min(1.0);
        let scaled = |side: u32| (f64::from(side) * scale).round();
        let size = (f64::from(image.width()), f64::from(image.height()));
        assert_eq!(size, (scaled(width), scaled(height)), "{name}");
        if width > SIDE {
            let ([left, top, _], [right, bottom, _]) =
                (image.get_pixel(0, 0).0, image.get_pixel(image.width() - 1, image.height() - 1).0);
            assert!(left < 40 && top < 40 && right > 215 && bottom > 215, "{name}: the colours are wrong");
        }
    }
    assert_eq!(count_files(out), samples::GOOD.len());
}

fn count_files(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).expect("it was written").flatten().map(|entry| entry.path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}
