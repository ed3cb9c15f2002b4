//! From a snapshot to the text that Prometheus reads. Runs on the control plane, at each scrape.

use lifeboat_core::fact::RetryCause;
use lifeboat_core::reason::{AttemptEnd, CrashReason, OutcomeKind, RejectWhy, StopReason, TimeoutWhich};
use lifeboat_core::view::{SlotState, WorkerState};
use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as HistogramProto, LabelPair, Metric, MetricFamily, MetricType,
};

use super::alerts::AlertResult;
use super::catalogue::{self, CATALOGUE, MetricDescription, MetricKind};
use super::counters::{MethodCounters, PoolCounters};
use super::histogram::Histogram;
use super::kills;
use super::names::{NO_POOL, OTHER_METHOD};
use super::own_process::OwnProcess;
use super::snapshot::MetricsSnapshot;

/// The metrics could not be written as text. A defect of the broker; the snapshot is not to blame.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the metrics as text: {0}; please report this as a defect of Lifeboat")]
pub struct ExpositionError(#[from] prometheus::Error);

impl MetricsSnapshot {
    /// The text exposition (format 0.0.4) of this snapshot and of the broker's own process, which is read now, from
    /// `/proc`, without waiting.
    ///
    /// # Errors
    ///
    /// Only by a defect of the broker: a metric without a name.
    pub fn to_text(&self) -> Result<String, ExpositionError> {
        let families: Vec<MetricFamily> = self.families(&OwnProcess::read()).collect();
        Ok(TextEncoder::new().encode_to_string(&families)?)
    }

    /// Every metric that has a series, in the order of the catalogue.
    fn families(&self, own: &OwnProcess) -> impl Iterator<Item = MetricFamily> {
        let mut sheet = Sheet::new();
        for ((pool, method), counters) in self.names.methods().zip(self.counters.methods()) {
            add_method(&mut sheet, pool, method, counters);
        }
        let unknown = self.counters.unknown_method();
        add_outcomes(&mut sheet, NO_POOL, OTHER_METHOD, unknown, |kind| kind == OutcomeKind::Rejected);
        for ((_, pool), counters) in self.names.pools().zip(self.counters.pools()) {
            add_rejected(&mut sheet, pool, counters, |why| why != RejectWhy::UnknownMethod);
            add_pool(&mut sheet, pool, counters);
        }
        add_rejected(&mut sheet, NO_POOL, self.counters.no_pool(), |why| why == RejectWhy::UnknownMethod);
        self.add_gauges(&mut sheet);
        sheet.number(&catalogue::REQUESTS_PAST_DEADLINE, &[], self.counters.past_deadline as f64);
        sheet.number(&catalogue::CLIENT_CONNECTIONS, &[], self.counters.client_connections as f64);
        sheet.number(&catalogue::LOG_LINES_DROPPED, &[], self.log_lines_dropped as f64);
        sheet.number(&catalogue::REPORTS_DROPPED, &[], self.reports_dropped as f64);
        for (result, count) in AlertResult::ALL.iter().zip(self.alerts) {
            sheet.number(&catalogue::ALERTS, &[result.label()], count as f64);
        }
        let build = [env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH];
        sheet.number(&catalogue::BUILD_INFO, &build, 1.0);
        add_own_process(&mut sheet, own);
        sheet.finish()
    }

    fn add_gauges(&self, sheet: &mut Sheet) {
        for ((_, pool), gauges) in self.names.pools().zip(&self.pools) {
            sheet.number(&catalogue::QUEUE_DEPTH, &[pool], gauges.queue_depth as f64);
            sheet.number(&catalogue::QUEUE_BYTES, &[pool], gauges.queue_bytes as f64);
            sheet.number(&catalogue::QUEUE_OLDEST, &[pool], gauges.queue_oldest);
            sheet.number(&catalogue::POOL_TRIPPED, &[pool], f64::from(u8::from(gauges.is_tripped)));
            sheet.number(&catalogue::QUARANTINED, &[pool], gauges.quarantined as f64);
            for (state, count) in WorkerState::ALL.iter().zip(gauges.workers) {
                sheet.number(&catalogue::WORKERS, &[pool, state.label()], f64::from(count));
            }
            for (state, count) in SlotState::ALL.iter().zip(gauges.slots) {
                sheet.number(&catalogue::SLOTS, &[pool, state.label()], f64::from(count));
            }
        }
        for ((pool, worker), failures) in self.names.workers().zip(&self.consecutive_failures) {
            sheet.number(&catalogue::CONSECUTIVE_FAILURES, &[pool, worker], f64::from(*failures));
        }
        for ((pool, worker), unhealthy) in self.names.workers().zip(&self.unhealthy) {
            sheet.number(&catalogue::UNHEALTHY, &[pool, worker], f64::from(u8::from(*unhealthy)));
        }
        for ((pool, worker), bytes) in self.names.workers().zip(&self.worker_memory) {
            sheet.number(&catalogue::WORKER_MEMORY, &[pool, worker], *bytes as f64);
        }
    }
}

fn add_method(sheet: &mut Sheet, pool: &str, method: &str, counters: &MethodCounters) {
    add_outcomes(sheet, pool, method, counters, |_| true);
    for (end, count) in AttemptEnd::ALL.iter().zip(counters.ends) {
        sheet.number(&catalogue::ATTEMPTS, &[pool, method, end.label()], count as f64);
    }
    for (place, count) in counters.retries.into_iter().enumerate() {
        let reason = RetryCause::label_at(place);
        if count > 0 || can_be_retried(reason) {
            sheet.number(&catalogue::RETRIES, &[pool, method, reason], count as f64);
        }
    }
    for (which, count) in TimeoutWhich::ALL.iter().zip(counters.timeouts) {
        sheet.number(&catalogue::TIMEOUTS, &[pool, method, which.label()], count as f64);
    }
    sheet.histogram(&catalogue::QUEUE_WAIT, &[pool, method], &counters.queue_wait);
    sheet.histogram(&catalogue::ATTEMPT_DURATION, &[pool, method], &counters.attempt_duration);
    sheet.histogram(&catalogue::REQUEST_DURATION, &[pool, method], &counters.request_duration);
}

fn add_outcomes(
    sheet: &mut Sheet,
    pool: &str,
    method: &str,
    counters: &MethodCounters,
    is_known: impl Fn(OutcomeKind) -> bool,
) {
    for (kind, count) in OutcomeKind::ALL.into_iter().zip(counters.outcomes) {
        if count > 0 || is_known(kind) {
            sheet.number(&catalogue::REQUESTS, &[pool, method, kind.label()], count as f64);
        }
    }
}

fn add_rejected(
    sheet: &mut Sheet,
    pool: &str,
    counters: &PoolCounters,
    is_known: impl Fn(RejectWhy) -> bool,
) {
    for (why, count) in RejectWhy::ALL.into_iter().zip(counters.rejected) {
        if count > 0 || is_known(why) {
            sheet.number(&catalogue::REJECTED, &[pool, why.label()], count as f64);
        }
    }
}

fn add_pool(sheet: &mut Sheet, pool: &str, counters: &PoolCounters) {
    sheet.number(&catalogue::REQUEUES_FREE, &[pool], counters.requeues_free as f64);
    sheet.number(&catalogue::LATE_ANSWERS, &[pool], counters.late_answers as f64);
    sheet.number(&catalogue::SAVES, &[pool], counters.saves as f64);
    sheet.number(&catalogue::SAVES_DROPPED, &[pool], counters.saves_dropped as f64);
    sheet.number(&catalogue::SLOT_PANICS, &[pool], counters.panics as f64);
    sheet.number(&catalogue::WORKER_STARTS, &[pool], counters.starts as f64);
    sheet.number(&catalogue::PROCESS_LEAKS, &[pool], counters.leaks as f64);
    for (reason, crashes) in CrashReason::LABELS.into_iter().zip(counters.crashes) {
        if crashes > 0 || is_process_death(reason) {
            sheet.number(&catalogue::WORKER_CRASHES, &[pool, reason], crashes as f64);
        }
    }
    for (label, count) in counters.kills.into_iter().enumerate() {
        if count > 0 || kills::can_be_kill(label) {
            let reason = CrashReason::LABELS[label];
            sheet.number(&catalogue::WORKER_KILLS, &[pool, reason], count as f64);
        }
    }
    for (reason, stops) in StopReason::ALL.iter().zip(counters.stops) {
        sheet.number(&catalogue::WORKER_RECYCLES, &[pool, reason.label()], stops as f64);
    }
    sheet.histogram(&catalogue::WORKER_START, &[pool], &counters.start_time);
    sheet.histogram(&catalogue::DEATH_TO_VERDICT, &[pool], &counters.death_to_verdict);
}

fn add_own_process(sheet: &mut Sheet, own: &OwnProcess) {
    let figures = [
        (&catalogue::PROCESS_CPU, own.cpu_seconds),
        (&catalogue::PROCESS_RESIDENT, own.resident_bytes),
        (&catalogue::PROCESS_OPEN_FDS, own.open_fds),
        (&catalogue::PROCESS_MAX_FDS, own.max_fds),
        (&catalogue::PROCESS_START, own.start_time_seconds),
    ];
    for (description, figure) in figures {
        if let Some(value) = figure {
            sheet.number(description, &[], value);
        }
    }
}

/// A request can have been executing when this happened, and its time was not up.
fn can_be_retried(reason: &str) -> bool {
    !["spawn_failed", "start_failed", "deadline", "cancelled"].contains(&reason)
}

/// A whole process can end for this reason.
fn is_process_death(reason: &str) -> bool {
    reason != "slot_panicked"
}

/// The exposition while it is being filled: one family per metric of the catalogue.
struct Sheet {
    series: Vec<(MetricDescription, Vec<Metric>)>,
}

impl Sheet {
    fn new() -> Self {
        Self { series: CATALOGUE.iter().map(|description| (*description, Vec::new())).collect() }
    }

    fn number(&mut self, description: &MetricDescription, labels: &[&str], value: f64) {
        let mut metric = labelled(description, labels);
        match description.kind {
            MetricKind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            MetricKind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            MetricKind::Histogram => debug_assert!(false, "{} is no single number", description.name),
        }
        self.add(description, metric);
    }

    fn histogram(&mut self, description: &MetricDescription, labels: &[&str], histogram: &Histogram) {
        debug_assert_eq!(description.kind, MetricKind::Histogram, "{}", description.name);
        let bucket = |(edge, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(edge);
            bucket.set_cumulative_count(count);
            bucket
        };
        let mut proto = HistogramProto::default();
        proto.set_bucket(histogram.cumulative().map(bucket).collect());
        proto.set_sample_count(histogram.count());
        proto.set_sample_sum(histogram.sum_seconds());
        let mut metric = labelled(description, labels);
        metric.set_histogram(proto);
        self.add(description, metric);
    }

    fn add(&mut self, description: &MetricDescription, metric: Metric) {
        if let Some((_, series)) = self.series.iter_mut().find(|(known, _)| known.name == description.name) {
            series.push(metric);
        }
    }

    fn finish(self) -> impl Iterator<Item = MetricFamily> {
        self.series.into_iter().filter(|(_, series)| !series.is_empty()).map(|(description, series)| {
            let mut family = MetricFamily::default();
            family.set_name(description.name.to_owned());
            family.set_help(description.help.to_owned());
            family.set_field_type(match description.kind {
                MetricKind::Counter => MetricType::COUNTER,
                MetricKind::Gauge => MetricType::GAUGE,
                MetricKind::Histogram => MetricType::HISTOGRAM,
            });
            family.set_metric(series);
            family
        })
    }
}

fn labelled(description: &MetricDescription, values: &[&str]) -> Metric {
    debug_assert_eq!(description.labels.len(), values.len(), "{}", description.name);
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(description.labels.iter().zip(values).map(pair).collect())
}
