//! The observer itself: lives on the data-plane thread and is told every fact once.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, MethodId, ProcessKey, RequestId};
use lifeboat_core::settings::Settings;
use lifeboat_core::time::Timestamp;
use lifeboat_core::view::BrokerView;

use tokio::sync::mpsc;

use super::alerts::{self, AlertCounts, Inbox};
use super::counters::Counters;
use super::log::Log;
use super::names::Names;
use super::news::{News, Watched};
use super::reports::Reports;
use super::snapshot::Outside;
use super::{
    FailedRequest, Filed, HealthSnapshot, LimitsInForce, MetricsSnapshot, Query, Readiness, Report,
    ReportHead, WallClock,
};

/// Counts and logs what the core tells, and answers questions about it.
#[derive(Debug)]
pub struct Observer {
    names: Arc<Names>,
    clock: WallClock,
    counters: Counters,
    log: Log,
    watched: Option<Watched>,
    alerts: Option<Inbox>,
    /// When each tripped pool is tried again, in configuration order.
    next_tries: Vec<Option<Timestamp>>,
    /// In configuration order.
    limits: Vec<LimitsInForce>,
    reports: Reports,
    outside: Outside,
}

impl Observer {
    /// An observer with every counter at 0. `clock` ties the core's time to the time of day.
    #[must_use]
    pub fn new(settings: &Settings, clock: WallClock) -> Self {
        let names = Arc::new(Names::new(settings));
        Self {
            clock,
            counters: Counters::new(names.pool_count(), names.method_count()),
            log: Log::new(Arc::clone(&names)),
            next_tries: vec![None; names.pool_count()],
            reports: Reports::new(names.worker_count()),
            names,
            watched: None,
            alerts: None,
            limits: Vec::new(),
            outside: Outside::default(),
        }
    }

    /// Sends what becomes of processes to a watcher on another thread. A watcher that does not keep up loses news, never
    /// the data plane's time; what it lost is counted and logged.
    pub fn tell_news(&mut self, watcher: mpsc::Sender<News>) {
        self.watched = Some(Watched::new(watcher));
    }

    /// Hands over, from now on, what a person should know. What becomes of it is to be counted there.
    pub fn tell_alerts(&mut self, counts: AlertCounts) -> Inbox {
        self.outside.alerts = counts;
        self.alerts.insert(Inbox::default()).clone()
    }

    /// A process says what it has handlers for. A watcher is told of it once the core says that the process is ready.
    pub fn announced(&mut self, process: ProcessKey, methods: Vec<String>) {
        if let Some(watched) = &mut self.watched {
            watched.announce(process, methods);
        }
    }

    /// Shows this count of lines that the process's log has dropped. Without it none are shown.
    pub fn show_dropped_log_lines(&mut self, dropped: Arc<AtomicU64>) {
        self.outside.log_lines_dropped = dropped;
    }

    /// Shows this memory of the workers, in bytes, in the order of their ids. Without it 0 is shown.
    pub fn show_worker_memory(&mut self, memory: Arc<[AtomicU64]>) {
        self.outside.worker_memory = memory;
    }

    /// Shows these limits of the pools' workers, in configuration order. Without it none are shown.
    pub fn show_limits(&mut self, limits: Vec<LimitsInForce>) {
        self.limits = limits;
    }

    /// Takes in the reports that an earlier broker has left, the oldest first, and hands over those that come, to be
    /// written. What could not be handed over is counted in `dropped`, where the writer counts too.
    pub fn keep_reports_in_files(
        &mut self,
        left: Vec<Report>,
        dropped: Arc<AtomicU64>,
    ) -> mpsc::Receiver<Filed> {
        self.outside.reports_dropped = Arc::clone(&dropped);
        self.reports.keep_in_files(left, dropped)
    }

    /// Counts a fact, and logs it if it is notable. `now` is the reading of the clock under which it was told.
    ///
    /// A fact about a request or an attempt costs a few nanoseconds: no allocation, no formatting, no look-up.
    #[inline]
    pub fn record(&mut self, fact: &Fact, now: Timestamp) {
        self.counters.count(fact);
        self.log.write(fact, now);
        self.reports.note(fact, now, &self.names, &self.clock, &self.limits);
        if let Some(watched) = &mut self.watched {
            watched.tell(fact, &self.names);
        }
        if let Some(inbox) = &self.alerts
            && let Some(alert) = alerts::alert(fact, &self.names, self.clock.unix_millis(now))
        {
            inbox.put(alert);
        }
        if let Fact::PoolTripped { pool, wait, .. } = fact
            && let Some(next_try) = self.next_tries.get_mut(usize::from(pool.0))
        {
            *next_try = Some(now + *wait);
        }
    }

    /// A process wrote lines to stdout or stderr while it executed these attempts. `dropped` lines were left out before.
    pub fn worker_wrote(
        &mut self,
        process: ProcessKey,
        stream: &'static str,
        executing: &[(RequestId, AttemptNumber, MethodId)],
        lines: &[String],
        dropped: u64,
    ) {
        self.log.worker_wrote(process, stream, executing, lines, dropped);
    }

    /// A client finished its handshake.
    pub const fn client_opened(&mut self) {
        self.counters.client_connections += 1;
    }

    /// A client's connection ended.
    pub const fn client_closed(&mut self) {
        self.counters.client_connections = self.counters.client_connections.saturating_sub(1);
    }

    /// Everything counted so far, with the present state beside it, as owned data for another thread.
    #[must_use]
    pub fn snapshot(&self, view: &BrokerView) -> MetricsSnapshot {
        let (names, counters) = (Arc::clone(&self.names), self.counters.clone());
        MetricsSnapshot::new(names, counters, view, &self.clock, &self.outside)
    }

    /// What every worker is doing.
    #[must_use]
    pub fn health(&self, view: &BrokerView) -> HealthSnapshot {
        HealthSnapshot::new(view, &self.names, &self.clock, &self.limits)
    }

    /// Whether requests can be served.
    #[must_use]
    pub fn readiness(&self, view: &BrokerView) -> Readiness {
        Readiness::new(view, &self.names, &self.next_tries)
    }

    /// The reports that are kept, the newest first, each with how long ago it and the first of its signature were, in
    /// milliseconds.
    pub fn reports(&self, now: Timestamp) -> impl Iterator<Item = (&ReportHead, u64, u64)> {
        let now = self.clock.unix_millis(now);
        let ago = move |at: u64| now.saturating_sub(at);
        self.reports.heads().map(move |head| (head, ago(head.at), ago(head.signature.first_at)))
    }

    /// The report of this name, as JSON.
    #[must_use]
    pub fn report(&self, id: &str) -> Option<Arc<str>> {
        self.reports.find(id)
    }

    /// The last requests that did not end `ok`, the newest first.
    #[must_use]
    pub fn failed_requests(&self, now: Timestamp) -> Vec<FailedRequest> {
        self.reports.failed(now, &self.names)
    }

    /// Logs what was held back and is due by now.
    pub fn catch_up(&mut self, now: Timestamp) {
        self.log.catch_up(now);
    }

    /// Answers one question with the state in `view`. An asker that did not wait is no error.
    pub fn answer(&mut self, query: Query, view: &BrokerView, now: Timestamp) {
        self.log.catch_up(now);
        // A failed send means that the asker has given up; there is nobody to tell.
        match query {
            Query::Metrics(reply) => drop(reply.send(self.snapshot(view))),
            Query::Health(reply) => drop(reply.send(self.health(view))),
            Query::Readiness(reply) => drop(reply.send(self.readiness(view))),
            Query::Reports(reply) => drop(reply.send(self.reports.heads().cloned().collect())),
            Query::Report(id, reply) => drop(reply.send(self.report(&id))),
            Query::Ping(reply) => drop(reply.send(())),
        }
    }
}
