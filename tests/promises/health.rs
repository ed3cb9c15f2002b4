//! Workers that fail again and again: who is told, what comes of them, and what the log says of all.

use std::time::{Duration, Instant};

use lifeboat_client::Client;
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Answer, Broker, LIMIT, Receiver, SLACK, Start, Turn, eventually, until_some};
use serde_json::Value;

use crate::commands::lifeboat;
use crate::common::{config, crashes, echo};
use crate::scene::logs;

/// One pool, and a webhook; an alert is given up after two seconds.
fn alerting(receiver: &Receiver, workers: u16, keys: &str) -> String {
    let url = receiver.url();
    let alerts = format!("[alerts]\nwebhook = \"{url}\"\ntimeout = \"1s\"\ngive_up_after = \"2s\"\n");
    alerts + &config("sdk", workers, keys, "")
}

async fn fails(client: &Client, deed: Deed, times: usize) {
    for _ in 0..times {
        client.call(Act::new(deed.clone())).await.expect_err("it fails");
    }
}

/// The posts, as soon as there are so many.
async fn posted(receiver: &Receiver, count: usize) -> Vec<Value> {
    until_some(LIMIT, &format!("{count} alerts"), async || {
        Some(receiver.posts()).filter(|posts| posts.len() >= count)
    })
    .await
}

async fn alerts(broker: &Broker, result: &str) -> u64 {
    broker.metrics().await.count("alerts_total", &[("result", result)])
}

async fn unhealthy(broker: &Broker, worker: &str) -> u64 {
    broker.metrics().await.count("worker_unhealthy", &[("pool", "p"), ("worker", worker)])
}

#[tokio::test]
async fn story_34_the_third_failure_is_told_everywhere() {
    let _turn = Turn::shared();
    let receiver = Receiver::start([]).await;
    let broker = Broker::start(alerting(&receiver, 1, "")).await;
    let client = broker.client().await;
    fails(&client, Deed::Exit(1), 2).await;
    assert_eq!((unhealthy(&broker, "p-0").await, receiver.posts().len()), (0, 0));
    fails(&client, Deed::Abort, 1).await;
    let [first] = &posted(&receiver, 1).await[..] else { panic!("one alert") };
    let told = ["alert", "status", "pool", "worker"].map(|key| first[key].as_str().expect("a text"));
    assert_eq!(told, ["worker_unhealthy", "firing", "p", "p-0"]);
    assert_eq!(first["text"], "worker p-0 failed 3 times in a row; the last crash: signal");
    assert_eq!(broker.health().await["workers"]["p-0"]["healthy"], false);
    assert_eq!(unhealthy(&broker, "p-0").await, 1);
    eventually(LIMIT, "it is counted", async || alerts(&broker, "delivered").await == 1).await;
    let log = broker.log();
    assert!(log.contains("worker unhealthy") && !log.contains("secret-of-the-hook"), "{log}");

    echo(&client, 1).await;
    assert_eq!(unhealthy(&broker, "p-0").await, 0);
    let posts = posted(&receiver, 2).await;
    assert_eq!(
        (posts[1]["alert"].as_str(), posts[1]["status"].as_str()),
        (Some("worker_unhealthy"), Some("resolved"))
    );
    assert!(posts[1]["timestamp"].as_u64() >= posts[0]["timestamp"].as_u64());
    broker.stop();
}

#[tokio::test]
async fn story_34_handler_errors_make_a_worker_unhealthy_only_where_asked() {
    let _turn = Turn::shared();
    for (keys, expected) in [("", 0), ("unhealthy_on_failed = true", 1)] {
        let broker = Broker::start(config("sdk", 1, keys, "")).await;
        let client = broker.client().await;
        fails(&client, Deed::Fail { retryable: false }, 5).await;
        assert_eq!(unhealthy(&broker, "p-0").await, expected, "{keys:?}");
        let health = broker.health().await;
        assert_eq!(health["workers"]["p-0"]["consecutiveFailures"], 5);
        assert_eq!(health["workers"]["p-0"]["healthy"], expected == 0);
        broker.stop();
    }
}

/// The other one serves on, and the last one stays whatever it does.
#[tokio::test]
async fn story_34_an_unhealthy_worker_is_taken_out_of_service() {
    let _turn = Turn::shared();
    let receiver = Receiver::start([]).await;
    let broker = Broker::start(alerting(&receiver, 2, "disable_unhealthy = true\nunhealthy_after = 2")).await;
    broker.all_idle().await;
    let client = broker.client().await;
    let out = async |name: &str| broker.health().await["workers"][name]["state"] == "disabled";
    let mut deaths = 0;
    while !out("p-0").await && !out("p-1").await {
        // One is taken out only beside another that serves.
        broker.all_idle().await;
        fails(&client, Deed::Exit(1), 1).await;
        deaths += 1;
        assert!(deaths <= 3, "one of two has failed twice by now");
    }
    let (gone, left) = if out("p-0").await { ("p-0", "p-1") } else { ("p-1", "p-0") };
    let subjects = |posts: Vec<Value>| {
        let of = |post: &Value| format!("{} {}", post["alert"], post["worker"]).replace('"', "");
        let mut all: Vec<_> = posts.iter().map(of).collect();
        all.sort();
        all
    };
    let both = [format!("worker_disabled {gone}"), format!("worker_unhealthy {gone}")];
    assert_eq!(subjects(posted(&receiver, 2).await), both);
    fails(&client, Deed::Exit(1), 4).await;
    crashes(&broker, "exit", deaths + 4).await;
    assert!(!out(left).await, "the last one in service stays");
    assert_eq!(unhealthy(&broker, left).await, 1);
    echo(&client, 1).await;

    lifeboat(&broker, &["restart", gone]).await.done();
    eventually(LIMIT, "it serves again", async || broker.health().await["workers"][gone]["state"] == "ready")
        .await;
    assert_eq!(unhealthy(&broker, gone).await, 0, "it begins anew");
    broker.stop();
}

/// A receiver that is busy for a moment is asked again; one that is dead costs that alert and nothing else.
#[tokio::test]
async fn a_dead_receiver_costs_its_alert_alone() {
    let _turn = Turn::shared();
    let receiver =
        Receiver::start([Answer::Silence, Answer::Status(503), Answer::Status(404), Answer::Status(503)])
            .await;
    let broker = Broker::start(alerting(&receiver, 4, "unhealthy_after = 1")).await;
    broker.all_idle().await;
    let client = broker.client().await;
    let began = Instant::now();
    let mut failing = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let client = client.clone();
        failing.spawn(async move { client.call(Act::new(Deed::Abort)).await.expect_err("it aborts") });
    }
    failing.join_all().await;
    echo(&client, 1).await;
    assert!(began.elapsed() < Duration::from_secs(1) + SLACK, "nobody waits for a receiver");
    // The silent one is given up or was asked again in time, 404 ends its alert, 503 is tried again.
    eventually(LIMIT, "all four came to an end", async || {
        alerts(&broker, "delivered").await + alerts(&broker, "failed").await >= 4
    })
    .await;
    assert!(alerts(&broker, "failed").await >= 1, "404 is final for now");
    logs(&broker, &["an alert was not delivered", "answered 404"]).await;
    assert!(!broker.log().contains("worker status"), "nobody asked for status lines");
    assert!(!broker.log().contains("secret-of-the-hook"), "{}", broker.log());
    broker.stop();
}

/// A machine that trusts nobody posts by http all the same; https costs the alerts and not the start.
#[tokio::test]
async fn a_machine_without_certificates_starts_its_broker() {
    let _turn = Turn::shared();
    let receiver = Receiver::start([]).await;
    let without = ["env", "SSL_CERT_FILE=/dev/null", "SSL_CERT_DIR=/nonexistent"];
    let broker = Start::new(alerting(&receiver, 1, "unhealthy_after = 1")).by(without).start().await;
    fails(&broker.client().await, Deed::Abort, 1).await;
    assert_eq!(posted(&receiver, 1).await[0]["alert"], "worker_unhealthy");
    broker.stop();

    let text = alerting(&receiver, 1, "unhealthy_after = 1").replace("http://", "https://");
    let broker = Start::new(text).by(without).start().await;
    logs(&broker, &["no receiver of alerts can be trusted"]).await;
    fails(&broker.client().await, Deed::Abort, 1).await;
    eventually(LIMIT, "it is counted", async || alerts(&broker, "failed").await == 1).await;
    logs(&broker, &["an alert was not delivered", "given up after 2s"]).await;
    let log = broker.log();
    assert!(!log.contains("secret-of-the-hook") && !log.contains("/hook"), "{log}");
    broker.stop();
}

#[tokio::test]
async fn a_pool_that_trips_is_told_with_its_last_death() {
    let _turn = Turn::shared();
    let receiver = Receiver::start([]).await;
    let url = receiver.url();
    let text = format!(
        "[alerts]\nwebhook = \"{url}\"\n[pools.p]\ncommand = [\"misbehave\", \"fail-start\"]\n\
         restart = {{ initial = \"1ms\", max = \"1s\", max_restarts = 3 }}\nmethods.act = {{}}\n"
    );
    let broker = Broker::start(text).await;
    let posts = until_some(LIMIT, "the trip is told", async || {
        let posts = receiver.posts();
        posts.iter().any(|post| post["alert"] == "pool_tripped").then_some(posts)
    })
    .await;
    let trip = posts.iter().find(|post| post["alert"] == "pool_tripped").expect("it is there");
    assert_eq!((trip["status"].as_str(), trip["worker"].is_null()), (Some("firing"), true));
    let text = trip["text"].as_str().expect("a text");
    assert!(text.contains("pool p refuses requests") && text.contains("start_failed"), "{text}");
    broker.stop();
}

#[tokio::test]
async fn story_36_each_worker_has_a_status_line() {
    let _turn = Turn::shared();
    let status = "[broker]\nstatus_interval = \"1s\"\n".to_owned() + &config("sdk", 2, "", "");
    let broker = Broker::start(status).await;
    broker.all_idle().await;
    let client = broker.client().await;
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.call(Act::new(Deed::Hang)).await }
    });
    let lines = async |wanted: &[&str]| {
        eventually(LIMIT, &format!("a status line with {wanted:?}"), async || {
            let log = broker.log();
            let mut lines = log.lines().filter(|line| line.contains("worker status"));
            lines.any(|line| wanted.iter().all(|word| line.contains(word)))
        })
        .await;
    };
    lines(&["state=\"busy\"", "method=\"act\"", "attempt=1", "running_for=", "healthy=true"]).await;
    lines(&["state=\"ready\"", "idle_for=", "failures=0"]).await;
    for worker in ["p-0", "p-1"] {
        lines(&[&format!("worker=\"{worker}\""), "pid="]).await;
    }
    running.abort();
    running.await.expect_err("it was aborted");
    broker.all_idle().await;
    broker.stop();
}
