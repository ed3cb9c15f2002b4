//! What handlers share for the life of the process: models, pools of connections, configuration.
//!
//! Owns one value per type. Must never be changed once serving begins.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A value given with [`Worker::state`](crate::Worker::state), as an argument of a handler. Cheap to clone;
/// dereferences to the value.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use lifeboat_worker::prelude::*;
///
/// /// Shared by all slots: what changes is locked, or atomic.
/// #[derive(Default)]
/// struct Served(AtomicU64);
///
/// method!(struct Count = "count": () => u64);
///
/// async fn count((): (), served: State<Served>) -> Result<u64, HandlerError> {
///     let served: Arc<Served> = served.into_inner(); // for what takes an `Arc`, or outlives the handler
///     let counted = tokio::task::spawn_blocking(move || served.0.fetch_add(1, Ordering::Relaxed) + 1);
///     Ok(counted.await?)
/// }
///
/// let worker = Worker::new().state(Served(AtomicU64::new(6))).handle::<Count>(count);
/// # #[cfg(feature = "testing")]
/// # fn test(worker: Worker) -> Result<(), lifeboat_worker::testing::AttemptError> {
/// # assert_eq!(lifeboat_worker::testing::Attempt::<Count>::by(worker).run_blocking(())?.reply(), 7);
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test(worker).unwrap();
/// ```
pub struct State<S>(Arc<S>);

impl<S> State<S> {
    /// The shared value itself.
    #[must_use]
    pub fn into_inner(self) -> Arc<S> {
        self.0
    }
}

impl<S> Clone for State<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Deref for State<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: fmt::Debug> fmt::Debug for State<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("State").field(&self.0).finish()
    }
}

/// All states of a process. A handful at most: searched in order.
#[derive(Default)]
pub(crate) struct States(Vec<Entry>);

struct Entry {
    id: TypeId,
    name: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

impl States {
    pub(crate) fn add<S: Send + Sync + 'static>(&mut self, state: S) {
        self.0.push(Entry { id: TypeId::of::<S>(), name: type_name::<S>(), value: Arc::new(state) });
    }

    pub(crate) fn get<S: Send + Sync + 'static>(&self) -> Option<State<S>> {
        let entry = self.0.iter().find(|entry| entry.id == TypeId::of::<S>())?;
        Arc::clone(&entry.value).downcast().ok().map(State)
    }

    pub(crate) fn has(&self, id: TypeId) -> bool {
        self.0.iter().any(|entry| entry.id == id)
    }

    /// A type that was given twice.
    pub(crate) fn duplicate(&self) -> Option<&'static str> {
        let twice = |(at, entry): (usize, &Entry)| {
            self.0[..at].iter().any(|earlier| earlier.id == entry.id).then_some(entry.name)
        };
        self.0.iter().enumerate().find_map(twice)
    }
}
