//! `lifeboat demo`: the main job, for real, with nothing to configure.
//!
//! One binary in three roles: this process runs the broker, the fault injector and the account; its workers and its
//! clients are this same program started again. It must never count anything twice or by another way than a user would:
//! outcomes are what the clients saw, deaths what the broker judged, and the totals are those of `/metrics`.

mod account;
mod client;
mod faults;
mod injector;
mod scrape;
mod status;
mod tally;
mod worker;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc;

use self::account::Account;
use self::client::ClientArgs;
use self::injector::Injector;
use self::status::{Clients, Told};
use self::tally::Tally;
use super::broker::{self, BrokerOptions, RunningBroker};
use super::exit::Exit;
use super::logging::{self, LogFormat, LogGuard};
use crate::config::Config;
use crate::observe::News;
use crate::process::become_subreaper_and_reset_sigchld;

/// Starts and deaths that may wait to be taken into the account: far more than a demo has.
const NEWS: usize = 1 << 22;

/// Requests that each client keeps in flight.
const IN_FLIGHT: u16 = 16;

/// The mean time between two faults over all clients: enough for six deaths a second and more.
const FAULT_EVERY: Duration = Duration::from_millis(90);

/// How long clients may take to end after their time, and the last deaths to be judged.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// What the user may choose.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// How long requests are sent, in seconds.
    #[arg(long, default_value_t = 20.0, value_parser = seconds, value_name = "N")]
    seconds: f64,
    /// How many client processes.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N")]
    clients: u16,
    /// How many workers.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N")]
    workers: u16,
    /// Decides which requests die how; random if not given.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where HTTP listens; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    http: SocketAddr,
    /// Print one JSON object at the end; the status goes to stderr.
    #[arg(long)]
    json: bool,
}

/// The roles in which the demo starts itself again.
#[derive(Debug, clap::Subcommand)]
pub(super) enum DemoRole {
    Worker,
    #[command(name = "client")]
    Client(ClientArgs),
}

impl DemoRole {
    pub(super) fn run(self) -> Exit {
        match self {
            Self::Worker => worker::run(),
            Self::Client(args) => client::run(args),
        }
    }
}

/// Runs the demo. 0 if everything balances.
pub fn run(args: &DemoArgs) -> Exit {
    let adopting = become_subreaper_and_reset_sigchld();
    let log = logging::init_with(LogFormat::Text, "error", &logging::FILTER_VARIABLES);
    if let Err(error) = adopting {
        tracing::warn!(%error, "descendants that escape their worker are searched for in the whole system");
    }
    match demo(args, &log) {
        Ok(account) => {
            let shown = if args.json { account.write_json() } else { account.write_table() };
            if let Err(error) = shown {
                log.complain(&format!("the account could not be written: {error}"));
                return Exit::Failed;
            }
            if account.balanced { Exit::Done } else { Exit::Failed }
        }
        Err(error) => {
            log.complain(&format!("the demo failed: {error:#}"));
            Exit::Failed
        }
    }
}

fn demo(args: &DemoArgs, log: &LogGuard) -> anyhow::Result<Account> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let (tell, told) = std::sync::mpsc::channel();
    status::tell_interrupts(tell.clone())?;
    let home =
        tempfile::Builder::new().prefix("lifeboat-demo-").tempdir().context("no directory for the demo")?;
    let program = std::env::current_exe().context("the demo cannot find its own program")?;
    let ledger = home.path().join("ledger");
    let injector = Injector::start(&ledger).context("the fault injector cannot start")?;
    let socket = home.path().join("broker.sock");
    let config = configuration(args, &program, &socket, &ledger)?;
    let (tell_news, news) = mpsc::channel(NEWS);
    let options = BrokerOptions {
        seed: Some(seed),
        news: Some(tell_news),
        log_lines_dropped: Some(log.dropped_lines()),
        ..BrokerOptions::default()
    };
    let broker = broker::start(config, options)?;
    let http = broker.http().context("the demo needs HTTP for its account")?;
    announce(args, seed, http)?;

    let clients = start_clients(args, seed, &program, broker.socket())?;
    let length = Duration::from_secs_f64(args.seconds);
    let (tally, unfinished) =
        clients.watch(length, LAST_WORDS, status::Screen::new(args.json), (tell, &told))?;
    let account = settle(&Counted { tally, unfinished, injector, http, seed }, news, &told)?;
    end(broker)?;
    Ok(account)
}

/// What the account is taken of, beside the deaths and `/metrics`.
struct Counted {
    tally: Tally,
    /// Clients that did not come to their end.
    unfinished: usize,
    injector: Injector,
    http: SocketAddr,
    seed: u64,
}

/// Takes the account once every death that the ledger announces has been judged, or waited for long enough.
fn settle(
    counted: &Counted,
    mut news: mpsc::Receiver<News>,
    told: &std::sync::mpsc::Receiver<Told>,
) -> anyhow::Result<Account> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let give_up = Instant::now() + LAST_WORDS;
    let mut judged = Vec::new();
    runtime.block_on(async {
        loop {
            while let Ok(news) = news.try_recv() {
                if let News::Died { death, .. } = news {
                    judged.push(death);
                }
            }
            anyhow::ensure!(!matches!(told.try_recv(), Ok(Told::Interrupted)), "it was interrupted");
            let samples = scrape::scrape(counted.http).await?;
            let account = Account::take(counted, &judged, &samples);
            if account.balanced || Instant::now() >= give_up {
                return Ok(account);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

fn end(broker: RunningBroker) -> io::Result<()> {
    broker.drain();
    broker.join()
}

fn announce(args: &DemoArgs, seed: u64, http: SocketAddr) -> io::Result<()> {
    writeln!(
        io::stderr(),
        "lifeboat demo: {} clients, {} workers, faults for {} s (seed {seed}); http://{http}/metrics, /worker-health",
        args.clients,
        args.workers,
        args.seconds,
    )
}

/// The demo's configuration, in the same form as a user's.
fn configuration(args: &DemoArgs, program: &Path, socket: &Path, ledger: &Path) -> anyhow::Result<Config> {
    let text = |path: &Path| {
        path.to_str().map(|path| toml::Value::from(path).to_string()).context("a path is not UTF-8")
    };
    let file = format!(
        r#"
[broker]
socket = {socket}
http = "{http}"
drain_timeout = "2s"

[pools.demo]
command = [{program}, "__demo", "worker"]
workers = {workers}
# Without a backtrace: to print one, a panicking worker reads its own symbols, and that takes more memory and time than
# the limits below allow.
env = {{ {variable} = {ledger}, RUST_BACKTRACE = "0" }}
cancel_grace = "50ms"
stop_grace = "100ms"
kill_timeout = "5s"
limits = {{ memory = "128MiB" }}
queue = {{ max_requests = 16384 }}
heartbeat = {{ interval = "300ms", missed = 4 }}
# Every fault is meant: however many come at once, the pool goes on.
restart = {{ max_restarts = "unlimited" }}

[pools.demo.methods.work]
attempt_timeout = "2s"
progress_timeout = "1500ms"
deadline = "20s"
retry = {{ on = ["crash", "stall", "timeout"], max_attempts = 4 }}
"#,
        socket = text(socket)?,
        http = args.http,
        program = text(program)?,
        workers = args.workers,
        variable = worker::LEDGER_VARIABLE,
        ledger = text(ledger)?,
    );
    Ok(Config::parse(&file, "the demo's configuration", [])?)
}

fn start_clients(args: &DemoArgs, seed: u64, program: &Path, socket: &Path) -> anyhow::Result<Clients> {
    let mut clients = Clients::default();
    for index in 0..args.clients {
        let fault_every = FAULT_EVERY * u32::from(args.clients);
        clients.start(
            program,
            &ClientArgs {
                socket: PathBuf::from(socket),
                seconds: args.seconds,
                seed: seed.wrapping_add(u64::from(index)),
                index,
                in_flight: IN_FLIGHT,
                fault_every_ms: u64::try_from(fault_every.as_millis()).unwrap_or(u64::MAX),
                parent: std::process::id(),
            },
        )?;
    }
    Ok(clients)
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("a number of seconds from 0.1 to 86400".to_owned()),
    }
}
