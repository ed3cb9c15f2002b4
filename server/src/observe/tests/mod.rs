//! Fixtures shared by the tests of this room and of the HTTP room.

mod documentation;
mod gauges;
mod health;
mod lives;
pub(in crate::observe) mod logging;
mod metrics;
mod news;
mod output;
mod readiness;
pub(crate) mod text;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use lifeboat_core::evidence::{Evidence, Rungs};
use lifeboat_core::fact::{Death, Fact, RequestEnded};
use lifeboat_core::ids::{
    AttemptNumber, ClientId, Incarnation, MethodId, PoolId, ProcessKey, ReportId, RequestId, WorkerId,
};
use lifeboat_core::reason::{AttemptEnd, Confidence, CrashReason, OutcomeKind, RejectWhy};
use lifeboat_core::settings::{
    HealthSettings, MethodSettings, OnBusy, OnDisconnect, OnPanic, PoolSettings, QueueSettings,
    RecycleSettings, RestartSettings, RetryPolicy, Settings,
};
use lifeboat_core::time::Timestamp;
use lifeboat_core::view::{
    BrokerView, CurrentTask, PoolState, PoolView, SlotState, SlotView, WorkerState, WorkerView,
};

use super::{News, Observer, WallClock};

/// Pool `images`: methods `thumbnail` and `convert`, two workers.
pub(crate) const IMAGES: PoolId = PoolId(0);
/// Pool `text`: any method, one worker.
pub(crate) const TEXT: PoolId = PoolId(1);
pub(crate) const THUMBNAIL: MethodId = MethodId(0);
pub(crate) const TEXT_OTHER: MethodId = MethodId(2);

/// When the broker of these tests started, in seconds since 1970.
pub(crate) const STARTED: u64 = 1_700_000_000;

fn pool(name: &str, workers: u16) -> PoolSettings {
    PoolSettings {
        name: name.to_owned(),
        workers: NonZeroU16::new(workers).expect("at least one worker"),
        slots: NonZeroU16::MIN,
        prefetch: NonZeroU16::MIN,
        queue: QueueSettings { max_requests: 1024, max_bytes: 64 << 20 },
        on_busy: OnBusy::Queue,
        restart: RestartSettings {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            stable_after: Duration::from_secs(30),
            max_restarts: None,
            window: Duration::from_secs(60),
        },
        recycle: RecycleSettings::default(),
        heartbeat: None,
        start_timeout: Duration::from_secs(10),
        cancel_grace: Duration::from_secs(1),
        stop_grace: Duration::from_secs(5),
        kill_timeout: Duration::from_secs(1),
        on_disconnect: OnDisconnect::Cancel,
        on_panic: OnPanic::RetireSlot,
        health: HealthSettings::default(),
    }
}

fn method(name: &str, pool: PoolId) -> MethodSettings {
    MethodSettings {
        name: name.to_owned(),
        pool,
        queue_timeout: None,
        attempt_timeout: None,
        progress_timeout: None,
        output_timeout: None,
        deadline: Duration::from_secs(300),
        retry: RetryPolicy::Never,
        quarantine: None,
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        pools: vec![pool("images", 2), pool("text", 1)],
        methods: vec![method("thumbnail", IMAGES), method("convert", IMAGES), method("_other", TEXT)],
        drain_timeout: Duration::from_secs(30),
        max_open_requests: 1024,
        quarantine_room: Settings::QUARANTINE_ROOM,
        start: "start".to_owned(),
    }
}

pub(crate) fn observer() -> Observer {
    observer_of(&settings())
}

pub(crate) fn observer_of(settings: &Settings) -> Observer {
    Observer::new(settings, WallClock::new(Timestamp::ZERO, UNIX_EPOCH + Duration::from_secs(STARTED)))
}

/// A slot that does nothing.
pub(crate) const IDLE: SlotView = SlotView { state: SlotState::Idle, current: None };

/// A slot that executes `thumbnail` since a time, with progress at another, in milliseconds.
pub(crate) const fn busy(request: u64, attempt: u16, started_at: u64, progress_at: u64) -> SlotView {
    let current = CurrentTask {
        request: RequestId(request),
        method: THUMBNAIL,
        attempt: AttemptNumber(attempt),
        started_at: Timestamp::from_millis(started_at),
        progress_at: Timestamp::from_millis(progress_at),
    };
    SlotView { state: SlotState::Busy, current: Some(current) }
}

fn idle_worker(worker: u16, pool: PoolId) -> WorkerView {
    WorkerView {
        worker: WorkerId(worker),
        pool,
        state: WorkerState::Ready,
        process: Some(process(worker, 1)),
        pid: Some(4_000 + u32::from(worker)),
        slots: vec![IDLE],
        held: 0,
        recycling: None,
        last_activity: Timestamp::from_millis(1_000),
        consecutive_failures: 0,
        consecutive_crashes: 0,
        healthy: true,
        last_crash: None,
    }
}

/// Three seconds after the start: everything ready and idle.
pub(crate) fn view() -> BrokerView {
    let empty = |pool| PoolView {
        pool,
        queue_depth: 0,
        queue_bytes: 0,
        queue_oldest: None,
        state: PoolState::Serving,
        because: None,
        quarantined: 0,
    };
    BrokerView {
        at: Timestamp::from_millis(3_000),
        draining: false,
        open_requests: 0,
        pools: vec![empty(IMAGES), empty(TEXT)],
        workers: vec![idle_worker(0, IMAGES), idle_worker(1, IMAGES), idle_worker(2, TEXT)],
    }
}

pub(crate) fn process(worker: u16, incarnation: u32) -> ProcessKey {
    ProcessKey { worker: WorkerId(worker), incarnation: Incarnation(incarnation) }
}

fn ended(outcome: OutcomeKind, duration: Duration) -> RequestEnded {
    RequestEnded {
        pool: Some(IMAGES),
        method: Some(THUMBNAIL),
        client: ClientId(1),
        request: Some(RequestId(77)),
        outcome,
        rejected: None,
        duration,
        attempts: 1,
        past_deadline: false,
        late: false,
        reason: None,
        report: None,
    }
}

/// A request to `thumbnail` ended.
pub(crate) fn request_ended(outcome: OutcomeKind, duration: Duration) -> Fact {
    Fact::RequestEnded(ended(outcome, duration))
}

fn request_refused(pool: Option<PoolId>, method: Option<MethodId>, why: RejectWhy) -> Fact {
    let refused = ended(OutcomeKind::Rejected, Duration::ZERO);
    Fact::RequestEnded(RequestEnded {
        pool,
        method,
        request: None,
        rejected: Some(why),
        attempts: 0,
        ..refused
    })
}

fn attempt_ended(end: AttemptEnd, duration: Duration) -> Fact {
    Fact::AttemptEnded {
        pool: IMAGES,
        method: THUMBNAIL,
        request: RequestId(77),
        attempt: AttemptNumber::FIRST,
        process: process(0, 1),
        end,
        duration,
    }
}

/// A death of a worker in pool `images` that was executing `thumbnail`; judged 4 ms after its first sign.
pub(crate) fn death(worker: u16, incarnation: u32, reason: CrashReason) -> Death {
    Death {
        report: ReportId(12),
        pool: IMAGES,
        process: process(worker, incarnation),
        pid: Some(4_321),
        reason,
        confidence: Confidence::Proven,
        evidence: Evidence { stderr_tail: "one\nlast words\n".to_owned(), ..Evidence::default() },
        intent: None,
        connection: None,
        started_at: Timestamp::from_millis(100),
        first_sign_at: Timestamp::from_millis(2_000),
        rungs: Rungs::default(),
        judged_at: Timestamp::from_millis(2_004),
        killed_by_broker: None,
        productive: true,
        executing: vec![(RequestId(77), AttemptNumber::FIRST, THUMBNAIL)],
        executing_since: vec![Some(Timestamp::from_millis(1_500))],
        requeued: 2,
    }
}

fn crashed(worker: u16, incarnation: u32, reason: CrashReason) -> Fact {
    Fact::WorkerCrashed(Arc::new(death(worker, incarnation, reason)))
}
