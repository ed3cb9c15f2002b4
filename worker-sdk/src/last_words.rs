//! What is said of a panic that ends the process.
//!
//! Owns the report that a panic leaves ready on its thread, and the handler of SIGABRT that writes it. Not every panic
//! unwinds: one in a `Drop` during unwinding or in an `extern "C"` function, every one in a program built with
//! `panic = "abort"`, and one whose hook gives up, all end in `abort()` before the slot can tell. Must never allocate, free
//! or wait without a bound in the handler, and must leave every other abort as it was.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use lifeboat_protocol::{MessageType, Panicked, Route, put_control};
use signal_hook::consts::SIGABRT;

use crate::pen::Pen;

/// How long the process waits for room in the socket before it aborts.
const LIMIT: Duration = Duration::from_secs(1);

thread_local! {
    /// The attempt whose handler this thread runs.
    static EXECUTES: Cell<Option<Route>> = const { Cell::new(None) };
    /// What this thread's slot writes with.
    static PEN: RefCell<Weak<Pen>> = const { RefCell::new(Weak::new()) };
    /// The latest panic of this thread, as a frame.
    static REPORT: RefCell<Option<(Arc<Pen>, Vec<u8>)>> = const { RefCell::new(None) };
}

/// This thread is a slot's.
pub(crate) fn enter_slot(pen: &Arc<Pen>) {
    PEN.with(|place| place.replace(Arc::downgrade(pen)));
}

/// This thread begins to run a handler.
pub(crate) fn begin(route: Route) {
    EXECUTES.set(Some(route));
}

/// The handler has ended. Panics that were caught, by itself or behind it, are none of the process's last words, and what is
/// kept for them would keep the connection open.
pub(crate) fn end() {
    EXECUTES.set(None);
    let report = REPORT.with(|place| place.take());
    drop(report);
}

/// A panic begins on this thread: if a handler runs here, its report is made, in case nothing comes after it.
pub(crate) fn prepare(panicked: &Panicked) {
    let report = EXECUTES.get().and_then(|route| {
        let pen = PEN.try_with(|pen| pen.borrow().upgrade()).ok().flatten()?;
        let mut frame = Vec::new();
        put_control(&mut frame, MessageType::Panicked, Some(route.answer()), panicked).ok()?;
        Some((pen, frame))
    });
    // A thread that is being torn down has no such place any more.
    let _ = REPORT.try_with(|place| place.replace(report));
}

/// From here on an abort tells of the panic that led to it. Once per process; it stays for as long as that lives, since
/// without a handler of ours the signal would be ignored.
///
/// # Errors
///
/// That of the system.
pub(crate) fn install() -> io::Result<()> {
    static INSTALLED: Once = Once::new();
    let mut installed = Ok(());
    INSTALLED.call_once(|| installed = crate::sys::on_signal(SIGABRT, before_abort));
    installed
}

/// Runs on the thread that aborts, as a signal handler.
fn before_abort() {
    // An abort beside a panic that was caught is none of its.
    if std::thread::panicking() {
        let _ = REPORT.try_with(|report| {
            if let Ok(report) = report.try_borrow()
                && let Some((pen, frame)) = &*report
            {
                pen.write_last(frame, LIMIT);
            }
        });
    }
    // Ends the process as if there were no handler.
    let _ = signal_hook::low_level::emulate_default_handler(SIGABRT);
}
