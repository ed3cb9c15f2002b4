//! The plane's thread: its event loop, the state that its tasks share, and the handle that orders go through.
//!
//! It owns the thread's life. Every task on it must be short between two awaits: a signal waits behind it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use lifeboat_core::evidence::StopSignal;
use lifeboat_core::ids::ProcessKey;
use tokio::sync::Notify;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::cgroup::{self, Bounds, CgroupsInUse, Group, Home};
use super::look::{Looks, Seen};
use super::oom::OomWatch;
use super::orders::{Order, PlaneError, PlaneOptions, Report, SpawnSpec};
use super::output::Output;
use super::share::Share;
use super::spawn::{self, Started};
use super::sweep::{Round, Sweeper};
use super::table::{BrokerMark, Process, Table};
use super::warden::Warden;
use super::{collect, host, memory, proc_fs, signal};

/// The handle of the process plane: the sending half of its orders.
#[derive(Debug)]
pub struct ProcessPlane {
    cgroups: CgroupsInUse,
    orders: UnboundedSender<Order>,
    finished: std_mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl ProcessPlane {
    /// Starts the thread and waits until it can take orders (well under a millisecond; some more with cgroups). In `serve`,
    /// [`become_subreaper_and_reset_sigchld`](super::become_subreaper_and_reset_sigchld) comes first; without it
    /// orphans are found by searching the whole system.
    ///
    /// # Errors
    ///
    /// When the thread or its event loop cannot be created, `/proc` cannot be read, or what is required of cgroups is missing.
    pub fn start(options: PlaneOptions) -> Result<Self, PlaneError> {
        let (orders, incoming) = unbounded_channel();
        let (ready, is_ready) = std_mpsc::sync_channel(1);
        let (finish, finished) = std_mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(String::from("lifeboat-proc"))
            .spawn(move || {
                live(options, incoming, &ready);
                // Nobody listens any more when the handle was dropped.
                let _ = finish.send(());
            })
            .map_err(PlaneError::Thread)?;
        match is_ready.recv() {
            Ok(Ok(cgroups)) => Ok(Self { cgroups, orders, finished, thread }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(PlaneError::EventLoop(std::io::Error::other("its thread ended"))),
        }
    }

    /// What of cgroups is in use.
    #[must_use]
    pub const fn cgroups(&self) -> CgroupsInUse {
        self.cgroups
    }

    /// Gives an order. Never blocks. When the plane is gone the order is lost; the closed report channel tells.
    pub fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the process plane has ended; an order to it is lost");
        }
    }

    /// Ends the plane: every process that is left is killed with its tree and collected (their reports still come),
    /// and the thread ends. Waits for that, at most `within`; says whether it is done. Dropping the handle does
    /// the same without waiting. Blocks: not for a thread that still serves.
    pub fn shutdown(self, within: Duration) -> bool {
        let Self { orders, finished, thread, .. } = self;
        drop(orders);
        match finished.recv_timeout(within) {
            Ok(()) | Err(std_mpsc::RecvTimeoutError::Disconnected) => thread.join().is_ok(),
            Err(std_mpsc::RecvTimeoutError::Timeout) => false,
        }
    }
}

/// What the plane's tasks share.
#[derive(Debug)]
pub(super) struct Plane {
    pub(super) options: PlaneOptions,
    pub(super) mark: BrokerMark,
    pub(super) warden: RefCell<Warden>,
    /// Dropped behind the warden, which is where the broker is.
    pub(super) home: Home,
    pub(super) adopts_orphans: bool,
    pub(super) table: RefCell<Table>,
    pub(super) sweeper: RefCell<Sweeper>,
    pub(super) oom: RefCell<OomWatch>,
    /// Those that flood their outputs.
    share: Rc<Share>,
    looks: Looks,
    /// The memory sampler runs.
    pub(super) sampling: Cell<bool>,
    /// A process has been collected.
    pub(super) collected: Notify,
}

/// The thread's whole life.
fn live(
    options: PlaneOptions,
    orders: UnboundedReceiver<Order>,
    ready: &std_mpsc::SyncSender<Result<CgroupsInUse, PlaneError>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let prepared = runtime
        .map_err(PlaneError::EventLoop)
        .and_then(|runtime| Plane::prepare(options).map(|plane| (runtime, Rc::new(plane))));
    // The receiver waits inside `start`, so sending cannot fail.
    match prepared {
        Ok((runtime, plane)) => {
            let _ = ready.send(Ok(plane.home.in_use()));
            LocalSet::new().block_on(&runtime, plane.run(orders));
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
}

impl Plane {
    fn prepare(options: PlaneOptions) -> Result<Self, PlaneError> {
        let mark = BrokerMark::new();
        // Before the broker is moved to another one, if it is.
        let oom = OomWatch::new();
        let join = |door: &Path| spawn::try_to_join(&options.shim, door);
        let home = Home::make(options.cgroups, cgroup::own_cgroups(), mark.value(), join)
            .map_err(PlaneError::Cgroups)?;
        let warden = Warden::start(&options.shim, &mark, home.paths()).map_err(PlaneError::Warden)?;
        let sweeper = Sweeper::new(options.owns_all_children, warden.pid()).map_err(PlaneError::NoProc)?;
        Ok(Self {
            options,
            mark,
            warden: RefCell::new(warden),
            home,
            adopts_orphans: host::adopts_orphans(),
            table: RefCell::default(),
            sweeper: RefCell::new(sweeper),
            oom: RefCell::new(oom),
            share: Rc::default(),
            looks: Looks::default(),
            sampling: Cell::new(false),
            collected: Notify::new(),
        })
    }

    pub(super) fn report(&self, report: Report) {
        // Nobody listens any more when the data plane has ended first.
        let _ = self.options.report.send(report);
    }

    /// One round of the orphan sweep.
    pub(super) fn sweep(&self, asked: Option<ProcessKey>) -> Round {
        self.sweeper.borrow_mut().round(&self.table.borrow(), &self.mark, asked)
    }

    async fn run(self: Rc<Self>, mut orders: UnboundedReceiver<Order>) {
        let upkeep = tokio::task::spawn_local(Rc::clone(&self).keep_up());
        // Spawns wait here while other orders are there: each blocks the thread until the new process has begun.
        let mut starting = VecDeque::new();
        loop {
            let order = if starting.is_empty() {
                orders.recv().await.ok_or(TryRecvError::Disconnected)
            } else {
                orders.try_recv()
            };
            match order {
                Ok(Order::Spawn { process, spec }) => starting.push_back((process, spec)),
                Ok(order) => self.carry_out(order, &mut starting),
                Err(TryRecvError::Empty) => {
                    if let Some((process, spec)) = starting.pop_front() {
                        self.spawn(process, &spec);
                    }
                    tokio::task::yield_now().await;
                }
                Err(TryRecvError::Disconnected) => break,
            }
        }
        upkeep.abort();
        self.end().await;
    }

    fn carry_out(self: &Rc<Self>, order: Order, starting: &mut VecDeque<(ProcessKey, Arc<SpawnSpec>)>) {
        let (Order::Spawn { process: key, .. }
        | Order::Signal { process: key, .. }
        | Order::Collect { process: key }
        | Order::Forget { process: key }) = order;
        if let Some(index) = starting.iter().position(|(process, _)| *process == key)
            && let Some((process, spec)) = starting.remove(index)
        {
            self.spawn(process, &spec);
        }
        let process = self.table.borrow().get(key).cloned();
        let Some(process) = process else {
            tracing::debug!(process = %key, ?order, "an order for a process that is gone");
            return;
        };
        match order {
            Order::Spawn { .. } => {}
            Order::Signal { signal, look, .. } => {
                if look {
                    self.looks.look(&process);
                }
                match signal {
                    StopSignal::Terminate => signal::terminate(&process),
                    StopSignal::Kill => self.kill(&process),
                }
            }
            Order::Collect { .. } => self.collect(process),
            Order::Forget { .. } => {
                process.forgotten.set(true);
                process.output.mute();
                if !process.collecting.get() {
                    self.kill(&process);
                    self.collect(process);
                }
            }
        }
    }

    pub(super) fn collect(self: &Rc<Self>, process: Rc<Process>) {
        if !process.collecting.replace(true) {
            tokio::task::spawn_local(collect::collect(Rc::clone(self), process));
        }
    }

    fn spawn(self: &Rc<Self>, key: ProcessKey, spec: &SpawnSpec) {
        let broker_peak = proc_fs::peak(rustix::process::getpid()).unwrap_or(0);
        let group = match self.make_group(key, spec) {
            Ok(group) => group,
            Err(error) => {
                self.report(Report::SpawnFailed { process: key, error });
                return;
            }
        };
        let started = match spawn::start(&self.options.shim, &self.mark, key, spec, group.as_ref()) {
            Ok(started) => started,
            Err(error) => {
                group.into_iter().for_each(|group| self.home.retire(group));
                self.report(Report::SpawnFailed { process: key, error: error.to_string() });
                return;
            }
        };
        let Started { pid: leader, pidfd, their_pidfd, socket, recorder, output } = started;
        let output = Output::new(key, spec, self.options.report.clone(), Rc::clone(&self.share), output);
        let kernel_bounds_memory =
            group.is_some() && self.home.in_use().memory && spec.memory_limit.is_some();
        let process = Rc::new(Process {
            key,
            worker_name: spec.worker_name.clone(),
            pid: leader,
            pidfd,
            reader: tokio::task::spawn_local(Rc::clone(&output).follow()).abort_handle(),
            output,
            // The kernel's own limit acts at once.
            memory_limit: spec.memory_limit.filter(|_| !kernel_bounds_memory),
            kernel_bounds_memory,
            group: RefCell::new(group),
            memory_high: spec.memory_high,
            cpu_limit: spec.limits.cpu_at_most(),
            resident: Cell::new(0),
            seen_peak: Cell::new(0),
            memory_told: Cell::new(false),
            memory_high_told: Cell::new(false),
            broker_peak,
            kill_sent: Cell::new(false),
            was_exiting: Cell::new(false),
            seen: Seen::default(),
            collecting: Cell::new(false),
            exited: Cell::new(false),
            unreaped: Cell::new(false),
            forgotten: Cell::new(false),
            descendants_killed: Cell::new(0),
        });
        self.warden.borrow().there_is(leader);
        self.table.borrow_mut().insert(process);
        if spec.memory_limit.is_some() && !self.sampling.replace(true) {
            tokio::task::spawn_local(memory::sample(Rc::clone(self)));
        }
        let pid = leader.as_raw_pid().unsigned_abs();
        self.report(Report::Spawned { process: key, pid, pidfd: their_pidfd, socket, recorder });
    }

    fn make_group(&self, key: ProcessKey, spec: &SpawnSpec) -> Result<Option<Group>, String> {
        let bounds = Bounds { memory: spec.memory_limit, processes: spec.processes };
        self.home.group(&format!("{}-{}", spec.worker_name, key.incarnation.0), bounds)
    }

    /// Takes a process whose leader is reaped off the table.
    pub(super) fn release(&self, process: &Process) {
        self.warden.borrow().is_gone(process.pid);
        process.group.take().into_iter().for_each(|group| self.home.retire(group));
        self.table.borrow_mut().remove(process);
        self.show_memory();
        self.collected.notify_one();
    }

    /// Shows what every worker's memory was when it was last looked at.
    pub(super) fn show_memory(&self) {
        memory::show(&self.table.borrow(), &self.options.worker_memory);
    }

    /// Leaves a process on the table whose leader cannot be reaped yet; upkeep tries again.
    pub(super) fn keep_unreaped(&self, process: &Process) {
        process.unreaped.set(true);
        self.collected.notify_one();
    }
}
