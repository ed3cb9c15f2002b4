//! A running broker, seen from outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeboat_client::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::start::read;
use super::{LIMIT, Marked, Metrics, Page, Room, Start, cgroups_of, eventually, get, until_some, wait_until};

/// How long a broker may take to end after SIGTERM when nothing runs.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// How long after the broker's end its processes may still be seen dying.
const LEAVING: Duration = Duration::from_secs(1);

/// How much of the log a failing test shows.
const TAIL: usize = 60;

/// A broker in a process of its own. Dropping it kills it and all that carries its mark, and shows the end of its log if
/// the test is failing; [`Broker::stop`] ends it in order and checks that nothing is left.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    pid: u32,
    room: Arc<Room>,
    log: PathBuf,
    http: Option<SocketAddr>,
    expected: Vec<String>,
}

impl Broker {
    /// Starts `lifeboat serve` with a configuration; see [`Start`].
    ///
    /// # Panics
    ///
    /// When it does not serve.
    pub async fn start(config: impl Into<String>) -> Self {
        Start::new(config).start().await
    }

    pub(super) fn new(child: Child, room: Arc<Room>, log: PathBuf, http: Option<SocketAddr>) -> Self {
        let pid = inner_pid(child.id());
        Self { child, pid, room, log, http, expected: Vec::new() }
    }

    /// Says that the log may have ERROR lines with this text.
    pub fn expect_error(&mut self, text: impl Into<String>) {
        self.expected.push(text.into());
    }

    /// The process id of the broker itself, even where another program started it.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Its directory, socket and mark.
    #[must_use]
    pub const fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Where its clients connect.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.room.socket()
    }

    /// All it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Where its log is.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Where HTTP listens.
    ///
    /// # Panics
    ///
    /// When it is off.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http.expect("this broker serves HTTP")
    }

    /// Waits until every pool is ready.
    ///
    /// # Panics
    ///
    /// When they are not within [`LIMIT`].
    pub async fn ready(&self) -> &Self {
        eventually(LIMIT, "/readyz says 200", async || {
            matches!(self.page("/readyz").await, Ok(Page { status: 200, .. }))
        })
        .await;
        self
    }

    /// Waits until no worker is in any state but `ready`.
    ///
    /// # Panics
    ///
    /// When they are not within [`LIMIT`].
    pub async fn all_idle(&self) {
        eventually(LIMIT, "every worker is ready and idle", async || {
            let health = self.health().await;
            let workers = health["workers"].as_object().expect("health has workers");
            workers.values().all(|worker| worker["state"] == "ready")
        })
        .await;
    }

    /// Waits until every worker has a process that serves, busy or not.
    ///
    /// # Panics
    ///
    /// When they do not within [`LIMIT`].
    pub async fn all_up(&self) {
        eventually(LIMIT, "every worker serves", async || {
            // HTTP may be what the broker has no room for.
            let Ok(Page { status: 200, body }) = self.page("/worker-health").await else { return false };
            let health: Value = serde_json::from_str(&body).expect("/worker-health is JSON");
            let workers = health["workers"].as_object().expect("health has workers");
            workers.values().all(|worker| worker["state"] == "ready" || worker["state"] == "busy")
        })
        .await;
    }

    /// A client of its own.
    ///
    /// # Panics
    ///
    /// When it cannot connect.
    pub async fn client(&self) -> Client {
        Client::connect(self.socket()).await.expect("a running broker takes clients")
    }

    /// One HTTP request.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn page(&self, path: &str) -> std::io::Result<Page> {
        get(self.http(), path).await
    }

    /// What `/metrics` says now.
    ///
    /// # Panics
    ///
    /// When it does not answer with 200.
    pub async fn metrics(&self) -> Metrics {
        let page = self.page("/metrics").await.expect("/metrics answers");
        assert_eq!(page.status, 200, "/metrics: {}", page.body);
        Metrics::parse(&page.body)
    }

    /// What `/worker-health` says now.
    ///
    /// # Panics
    ///
    /// When it does not answer with JSON.
    pub async fn health(&self) -> Value {
        let page = self.page("/worker-health").await.expect("/worker-health answers");
        serde_json::from_str(&page.body).expect("/worker-health is JSON")
    }

    /// The process of a worker, once it has one.
    ///
    /// # Panics
    ///
    /// When it has none within [`LIMIT`].
    pub async fn worker_pid(&self, worker: &str) -> u32 {
        until_some(LIMIT, "the worker has a process", async || {
            let health = self.health().await;
            health["workers"][worker]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
        })
        .await
    }

    /// Every living process of this broker's room, the broker included.
    #[must_use]
    pub fn alive(&self) -> Vec<Marked> {
        self.room.mark().alive()
    }

    /// The living processes of one incarnation of a worker, descendants included.
    #[must_use]
    pub fn tree_of(&self, worker: &str, incarnation: u64) -> Vec<Marked> {
        let mut alive = self.alive();
        alive.retain(|marked| marked.worker() == Some((worker, incarnation)));
        alive
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the broker can be signalled");
    }

    /// SIGTERM: drain and end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGKILL, and waits until it is reaped. Gives the room back, for the next broker.
    pub fn kill(mut self) -> Arc<Room> {
        self.signal(Signal::KILL);
        self.wait_for_exit(LIMIT);
        Arc::clone(&self.room)
    }

    /// Waits for its end, and tells how it ended and how long that took.
    ///
    /// # Panics
    ///
    /// When it does not end within `limit`.
    pub fn wait_for_exit(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let mut status = None;
        wait_until(limit, || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        let Some(status) = status else { panic!("the broker has not ended after {limit:?}") };
        (status, began.elapsed())
    }

    /// SIGTERM, then [`Broker::ended`].
    ///
    /// # Panics
    ///
    /// As [`Broker::ended`].
    pub fn stop(self) {
        self.terminate();
        self.ended();
    }

    /// Waits for an end that was asked for, and checks all that must be true after it.
    ///
    /// # Panics
    ///
    /// When the exit code is not 0, a process or a cgroup is left, a file other than the lock is left, or the log has an ERROR line
    /// that was not expected.
    pub fn ended(mut self) {
        let (status, _) = self.wait_for_exit(STOP_LIMIT);
        assert_eq!(status.code(), Some(0), "the broker's exit code ({status})");
        // A process that was just killed may be seen for a moment before its parent's parent reaps it.
        wait_until(LEAVING, || self.alive().is_empty());
        let alive = self.alive();
        assert!(alive.is_empty(), "left alive: {alive:#?}");
        let cgroups = cgroups_of(self.pid);
        assert!(cgroups.is_empty(), "cgroups are left: {cgroups:?}");
        assert_eq!(self.room.left_in_seat(), ["broker.sock.lock"], "left beside the socket");
        let errors = self.unexpected_errors();
        assert!(errors.is_empty(), "the log has errors:\n{}", errors.join("\n"));
    }

    fn unexpected_errors(&self) -> Vec<String> {
        let is_error = |line: &&str| {
            let level = line.split_whitespace().nth(1);
            level == Some("ERROR") || (line.starts_with("thread '") && line.contains("panicked at"))
        };
        let is_expected = |line: &&str| self.expected.iter().any(|text| line.contains(text));
        let log = self.log();
        log.lines().filter(is_error).filter(|line| !is_expected(line)).map(str::to_owned).collect()
    }
}

impl Drop for Broker {
    #[expect(clippy::print_stderr, reason = "the test runner shows it with the failure that it explains")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let skipped = log.lines().count().saturating_sub(TAIL);
            let tail: Vec<_> = log.lines().skip(skipped).collect();
            eprintln!("--- the end of the broker's log ---\n{}\n---", tail.join("\n"));
        }
        // It has mostly ended and been waited for; both then fail, harmlessly. The room's drop takes the rest.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The broker behind a program that started it as its child instead of becoming it.
fn inner_pid(pid: u32) -> u32 {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim() != "unshare" {
        return pid;
    }
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().find_map(|child| child.parse().ok()).unwrap_or(pid)
}
