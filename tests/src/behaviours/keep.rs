//! Takes memory and never gives it back.

pub(super) fn commit(mib: usize) {
    // Not zero, or the pages would never be touched.
    std::mem::forget(std::hint::black_box(vec![1_u8; mib << 20]));
}
