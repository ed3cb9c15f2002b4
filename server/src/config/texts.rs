//! The shapes of words, texts, paths, commands and addresses.
//!
//! Owns what may be written in quotes that is neither a duration nor a size. Must never touch the file system.

use std::net::SocketAddr;

use url::Url;

use super::HttpListen;
use super::shapes::{Shape, Wrong, part};
use super::tree::{Node, Value};

/// True or false.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag;

impl Shape for Flag {
    type Value = bool;

    fn read(&self, node: &Node) -> Result<bool, Wrong> {
        match node.value {
            Value::Flag(flag) => Ok(flag),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Datetime
            | Value::List(_)
            | Value::Table(_) => Err(Wrong::Type("true or false".to_owned())),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// One of a few words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Clone + PartialEq> Shape for Choice<T> {
    type Value = T;

    fn read(&self, node: &Node) -> Result<T, Wrong> {
        let words: Vec<_> = self.0.iter().map(|(word, _)| format!("{word:?}")).collect();
        let expected = words.join(" or ");
        let Value::Text(text) = &node.value else {
            return Err(Wrong::Type(expected));
        };
        let chosen = self.0.iter().find(|(word, _)| word == text).map(|(_, value)| value.clone());
        chosen.ok_or_else(|| Wrong::Text { expected, found: text.clone() })
    }

    fn show(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, each)| each == value).map_or("", |(word, _)| word);
        format!("{word:?}")
    }
}

/// The words that a key may be instead of a table, each with its meaning; the table is read elsewhere.
pub(super) struct WordOrTable<V: 'static> {
    pub(super) words: &'static [(&'static str, V)],
    /// What such a table looks like.
    pub(super) table: &'static str,
}

impl<V: Copy + PartialEq> Shape for WordOrTable<V> {
    type Value = V;

    fn read(&self, node: &Node) -> Result<V, Wrong> {
        let words: Vec<_> = self.words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let expected = format!("{} or a table such as {}", words.join(", "), self.table);
        match &node.value {
            Value::Text(text) => {
                let meant = self.words.iter().find(|(word, _)| text == word);
                meant.map(|(_, value)| *value).ok_or_else(|| Wrong::Text { expected, found: text.clone() })
            }
            Value::Integer(_)
            | Value::Float(_)
            | Value::Flag(_)
            | Value::Datetime
            | Value::List(_)
            | Value::Table(_) => Err(Wrong::Type(expected)),
        }
    }

    fn show(&self, value: &V) -> String {
        let word = self.words.iter().find(|(_, meant)| meant == value).map_or("", |(word, _)| word);
        format!("\"{word}\"")
    }
}

/// Any text without a zero byte, which no program and no path can be given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text;

impl Shape for Text {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Wrong> {
        let text = match (&node.value, &node.raw) {
            (_, Some(raw)) if !matches!(node.value, Value::Text(_)) => raw,
            (Value::Text(text), _) => text,
            _ => return Err(Wrong::Type("a text in quotes".to_owned())),
        };
        if text.contains('\0') {
            return Err(Wrong::Text {
                expected: "a text without a zero byte".to_owned(),
                found: text.clone(),
            });
        }
        Ok(text.clone())
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }
}

/// An absolute path, so that nothing depends on the directory in which the broker was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct AbsolutePath;

impl Shape for AbsolutePath {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Wrong> {
        let text = Text.read(node)?;
        if text.starts_with('/') {
            return Ok(text);
        }
        Err(Wrong::Text { expected: "an absolute path (it begins with `/`)".to_owned(), found: text })
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }
}

/// Names of variables, or the word `all`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names;

impl Shape for Names {
    type Value = Option<Vec<String>>;

    fn read(&self, node: &Node) -> Result<Self::Value, Wrong> {
        let expected = || "a list of names of variables, or \"all\"".to_owned();
        match &node.value {
            Value::Text(text) if text == "all" => Ok(None),
            Value::Text(text) => Err(Wrong::Text { expected: expected(), found: text.clone() }),
            Value::List(items) => {
                let name = |item| match Text.read(item).map_err(|wrong| part(item, wrong))? {
                    name if name.is_empty() || name.contains('=') => {
                        let expected = "the name of a variable".to_owned();
                        Err(part(item, Wrong::Text { expected, found: name }))
                    }
                    name => Ok(name),
                };
                items.iter().map(name).collect::<Result<_, _>>().map(Some)
            }
            Value::Integer(_) | Value::Float(_) | Value::Flag(_) | Value::Datetime | Value::Table(_) => {
                Err(Wrong::Type(expected()))
            }
        }
    }

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| "\"all\"".to_owned(), |names| Command.show(names))
    }
}

/// A program and its arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command;

impl Shape for Command {
    type Value = Vec<String>;

    fn read(&self, node: &Node) -> Result<Vec<String>, Wrong> {
        let expected = "a list of texts: the program and its arguments".to_owned();
        let Value::List(items) = &node.value else {
            return Err(Wrong::Type(expected));
        };
        let Some(program) = items.first() else {
            return Err(Wrong::Type(expected));
        };
        let words = items.iter().map(|item| match item.value {
            Value::Text(_) => Text.read(item).map_err(|wrong| part(item, wrong)),
            Value::Integer(_)
            | Value::Float(_)
            | Value::Flag(_)
            | Value::Datetime
            | Value::List(_)
            | Value::Table(_) => Err(part(item, Wrong::Type(expected.clone()))),
        });
        let words = words.collect::<Result<Vec<_>, _>>()?;
        if words.first().is_none_or(String::is_empty) {
            let wrong = Wrong::Text { expected: "the name of a program".to_owned(), found: String::new() };
            return Err(part(program, wrong));
        }
        Ok(words)
    }

    fn show(&self, value: &Vec<String>) -> String {
        let words: Vec<_> = value.iter().map(|word| quote(word)).collect();
        format!("[{}]", words.join(", "))
    }
}

/// Where HTTP listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address;

impl Shape for Address {
    type Value = HttpListen;

    fn read(&self, node: &Node) -> Result<HttpListen, Wrong> {
        const EXPECTED: &str = "an address and port such as \"127.0.0.1:9464\", or \"off\"";
        let Value::Text(text) = &node.value else {
            return Err(Wrong::Type(EXPECTED.to_owned()));
        };
        if text == "off" {
            return Ok(HttpListen::Off);
        }
        let address = text.parse::<SocketAddr>().map(HttpListen::At);
        address.map_err(|_| Wrong::Text { expected: EXPECTED.to_owned(), found: text.clone() })
    }

    fn show(&self, value: &HttpListen) -> String {
        match value {
            HttpListen::At(address) => format!("\"{address}\""),
            HttpListen::Off => "\"off\"".to_owned(),
        }
    }
}

/// An address on the web that something can be posted to.
#[derive(Clone, Copy, Debug)]
pub(super) struct WebAddress;

impl Shape for WebAddress {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Wrong> {
        const EXPECTED: &str = "an address such as \"https://example.org/hook\"";
        let Value::Text(text) = &node.value else {
            return Err(Wrong::Type(EXPECTED.to_owned()));
        };
        let url = Url::parse(text).ok();
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if url.as_ref().is_some_and(is_web) {
            return Ok(text.clone());
        }
        // A slip of the pen in front of a secret does not make it less of one.
        Err(Wrong::Text { expected: EXPECTED.to_owned(), found: "(hidden)".to_owned() })
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }
}

/// A text as a TOML basic string, on one line whatever it holds.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(format!("\\u{:04X}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
