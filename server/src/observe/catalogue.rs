//! Every metric: its name, kind, labels and what it says. The one list that the exposition, the documentation and the
//! guards go by.

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricDescription {
    /// Its full name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only rises; starts at 0 with the broker.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts of durations, by upper edge.
    Histogram,
}

impl MetricKind {
    /// The word for it in the exposition and the documentation.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            pub(super) const $constant: MetricDescription = MetricDescription {
                name: $name,
                kind: MetricKind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )+

        /// Every metric, in the order of the exposition.
        pub const CATALOGUE: &[MetricDescription] = &[$($constant),+];
    };
}

metrics! {
    REQUESTS = Counter "lifeboat_requests_total" ["pool", "method", "outcome"]
        "Requests that ended, by outcome.";
    ATTEMPTS = Counter "lifeboat_attempts_total" ["pool", "method", "end"]
        "Attempts that ended, by how they ended.";
    RETRIES = Counter "lifeboat_retries_total" ["pool", "method", "reason"]
        "Further attempts that were granted, by why the one before ended.";
    TIMEOUTS = Counter "lifeboat_timeouts_total" ["pool", "method", "which"]
        "Limits that passed, whether or not the request was tried again.";
    REJECTED = Counter "lifeboat_rejected_total" ["pool", "why"]
        "Requests refused before they ran.";
    REQUESTS_PAST_DEADLINE = Counter "lifeboat_requests_past_deadline_total" []
        "Requests that ended later than their deadline and kill_timeout; a broken promise, must stay 0.";
    REQUEUES_FREE = Counter "lifeboat_requeues_free_total" ["pool"]
        "Requests that were put back free of charge because the process that held them ended before they started.";
    LATE_ANSWERS = Counter "lifeboat_late_answers_total" ["pool"]
        "Answers and saves of superseded attempts that were refused.";
    SAVES = Counter "lifeboat_saves_total" ["pool"]
        "What attempts saved for the next ones and the broker keeps.";
    SAVES_DROPPED = Counter "lifeboat_saves_dropped_total" ["pool"]
        "Saves that were not kept because the pool's requests had saved too much; their requests are not retried.";
    SLOT_PANICS = Counter "lifeboat_slot_panics_total" ["pool"]
        "Panics of handlers that were told by their slot, whether it was retired or kept.";
    QUEUE_WAIT = Histogram "lifeboat_queue_wait_seconds" ["pool", "method"]
        "From a request's acceptance to its first dispatch.";
    ATTEMPT_DURATION = Histogram "lifeboat_attempt_duration_seconds" ["pool", "method"]
        "From an attempt's dispatch to its end.";
    REQUEST_DURATION = Histogram "lifeboat_request_duration_seconds" ["pool", "method"]
        "From a request's acceptance to its outcome; refused requests are left out.";
    QUEUE_DEPTH = Gauge "lifeboat_queue_depth" ["pool"]
        "Requests that wait, for a slot or for their backoff.";
    QUEUE_BYTES = Gauge "lifeboat_queue_bytes" ["pool"]
        "Memory that waiting requests pin.";
    QUEUE_OLDEST = Gauge "lifeboat_queue_oldest_timestamp_seconds" ["pool"]
        "When the oldest waiting request was accepted, in seconds since 1970; 0 while nothing waits.";
    WORKERS = Gauge "lifeboat_workers" ["pool", "state"]
        "Workers by what they are doing.";
    SLOTS = Gauge "lifeboat_slots" ["pool", "state"]
        "Slots of ready processes by what they are doing.";
    CONSECUTIVE_FAILURES = Gauge "lifeboat_worker_consecutive_failures" ["pool", "worker"]
        "Crashes, kills, panics and handler errors of a worker since its last ok.";
    UNHEALTHY = Gauge "lifeboat_worker_unhealthy" ["pool", "worker"]
        "1 while a worker has failed unhealthy_after times or more since its last ok, else 0.";
    WORKER_MEMORY = Gauge "lifeboat_worker_memory_bytes" ["pool", "worker"]
        "Resident memory of a worker: the largest of any one process of its tree; 0 without a process.";
    WORKER_STARTS = Counter "lifeboat_worker_starts_total" ["pool"]
        "Processes that were ordered, those that never became ready included.";
    WORKER_START = Histogram "lifeboat_worker_start_seconds" ["pool"]
        "From the order of a process to ready.";
    WORKER_CRASHES = Counter "lifeboat_worker_crashes_total" ["pool", "reason"]
        "Unplanned ends of processes, the broker's own kills included.";
    WORKER_KILLS = Counter "lifeboat_worker_kills_total" ["pool", "reason"]
        "Unplanned ends of processes that the broker brought about.";
    WORKER_RECYCLES = Counter "lifeboat_worker_recycles_total" ["pool", "reason"]
        "Planned ends of processes; never crashes.";
    POOL_TRIPPED = Gauge "lifeboat_pool_tripped" ["pool"]
        "1 while the pool refuses requests because its processes die before they serve, its tries included; else 0.";
    QUARANTINED = Gauge "lifeboat_quarantined" ["pool"]
        "Bodies in quarantine: requests with them are refused for the processes that they crashed.";
    DEATH_TO_VERDICT = Histogram "lifeboat_death_to_verdict_seconds" ["pool"]
        "From the first sign of an unplanned end to the verdict on it.";
    PROCESS_LEAKS = Counter "lifeboat_process_leaks_total" ["pool"]
        "Descendants of worker processes that could not be killed.";
    CLIENT_CONNECTIONS = Gauge "lifeboat_client_connections" []
        "Clients that are connected.";
    LOG_LINES_DROPPED = Counter "lifeboat_log_lines_dropped_total" []
        "Lines of the broker's log that were dropped because nobody read them fast enough.";
    REPORTS_DROPPED = Counter "lifeboat_reports_dropped_total" []
        "Reports that were not written to state_dir, because it could not be written to or did not keep up.";
    ALERTS = Counter "lifeboat_alerts_total" ["result"]
        "Alerts for the webhook, by what became of them.";
    BUILD_INFO = Gauge "lifeboat_build_info" ["version", "os", "arch"]
        "Always 1; its labels say what is running.";
    PROCESS_CPU = Counter "process_cpu_seconds_total" []
        "CPU time of the broker's own process, user and system.";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" []
        "Resident memory of the broker's own process.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" []
        "Open file descriptors of the broker's own process.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" []
        "How many file descriptors the broker's own process may open.";
    PROCESS_START = Gauge "process_start_time_seconds" []
        "When the broker's own process started, in seconds since 1970.";
}
