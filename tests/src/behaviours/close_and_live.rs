//! Closes its socket and lives on.

use super::raw::Link;

pub(super) fn commit(link: &Link) -> ! {
    link.shut();
    super::hang::commit()
}
