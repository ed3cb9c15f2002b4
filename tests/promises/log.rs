//! The log never blocks the broker: a stderr that nobody reads costs lines, which are counted and told, and nothing else.

use std::future::IntoFuture;
use std::io::{BufRead as _, BufReader, PipeReader, pipe};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{
    LIMIT, MARK_VARIABLE, Metrics, Room, Turn, broker_program, eventually, get, until_some,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{config, echo};

/// More lines than the broker keeps for a reader that does not come.
const TOO_MANY: u64 = 6_000;

/// What the log says of the lines that it has lost.
const DROPPED: &str = "lines of the log were dropped";

/// A broker that logs every failed attempt to a small pipe, which is read up to the line that says that it serves, and
/// then no further.
struct Unread {
    child: Child,
    room: Room,
    http: SocketAddr,
    rest: BufReader<PipeReader>,
}

impl Unread {
    fn start() -> Self {
        let room = Room::new();
        let file = room.write_config(&config("sdk", 2, "", ""));
        let (reader, writer) = pipe().expect("a pipe");
        rustix::pipe::fcntl_setpipe_size(&reader, 4096).expect("a pipe can be small");
        let mut command = Command::new(broker_program());
        command.args(["serve", "--config"]).arg(file).env(MARK_VARIABLE, room.mark().value());
        command.env("LIFEBOAT_LOG", "lifeboat=trace").stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(writer).spawn().expect("the broker can be started");
        // The command has kept its own end of the pipe until here: only the broker may hold one.
        drop(command);
        let mut rest = BufReader::new(reader);
        let http = loop {
            let mut line = String::new();
            assert!(rest.read_line(&mut line).expect("text") > 0, "the broker ended instead of serving");
            let address = line.split_whitespace().find_map(|word| word.strip_prefix("http="));
            if let (true, Some(address)) = (line.contains("serving"), address) {
                break address.parse().expect("an address");
            }
        };
        Self { child, room, http, rest }
    }

    async fn client(&self) -> Client {
        Client::connect(self.room.socket()).await.expect("a running broker takes clients")
    }

    async fn dropped(&self) -> u64 {
        let page = in_time(get(self.http, "/metrics")).await.expect("/metrics answers");
        Metrics::parse(&page.body).count("log_lines_dropped_total", &[])
    }

    /// Calls that fail, until more lines are lost than could be an accident. Tells how many failed.
    async fn flood(&self, client: &Client) -> u64 {
        let mut failed = 0;
        while failed < TOO_MANY || self.dropped().await == 0 {
            let call = |_| {
                let client = client.clone();
                tokio::spawn(async move { client.call(Act::new(Deed::Fail { retryable: false })).await })
            };
            let calls: Vec<_> = (0..200).map(call).collect();
            for call in calls {
                let answer = in_time(call).await.expect("no panic");
                assert!(matches!(answer, Err(CallError::Failed { .. })), "{answer:?}");
                failed += 1;
            }
        }
        failed
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::TERM).expect("the broker can be signalled");
    }

    async fn end(mut self) -> ExitStatus {
        let ended = async || self.child.try_wait().expect("a child can be waited for");
        let status = until_some(LIMIT, "the broker ends", ended).await;
        eventually(LIMIT, "nothing is left alive", async || self.room.mark().alive().is_empty()).await;
        assert_eq!(self.room.left_in_seat(), ["broker.sock.lock"]);
        status
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // It has mostly ended and been waited for; both then fail, harmlessly.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a broker does whose stderr nobody reads.
async fn in_time<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.expect("the broker goes on while nobody reads its stderr")
}

/// The value of a member of a line of the log.
fn number(line: &str, member: &str) -> u64 {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(member)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {member} in {line}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stderr_that_nobody_reads_costs_lines_and_nothing_else() {
    let _turn = Turn::shared();
    let mut broker = Unread::start();
    let client = broker.client().await;
    let failed = broker.flood(&client).await;

    // Now the pipe and the queue are full, and everything goes on.
    let began = Instant::now();
    for tag in 0..100 {
        echo(&client, tag).await;
    }
    in_time(client.call(Act::new(Deed::Abort))).await.expect_err("it aborts");
    echo(&client, 100).await;
    for path in ["/livez", "/readyz", "/worker-health"] {
        assert_eq!(in_time(get(broker.http, path)).await.expect("an answer").status, 200, "{path}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let dropped = broker.dropped().await;

    // Somebody reads again: they hear what they have missed, and the rest to the last line.
    let (reader, _) = pipe().expect("a pipe");
    let rest = std::mem::replace(&mut broker.rest, BufReader::new(reader));
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let reading = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for line in rest.lines() {
            let line = line.expect("text");
            if line.contains(DROPPED) {
                told.send(()).unwrap_or_default();
            }
            lines.push(line);
        }
        lines
    });
    let heard = tokio::time::timeout(LIMIT, hears.recv()).await.expect("it is told in time");
    heard.expect("it is told before the end");
    broker.terminate();
    assert_eq!(broker.end().await.code(), Some(0));
    let lines = reading.join().expect("no panic");
    let last = lines.last().expect("lines");
    assert!(last.contains(" INFO ") && last.ends_with("ended"), "the last line is there: {last}");
    let tellings: Vec<&String> = lines.iter().filter(|line| line.contains(DROPPED)).collect();
    let sum: u64 = tellings.iter().map(|line| number(line, "dropped")).sum();
    assert!(
        sum >= dropped && sum == number(tellings[tellings.len() - 1], "in_all"),
        "{dropped}: {tellings:#?}"
    );
    let logged = lines.iter().filter(|line| line.contains("AttemptEnded") && line.contains("Failed")).count();
    assert!(logged as u64 + sum >= failed, "{failed} failed, {logged} are in the log, {sum} were dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_for_a_stderr_that_nobody_reads() {
    let _turn = Turn::shared();
    let broker = Unread::start();
    let client = broker.client().await;
    broker.flood(&client).await;
    let began = Instant::now();
    broker.terminate();
    assert_eq!(broker.end().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
