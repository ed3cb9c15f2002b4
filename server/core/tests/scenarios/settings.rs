//! Settings that the stories start from.

use std::num::NonZeroU16;
use std::time::Duration;

use lifeboat_core::ids::PoolId;
use lifeboat_core::settings::{
    Backoff, HealthSettings, Jitter, MethodSettings, OnBusy, OnDisconnect, OnPanic, PoolSettings,
    QueueSettings, RecycleSettings, RestartSettings, RetryOn, RetryPolicy, Settings,
};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One pool, one method; graces of 100 ms, 200 ms and 300 ms, a deadline of 10 s, no retry.
pub(crate) fn plain(workers: u16) -> Settings {
    Settings {
        pools: vec![PoolSettings {
            name: "images".into(),
            workers: NonZeroU16::new(workers).unwrap(),
            slots: NonZeroU16::MIN,
            prefetch: NonZeroU16::MIN,
            queue: QueueSettings { max_requests: 100, max_bytes: 1 << 20 },
            on_busy: OnBusy::Queue,
            restart: RestartSettings {
                initial: ms(100),
                max: ms(1000),
                stable_after: ms(5000),
                max_restarts: None,
                window: ms(60_000),
            },
            recycle: RecycleSettings::default(),
            heartbeat: None,
            start_timeout: ms(2000),
            cancel_grace: ms(100),
            stop_grace: ms(200),
            kill_timeout: ms(300),
            on_disconnect: OnDisconnect::Cancel,
            on_panic: OnPanic::RetireSlot,
            health: HealthSettings::default(),
        }],
        methods: vec![MethodSettings {
            name: "resize".into(),
            pool: PoolId(0),
            queue_timeout: None,
            attempt_timeout: None,
            progress_timeout: None,
            output_timeout: None,
            deadline: ms(10_000),
            retry: RetryPolicy::Never,
            quarantine: None,
        }],
        drain_timeout: ms(1000),
        max_open_requests: 1000,
        quarantine_room: Settings::QUARANTINE_ROOM,
        start: String::new(),
    }
}

/// The same with a retry of crashes, at once.
pub(crate) fn retrying(workers: u16, max_attempts: u16) -> Settings {
    let mut settings = plain(workers);
    settings.methods[0].retry = retry(RetryOn::default(), max_attempts);
    settings
}

pub(crate) fn retry(on: RetryOn, max_attempts: u16) -> RetryPolicy {
    let backoff = Backoff { then: Duration::ZERO, jitter: Jitter::None, ..Backoff::default() };
    RetryPolicy::Retry { on, max_attempts: NonZeroU16::new(max_attempts).unwrap(), backoff }
}

/// Processes execute several requests at a time, and a slot holds `prefetch` of them.
pub(crate) fn slotted(mut settings: Settings, slots: u16, prefetch: u16) -> Settings {
    settings.pools[0].slots = NonZeroU16::new(slots).unwrap();
    settings.pools[0].prefetch = NonZeroU16::new(prefetch).unwrap();
    settings
}
