//! Closes its socket and lives on.

use super::raw::Link;

pub(super) fn commit(link: &mut Link) -> ! {
    link.close();
    super::hang::commit()
}
