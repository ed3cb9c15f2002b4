//! The `[alerts]` table.
//!
//! Owns where alerts go and how long they are tried. Must never show the address: it often holds a secret.

use std::fmt;
use std::time::Duration;

use super::effective::HIDDEN;
use super::pool::builtin;
use super::reader::Reader;
use super::section::Section;
use super::shapes::{Or, Time};
use super::texts::WebAddress;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_GIVE_UP_AFTER: Duration = Duration::from_mins(1);

/// Where alerts go.
#[derive(Clone, PartialEq, Eq)]
pub struct AlertsConfig {
    /// The address that they are posted to; `None` is nowhere.
    pub webhook: Option<String>,
    /// How long one try may take; default 10 s.
    pub timeout: Duration,
    /// How long one alert is tried; default 1 min.
    pub give_up_after: Duration,
}

impl fmt::Debug for AlertsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { webhook, timeout, give_up_after } = self;
        let webhook = webhook.as_ref().map(|_| "(hidden)");
        let mut shown = f.debug_struct("AlertsConfig");
        shown.field("webhook", &webhook).field("timeout", timeout).field("give_up_after", give_up_after);
        shown.finish()
    }
}

pub(super) fn read(reader: &mut Reader<'_>, root: &mut Section) -> AlertsConfig {
    let mut section = reader.section(root, "alerts");
    let webhook = read_webhook(reader, &mut section);
    let timeout = reader.value(&mut section, "timeout", &Time::TIMEOUT, DEFAULT_TIMEOUT);
    let give_up_after = reader.value(&mut section, "give_up_after", &Time::TIMEOUT, DEFAULT_GIVE_UP_AFTER);
    reader.finish(section, |_| None);
    super::order::at_most(reader, &timeout, &give_up_after, "is longer than");
    AlertsConfig { webhook, timeout: timeout.value, give_up_after: give_up_after.value }
}

fn read_webhook(reader: &mut Reader<'_>, section: &mut Section) -> Option<String> {
    const SHAPE: Or<WebAddress> = Or(WebAddress, "off");
    let path = section.path("webhook");
    let mut webhook = match reader.take(section, "webhook") {
        Some(entry) => reader.read(path.clone(), &entry, &SHAPE, &None),
        None => builtin(path.clone(), &SHAPE, None),
    };
    if webhook.value.is_some() {
        webhook.shown = HIDDEN.to_owned();
    }
    reader.tell(path, &webhook);
    webhook.value
}
