//! The names behind the ids: made once, from the settings, and shared by every snapshot.

use std::ops::Range;

use lifeboat_core::ids::{MethodId, PoolId, ReportId, WorkerId};
use lifeboat_core::settings::Settings;

/// The pool label of requests for a method that no pool serves.
pub(super) const NO_POOL: &str = "_none";

/// The method label of requests for a method that the configuration does not name.
pub(super) const OTHER_METHOD: &str = "_other";

/// The names of pools, methods and workers.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pools: Vec<PoolNames>,
    methods: Vec<(PoolId, String)>,
    workers: Vec<(PoolId, String)>,
    /// What the names of reports begin with.
    start: String,
}

#[derive(Clone, Debug)]
struct PoolNames {
    name: String,
    workers: Range<usize>,
}

impl Names {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut pools = Vec::new();
        let mut workers = Vec::new();
        for (id, pool) in (0..).map(PoolId).zip(&settings.pools) {
            let first = workers.len();
            workers.extend((0..pool.workers.get()).map(|number| (id, format!("{}-{number}", pool.name))));
            pools.push(PoolNames { name: pool.name.clone(), workers: first..workers.len() });
        }
        let methods = settings.methods.iter().map(|method| (method.pool, method.name.clone())).collect();
        Self { pools, methods, workers, start: settings.start.clone() }
    }

    pub(super) const fn pool_count(&self) -> usize {
        self.pools.len()
    }

    pub(super) const fn method_count(&self) -> usize {
        self.methods.len()
    }

    pub(super) const fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// The pool's name.
    pub(super) fn pool(&self, id: PoolId) -> &str {
        self.pools.get(usize::from(id.0)).map_or(NO_POOL, |pool| &pool.name)
    }

    /// The method's name.
    pub(super) fn method(&self, id: MethodId) -> &str {
        self.methods.get(usize::from(id.0)).map_or(OTHER_METHOD, |(_, name)| name)
    }

    /// The worker's stable name.
    pub(super) fn worker(&self, id: WorkerId) -> &str {
        self.workers.get(usize::from(id.0)).map_or("_unknown", |(_, name)| name)
    }

    /// A report's name.
    pub(super) fn report(&self, id: ReportId) -> String {
        id.name(&self.start)
    }

    /// Every pool, in configuration order.
    pub(super) fn pools(&self) -> impl Iterator<Item = (PoolId, &str)> {
        (0..).map(PoolId).zip(&self.pools).map(|(id, pool)| (id, pool.name.as_str()))
    }

    /// Every method's pool and name, in configuration order.
    pub(super) fn methods(&self) -> impl Iterator<Item = (&str, &str)> {
        self.methods.iter().map(|(pool, name)| (self.pool(*pool), name.as_str()))
    }

    /// Every worker's pool and name, in the order of their ids.
    pub(super) fn workers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.workers.iter().map(|(pool, name)| (self.pool(*pool), name.as_str()))
    }

    /// Where a pool's workers are among all of them.
    pub(super) fn workers_of(&self, id: PoolId) -> Range<usize> {
        self.pools.get(usize::from(id.0)).map_or(0..0, |pool| pool.workers.clone())
    }
}
