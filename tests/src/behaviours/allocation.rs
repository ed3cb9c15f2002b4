//! Asks for memory that no machine has, and is aborted for it.

use std::hint::black_box;

/// More than any address space: the allocator says no, and Rust's answer to that is an abort.
const TOO_MUCH: usize = 1 << 60;

pub(super) fn commit() -> ! {
    drop(black_box(Vec::<u8>::with_capacity(black_box(TOO_MUCH))));
    super::hang::commit()
}
