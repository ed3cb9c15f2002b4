//! What becomes of processes, on its way to a watcher on another thread: a bounded queue with counted drops.
//!
//! It owns what is told of a process that is ready before the core says that it is. It must never tell what the core
//! has not told as a fact.

use std::sync::Arc;

use lifeboat_core::fact::{Death, Fact};
use lifeboat_core::ids::ProcessKey;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::names::Names;

/// What a watcher is told, in the order in which the core told it.
#[derive(Clone, Debug)]
pub enum News {
    /// A process is ready: it serves.
    Ready {
        /// Its worker's name.
        worker: String,
        /// What it has handlers for.
        methods: Vec<String>,
    },
    /// A process ended outside the plan.
    Died {
        /// Its worker's name.
        worker: String,
        /// How.
        death: Arc<Death>,
    },
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Watched {
    watcher: mpsc::Sender<News>,
    lost: u64,
    /// The last process that said what it has handlers for. The core is told of it next, and says at once whether it serves.
    announced: Option<(ProcessKey, Vec<String>)>,
}

impl Watched {
    pub(super) const fn new(watcher: mpsc::Sender<News>) -> Self {
        Self { watcher, lost: 0, announced: None }
    }

    pub(super) fn announce(&mut self, process: ProcessKey, methods: Vec<String>) {
        self.announced = Some((process, methods));
    }

    pub(super) fn tell(&mut self, fact: &Fact, names: &Names) {
        let name = |process: ProcessKey| names.worker(process.worker).to_owned();
        if let Fact::WorkerReady { process, .. } = fact {
            let announced = self.announced.take().filter(|(announced, _)| announced == process);
            let methods = announced.map(|(_, methods)| methods).unwrap_or_default();
            self.send(News::Ready { worker: name(*process), methods });
        } else if let Fact::WorkerCrashed(death) = fact {
            self.send(News::Died { worker: name(death.process), death: Arc::clone(death) });
        }
    }

    fn send(&mut self, news: News) {
        match self.watcher.try_send(news) {
            // A watcher that left needs nothing more.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                tracing::warn!(lost = self.lost, "a watcher of the processes does not keep up");
            }
        }
    }
}
