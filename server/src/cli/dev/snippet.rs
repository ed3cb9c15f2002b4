//! How to call a worker: lines that can be pasted as they are, on stdout.
//!
//! It owns their words and the thread that prints them: a stdout that nobody reads must hold up nothing else.

use std::env;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::config::find_program;

/// Texts that may wait to be printed: more than anybody wants to read late.
const WAITING: usize = 4;

/// Prints on a thread that nobody waits for, not at the end either: it may be blocked for ever.
pub(super) struct Printer(SyncSender<String>);

impl Printer {
    pub(super) fn start() -> io::Result<Self> {
        let (print, texts) = sync_channel::<String>(WAITING);
        // A stdout that is gone stays so.
        let printing = move || texts.iter().try_for_each(|text| io::stdout().write_all(text.as_bytes()));
        thread::Builder::new().name("printer".to_owned()).spawn(printing)?;
        Ok(Self(print))
    }

    /// Prints how to call these methods of a broker that listens on `socket`; not if too much waits already.
    pub(super) fn show(&self, methods: &[String], socket: &Path) {
        drop(self.0.try_send(text(methods, socket, &this_program())));
    }
}

/// How a shell starts this program: by its name if `PATH` leads to it, else by its path.
fn this_program() -> String {
    const NAME: &str = "lifeboat";
    let Ok(this) = env::current_exe() else { return NAME.to_owned() };
    let found = find_program(NAME, env::var("PATH").ok().as_deref());
    let is_found = found.is_ok_and(|found| found.canonicalize().is_ok_and(|found| found == this));
    if is_found { NAME.to_owned() } else { quoted(&this.display().to_string()) }
}

fn text(methods: &[String], socket: &Path, program: &str) -> String {
    let Some(first) = methods.first() else {
        return "\nthe worker is ready, and has no method\n\n".to_owned();
    };
    let mut text = format!("\nthe worker is ready. It serves {}.\n\nFrom a shell:\n\n", methods.join(", "));
    let option = quoted(&socket.display().to_string());
    for method in methods {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "    {program} call --socket {option} {} '\"hello\"'", quoted(method));
    }
    let _ = write!(
        text,
        r#"
From Rust, with `lifeboat-client` and `tokio`:

    use lifeboat_client::{{Client, Value, encode_body}};

    #[tokio::main]
    async fn main() -> Result<(), Box<dyn std::error::Error>> {{
        let boat = Client::connect({socket:?}).await?;
        let reply = boat.request_raw({first:?}, encode_body(&"hello")?).await?;
        println!("{{:?}}", reply.decode::<Value>()?);
        Ok(())
    }}

with the method's request in the place of "hello".

"#
    );
    text
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:@%+,".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_can_be_called_by_pasting_a_line() {
        let socket = Path::new("/tmp/my dir/s.sock");
        let told = text(&["echo".into(), "it's odd".into()], socket, "lifeboat");
        assert!(told.contains("It serves echo, it's odd."), "{told}");
        assert!(
            told.contains("\n    lifeboat call --socket '/tmp/my dir/s.sock' echo '\"hello\"'\n"),
            "{told}"
        );
        assert!(told.contains(r"s.sock' 'it'\''s odd' "), "{told}");
        assert!(told.contains("Client::connect(\"/tmp/my dir/s.sock\").await?;"), "{told}");
        assert!(told.contains("request_raw(\"echo\", "), "{told}");
        assert!(text(&[], socket, "lifeboat").contains("no method"));
    }

    #[test]
    fn a_program_that_is_not_in_path_is_named_by_its_path() {
        // Of this test.
        assert_eq!(this_program(), quoted(&env::current_exe().unwrap().display().to_string()));
    }
}
