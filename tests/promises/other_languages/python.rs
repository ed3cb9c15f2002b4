//! The client and the worker in Python: which interpreter runs them, and a client in a process of its own that is told
//! what to do, line by line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use lifeboat_tests::harness::{LIMIT, MARK_VARIABLE, Room, workspace};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Where a Python that can import cbor2 may be; `tests/run` looks there too.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];

/// The words that run a program of `tests/python`.
pub(crate) fn command(program: &str) -> [String; 3] {
    static FOUND: OnceLock<&str> = OnceLock::new();
    let python = FOUND.get_or_init(|| {
        let can_import = |python: &&str| {
            let import = Command::new(python).args(["-c", "import cbor2"]).stderr(Stdio::null()).status();
            import.is_ok_and(|status| status.success())
        };
        PYTHONS.into_iter().find(can_import).unwrap_or_else(|| {
            panic!(
                "none of {PYTHONS:?} can import cbor2; install it with `apt-get install python3-cbor2`, or use tests/run"
            )
        })
    });
    let file = workspace().join("tests/python").join(program);
    // Without -B it would write what it has compiled beside the sources.
    [(*python).into(), "-B".into(), file.to_str().expect("the build's paths are UTF-8").into()]
}

/// A program of `tests/python`, run outside of any pool.
pub(crate) fn outside(program: &str, room: &Room) -> Command {
    let [python, flag, file] = command(program);
    let mut command = Command::new(python);
    command.args([flag, file]).env(MARK_VARIABLE, room.mark().value()).env_remove("LIFEBOAT_FD");
    command
}

/// One pool `p` of one such worker; `keys` are lines of the pool.
pub(crate) fn config(keys: &str) -> String {
    config_of(&command("worker.py"), keys)
}

/// The same of a worker that is started by other words.
pub(crate) fn config_of(words: &[String], keys: &str) -> String {
    format!(
        r#"
[pools.p]
command = {words:?}
restart = {{ initial = "1ms", max = "10ms", max_restarts = "unlimited" }}
{keys}

[pools.p.defaults]
deadline = "60s"

[pools.p.methods]
echo = {{}}
double = {{}}
fail = {{}}
parts = {{}}
sleep = {{}}
broken = {{}}
crash = {{ retry = {{ max_attempts = 3 }} }}
steps = {{ retry = {{ max_attempts = 3 }} }}
"#
    )
}

/// A client in Python. Dropping it ends it.
pub(crate) struct PythonClient {
    child: Child,
    orders: ChildStdin,
    said: UnboundedReceiver<Value>,
}

impl PythonClient {
    /// Connects it to the socket of a room.
    pub(crate) fn start(room: &Room) -> Self {
        Self::taking(room, 16 << 20)
    }

    /// One whose hello says that it takes no larger bodies.
    pub(crate) fn taking(room: &Room, max_body: u64) -> Self {
        let mut command = outside("client.py", room);
        command.arg(room.socket()).arg(max_body.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python can be started");
        let orders = child.stdin.take().expect("it is piped");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (sender, said) = unbounded_channel();
        // It ends with the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "unreadable": line }));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Self { child, orders, said }
    }

    /// Connects one and waits until it has read the broker's hello.
    pub(crate) async fn greeted(room: &Room) -> Self {
        let mut client = Self::start(room);
        client.says("hello").await;
        client
    }

    /// Tells it to do something.
    pub(crate) fn order(&mut self, order: &Value) {
        writeln!(self.orders, "{order}").expect("the Python client reads its orders");
    }

    /// The next line that it says; it must have this key, whose value is given.
    pub(crate) async fn says(&mut self, key: &str) -> Value {
        let line = tokio::time::timeout(LIMIT, self.said.recv()).await;
        let line = line.unwrap_or_else(|_| panic!("the Python client says no {key}"));
        let mut line = line.unwrap_or_else(|| panic!("the Python client has ended without {key}"));
        assert!(line.get(key).is_some(), "{key} is expected, not {line}");
        line[key].take()
    }

    /// What it is told next about a request, or about the broker: the message, its attempt and its body.
    pub(crate) async fn told(&mut self) -> (String, u64, Value) {
        let line = self.says("told").await;
        let part = |key: &str| line[key].clone();
        let what = part("message").as_str().expect("a message has a name").to_owned();
        (what, part("attempt").as_u64().unwrap_or_default(), part("body"))
    }

    /// The answer to a call.
    pub(crate) async fn answered(&mut self, method: &str, body: Value) -> Value {
        self.order(&json!({ "call": method, "body": body }));
        self.says("answer").await
    }

    /// The error that a call ends with, as the broker tells it.
    pub(crate) async fn fails(&mut self, method: &str, body: Value) -> Value {
        self.order(&json!({ "call": method, "body": body }));
        self.says("error").await
    }

    /// Starts a streamed request and waits until its handler has said that it runs. Gives its id.
    pub(crate) async fn begins(&mut self, method: &str, body: Value) -> Value {
        self.order(&json!({ "request": method, "body": body }));
        let id = self.says("request").await;
        let (what, attempt, _) = self.told().await;
        assert_eq!((what.as_str(), attempt), ("PROGRESS", 1));
        id
    }

    /// Its exit code, once it has ended by itself.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        self.child.wait().expect("a child can be waited for").code()
    }
}

impl Drop for PythonClient {
    fn drop(&mut self) {
        // Both fail, harmlessly, where it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
