//! Aborts.

pub(super) fn commit() -> ! {
    super::complain("aborting");
    std::process::abort()
}
