//! Announces a frame that is larger than any.

use super::raw::Link;

pub(super) fn commit(link: &mut Link) -> ! {
    link.write(&[0xff, 0xff, 0xff, 0xff]);
    super::hang::commit()
}
