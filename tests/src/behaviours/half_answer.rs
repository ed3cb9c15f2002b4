//! Dies in the middle of writing its answer.

use super::raw::Link;

/// SIGKILL's number.
const SIGKILL: i32 = 9;

pub(super) fn commit(link: &mut Link, answer: &[u8], thousandths: u16) -> ! {
    let cut = answer.len() * usize::from(thousandths) / 1000;
    link.write(&answer[..cut.min(answer.len() - 1)]);
    super::signal::commit(SIGKILL)
}
