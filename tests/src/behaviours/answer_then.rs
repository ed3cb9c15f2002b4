//! Answers and does something else at once, such as dying.

use super::raw::Link;
use crate::act::Deed;

pub(super) fn commit(link: &mut Link, answer: &[u8], then: &Deed) {
    link.write(answer);
    super::commit(then);
}
