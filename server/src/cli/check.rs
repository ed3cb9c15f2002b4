//! `lifeboat check`: reads a configuration as `serve` would and prints what will count.
//!
//! Owns the printed form: TOML that means the same configuration, each value with a comment that says who said so; what is a secret is a comment. Must
//! never start anything or open a socket. The caller maps the result to an exit code: 0 when the configuration can
//! be used (warnings and keys without effect included), 2 when it cannot, 1 when the result cannot be printed.

use std::io::{self, Write};
use std::path::Path;

use crate::config::{Cgroups, Config, ConfigError, EffectiveValue, HIDDEN};

/// Names the configuration file where no argument does.
pub const CONFIG_VARIABLE: &str = "LIFEBOAT_CONFIG";

/// Why `check` failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The configuration cannot be used; the text says all that is wrong with it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The result cannot be written, for example into a closed pipe.
    #[error("cannot print the configuration")]
    Output(#[source] io::Error),
}

/// Checks a file and prints every value that counts with where it came from, the keys that have no effect yet, and
/// warnings. Reads the file system and may block on it.
///
/// `env` is the broker's environment, [`process_environment`](crate::config::process_environment).
///
/// # Errors
///
/// [`CheckError::Config`] when `serve` would refuse the file; when only a program or a directory is missing, the values
/// have been printed before. [`CheckError::Output`] when `out` fails.
pub fn run(
    path: &Path,
    env: impl IntoIterator<Item = (String, String)>,
    out: &mut impl Write,
) -> Result<Config, CheckError> {
    let env: Vec<_> = env.into_iter().collect();
    let is_variable = env.iter().any(|(name, value)| name == CONFIG_VARIABLE && Path::new(value) == path);
    let mut config = Config::read(path, env)?;
    print(&config, path, is_variable, out).map_err(CheckError::Output)?;
    config.find_programs()?;
    print_verdict(&config, out).map_err(CheckError::Output)?;
    Ok(config)
}

fn print(config: &Config, path: &Path, is_variable: bool, out: &mut impl Write) -> io::Result<()> {
    let source = if is_variable { format!(", environment {CONFIG_VARIABLE}") } else { String::new() };
    // A line break in a file's name must not end the comment.
    writeln!(out, "# {}{source}", path.display().to_string().replace(char::is_control, "?"))?;
    let rows: Vec<_> = config.effective().iter().map(row).collect();
    let width = rows.iter().map(|row| row.chars().count().min(MAX_COLUMN)).max().unwrap_or_default();
    let mut current = "";
    for (row, each) in rows.iter().zip(config.effective()) {
        if block(&each.key) != current {
            current = block(&each.key);
            writeln!(out)?;
        }
        let idle = config.unknown_yet.iter().any(|key| key.key == each.key);
        let note = if idle { ", not yet in effect" } else { "" };
        let source = match &each.inherited_from {
            Some(key) => format!("{}, inherited from {key}", each.origin),
            None => each.origin.to_string(),
        };
        writeln!(out, "{row:width$}  # {source}{note}")?;
    }
    writeln!(out)?;
    for warning in &config.warnings {
        writeln!(out, "# warning: {}: {}", warning.place, warning.message)?;
    }
    for key in &config.unknown_yet {
        let note = if key.note.is_empty() { String::new() } else { format!(" ({})", key.note) };
        writeln!(out, "# accepted, not yet in effect: {}{note}, {}", key.key, key.place)?;
    }
    let limited = config.settings.pools.iter().zip(&config.commands);
    for (pool, _) in limited
        .filter(|(_, command)| config.broker.cgroups == Cgroups::Auto && command.limits.processes.is_some())
    {
        let name = &pool.name;
        writeln!(out, "# in effect only where the broker may make cgroups: pools.{name}.limits.processes")?;
    }
    Ok(())
}

/// A key with its value: TOML, or a comment where TOML has no word for it or the value is not shown.
fn row(each: &EffectiveValue) -> String {
    match &each.value {
        // Read back, it would be no address.
        Some(value) if each.key == "alerts.webhook" && value == HIDDEN => format!("# {}: {value}", each.key),
        Some(value) => format!("{} = {value}", each.key),
        None => format!("# {}: the broker's own", each.key),
    }
}

fn print_verdict(config: &Config, out: &mut impl Write) -> io::Result<()> {
    let workers: u32 = config.settings.pools.iter().map(|pool| u32::from(pool.workers.get())).sum();
    writeln!(
        out,
        "# ok: {}, {}, {}",
        counted(config.settings.pools.len(), "pool"),
        counted(workers as usize, "worker"),
        counted(config.settings.methods.len(), "method")
    )?;
    out.flush()
}

/// Comments stand in one column up to here; a long command pushes only its own.
const MAX_COLUMN: usize = 60;

/// The block in which a key is printed: the broker's, the alerts', a pool's, its defaults', a method's.
fn block(key: &str) -> &str {
    let words = if key.starts_with("broker.") || key.starts_with("alerts.") {
        1
    } else if key.contains(".methods.") {
        4
    } else if key.contains(".defaults.") {
        3
    } else {
        2
    };
    key.match_indices('.').nth(words - 1).map_or(key, |(at, _)| &key[..at])
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AlertsConfig;

    fn checked(text: &str) -> (Result<Config, CheckError>, String) {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("lifeboat.toml");
        std::fs::write(&path, text).unwrap();
        let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        let mut out = Vec::new();
        let result = run(&path, env, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    const EXAMPLE: &str = include_str!("../../../docs/example.toml");

    #[test]
    fn every_value_is_printed_with_where_it_came_from() {
        let text = EXAMPLE
            .replace("\"thumbnailer\"", "\"sh\"")
            .replace("[pools.images.defaults]", "[pools.images.defaults]\ndeadline = \"2m\"");
        let (result, printed) = checked(&text);
        let config = result.unwrap();
        let row = |key: &str| {
            let row = printed.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
            row.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(row("broker.http"), "broker.http = \"127.0.0.1:9464\" # line 3");
        assert_eq!(row("broker.drain_timeout"), "broker.drain_timeout = \"30s\" # default");
        assert_eq!(row("pools.images.unhealthy_after"), "pools.images.unhealthy_after = 3 # default");
        for key in ["current_dir", "env"] {
            let key = format!("# pools.images.{key}: the broker's own ");
            let row = printed.lines().find(|line| line.starts_with(&key)).unwrap();
            assert!(row.ends_with("  # default"), "{row}");
        }
        assert_eq!(row("pools.images.recycle.age"), "pools.images.recycle.age = \"6h\" # line 17");
        let inherited = "pools.images.methods.thumbnail.deadline";
        let from = "line 21, inherited from pools.images.defaults.deadline";
        assert_eq!(row(inherited), format!("{inherited} = \"2m\" # {from}"));
        let processes = "pools.images.limits.processes";
        assert_eq!(row(processes), format!("{processes} = 64 # line 18"));
        assert!(
            printed.contains(&format!("# in effect only where the broker may make cgroups: {processes}\n"))
        );
        let least = "pools.images.workers.min";
        assert_eq!(row(least), format!("{least} = 2 # line 9, not yet in effect"));
        assert!(printed.contains(&format!("# accepted, not yet in effect: {least} ")), "{printed}");
        assert!(printed.ends_with("# ok: 1 pool, 8 workers, 1 method\n"), "{printed}");

        let again = Config::parse(&printed, "printed", []).unwrap();
        assert_eq!(format!("{:?}", again.settings), format!("{:?}", config.settings));
    }

    #[test]
    fn a_webhook_is_printed_as_a_comment() {
        let alerts = "[alerts]\nwebhook = \"http://127.0.0.1:9/secret\"\ntimeout = \"3s\"\n";
        let (result, printed) = checked(&(EXAMPLE.replace("\"thumbnailer\"", "\"sh\"") + alerts));
        assert!(
            printed.contains("\n# alerts.webhook: \"(hidden)\" ") && !printed.contains("secret"),
            "{printed}"
        );
        let again = Config::parse(&printed, "printed", []).unwrap();
        let config = result.unwrap();
        assert_eq!(again.alerts, AlertsConfig { webhook: None, ..config.alerts });
        assert_eq!(format!("{:?}", again.settings), format!("{:?}", config.settings));
    }

    #[test]
    fn a_missing_program_fails_after_the_values() {
        let (result, printed) = checked(&EXAMPLE.replace("\"thumbnailer\"", "\"no-such-program\""));
        let message = result.unwrap_err().to_string();
        assert!(
            message.contains("the program `no-such-program` of the pool `images` is not in PATH"),
            "{message}"
        );
        assert!(printed.contains("not yet in effect: pools.images.workers.min"), "{printed}");
        assert!(!printed.contains("# ok"), "{printed}");
    }

    #[test]
    fn what_cannot_be_used_prints_nothing() {
        let (result, printed) = checked("[broker]\nhttp = 3\n");
        assert!(matches!(result, Err(CheckError::Config(_))));
        assert_eq!(printed, "");
    }

    #[test]
    fn the_file_is_named_with_the_variable_that_names_it() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("lifeboat.toml");
        std::fs::write(&path, EXAMPLE.replace("\"thumbnailer\"", "\"/bin/sh\"")).unwrap();
        let first_line = |variable: &Path| {
            let mut out = Vec::new();
            run(&path, [(CONFIG_VARIABLE.to_owned(), variable.display().to_string())], &mut out).unwrap();
            String::from_utf8(out).unwrap().lines().next().unwrap().to_owned()
        };
        assert_eq!(first_line(&path), format!("# {}, environment LIFEBOAT_CONFIG", path.display()));
        assert_eq!(first_line(Path::new("/another")), format!("# {}", path.display()));
    }

    #[test]
    fn blocks_are_those_of_the_file() {
        assert_eq!(block("broker.http"), "broker");
        assert_eq!((block("alerts.webhook"), block("alerts.timeout")), ("alerts", "alerts"));
        assert_eq!(block("pools.images.queue.max_bytes"), "pools.images");
        assert_eq!(block("pools.images.defaults.retry.on"), "pools.images.defaults");
        assert_eq!(block("pools.images.methods.thumbnail.deadline"), "pools.images.methods.thumbnail");
    }
}
