//! An engine for the tests of the rooms around it.

use lifeboat_core::settings::Settings;

use super::ports::{LinkPort, ProcessPort};
use super::{Clock, Engine};
use crate::observe::tests::observer;
pub(crate) use crate::observe::tests::settings;

/// An engine over a fresh core with the pools and methods that the tests of observation know.
pub(crate) fn engine<L: LinkPort, P: ProcessPort>(
    links: impl FnOnce(&Settings) -> L,
    processes: P,
) -> Engine<L, P> {
    engine_with(|_| {}, links, processes)
}

/// The same with other settings: `change` changes those of [`engine`].
pub(crate) fn engine_with<L: LinkPort, P: ProcessPort>(
    change: impl FnOnce(&mut Settings),
    links: impl FnOnce(&Settings) -> L,
    processes: P,
) -> Engine<L, P> {
    let mut settings = settings();
    change(&mut settings);
    let links = links(&settings);
    Engine::new(settings, 1, Clock::start(), observer(), links, processes)
}
