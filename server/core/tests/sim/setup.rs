//! Random settings and random temper of the world, drawn once per history.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use fastrand::Rng;
use lifeboat_core::ids::PoolId;
use lifeboat_core::settings::{
    Backoff, HealthSettings, Heartbeat, Jitter, MethodSettings, OnBusy, OnDisconnect, OnPanic, PoolSettings,
    QuarantineSettings, QueueSettings, RecycleSettings, RestartSettings, RetryOn, RetryPolicy, Settings,
};

/// How the world behaves in one history: chances out of 1000, per opportunity.
#[derive(Clone, Debug)]
pub(crate) struct Temper {
    pub(crate) events: u64,
    pub(crate) clients: u64,
    /// Requests that clients try to keep in flight.
    pub(crate) appetite: usize,
    pub(crate) spawn_fails: u32,
    pub(crate) start_fails: u32,
    /// A process with something to do does something wild instead.
    pub(crate) wild: u32,
    pub(crate) hangs: u32,
    /// Leaves what was written to it unread for a moment.
    pub(crate) reads_late: u32,
    pub(crate) fails: u32,
    pub(crate) panics: u32,
    pub(crate) cancels: u32,
    pub(crate) disconnects: u32,
    pub(crate) ignores_cancel: u32,
    pub(crate) ignores_term: u32,
    /// Takes its time to die after SIGKILL.
    pub(crate) clings: u32,
    /// A handler tells of progress, or a part, before it goes on.
    pub(crate) tells: u32,
    /// A process says that it is there.
    pub(crate) beats: u32,
    /// A process writes something.
    pub(crate) writes: u32,
    /// A process's flight recorder denies that anything was begun.
    pub(crate) denies: u32,
    /// Somebody orders something, in 10 000.
    pub(crate) operators: u32,
    /// How far the clock moves between events.
    pub(crate) pace: Duration,
    /// The clock moves to the next timer.
    pub(crate) jumps: u32,
    /// When the shutdown comes, in events; at the end it always does.
    pub(crate) shutdown_at: u64,
    /// For how many events the shutdown waits for an awkward moment.
    pub(crate) patience: u64,
    pub(crate) hurried: bool,
}

pub(crate) fn temper(rng: &mut Rng) -> Temper {
    let calm = rng.u32(0..3) == 0;
    let mut chance = |calm_max: u32, wild_max: u32| rng.u32(0..=if calm { calm_max } else { wild_max });
    let events = 300 + u64::from(chance(16_000, 6_000));
    let denies = [0, 0, 0, 0, 0, 950][chance(5, 5) as usize];
    Temper {
        events,
        clients: 1 + u64::from(chance(3, 3)),
        appetite: [1, 3, 8, 40][chance(3, 3) as usize],
        spawn_fails: chance(20, 200),
        start_fails: chance(30, 300),
        // Whoever denies much dies much: it takes several such deaths in a row.
        wild: if denies > 0 { 300 } else { chance(5, 120) },
        hangs: chance(20, 400),
        reads_late: chance(50, 500),
        fails: chance(100, 300),
        panics: chance(5, 60),
        cancels: chance(30, 200),
        disconnects: chance(3, 20),
        ignores_cancel: chance(300, 1000),
        ignores_term: chance(300, 1000),
        clings: chance(50, 400),
        tells: chance(300, 300),
        beats: chance(500, 300),
        writes: chance(100, 100),
        denies,
        operators: [0, 0, 10, 60][chance(3, 3) as usize],
        pace: Duration::from_micros([5, 50, 300, 2000][chance(3, 3) as usize]),
        jumps: [5, 30, 200, 500][chance(3, 3) as usize],
        shutdown_at: u64::from(chance(20_000, 8_000)) + 250,
        patience: u64::from(chance(1, 1)) * 1000,
        hurried: chance(3, 3) == 0,
    }
}

pub(crate) fn settings(rng: &mut Rng) -> Settings {
    let pools: Vec<PoolSettings> = (0..rng.u16(1..=2)).map(|place| pool(rng, place)).collect();
    let mut methods = Vec::new();
    for place in 0..pools.len() {
        for kind in 0..rng.u16(1..=3) {
            methods.push(method(rng, u16::try_from(place).unwrap(), kind));
        }
    }
    Settings {
        pools,
        methods,
        drain_timeout: millis(rng, &[0, 5, 50, 300]),
        max_open_requests: [4, 50, 1 << 20][rng.usize(0..3)],
        quarantine_room: [1, 2, 4096][rng.clone().usize(0..3)],
        start: String::new(),
    }
}

fn pool(rng: &mut Rng, place: u16) -> PoolSettings {
    PoolSettings {
        name: format!("pool{place}"),
        workers: NonZeroU16::new(rng.u16(1..=5)).unwrap(),
        slots: NonZeroU16::new([1, 1, 2, 3, 4][rng.usize(0..5)]).unwrap(),
        prefetch: NonZeroU16::new([1, 1, 2, 32][rng.usize(0..4)]).unwrap(),
        queue: QueueSettings {
            max_requests: [0, 2, 10, 1000][rng.usize(0..4)],
            max_bytes: [300, 5_000, 1 << 30][rng.usize(0..3)],
        },
        on_busy: if rng.u8(0..5) == 0 { OnBusy::Reject } else { OnBusy::Queue },
        restart: RestartSettings {
            initial: millis(rng, &[0, 1, 10, 50]),
            max: millis(rng, &[20, 50, 200]),
            stable_after: millis(rng, &[5, 100, 1000]),
            max_restarts: NonZeroU32::new([0, 0, 1, 3, 5, 20][rng.usize(0..6)]),
            window: millis(rng, &[20, 100, 1000]),
        },
        recycle: RecycleSettings {
            requests: NonZeroU32::new([0, 0, 1, 4, 30][rng.usize(0..5)]),
            age: maybe(rng, &[10, 100, 400]),
            idle: maybe(rng, &[5, 40, 200]),
        },
        heartbeat: rng.bool().then(|| Heartbeat {
            interval: millis(rng, &[4, 40, 100]),
            missed: NonZeroU16::new(rng.u16(1..=3)).unwrap(),
        }),
        start_timeout: millis(rng, &[5, 100, 500]),
        cancel_grace: millis(rng, &[0, 5, 30]),
        stop_grace: millis(rng, &[0, 5, 60]),
        kill_timeout: millis(rng, &[1, 10, 50]),
        on_disconnect: if rng.bool() { OnDisconnect::Cancel } else { OnDisconnect::Finish },
        on_panic: if rng.bool() { OnPanic::RetireSlot } else { OnPanic::Keep },
        health: HealthSettings {
            unhealthy_after: NonZeroU32::new(rng.u32(1..=4)).unwrap(),
            on_failed: rng.u8(0..4) == 0,
            disable: rng.u8(0..3) == 0,
        },
    }
}

fn method(rng: &mut Rng, pool: u16, kind: u16) -> MethodSettings {
    let retry = if rng.u8(0..4) == 0 {
        RetryPolicy::Never
    } else {
        RetryPolicy::Retry {
            on: RetryOn { crash: rng.bool(), stall: rng.bool(), timeout: rng.bool(), failed: rng.bool() },
            max_attempts: NonZeroU16::new(rng.u16(1..=4)).unwrap(),
            backoff: Backoff {
                first: millis(rng, &[0, 0, 5]),
                then: millis(rng, &[0, 10, 40]),
                factor: [1.0, 2.0, 10.0][rng.usize(0..3)],
                max: millis(rng, &[0, 30, 1000]),
                jitter: if rng.bool() { Jitter::None } else { Jitter::Full },
            },
        }
    };
    MethodSettings {
        name: format!("method{pool}.{kind}"),
        pool: PoolId(pool),
        queue_timeout: maybe(rng, &[1, 10, 50]),
        attempt_timeout: rng.bool().then(|| millis(rng, &[2, 10, 40])),
        progress_timeout: maybe(rng, &[2, 8, 30]),
        output_timeout: maybe(rng, &[2, 8, 30]),
        deadline: millis(rng, &[5, 50, 300, 3000]),
        retry,
        quarantine: quarantine(rng.clone()),
    }
}

/// Drawn from numbers that are drawn again: what else happens in a history does not depend on it.
fn quarantine(mut rng: Rng) -> Option<QuarantineSettings> {
    (rng.u8(0..3) == 0).then(|| QuarantineSettings {
        crash_limit: NonZeroU32::new(rng.u32(1..=3)).unwrap(),
        expiry: millis(&mut rng, &[5, 100, 1000]),
    })
}

/// One of the choices, or more often none.
fn maybe(rng: &mut Rng, choices: &[u64]) -> Option<Duration> {
    (rng.u8(0..3) == 0).then(|| millis(rng, choices))
}

fn millis(rng: &mut Rng, choices: &[u64]) -> Duration {
    Duration::from_millis(choices[rng.usize(0..choices.len())])
}
