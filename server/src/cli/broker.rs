//! A broker in this process: its three planes, started and ended together.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};

use lifeboat_core::settings::Settings;
use lifeboat_core::time::Timestamp;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::control_plane::{Alerts, ControlPlane, ReportFiles};
use super::data_plane::{DataPlane, Stop};
use super::descriptors::{self, Descriptors};
use super::limits;
use super::process_link::ProcessLink;
use super::spawn_specs::spawn_specs;
use super::start_name;
use crate::config::{AlertsConfig, Cgroups, Config, HttpListen};
use crate::engine::Clock;
use crate::link::LinkSettings;
use crate::link::lock::{self, BindError, Seat};
use crate::observe::{AlertCounts, News, Observer, ReportFolder, WallClock, Webhook, WebhookError};
use crate::process::{CgroupUse, PlaneError, PlaneOptions, ProcessPlane};

/// Questions of the control plane that may wait to be answered.
const QUERIES: usize = 64;

/// Why a broker could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The clients' socket cannot be had.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// The HTTP address cannot be had.
    #[error("the HTTP address {address} cannot be had: {source}; choose another `broker.http`, or \"off\"")]
    Http {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The process plane cannot be started.
    #[error(transparent)]
    Processes(#[from] PlaneError),
    /// Alerts cannot be delivered.
    #[error(transparent)]
    Alerts(#[from] WebhookError),
    /// A thread cannot be started.
    #[error("the {name} thread cannot be started: {source}; raise the limit on threads (ulimit -u)")]
    Thread {
        /// Which.
        name: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Too few descriptors for the configured workers.
    #[error(
        "{processes} worker processes need {needed} file descriptors and this process may have {limit}; raise the \
         limit (ulimit -n) or configure fewer workers"
    )]
    Descriptors {
        /// How many processes there may be at once: the configured workers, and one successor for each pool.
        processes: usize,
        /// What they and the broker need.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
}

/// A broker that runs in this process.
///
/// Dropping it ends the broker at once; [`RunningBroker::drain`] and [`RunningBroker::join`] end it in order.
#[derive(Debug)]
pub struct RunningBroker {
    socket: PathBuf,
    http: Option<SocketAddr>,
    stops: mpsc::UnboundedSender<Stop>,
    data: Option<JoinHandle<io::Result<()>>>,
    control: Option<JoinHandle<io::Result<()>>>,
    control_stop: CancellationToken,
    /// Gives the socket's path back, last of all.
    _seat: Seat,
}

/// What an embedding program may wish beside the configuration.
#[derive(Debug, Default)]
pub struct BrokerOptions {
    /// Seeds jitter; random if `None`.
    pub seed: Option<u64>,
    /// This process has no children but the broker's: orphans without any mark are then a worker's, and are ended. A
    /// program that starts processes of its own must leave it off.
    pub owns_all_children: bool,
    /// Told what becomes of processes. When the channel is full, news are dropped and the drops are logged.
    pub news: Option<mpsc::Sender<News>>,
    /// How many lines this process's log has dropped, for `/metrics`; see
    /// [`LogGuard::dropped_lines`](super::logging::LogGuard::dropped_lines).
    pub log_lines_dropped: Option<Arc<AtomicU64>>,
}

impl BrokerOptions {
    /// An observer from now on, as wished.
    fn observer(&mut self, settings: &Settings) -> Observer {
        let mut observer = Observer::new(settings, WallClock::starting_at(Timestamp::ZERO));
        if let Some(news) = self.news.take() {
            observer.tell_news(news);
        }
        if let Some(dropped) = self.log_lines_dropped.take() {
            observer.show_dropped_log_lines(dropped);
        }
        observer
    }
}

/// Starts a broker. Returns once its socket accepts clients and its first processes are ordered.
///
/// # Errors
///
/// When the socket or the HTTP address cannot be had, or the system refuses threads or descriptors.
pub fn start(config: Config, mut options: BrokerOptions) -> Result<RunningBroker, StartError> {
    let Config { broker, mut settings, commands, alerts, .. } = config;
    settings.start = start_name::now();
    let workers: usize = settings.pools.iter().map(|pool| usize::from(pool.workers.get())).sum();
    // Every pool may be getting one successor ready beside its workers.
    let Descriptors { max_clients, before } = descriptors::raise(workers + settings.pools.len())?;
    let (seat, listener) = lock::take(&broker.socket)?;
    let http_listener = match broker.http {
        HttpListen::At(address) => Some(listen(address)?),
        HttpListen::Off => None,
    };
    let http = http_listener.as_ref().and_then(|listener| listener.local_addr().ok());

    let (report, reports) = mpsc::unbounded_channel();
    let worker_memory: Arc<[AtomicU64]> = (0..workers).map(|_| AtomicU64::new(0)).collect();
    let plane = ProcessPlane::start(PlaneOptions {
        owns_all_children: options.owns_all_children,
        worker_memory: Arc::clone(&worker_memory),
        cgroups: cgroup_use(broker.cgroups),
        ..PlaneOptions::new(report)
    })?;
    let mut clock = Clock::start();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut observer = options.observer(&settings);
    observer.show_worker_memory(worker_memory);
    let alerts = take_alerts(alerts, &mut observer)?;
    let reports_in_files = broker.state_dir.as_deref().map(|place| take_reports(place, &mut observer));
    let cgroups = plane.cgroups();
    limits::complain(settings.pools.iter().map(|pool| pool.name.as_str()), &commands, cgroups);
    observer.show_limits(limits::in_force(&commands, cgroups));
    clock.read();
    let (stops, stop_orders) = mpsc::unbounded_channel();
    let (ask, queries) = mpsc::channel(QUERIES);
    let slots: Vec<u16> = settings.pools.iter().map(|pool| pool.slots.get()).collect();
    let specs = spawn_specs(commands.into_iter().zip(slots), before, &broker.socket);
    let data_plane = DataPlane {
        link: LinkSettings { max_body: broker.max_body, client_backlog: broker.client_backlog, max_clients },
        settings,
        workers,
        seed,
        clock,
        observer,
        processes: ProcessLink::new(plane, specs),
        reports,
        queries,
        stops: stop_orders,
        listener,
    };
    let data = spawn_thread("data plane", || data_plane.run())?;
    let control_stop = CancellationToken::new();
    let control = ControlPlane {
        listener: http_listener,
        status_interval: broker.status_interval,
        alerts,
        reports: reports_in_files,
        queries: ask,
        stop: control_stop.clone(),
    };
    let control =
        if control.is_needed() { Some(spawn_thread("control plane", || control.run())?) } else { None };
    Ok(RunningBroker {
        socket: broker.socket,
        http,
        stops,
        data: Some(data),
        control,
        control_stop,
        _seat: seat,
    })
}

impl RunningBroker {
    /// Where clients connect.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where HTTP listens, with the port that was chosen; `None` if it is off.
    #[must_use]
    pub const fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Begins a shutdown: no new requests, running ones are finished. A second call changes nothing.
    pub fn drain(&self) {
        self.stop(Stop::Drain);
    }

    /// Ends at once: every process is killed, open requests are `closed`.
    pub fn stop_now(&self) {
        self.stop(Stop::Now);
    }

    /// What [`RunningBroker::drain`] and [`RunningBroker::stop_now`] do, for another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stops.clone())
    }

    /// Blocks until the shutdown is complete and nothing of the broker runs.
    ///
    /// # Errors
    ///
    /// When a plane could not run.
    pub fn join(mut self) -> io::Result<()> {
        self.end()
    }

    fn stop(&self, stop: Stop) {
        // A data plane that is gone has stopped.
        self.stops.send(stop).unwrap_or_default();
    }

    fn end(&mut self) -> io::Result<()> {
        let data = join_thread(self.data.take());
        self.control_stop.cancel();
        let control = join_thread(self.control.take());
        data.and(control)
    }
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        if self.data.is_some() {
            self.stop(Stop::Now);
            if let Err(error) = self.end() {
                tracing::error!(%error, "the broker did not end in order");
            }
        }
    }
}

/// Ends a broker from another thread.
#[derive(Clone, Debug)]
pub struct Stopper(mpsc::UnboundedSender<Stop>);

impl Stopper {
    /// Begins a shutdown, as [`RunningBroker::drain`].
    pub fn drain(&self) {
        self.0.send(Stop::Drain).unwrap_or_default();
    }

    /// Ends at once, as [`RunningBroker::stop_now`].
    pub fn stop_now(&self) {
        self.0.send(Stop::Now).unwrap_or_default();
    }
}

const fn cgroup_use(wanted: Cgroups) -> CgroupUse {
    match wanted {
        Cgroups::Auto => CgroupUse::Auto,
        Cgroups::Off => CgroupUse::Off,
        Cgroups::Required => CgroupUse::Required,
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| StartError::Http { address, source })
}

/// What the control plane needs to deliver alerts, if they are wanted.
fn take_alerts(config: AlertsConfig, observer: &mut Observer) -> Result<Option<Alerts>, StartError> {
    let AlertsConfig { webhook: Some(address), timeout, give_up_after } = config else { return Ok(None) };
    let webhook = Webhook::new(address, timeout, give_up_after)?;
    let counts = AlertCounts::default();
    Ok(Some((webhook, observer.tell_alerts(counts.clone()), counts)))
}

/// What the control plane needs to keep reports in files.
fn take_reports(state_dir: &Path, observer: &mut Observer) -> ReportFiles {
    let (folder, left) = ReportFolder::open(state_dir);
    let dropped = Arc::default();
    (folder, observer.keep_reports_in_files(left, Arc::clone(&dropped)), dropped)
}

fn spawn_thread<T: Send + 'static>(
    name: &'static str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(run).map_err(|source| StartError::Thread { name, source })
}

fn join_thread(thread: Option<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    match thread.map(JoinHandle::join) {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(_)) => Err(io::Error::other("a thread of the broker panicked; this is a bug")),
    }
}
