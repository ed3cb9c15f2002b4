//! The whole file: what loads, what is refused and in which words, and what overrides it.

mod alerts;
mod effective;
mod errors;
mod guard;
mod pools;
mod relations;
mod values;
mod variables;
mod warnings;

use super::{Accepted, Config, ConfigError};

/// The example of the design, which must always load.
const EXAMPLE: &str = include_str!("../../../docs/example.toml");

/// The least that is a configuration; tests add to it.
const SMALL: &str = "[pools.images]\ncommand = [\"true\"]\n[pools.images.methods.thumbnail]\n";

fn variables(env: &[(&str, &str)]) -> Vec<(String, String)> {
    env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "lifeboat.toml", [])
}

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::parse(text, "lifeboat.toml", variables(env))
}

fn accepted(text: &str) -> Accepted {
    super::read(text, "lifeboat.toml", &[]).unwrap().1
}
