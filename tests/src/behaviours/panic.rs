//! Panics.

pub(super) fn commit() -> ! {
    panic!("{}", crate::act::PANIC)
}
