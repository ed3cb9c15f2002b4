//! Recurses until the stack is used up.

use std::hint::black_box;

pub(super) fn commit() -> ! {
    black_box(dig(black_box(1)));
    super::hang::commit()
}

fn dig(depth: u64) -> u64 {
    let ballast = black_box([depth; 64]);
    // A depth of 0 is never reached: it is there so that the compiler cannot see that this has no end.
    if black_box(depth) == 0 { ballast[0] } else { dig(depth.wrapping_add(1)).wrapping_add(ballast[1]) }
}
