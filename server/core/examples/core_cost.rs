//! Measures what the core costs per request: accept, dispatch, answer, done; actions and facts drained after every
//! entry point and the next timer asked for, as the shell does it.
//!
//! Run with `cargo run --release -p lifeboat-core --example core_cost`.
#![expect(clippy::print_stdout, reason = "a measurement prints its result")]
#![expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::{Duration, Instant};

use lifeboat_core::Core;
use lifeboat_core::action::Action;
use lifeboat_core::event::{Answer, ClientLimits, Event, NewRequest};
use lifeboat_core::ids::{AttemptNumber, ClientId, ClientTag, MethodId, PoolId, ProcessKey, RequestId};
use lifeboat_core::settings::{
    HealthSettings, Heartbeat, MethodSettings, OnBusy, OnDisconnect, OnPanic, PoolSettings, QueueSettings,
    RecycleSettings, RestartSettings, RetryPolicy, Settings,
};
use lifeboat_core::time::Timestamp;

const REQUESTS: u64 = 5_000_000;

/// Workers, slots, prefetch, requests in flight.
const LOADS: [(u16, u16, u16, u64); 7] = [
    (1, 1, 1, 1),
    (4, 1, 1, 4),
    (4, 1, 1, 64),
    (4, 1, 32, 64),
    (64, 1, 32, 4096),
    (4, 4, 1, 64),
    (4, 4, 8, 64),
];

fn main() {
    for (workers, slots, prefetch, in_flight) in LOADS {
        let best = (0..3).map(|_| measure(workers, slots, prefetch, in_flight)).fold(f64::MAX, f64::min);
        println!(
            "{workers:>3} workers, {slots} slots, prefetch {prefetch:>2}, {in_flight:>4} in flight: {best:>6.1} ns per request"
        );
    }
}

struct Driver {
    core: Core<u64, u64>,
    /// What the processes hold, oldest first.
    held: VecDeque<(ProcessKey, RequestId, AttemptNumber)>,
    now: u64,
    done: u64,
    facts: u64,
}

fn measure(workers: u16, slots: u16, prefetch: u16, in_flight: u64) -> f64 {
    let mut driver = Driver::new(workers, slots, prefetch);
    let client = ClientId(1);
    driver.tell(Event::ClientOpened { client });
    let mut tag = 0;
    let begun = Instant::now();
    while driver.done < REQUESTS {
        while tag < driver.done + in_flight {
            tag += 1;
            let limits = ClientLimits::default();
            let request = NewRequest {
                digest: None,
                client,
                tag: ClientTag(tag),
                method: Some(MethodId(0)),
                payload: tag,
                bytes: 64,
                limits,
                stream: false,
                restartable: false,
            };
            driver.tell(Event::RequestReceived(request));
        }
        if let Some((process, request, attempt)) = driver.held.pop_front() {
            driver.tell(Event::Answered { process, request, attempt, answer: Answer::Ok(7) });
        }
    }
    let spent = begun.elapsed();
    black_box(driver.facts);
    spent.as_secs_f64() * 1e9 / driver.done as f64
}

impl Driver {
    fn new(workers: u16, slots: u16, prefetch: u16) -> Self {
        let core = Core::new(settings(workers, slots, prefetch), 1, Timestamp::ZERO);
        let mut driver = Self { core, held: VecDeque::new(), now: 0, done: 0, facts: 0 };
        driver.core.start(Timestamp::ZERO);
        let spawned = driver.drain();
        for process in spawned {
            driver.tell(Event::Spawned { process, pid: 1 });
            driver.tell(Event::Ready { process, heartbeats: true });
        }
        driver
    }

    fn tell(&mut self, event: Event<u64, u64>) {
        self.now += 1;
        self.core.handle_event(Timestamp::from_micros(self.now), event);
        let _ = self.drain();
        if let Some((at, _)) = black_box(self.core.poll_timeout())
            && at <= Timestamp::from_micros(self.now)
        {
            self.core.handle_timeout(Timestamp::from_micros(self.now));
            let _ = self.drain();
        }
    }

    fn drain(&mut self) -> Vec<ProcessKey> {
        let mut spawned = Vec::new();
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Dispatch { process, request, attempt, .. } => {
                    black_box(self.core.payload(request));
                    self.held.push_back((process, request, attempt));
                }
                Action::Reply { answer, .. } => {
                    black_box(answer);
                    self.done += 1;
                }
                Action::Spawn { process } => spawned.push(process),
                Action::SendCancel { .. }
                | Action::SendDrain { .. }
                | Action::Signal { .. }
                | Action::Collect { .. }
                | Action::Release { .. }
                | Action::TellAccepted { .. }
                | Action::ForwardProgress { .. }
                | Action::ForwardPart { .. }
                | Action::TellAttemptFailed { .. }
                | Action::Settle { .. }
                | Action::AnnounceDrain
                | Action::Finished => {}
            }
        }
        while let Some(fact) = self.core.poll_fact() {
            black_box(&fact);
            self.facts += 1;
        }
        spawned
    }
}

fn settings(workers: u16, slots: u16, prefetch: u16) -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        pools: vec![PoolSettings {
            name: "bench".into(),
            workers: NonZeroU16::new(workers).unwrap_or(NonZeroU16::MIN),
            slots: NonZeroU16::new(slots).unwrap_or(NonZeroU16::MIN),
            prefetch: NonZeroU16::new(prefetch).unwrap_or(NonZeroU16::MIN),
            queue: QueueSettings { max_requests: 100_000, max_bytes: usize::MAX },
            on_busy: OnBusy::Queue,
            restart: RestartSettings {
                initial: second,
                max: second,
                stable_after: 30 * second,
                max_restarts: NonZeroU32::new(20),
                window: 60 * second,
            },
            recycle: RecycleSettings::default(),
            heartbeat: NonZeroU16::new(3).map(|missed| Heartbeat { interval: 2 * second, missed }),
            start_timeout: 10 * second,
            cancel_grace: second,
            stop_grace: 5 * second,
            kill_timeout: second,
            on_disconnect: OnDisconnect::Cancel,
            on_panic: OnPanic::RetireSlot,
            health: HealthSettings::default(),
        }],
        methods: vec![MethodSettings {
            name: "work".into(),
            pool: PoolId(0),
            queue_timeout: None,
            attempt_timeout: Some(30 * second),
            progress_timeout: None,
            output_timeout: None,
            deadline: 300 * second,
            retry: RetryPolicy::Never,
            quarantine: None,
        }],
        drain_timeout: 30 * second,
        max_open_requests: 1 << 20,
        quarantine_room: Settings::QUARANTINE_ROOM,
        start: String::new(),
    }
}
