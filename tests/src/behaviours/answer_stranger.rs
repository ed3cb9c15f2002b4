//! Answers a request that it was never given.

use lifeboat_protocol::Route;

use super::raw::Link;
use crate::act::Act;

pub(super) fn commit(link: &mut Link, act: &Act, route: Route) -> ! {
    let stranger = Route { id: route.id ^ 0x0ffe_0000_0000_0000, ..route };
    let answer = link.answer(act, stranger, None);
    link.write(&answer);
    super::hang::commit()
}
