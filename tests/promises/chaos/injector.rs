//! What comes from outside: signals to workers, clients that are killed, and a person's orders.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lifeboat_client::{Admin, OperateError};
use lifeboat_tests::chaos::{Pool, Tried};
use lifeboat_tests::harness::Broker;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use super::fleet::Fleet;

/// Between two strikes, in milliseconds.
const PAUSE: std::ops::Range<u64> = 30..150;

/// How long a process stays stopped that is continued, in milliseconds: less than any heartbeat's patience.
const STOPPED: std::ops::Range<u64> = 5..300;

/// Which of a worker's lives.
pub(super) type Life = (String, u64);

/// What was done to processes.
#[derive(Debug, Default)]
pub(super) struct Struck {
    /// By life: the labels of the crash reasons that may come of it.
    pub(super) may_lead_to: BTreeMap<Life, BTreeSet<&'static str>>,
    /// How often each was done.
    pub(super) counts: BTreeMap<&'static str, u64>,
}

impl Struck {
    /// Whether what was done to the process of an attempt may lead to that reason.
    pub(super) fn explains(&self, tried: &Tried, reason: &str) -> bool {
        let life = (tried.worker.clone(), tried.incarnation);
        self.may_lead_to.get(&life).is_some_and(|reasons| reasons.contains(reason))
    }
}

/// Strikes at random.
pub(super) struct Injector {
    random: fastrand::Rng,
    admin: Admin,
    struck: Struck,
}

/// A process that lives, or did a moment ago.
struct Target {
    worker: String,
    incarnation: u64,
    pid: Pid,
}

impl Injector {
    pub(super) async fn new(broker: &Broker, seed: u64) -> Self {
        let admin = broker.client().await.admin();
        Self { random: fastrand::Rng::with_seed(seed), admin, struck: Struck::default() }
    }

    /// What was done so far.
    pub(super) const fn struck(&self) -> &Struck {
        &self.struck
    }

    /// One strike, and the pause after it.
    pub(super) async fn strike(&mut self, broker: &Broker, fleet: &mut Fleet) {
        match self.random.u8(..40) {
            0..=11 => self.signal(broker, Signal::KILL).await,
            12..=17 => self.signal(broker, Signal::TERM).await,
            18..=24 => self.stop_for_a_while(broker).await,
            25..=26 => self.signal(broker, Signal::STOP).await,
            27..=29 => {
                self.count("client killed");
                fleet.sink(&mut self.random);
            }
            30..=33 => self.kill_by_order(broker).await,
            34..=36 => {
                let target = self.pool_or_worker(broker).await;
                self.order("restart", &target).await;
            }
            _ => self.drain(broker).await,
        }
        self.pause(PAUSE).await;
    }

    /// Undoes what does not pass by itself.
    pub(super) async fn calm(&self, broker: &Broker) {
        for pool in Pool::ALL {
            self.admin.restart(pool.name()).await.expect("a person may order");
        }
        broker.ready().await;
    }

    async fn pause(&mut self, millis: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(millis))).await;
    }

    fn count(&mut self, what: &'static str) {
        *self.struck.counts.entry(what).or_default() += 1;
    }

    /// A signal to any worker's process.
    async fn signal(&mut self, broker: &Broker, signal: Signal) {
        if let Some(target) = self.target(broker).await {
            self.send(&target, signal);
        }
    }

    /// SIGSTOP to any worker's process, and SIGCONT after a moment.
    async fn stop_for_a_while(&mut self, broker: &Broker) {
        let Some(target) = self.target(broker).await else { return };
        self.send(&target, Signal::STOP);
        self.pause(STOPPED).await;
        self.send(&target, Signal::CONT);
    }

    /// Notes what may come of a signal, and sends it. The process may be gone.
    fn send(&mut self, target: &Target, signal: Signal) {
        let (what, reasons): (_, &[_]) = match signal {
            Signal::KILL => ("SIGKILL", &["killed_from_outside"]),
            // A worker on the SDK takes it for a drain and exits.
            Signal::TERM => ("SIGTERM", &["stopped_from_outside", "exit"]),
            Signal::STOP => ("SIGSTOP", &["unresponsive"]),
            _ => ("SIGCONT", &[]),
        };
        let Ok(process) = pidfd_open(target.pid, PidfdFlags::empty()) else { return };
        let life = (target.worker.clone(), target.incarnation);
        self.struck.may_lead_to.entry(life).or_default().extend(reasons);
        if pidfd_send_signal(&process, signal).is_ok() {
            self.count(what);
        }
    }

    /// A worker whose process is known.
    async fn target(&mut self, broker: &Broker) -> Option<Target> {
        let health = broker.health().await;
        let workers = health["workers"].as_object().expect("health has workers");
        let (worker, now) = workers.iter().nth(self.random.usize(..workers.len()))?;
        target_of(worker, now)
    }

    async fn pool_or_worker(&mut self, broker: &Broker) -> String {
        let pool = Pool::ALL[self.random.usize(..Pool::ALL.len())].name().to_owned();
        if self.random.u8(..4) == 0 { pool } else { self.worker(broker).await }
    }

    async fn worker(&mut self, broker: &Broker) -> String {
        let health = broker.health().await;
        let workers = health["workers"].as_object().expect("health has workers");
        let names = workers.keys().nth(self.random.usize(..workers.len()));
        names.expect("there are workers").clone()
    }

    async fn order(&mut self, what: &'static str, target: &str) {
        let done = match what {
            "restart" => self.admin.restart(target).await,
            "drain" => self.admin.drain(target).await,
            _ => self.admin.kill(target).await,
        };
        match done {
            // What is not there cannot be killed.
            Ok(_) | Err(OperateError::NotDone { .. }) => {}
            Err(error) => panic!("{what} {target}: {error:?}"),
        }
        self.count(what);
    }

    async fn kill_by_order(&mut self, broker: &Broker) {
        let target = self.pool_or_worker(broker).await;
        self.order("kill", &target).await;
    }

    /// A drain, and a restart after a moment.
    async fn drain(&mut self, broker: &Broker) {
        let target = self.pool_or_worker(broker).await;
        self.order("drain", &target).await;
        self.pause(PAUSE).await;
        self.order("restart", &target).await;
    }
}

fn target_of(worker: &str, now: &Value) -> Option<Target> {
    let pid = now["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)?;
    Some(Target { worker: worker.to_owned(), incarnation: now["incarnation"].as_u64()?, pid })
}
