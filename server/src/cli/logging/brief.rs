//! Lines for a person who watches one worker: what it writes beside its name, and little else.
//!
//! It owns how lines look, never which lines there are.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Where workers' own lines are logged.
const OUTPUT: &str = "lifeboat::output";

/// `dev-0 err | a line`, and `lifeboat: what the broker says`.
pub(super) struct Brief;

impl<S, N> FormatEvent<S, N> for Brief
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, worker, stream, dropped, others } = fields;
        if event.metadata().target() == OUTPUT {
            let stream = stream.strip_prefix("std").unwrap_or(&stream);
            if let Some(dropped) = dropped {
                writeln!(
                    writer,
                    "{worker} {stream} | ({dropped} lines were dropped here: too many a second)"
                )?;
            }
            return writeln!(writer, "{worker} {stream} | {message}");
        }
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR ",
            Level::WARN => "WARN ",
            Level::INFO => "",
            Level::DEBUG => "DEBUG ",
            Level::TRACE => "TRACE ",
        };
        let worker = if worker.is_empty() { worker } else { format!(" worker={worker}") };
        writeln!(writer, "lifeboat: {level}{message}{worker}{others}")
    }
}

/// An event's fields, as text.
#[derive(Default)]
struct Fields {
    message: String,
    worker: String,
    stream: String,
    dropped: Option<u64>,
    others: String,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "dropped" {
            self.dropped = Some(value);
        }
        self.record_debug(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "worker" => value.clone_into(&mut self.worker),
            "stream" => value.clone_into(&mut self.stream),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a text cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _};
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn lines_are_those_of_the_worker_and_few_words_of_the_broker() {
        let (mut reader, writer) = io::pipe().unwrap();
        let log = tracing_subscriber::fmt().event_format(Brief).with_writer(Mutex::new(writer)).finish();
        tracing::subscriber::with_default(log, || {
            tracing::info!(target: OUTPUT, worker = "dev-0", incarnation = 1, stream = "stderr", "it \"said\"");
            tracing::info!(target: OUTPUT, worker = "dev-0", stream = "stdout", dropped = 7_u64, "more");
            tracing::info!("plain");
            tracing::warn!(worker = "dev-1", count = 2, text = "a b", "left");
        });
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let expected = "dev-0 err | it \"said\"\n\
                        dev-0 out | (7 lines were dropped here: too many a second)\n\
                        dev-0 out | more\n\
                        lifeboat: plain\n\
                        lifeboat: WARN left worker=dev-1 count=2 text=\"a b\"\n";
        assert_eq!(text, expected);
    }
}
