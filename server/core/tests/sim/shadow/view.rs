//! The core's own view agrees with what was seen.

use lifeboat_core::reason::StopReason;
use lifeboat_core::view::{BrokerView, PoolState, SlotState, WorkerState, WorkerView};

use super::Shadow;
use super::pool::Trip;

impl Shadow {
    pub(crate) fn compare(&self, view: &BrokerView) {
        assert_eq!(view.open_requests, self.open.len());
        assert_eq!(view.draining, self.draining);
        for (pool, mine) in view.pools.iter().zip(&self.pools) {
            assert_eq!((pool.queue_depth, pool.queue_bytes), mine.depth, "{:?}", pool.pool);
            assert_eq!(pool.quarantined, self.quarantined_in(pool.pool), "{:?}: bodies", pool.pool);
            let state = match mine.trip {
                _ if mine.drained => None,
                Trip::Closed => Some(PoolState::Serving),
                Trip::Open(_) => Some(PoolState::Tripped),
                Trip::HalfOpen(_) => Some(PoolState::Probing),
            };
            let drained = matches!(pool.state, PoolState::Draining | PoolState::Drained);
            assert!(
                state.map_or(drained, |state| state == pool.state),
                "{:?} is {:?}",
                pool.pool,
                pool.state
            );
        }
        for worker in &view.workers {
            self.compare_worker(worker);
        }
    }

    fn compare_worker(&self, view: &WorkerView) {
        let (id, mine) = (view.worker, &self.workers[usize::from(view.worker.0)]);
        let lives = self.processes.iter().filter(|process| process.key.worker == id && !process.concluded);
        let held: usize = lives.map(super::process::Process::load).sum();
        assert_eq!(view.held, held, "{id:?} holds");
        let recycling: Option<StopReason> = mine.due;
        assert_eq!(view.recycling, recycling, "{id:?} is to be replaced");
        let counts = (view.consecutive_failures, view.consecutive_crashes);
        assert_eq!(counts, (mine.failures, mine.crashes), "{id:?}: failures in a row");
        assert_eq!(view.healthy, !self.is_unhealthy(id), "{id:?} is healthy");
        let Some(present) = mine.present.and_then(|key| self.look(key)) else {
            let states = [WorkerState::Backoff, WorkerState::Disabled, WorkerState::Stopping];
            assert!(states.contains(&view.state), "{id:?} has no process and is {:?}", view.state);
            return;
        };
        assert_eq!(view.process, Some(present.key), "{id:?} has this process");
        let states = match () {
            () if present.is_starting() => [WorkerState::Starting, WorkerState::Starting],
            () if !present.is_ready() => [WorkerState::Stopping, WorkerState::Stopping],
            () if !present.is_ending() && present.slots.iter().any(|slot| slot.retired) => {
                [WorkerState::Degraded, WorkerState::Degraded]
            }
            () if !present.is_ending() && present.load() == 0 => [WorkerState::Ready, WorkerState::Ready],
            () if !present.is_ending() => [WorkerState::Busy, WorkerState::Busy],
            // It leaves when it has finished what it holds, or what it was told to leave off.
            () if present.works() || present.is_cancelling() => [WorkerState::Stopping, view.state],
            () => [WorkerState::Stopping, WorkerState::Stopping],
        };
        assert!(states.contains(&view.state), "{id:?} is {:?}, not {states:?}", view.state);
        for (view, mine) in view.slots.iter().zip(&present.slots) {
            let state = match () {
                () if mine.retired => SlotState::Failed,
                () if mine.line.is_empty() => SlotState::Idle,
                () => SlotState::Busy,
            };
            assert_eq!(view.state, state, "a slot of {id:?}");
        }
    }
}
