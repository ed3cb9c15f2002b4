//! The process plane as the engine sees it.

use std::sync::Arc;
use std::time::Duration;

use lifeboat_core::evidence::StopSignal;
use lifeboat_core::ids::{PoolId, ProcessKey};

use crate::engine::ports::ProcessPort;
use crate::process::{Order, ProcessPlane, SpawnSpec};

/// Turns the engine's calls into orders: knows what each pool's processes are started from.
#[derive(Debug)]
pub(super) struct ProcessLink {
    /// There until the end.
    plane: Option<ProcessPlane>,
    /// By pool; the worker's name is filled in at each start.
    specs: Vec<SpawnSpec>,
}

impl ProcessLink {
    /// A link that starts the processes of each pool from the spec at its place in `specs`.
    pub(super) const fn new(plane: ProcessPlane, specs: Vec<SpawnSpec>) -> Self {
        Self { plane: Some(plane), specs }
    }

    /// Ends the process plane; blocks for at most `within`. False if processes are left that could not be killed.
    pub(super) fn shut_down(&mut self, within: Duration) -> bool {
        self.plane.take().is_none_or(|plane| plane.shutdown(within))
    }

    fn order(&self, order: Order) {
        if let Some(plane) = &self.plane {
            plane.order(order);
        }
    }
}

impl ProcessPort for ProcessLink {
    fn spawn(&mut self, process: ProcessKey, pool: PoolId, worker: &str) {
        let spec = &self.specs[usize::from(pool.0)];
        let spec = Arc::new(SpawnSpec { worker_name: worker.to_owned(), ..spec.clone() });
        self.order(Order::Spawn { process, spec });
    }

    fn signal(&mut self, process: ProcessKey, signal: StopSignal, look: bool) {
        self.order(Order::Signal { process, signal, look });
    }

    fn collect(&mut self, process: ProcessKey) {
        self.order(Order::Collect { process });
    }

    fn release(&mut self, process: ProcessKey) {
        self.order(Order::Forget { process });
    }
}
