//! `lifeboat serve`: the broker, until it is told to end.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::broker::{self, BrokerOptions, RunningBroker, Stopper};
use super::exit::Exit;
use super::logging::{self, LogFormat, LogGuard};
use crate::config::{Config, process_environment};
use crate::process::become_subreaper_and_reset_sigchld;

/// Runs a broker until SIGTERM or SIGINT has drained it; a second signal ends it at once.
pub fn run(path: &Path) -> Exit {
    let adopting = become_subreaper_and_reset_sigchld();
    let log = logging::init(LogFormat::Text);
    if let Err(error) = adopting {
        tracing::warn!(%error, "descendants that escape their worker are searched for in the whole system");
    }
    let config = match Config::load(path, process_environment()) {
        Ok(config) => config,
        Err(error) => {
            log.complain(&error.to_string());
            return Exit::Usage;
        }
    };
    for warning in &config.warnings {
        tracing::warn!(place = %warning.place, "{}", warning.message);
    }
    for key in &config.unknown_yet {
        tracing::warn!(place = %key.place, key = key.key, "this key is accepted and has no effect yet");
    }
    match serve(config, &log) {
        Ok(()) => Exit::Done,
        Err(error) => {
            log.complain(&format!("{error:#}"));
            Exit::Failed
        }
    }
}

fn serve(config: Config, log: &LogGuard) -> anyhow::Result<()> {
    let signals = Signals::register()?;
    let options = BrokerOptions {
        owns_all_children: true,
        log_lines_dropped: Some(log.dropped_lines()),
        ..BrokerOptions::default()
    };
    let broker = broker::start(config, options)?;
    tracing::info!(
        socket = %broker.socket().display(),
        http = %broker.http().map_or_else(|| "off".to_owned(), |address| address.to_string()),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    Ok(serve_until_told(broker, signals, None)?)
}

/// SIGTERM and SIGINT, and what the thread that heeds them needs.
pub(super) struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// From now on they wait to be heeded. To be called before the socket exists: who sees it may already send one.
    pub(super) fn register() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (terminate, interrupt) = {
            let _entered = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        Ok(Self { runtime, terminate, interrupt, hangup: None })
    }

    /// SIGHUP too: the terminal is gone.
    pub(super) fn and_hangup(mut self) -> io::Result<Self> {
        let entered = self.runtime.enter();
        let hangup = signal(SignalKind::hangup())?;
        drop(entered);
        self.hangup = Some(hangup);
        Ok(self)
    }
}

/// Blocks until the broker has ended, as signals say; `patience` after the first it is ended at once, as by a second.
pub(super) fn serve_until_told(
    broker: RunningBroker,
    signals: Signals,
    patience: Option<Duration>,
) -> io::Result<()> {
    let stopper = broker.stopper();
    let ended = tokio_util::sync::CancellationToken::new();
    let watching = ended.clone();
    let watcher = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let Signals { runtime, terminate, interrupt, hangup } = signals;
        runtime.block_on(async {
            tokio::select! {
                () = obey((terminate, interrupt, hangup), &stopper, patience) => {}
                () = watching.cancelled() => {}
            }
        });
    })?;
    let served = broker.join();
    ended.cancel();
    if watcher.join().is_err() {
        tracing::error!("the signal watcher panicked; this is a bug");
    }
    served?;
    tracing::info!("ended");
    Ok(())
}

/// The first signal drains, each further one ends at once, and so does the end of patience. A terminal that goes is told of
/// by its shell and by the kernel: only as the first does a hangup count.
async fn obey(
    (mut terminate, mut interrupt, mut hangup): (Signal, Signal, Option<Signal>),
    stopper: &Stopper,
    mut patience: Option<Duration>,
) {
    let mut draining = false;
    loop {
        let over = async {
            match patience.filter(|_| draining) {
                Some(patience) => tokio::time::sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        let told = tokio::select! {
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            () = hung_up(&mut hangup), if !draining => true,
            () = over => false,
        };
        if !told {
            patience = None;
            stopper.stop_now();
        } else if draining {
            tracing::warn!("told to end a second time: ending at once");
            stopper.stop_now();
        } else {
            tracing::info!("told to end: draining; a second signal ends at once");
            stopper.drain();
            draining = true;
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

/// Errors of commands that have no log go to stderr, as they are: they say what to do.
pub(super) fn complain(text: &str) {
    // Nothing is left to do about a stderr that is gone.
    drop(writeln!(io::stderr(), "lifeboat: {text}"));
}
