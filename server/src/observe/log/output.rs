//! What processes write: their lines, as they are, with who wrote them and what for.

use lifeboat_core::ids::ProcessKey;
use tracing::field::display as shown;
use tracing::info;

use super::{Executing, Log, life};

impl Log {
    /// Logs what a process wrote. The attempt is told where there is no doubt: while it executes a single one; else how
    /// many there are.
    ///
    /// The lines must be fit for a terminal: the process room escapes what is not.
    pub(in crate::observe) fn worker_wrote(
        &self,
        process: ProcessKey,
        stream: &'static str,
        executing: &[Executing],
        lines: &[String],
        dropped: u64,
    ) {
        let (worker, incarnation) = life(&self.names, process);
        let alone = if let [alone] = executing { Some(alone) } else { None };
        let request = alone.map(|(request, _, _)| shown(*request));
        let attempt = alone.map(|(_, attempt, _)| attempt.0);
        let executing = Some(executing.len()).filter(|executing| *executing > 1);
        let mut dropped = Some(dropped).filter(|dropped| *dropped > 0);
        for line in lines {
            let dropped = dropped.take();
            info!(
                target: "lifeboat::output",
                worker, incarnation, stream, request, attempt, executing, dropped, "{line}"
            );
        }
    }
}
