//! The program's commands, as a person or a script uses them against a running broker.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use lifeboat_tests::act::{Act, Deed, Sign};
use lifeboat_tests::harness::{Broker, Room, SLACK, Turn, broker_program, run_lifeboat};
use serde_json::{Value, json};

use crate::calls::{all_begun, ended, open, queued, sent};
use crate::common::{config, crashes, echo, plain, timed};
use crate::scene::says;

/// What a command said and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end, beside whatever else the test does.
pub(crate) async fn lifeboat(broker: &Broker, words: &[&str]) -> Said {
    lifeboat_at(Arc::clone(broker.room()), &broker.socket(), words).await
}

/// The same, for whoever listens at this socket.
pub(crate) async fn lifeboat_at(room: Arc<Room>, socket: &Path, words: &[&str]) -> Said {
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    words.extend(["--socket".to_owned(), socket.display().to_string()]);
    let run = tokio::task::spawn_blocking(move || run_lifeboat(&room, words));
    Said::of(run.await.expect("the command can be started"))
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("commands write text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// What a command that worked wrote.
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{self:?}");
        self.out
    }

    /// The same, read as one JSON object.
    pub(crate) fn json(self) -> Value {
        let out = self.done();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("no JSON: {error}: {out}"))
    }

    /// One that did not work: its exit code, and all these words on stderr.
    pub(crate) fn not_done(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        says(&self.err, words);
    }

    /// Its lines, each a JSON object.
    fn lines(&self) -> Vec<Value> {
        let line =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {error}: {line}"));
        self.out.lines().map(line).collect()
    }

    /// The lines of a stream behind the first, which says that it was accepted.
    fn told(&self) -> Vec<Value> {
        let mut lines = self.lines();
        let accepted = &lines.remove(0)["accepted"];
        assert!(accepted["request"].is_u64() && accepted["time_left_ms"].is_u64(), "{self:?}");
        lines
    }
}

/// A request as the command takes it.
fn json_of(act: &Act) -> String {
    serde_json::to_string(act).expect("an act can be written as JSON")
}

/// Runs `lifeboat call act` with this request.
async fn call(broker: &Broker, act: &Act, options: &[&str]) -> Said {
    let request = json_of(act);
    let words: Vec<&str> = ["call", "act", &request].into_iter().chain(options.iter().copied()).collect();
    lifeboat(broker, &words).await
}

#[tokio::test]
async fn a_call_prints_its_reply_or_says_why_there_is_none() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let reply = call(&broker, &Act::echo(7), &[]).await.json();
    assert_eq!((&reply["tag"], &reply["worker"], &reply["attempt"]), (&json!(7), &json!("p-0"), &json!(1)));
    let file = broker.room().path().join("request.json");
    fs::write(&file, json_of(&Act::echo(8))).expect("the room can be written to");
    let from_file = lifeboat(&broker, &["call", "act", &format!("@{}", file.display())]).await.json();
    assert_eq!(from_file["tag"], 8);

    let no = call(&broker, &Act::new(Deed::Fail { retryable: false }), &[]).await;
    no.not_done(1, &["'act' failed", "asked to say no", "asked_to_fail"]);
    let crash = call(&broker, &Act::new(Deed::Exit(3)), &[]).await;
    crash.not_done(1, &["Worker crashed (exit code 3) while processing 'act'"]);
    let (late, took) = timed(call(&broker, &Act::new(Deed::Hang), &["--timeout", "300ms"])).await;
    late.not_done(1, &["'act' timed out: deadline"]);
    assert!(took.as_millis() >= 300, "early: {took:?}");
    let unknown = lifeboat(&broker, &["call", "nothing"]).await;
    unknown.not_done(1, &["'nothing' was rejected (unknown_method)"]);
    let typo = lifeboat(&broker, &["call", "act", "{deed: Echo}"]).await;
    typo.not_done(2, &["the request: it is no JSON"]);
    broker.stop();
}

#[tokio::test]
async fn a_streamed_call_prints_all_that_is_told() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "retry = { max_attempts = 2 }")).await;
    let signs = |sign, then| Act::new(Deed::Signs { sign, times: 3, pause: 150, then: Box::new(then) });

    let said = call(&broker, &signs(Sign::Partial, Deed::Echo).tag(5), &["--stream"]).await;
    let lines = said.told();
    let parts: Vec<Value> = (1..=3).map(|part| json!({ "partial": part, "attempt": 1 })).collect();
    assert_eq!(lines[..3], parts, "{said:?}");
    assert_eq!((&lines[3]["ok"]["tag"], &lines[3]["attempts"], lines.len()), (&json!(5), &json!(1), 4));

    let said = call(&broker, &signs(Sign::Progress, Deed::Echo), &["--stream"]).await;
    let (lines, last) = (said.told(), said.told().len() - 1);
    assert_eq!(last, 3, "{said:?}");
    for (number, line) in (1..=3).zip(&lines) {
        let progress = &line["progress"];
        assert_eq!(
            (progress["done"].as_f64(), progress["total"].as_f64()),
            (Some(f64::from(number)), Some(3.0))
        );
        assert_eq!((&progress["text"], &progress["attempt"]), (&json!(format!("sign {number}")), &json!(1)));
    }
    assert!(lines[last]["ok"].is_object(), "{said:?}");

    let said = call(&broker, &Act::new(Deed::Exit(3)).until(1), &["--stream"]).await;
    let lines = said.told();
    let failed = &lines[0]["attempt_failed"];
    assert_eq!((&failed["number"], &failed["end"]), (&json!(1), &json!("crashed")), "{said:?}");
    assert_eq!(
        (&failed["reason"]["label"], &failed["reason"]["code"]),
        (&json!("exit"), &json!(3)),
        "{said:?}"
    );
    assert_eq!((lines.len(), &lines[1]["attempts"]), (2, &json!(2)));

    let said = call(&broker, &Act::new(Deed::Exit(4)), &["--stream"]).await;
    let lines = said.told();
    assert_eq!(lines[1]["error"]["attempts"].as_array().map(Vec::len), Some(2), "{said:?}");
    said.not_done(1, &["Worker crashed after 2 attempts while processing 'act'", "exit code 4"]);
    broker.stop();
}

#[tokio::test]
async fn a_program_reads_how_a_call_ended_as_one_object() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "retry = { max_attempts = 2 }")).await;
    let told = async |act: Act, options: &[&str]| {
        let options: Vec<&str> = ["--json"].into_iter().chain(options.iter().copied()).collect();
        let said = call(&broker, &act, &options).await;
        assert_eq!((said.code, said.err.is_empty()), (Some(1), false), "{said:?}");
        let mut lines = said.lines();
        assert_eq!(lines.len(), 1, "{said:?}");
        lines.remove(0)["error"].take()
    };
    let crash = told(Act::new(Deed::Exit(3)), &[]).await;
    assert_eq!((&crash["outcome"], &crash["max_attempts"]), (&json!("crashed"), &json!(2)), "{crash}");
    assert_eq!((&crash["reason"]["label"], &crash["reason"]["code"]), (&json!("exit"), &json!(3)), "{crash}");
    let numbers = |error: &Value| -> Vec<Option<u64>> {
        let attempts = error["attempts"].as_array().expect("a list of attempts");
        attempts.iter().map(|attempt| attempt["number"].as_u64()).collect()
    };
    assert_eq!(numbers(&crash), [Some(1), Some(2)], "{crash}");

    let late = told(Act::new(Deed::Hang), &["--timeout", "300ms"]).await;
    assert_eq!((&late["outcome"], &late["which"]), (&json!("timed_out"), &json!("deadline")), "{late}");
    assert_eq!((&late["limit_ms"], numbers(&late)), (&json!(300), vec![Some(1)]), "{late}");
    let no = told(Act::new(Deed::Fail { retryable: false }), &[]).await;
    assert_eq!((&no["outcome"], &no["failure"]["code"]), (&json!("failed"), &json!("asked_to_fail")), "{no}");
    let reply = call(&broker, &Act::echo(9), &["--json"]).await;
    let reply = reply.json();
    assert_eq!((&reply["ok"]["tag"], &reply["attempts"]), (&json!(9), &json!(1)), "{reply}");
    broker.stop();
}

#[tokio::test]
async fn workers_and_requests_are_shown_as_they_are() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 2, "", "retry = { max_attempts = 3 }")).await;
    broker.ready().await.all_idle().await;
    let client = broker.client().await;
    let at = |name: &str| broker.room().path().join(name);
    let (trace, gate) = (at("trace"), at("gate"));
    says(&lifeboat(&broker, &["requests"]).await.done(), &["no request is open"]);
    let executing = [(); 2].map(|()| sent(client.request(Act::when(&gate, Deed::Echo).traced(&trace))));
    all_begun(&trace, 2).await;
    let waiting = sent(client.request(Act::echo(3)));
    queued(&broker, 1).await;

    let shown = lifeboat(&broker, &["workers", "--json"]).await.json();
    let pool = &shown["pools"][0];
    assert_eq!(
        (&pool["pool"], &pool["state"], &pool["queue_depth"]),
        (&json!("p"), &json!("serving"), &json!(1))
    );
    let workers = shown["workers"].as_array().expect("a list of workers");
    assert_eq!(workers.len(), 2, "{shown}");
    for (name, worker) in ["p-0", "p-1"].into_iter().zip(workers) {
        assert_eq!(
            (&worker["worker"], &worker["pool"], &worker["state"]),
            (&json!(name), &json!("p"), &json!("busy"))
        );
        assert_eq!(worker["pid"], broker.worker_pid(name).await);
        assert_eq!(
            (&worker["incarnation"], &worker["held"], &worker["healthy"]),
            (&json!(1), &json!(1), &json!(true))
        );
        let slot = &worker["slots"][0];
        assert_eq!(
            (&slot["state"], &slot["method"], &slot["attempt"]),
            (&json!("busy"), &json!("act"), &json!(1))
        );
    }
    let table = lifeboat(&broker, &["workers"]).await.done();
    says(&table, &["WORKER", "p-0", "p-1", "busy", "act for"]);

    let shown = lifeboat(&broker, &["requests", "--json"]).await.json();
    let rows = shown["requests"].as_array().expect("a list of requests");
    let states: Vec<_> = rows.iter().map(|row| row["state"].as_str().unwrap_or_default()).collect();
    assert_eq!(
        (states, &shown["more"]),
        (vec!["running", "running", "queued"], &json!(false)),
        "oldest first"
    );
    for row in rows {
        assert_eq!(
            (&row["method"], &row["pool"], &row["max_attempts"]),
            (&json!("act"), &json!("p"), &json!(3))
        );
        assert_eq!(row["client_pid"], std::process::id());
        assert_eq!(row["worker"].is_string(), row["state"] == "running", "{row}");
    }
    let shown = lifeboat(&broker, &["requests", "--json", "--limit", "1"]).await.json();
    assert_eq!((shown["requests"].as_array().map(Vec::len), &shown["more"]), (Some(1), &json!(true)));
    open(&gate);
    for call in executing.into_iter().chain([waiting]) {
        ended(call).await.expect("looking on disturbs nobody");
    }
    broker.stop();
}

/// How a worker last crashed is shown as well.
#[tokio::test]
async fn a_crash_is_shown() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    client.call(Act::new(Deed::Exit(3))).await.expect_err("it exits");
    crashes(&broker, "exit", 1).await;
    let shown = lifeboat(&broker, &["workers", "--json"]).await.json();
    let worker = &shown["workers"][0];
    assert_eq!(
        (&worker["last_crash"]["reason"], &worker["consecutive_failures"]),
        (&json!("exit"), &json!(1))
    );
    echo(&client, 1).await;
    broker.stop();
}

#[tokio::test]
async fn a_healthcheck_is_an_exit_code() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    broker.ready().await;
    assert_eq!(lifeboat(&broker, &["healthcheck"]).await.done(), "ready\n");
    let shown = lifeboat(&broker, &["healthcheck", "--json"]).await.json();
    assert_eq!((&shown["ready"], &shown["draining"]), (&json!(true), &json!(false)));
    broker.stop();

    let never = Broker::start(config("never-ready", 1, "start_timeout = \"1m\"", "")).await;
    let said = lifeboat(&never, &["healthcheck"]).await;
    assert_eq!((said.code, said.out.lines().next()), (Some(1), Some("not ready")), "{said:?}");
    assert_eq!(lifeboat(&never, &["healthcheck", "--live"]).await.code, Some(0));
    never.stop();
}

#[tokio::test]
async fn names_that_nobody_has_are_refused_in_clear_words() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let before = echo(&broker.client().await, 1).await;
    for order in ["restart", "drain", "kill"] {
        for name in ["nobody", "p-1", "P", ""] {
            let words = format!("no pool or worker is named {name:?}; the pools are p");
            lifeboat(&broker, &[order, name]).await.not_done(1, &[&words, order]);
        }
        lifeboat(&broker, &[order]).await.not_done(2, &["POOL|WORKER"]);
    }
    assert_eq!(echo(&broker.client().await, 2).await.pid, before.pid, "nothing was done to anybody");
    broker.stop();
}

#[tokio::test]
async fn without_a_broker_a_command_says_so_soon() {
    let _turn = Turn::shared();
    let room = Room::new();
    let socket = room.socket().display().to_string();
    let run = async { Said::of(run_lifeboat(&room, ["workers", "--socket", &socket])) };
    let (said, took) = timed(run).await;
    said.not_done(1, &[&socket]);
    assert!(took < std::time::Duration::from_secs(2) + SLACK, "{took:?}");
}

/// Who may not open the socket is stopped by its mode; who may all the same, by who they are.
#[tokio::test]
async fn another_user_is_refused() {
    let _turn = Turn::shared();
    assert!(
        rustix::process::geteuid().is_root(),
        "run this test as root: nobody else can become another user"
    );
    let broker = Broker::start(plain()).await;
    let before = echo(&broker.client().await, 1).await;
    let open_to_all = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let (room, socket) = (broker.room(), broker.socket());
    open_to_all(room.path(), 0o755);
    open_to_all(&room.seat(), 0o755);
    // Nobody may not look into the build's directory.
    let program = room.path().join("lifeboat");
    fs::copy(broker_program(), &program).expect("the room can be written to");
    let as_nobody = |order: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(order);
        Said::of(command.arg("--socket").arg(&socket).output().expect("setpriv can be started"))
    };
    as_nobody(&["workers"]).not_done(1, &["Permission denied"]);
    open_to_all(&socket, 0o666);
    for order in [&["workers"][..], &["kill", "p"], &["call", "act", "null"]] {
        as_nobody(order).not_done(1, &["user 65534 may not connect here", "its own user and root"]);
    }
    assert_eq!(echo(&broker.client().await, 2).await.pid, before.pid, "nothing was done to anybody");
    broker.stop();
}
