//! The broker's log: to stderr, as text for people or as JSON lines for machines.
//!
//! Owns the set-up of the subscriber. Must never write to stdout, which belongs to the answers of commands.

use std::env;
use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged when no variable says otherwise.
pub const DEFAULT_FILTER: &str = "info";

/// The variables that choose what is logged; the first that is set and not empty counts.
pub const FILTER_VARIABLES: [&str; 2] = ["LIFEBOAT_LOG", "RUST_LOG"];

/// Sends this process's log to stderr. Does nothing when something else was set up before.
///
/// What is logged is chosen by `LIFEBOAT_LOG`, else `RUST_LOG`, else it is [`DEFAULT_FILTER`]; so it is when the variable
/// holds no filter, which is then logged as a warning: a slip there must not keep a broker from starting.
pub fn init(format: LogFormat) {
    init_with(format, DEFAULT_FILTER);
}

/// The same, with another filter for when no variable says otherwise.
pub fn init_with(format: LogFormat, default: &str) {
    let (filter, complaint) =
        filter(default, |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()));
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let outcome = match format {
        LogFormat::Text => {
            let colour = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
            builder.with_ansi(colour).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    // The only failure is that a subscriber is there already, as in a test or in an embedding program: it stays.
    drop(outcome);
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
}

/// The filter, and what is wrong with the one that was asked for.
fn filter(default: &str, variable: impl Fn(&str) -> Option<String>) -> (EnvFilter, Option<String>) {
    let set = |name| variable(name).filter(|text| !text.trim().is_empty()).map(|text| (name, text));
    let Some((name, text)) = FILTER_VARIABLES.into_iter().find_map(set) else {
        return (EnvFilter::new(default), None);
    };
    match EnvFilter::try_new(&text) {
        Ok(filter) => (filter, None),
        Err(error) => {
            let complaint = format!(
                "{name}={text:?} is no log filter ({error}), so {default:?} is used; write for example \
                 \"lifeboat=debug,info\""
            );
            (EnvFilter::new(default), Some(complaint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)]) -> (String, Option<String>) {
        let look = |wanted: &str| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        };
        let (filter, complaint) = filter(DEFAULT_FILTER, look);
        (filter.to_string(), complaint)
    }

    #[test]
    fn the_first_variable_that_is_set_counts() {
        for (variables, expected) in [
            (&[][..], "info"),
            (&[("RUST_LOG", "debug")], "debug"),
            (&[("RUST_LOG", "debug"), ("LIFEBOAT_LOG", "warn")], "warn"),
            (&[("RUST_LOG", "debug"), ("LIFEBOAT_LOG", " ")], "debug"),
        ] {
            assert_eq!(chosen(variables), (expected.to_owned(), None));
        }
    }

    #[test]
    fn a_wrong_filter_is_replaced_and_named() {
        let (filter, complaint) = chosen(&[("LIFEBOAT_LOG", "lifeboat=loud")]);
        assert_eq!(filter, "info");
        let complaint = complaint.unwrap();
        assert!(complaint.starts_with("LIFEBOAT_LOG=\"lifeboat=loud\" is no log filter"), "{complaint}");
    }

    #[test]
    fn a_second_set_up_changes_nothing() {
        init(LogFormat::Text);
        init(LogFormat::Json);
    }
}
