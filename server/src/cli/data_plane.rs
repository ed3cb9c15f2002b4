//! The data plane's thread: one runtime with the listener, all sockets, the core and the timers.
//!
//! It wires the rooms and owns nothing else. What a process or a connection does reaches the core through here or
//! through the link room; what the core orders goes out through the ports.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use lifeboat_core::event::Event;
use lifeboat_core::settings::Settings;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::Instant;

use super::process_link::ProcessLink;
use crate::engine::{Clock, Engine, queries, ticker};
use crate::link::worker::{NewProcess, adopt};
use crate::link::{LinkSettings, Links, SharedEngine, flush, listener};
use crate::observe::{Observer, Query};
use crate::process::{OutputStream, Report};

/// How long the last answers of a shutdown may take to be read before they are given up.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long the process plane may take to end: its processes are dead by then.
const LAST_PROCESSES: Duration = Duration::from_secs(5);

/// Everything the data plane needs to run.
pub(super) struct DataPlane {
    pub(super) settings: Settings,
    pub(super) link: LinkSettings,
    pub(super) workers: usize,
    pub(super) seed: u64,
    pub(super) clock: Clock,
    pub(super) observer: Observer,
    pub(super) processes: ProcessLink,
    pub(super) reports: mpsc::UnboundedReceiver<Report>,
    pub(super) queries: mpsc::Receiver<Query>,
    pub(super) stops: mpsc::UnboundedReceiver<Stop>,
    pub(super) listener: OwnedFd,
}

/// How the broker is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Drain, then end.
    Drain,
    /// End at once.
    Now,
}

impl DataPlane {
    /// Runs until the shutdown is complete.
    pub(super) fn run(self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> io::Result<()> {
        let links = Links::new(self.link, &self.settings, self.workers);
        let engine = Engine::new(self.settings, self.seed, self.clock, self.observer, links, self.processes);
        let finished = engine.finished();
        let engine = Rc::new(RefCell::new(engine));
        // Without any one of these the broker would be silent: their end is the broker's.
        let mut vital = JoinSet::new();
        vital.spawn_local(flush::run(Rc::clone(&engine)));
        vital.spawn_local(ticker::run(Rc::clone(&engine)));
        vital.spawn_local(take_reports(Rc::clone(&engine), self.reports));
        spawn_local(queries::run(Rc::clone(&engine), self.queries));
        let accepting = spawn_local(listener::run(Rc::clone(&engine), self.listener));
        let stop_accepting = accepting.abort_handle();
        engine.borrow_mut().start();

        let mut stops = self.stops;
        let stopped = async {
            while let Some(stop) = stops.recv().await {
                shut_down(&engine, stop);
            }
            // Whoever could ask is gone: nobody is left to serve for.
            shut_down(&engine, Stop::Now);
            std::future::pending::<()>().await;
        };
        let mut outcome = Ok(());
        let refused = async {
            let error = match accepting.await {
                Ok(Err(error)) => error,
                Ok(Ok(())) | Err(_) => io::Error::other("the listener ended"),
            };
            tracing::error!(%error, "no more clients can be accepted; draining");
            outcome = Err(error);
            shut_down(&engine, Stop::Drain);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = finished.notified() => {}
            () = stopped => {}
            () = refused => {}
            _ = vital.join_next() => {
                return Err(io::Error::other("a part of the data plane ended; this is a bug"));
            }
        }
        deliver_last_answers(&engine).await;
        stop_accepting.abort();
        engine.borrow_mut().links.close_clients();
        let nothing_left = engine.borrow_mut().processes.shut_down(LAST_PROCESSES);
        if nothing_left {
            return outcome;
        }
        Err(io::Error::other("processes are left that could not be killed"))
    }
}

fn shut_down(engine: &SharedEngine<ProcessLink>, stop: Stop) {
    let mut engine = engine.borrow_mut();
    engine.wake();
    engine.handle(match stop {
        Stop::Drain => Event::ShutdownRequested,
        Stop::Now => Event::ShutdownHurried,
    });
}

/// Tells the core what the process plane reports.
async fn take_reports(engine: SharedEngine<ProcessLink>, mut reports: mpsc::UnboundedReceiver<Report>) {
    while let Some(report) = reports.recv().await {
        let event = match report {
            Report::Spawned { process, pid, pidfd, socket, recorder } => {
                adopt(&engine, NewProcess { process, pid, pidfd, socket, recorder });
                continue;
            }
            Report::SpawnFailed { process, error } => Event::SpawnFailed { process, error },
            Report::Evidence { process, mut evidence } => {
                let mut engine = engine.borrow_mut();
                let core = engine.core();
                let slots = core.settings().pool(core.worker_pool(process.worker)).slots.get();
                engine.links.add_recording(process, slots, &mut evidence);
                Event::EvidenceGathered { process, evidence }
            }
            Report::MemoryExceeded { process, resident, limit } => {
                Event::MemoryExceeded { process, resident, limit }
            }
            Report::MemoryHigh { process, .. } => Event::MemoryHigh { process },
            Report::OutputSeen { process } => Event::OutputSeen { process },
            Report::Output { process, stream, lines, dropped } => {
                let stream = match stream {
                    OutputStream::Stdout => "stdout",
                    OutputStream::Stderr => "stderr",
                };
                engine.borrow_mut().worker_wrote(process, stream, &lines, dropped);
                continue;
            }
        };
        let mut engine = engine.borrow_mut();
        engine.wake();
        engine.handle(event);
    }
}

/// Waits until every client has read its last outcome, or has had its chance to.
async fn deliver_last_answers(engine: &SharedEngine<ProcessLink>) {
    let give_up = Instant::now() + LAST_ANSWERS;
    while engine.borrow().links.unwritten() > 0 && Instant::now() < give_up {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
