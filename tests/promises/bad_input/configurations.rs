//! Configurations that cannot be used: `serve` and `check` say what is wrong and where, and end with 2, while a broker runs
//! on the very socket that they name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lifeboat_tests::harness::{Turn, run_lifeboat};

use crate::scene::{Scene, says};

/// A pool that can be used.
const POOL: &str = "[pools.p]\ncommand = [\"true\"]\nmethods.m = {}\n";

/// Both commands refuse the file; gives what they say of it.
fn refused(scene: &Scene, file: &Path) -> String {
    let said = ["serve", "check"].map(|command| {
        let args = [command.as_ref(), "--config".as_ref(), file.as_os_str()];
        let output = run_lifeboat(scene.broker.room(), args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command}: {text}");
        text
    });
    // `serve` logs besides.
    let problem = said[1].trim();
    says(&said[0], &[problem]);
    problem.to_owned()
}

/// A file with this text is refused with all these words. Its `broker.socket` is the running broker's.
fn refuses(scene: &Scene, text: &str, words: &[&str]) {
    let socket = scene.broker.socket();
    let text = text.replace("SOCKET", socket.to_str().expect("temporary paths are UTF-8"));
    let file = scene.broker.room().path().join("bad.toml");
    fs::write(&file, text).expect("the room can be written to");
    let said = refused(scene, &file);
    says(&said, words);
}

#[tokio::test]
async fn what_is_no_configuration() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    refuses(&scene, "pools = = 3", &["not valid TOML", "bad.toml:1:9"]);
    refuses(&scene, "", &["there is no pool"]);
    refuses(&scene, "[broker]\nsocket = \"SOCKET\"\n", &["there is no pool"]);
    let room = scene.broker.room().path();
    says(&refused(&scene, &room.join("missing.toml")), &["missing.toml", "No such file"]);
    says(&refused(&scene, room), &["cannot read", "directory"]);
    let binary = room.join("binary.toml");
    fs::write(&binary, [0xff, 0xfe, 0, 1]).expect("the room can be written to");
    says(&refused(&scene, &binary), &["binary.toml", "UTF-8"]);
    scene.undisturbed().await;
}

#[tokio::test]
async fn unknown_keys() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let with = |lines: &str| format!("{lines}\n{POOL}");
    let broker = with("[broker]\nsocket = \"SOCKET\"\nmax_bodi = \"1MiB\"");
    refuses(&scene, &broker, &["unknown key `broker.max_bodi`", "bad.toml:3:1", "did you mean `max_body`?"]);
    refuses(&scene, &with("[brokers]"), &["unknown key `brokers`", "did you mean `broker`?"]);
    let pool = format!("{POOL}attempt_timeout = \"1s\"\n");
    refuses(&scene, &pool, &["unknown key `pools.p.attempt_timeout`", "it belongs to [pools.p.defaults]"]);
    let method = "[pools.p]\ncommand = [\"true\"]\n[pools.p.methods.m]\nretri = \"never\"\n";
    refuses(&scene, method, &["unknown key `pools.p.methods.m.retri`", "did you mean `retry`?"]);
    scene.undisturbed().await;
}

#[tokio::test]
async fn impossible_values_and_limits_out_of_order() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let broker = |line: &str| format!("[broker]\nsocket = \"SOCKET\"\n{line}\n{POOL}");
    let pool = |line: &str| format!("{POOL}{line}\n");
    let method = |lines: &str| format!("[pools.p]\ncommand = [\"true\"]\n[pools.p.methods.m]\n{lines}\n");
    let cases = [
        (broker("max_body = \"8GiB\""), &["`broker.max_body`", "between 1KiB and 1GiB", "8GiB"][..]),
        (broker("drain_timeout = 30"), &["`broker.drain_timeout` must be a duration such as \"10s\""]),
        (
            broker("client_backlog = \"1MiB\""),
            &["`broker.client_backlog` (1MiB)", "`broker.max_body` (16MiB, the default)"],
        ),
        (pool("workers = 0"), &["`pools.p.workers` must not be 0", "at least 1"]),
        (pool("workers = { min = 3, max = 2 }"), &["`pools.p.workers.min` (3) is more than", "max` (2)"]),
        (pool("restart = { initial = \"1m\" }"), &["`pools.p.restart.initial` (1m) is longer than", "(30s"]),
        (
            method("attempt_timeout = \"10m\""),
            &["attempt_timeout` (10m) can never fire before", "deadline` (5m, the default)"],
        ),
        (
            method("attempt_timeout = \"5s\"\nprogress_timeout = \"6s\""),
            &["progress_timeout` (6s) can never fire before", "attempt_timeout` (5s)"],
        ),
        (method("deadline = \"0s\""), &["deadline` must not be 0"]),
        (method("retry = { max_attempts = 1 }"), &["max_attempts` can never cause a retry"]),
    ];
    for (text, words) in cases {
        refuses(&scene, &text, words);
    }
    // Independent mistakes are told together.
    let both = format!("[broker]\nmax_body = \"8GiB\"\n{}", pool("workers = 0"));
    refuses(&scene, &both, &["the configuration has 2 problems", "broker.max_body", "pools.p.workers"]);
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_method_in_two_pools() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let twice = format!("{POOL}{}", POOL.replace("pools.p", "pools.q"));
    refuses(&scene, &twice, &["the method `m` is in two pools, `p` and `q`", "bad.toml:6:9", "bad.toml:3:9"]);
    let any = twice.replace("methods.m = {}", "accept_any_method = true");
    refuses(&scene, &any, &["two pools accept any method, `p` and `q`"]);
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_program_that_is_not_there() {
    let _turn = Turn::shared();
    let scene = Scene::set().await;
    let with = |command: &str| POOL.replace("\"true\"", &format!("{command:?}"));
    let missing = ["the program `no-such-program` of the pool `p` is not in PATH", "install it"];
    refuses(&scene, &with("no-such-program"), &missing);
    let room = scene.broker.room().path().to_owned();
    let plain = room.join("plain-file");
    fs::write(&plain, "no program").expect("the room can be written to");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let path = |path: &Path| path.to_str().expect("temporary paths are UTF-8").to_owned();
    refuses(&scene, &with(&path(&plain)), &["plain-file", "is not an executable file"]);
    refuses(&scene, &with(&path(&room.join("nothing"))), &["nothing", "does not exist"]);
    refuses(&scene, &with("./here"), &["./here", "absolute path"]);
    let directory = format!("{POOL}current_dir = {:?}\n", path(&room.join("nowhere")));
    refuses(&scene, &directory, &["the directory", "nowhere", "of the pool `p` does not exist"]);
    scene.undisturbed().await;
}
