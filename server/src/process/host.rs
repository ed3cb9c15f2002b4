//! What this process must be before it starts its first worker. Owns process-wide settings; must run first.

use std::io;

use super::sys;

/// Makes this process the adopter of its workers' orphans and takes SIGCHLD back to its default.
///
/// The first act of `serve`: with SIGCHLD ignored (inherited through exec from some supervisors) the kernel reaps
/// children by itself and their status is lost. Does not block. Idempotent.
///
/// # Errors
///
/// When the kernel refuses either, which no supported kernel does outside a sandbox that forbids the call.
pub fn become_subreaper_and_reset_sigchld() -> io::Result<()> {
    sys::reset_sigchld()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Whether orphans among this process's descendants come to this process.
pub(super) fn adopts_orphans() -> bool {
    rustix::process::getpid().is_init()
        || rustix::process::child_subreaper().is_ok_and(|subreaper| subreaper.is_some())
}
