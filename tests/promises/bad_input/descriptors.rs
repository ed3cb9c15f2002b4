//! A limit on descriptors that is too low: said at the start, kept while connections flood in, and survived when they are
//! all used up.

use std::error::Error as _;
use std::time::{Duration, Instant};

use lifeboat_client::Client;
use lifeboat_protocol::{DEFAULT_MAX_BODY, Hello, MessageType, RefusedCode, Role};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{
    Broker, LIMIT, RawClient, Start, Turn, eventually, hello, request_frame, until_some, usage,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::net::TcpStream;

use crate::common::{config, echo, failing};
use crate::scene::{Beside, says};

/// More connections than the broker below can take.
const FLOOD: usize = 300;

/// A broker that may have so many descriptors.
fn with(limit: u64, text: String) -> Start {
    // `ulimit` sets the soft and the hard limit.
    let line = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
    Start::new(text).by(["sh", "-c", line.as_str()])
}

#[tokio::test]
async fn too_few_for_the_workers() {
    let _turn = Turn::shared();
    let refusal = with(100, config("sdk", 16, "", "")).try_start().await.expect_err("100 are too few");
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    says(&refusal.log, &["need", "file descriptors", "may have 100", "ulimit -n"]);
}

/// A client that says hello: taken in, or told why not.
async fn try_client(broker: &Broker) -> Result<RawClient, String> {
    let mut raw = RawClient::connect(broker.socket()).await;
    raw.send(&hello(&Hello::new(Role::Client, DEFAULT_MAX_BODY, "flood"))).await;
    let heard = raw.receive().await.expect("the broker answers a hello");
    if heard.message_type == MessageType::Hello {
        return Ok(raw);
    }
    let refused = heard.refused();
    assert_eq!(refused.code, RefusedCode::TooManyConnections, "{}", refused.message);
    Err(refused.message)
}

/// A broker for which [`FLOOD`] connections are too many, with two clients of the test's own.
struct Flooded {
    broker: Broker,
    client: Client,
    beside: Beside,
}

impl Flooded {
    async fn start(limit: u64) -> Self {
        let broker = with(limit, config("sdk", 2, "", "")).start().await;
        let client = broker.client().await;
        echo(&client, 1).await;
        let beside = Beside::start(broker.client().await);
        Self { broker, client, beside }
    }

    /// Clients that are there are served, and a worker that dies is replaced.
    async fn survives_a_death(&self) {
        let error = failing(&self.client, Deed::Exit(1)).await;
        let [died] = error.attempts() else { panic!("one attempt: {error:?}") };
        eventually(LIMIT, "the next process serves", async || {
            let acted = echo(&self.client, 2).await;
            (acted.worker.as_str(), acted.incarnation) == (died.worker.as_str(), died.incarnation + 1)
        })
        .await;
    }

    async fn recovers(self) {
        let newcomer = self.broker.client().await;
        echo(&newcomer, 3).await;
        self.beside.undisturbed().await;
        self.broker.stop();
    }
}

#[tokio::test]
async fn a_flood_of_clients_is_refused_and_recovers() {
    let _turn = Turn::shared();
    let flooded = Flooded::start(350).await;
    let (mut taken, mut refused) = (Vec::new(), 0);
    for _ in 0..FLOOD {
        match try_client(&flooded.broker).await {
            Ok(raw) => taken.push(raw),
            Err(text) => {
                says(&text, &["the broker has", "clients, as many as it takes", "descriptor limit"]);
                refused += 1;
            }
        }
    }
    assert!(taken.len() > 10 && refused > 10, "{} taken, {refused} refused", taken.len());
    let refusing = Client::builder().socket(flooded.broker.socket());
    let error = refusing.connect_timeout(Duration::from_millis(200)).connect().await.expect_err("it is full");
    let cause = error.source().expect("the last try said something").to_string();
    says(
        &cause,
        &["the broker refused the connection (too_many_connections)", "clients, as many as it takes"],
    );
    flooded.survives_a_death().await;
    // Those that were taken are served as any other.
    let last = taken.last_mut().expect("some were taken");
    last.request::<Act>(1, &Act::echo(7)).await;
    assert_eq!(last.receive().await.expect("an answer").message_type, MessageType::Answer);
    drop(taken);
    flooded.recovers().await;
}

/// Connections that never say anything cost no more than those that do, and less than a hello's time.
#[tokio::test]
async fn a_flood_of_silent_connections_is_refused_and_recovers() {
    let _turn = Turn::shared();
    let flooded = Flooded::start(350).await;
    let mut silent = Vec::new();
    for _ in 0..FLOOD {
        silent.push(RawClient::connect(flooded.broker.socket()).await);
    }
    eventually(LIMIT, "the log says that there are too many", async || {
        flooded.broker.log().contains("as many as it takes")
    })
    .await;
    flooded.survives_a_death().await;
    let used = usage(flooded.broker.pid()).descriptors;
    assert!(used < 350 - 20, "descriptors are left for workers: {used} of 350 are used");
    for raw in silent.iter_mut().rev().take(20) {
        let told = raw.receive().await.expect("what is too much is told so at once").refused();
        assert_eq!(told.code, RefusedCode::TooManyConnections, "{}", told.message);
    }
    drop(silent);
    flooded.recovers().await;
}

/// Everybody floods at once, as far as the broker lets them, at a limit that leaves room for eight clients: what workers
/// need is still there.
#[tokio::test]
async fn all_floods_at_once_leave_room_for_workers() {
    const LIMIT_ON_FILES: u64 = 156;
    let _turn = Turn::shared();
    let flooded = Flooded::start(LIMIT_ON_FILES).await;
    let mut silent = Vec::new();
    for _ in 0..FLOOD {
        silent.push(RawClient::connect(flooded.broker.socket()).await);
    }
    let mut web = Vec::new();
    for _ in 0..FLOOD {
        web.push(TcpStream::connect(flooded.broker.http()).await.expect("the system takes connections"));
    }
    for _ in 0..5 {
        flooded.survives_a_death().await;
    }
    let log = flooded.broker.log();
    says(&log, &["as many as it takes"]);
    assert!(!log.contains("spawn_failed") && !log.contains("Too many open files"), "{log}");
    drop((silent, web));
    flooded.recovers().await;
}

/// Lets a running broker have no descriptor more than it has, until this is dropped.
struct Exhausted {
    pid: Pid,
    before: Rlimit,
}

impl Exhausted {
    fn set(broker: &Broker) -> Self {
        let pid = i32::try_from(broker.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        // Below what is open already: whatever asks for a further one is refused.
        let none = Rlimit { current: Some(3), maximum: getrlimit(Resource::Nofile).maximum };
        let before = prlimit(Some(pid), Resource::Nofile, none).expect("lowering a child's is allowed");
        Self { pid, before }
    }
}

impl Drop for Exhausted {
    fn drop(&mut self) {
        // A broker that has died meanwhile fails the test elsewhere.
        let _ = prlimit(Some(self.pid), Resource::Nofile, self.before);
    }
}

/// Not one descriptor is left: those who are connected are served, newcomers wait, a dead worker waits for its next
/// process; both come when there is room again.
#[tokio::test]
async fn not_one_descriptor_left() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 2, "", "")).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    broker.all_up().await;
    let beside = Beside::start(broker.client().await);

    let exhausted = Exhausted::set(&broker);
    let died = client.call(Act::new(Deed::Exit(1))).await;
    assert!(died.is_err(), "{died:?}");
    eventually(LIMIT, "the spawn has failed, and the log says why", async || {
        let log = broker.log();
        log.contains("reason=\"spawn_failed\"") && log.contains("raise the broker's limit on open files")
    })
    .await;
    let mut newcomer = RawClient::connect(broker.socket()).await;
    newcomer.send(&hello(&Hello::new(Role::Client, DEFAULT_MAX_BODY, "newcomer"))).await;
    newcomer.send(&request_frame::<Act>(1, &Act::echo(5))).await;
    eventually(LIMIT, "the log says that clients wait", async || {
        broker.log().contains("no room for another client; clients wait in the backlog")
    })
    .await;
    // Long enough for several tries.
    let began = Instant::now();
    for tag in (0..).take_while(|_| began.elapsed() < Duration::from_millis(350)) {
        echo(&client, tag).await;
    }
    drop(exhausted);

    let greeting = newcomer.receive().await.expect("a newcomer is heard at last");
    assert_eq!(greeting.message_type, MessageType::Hello);
    let answer = newcomer.receive().await.expect("and served");
    assert_eq!(answer.message_type, MessageType::Answer);
    broker.all_up().await;
    let failed = until_some(LIMIT, "HTTP answers again", async || {
        broker.page("/metrics").await.ok().filter(|page| page.status == 200)
    })
    .await;
    assert!(failed.body.contains("spawn_failed"));
    eventually(LIMIT, "the log says that there is room again", async || {
        broker.log().contains("there is room for clients again")
    })
    .await;
    let said = broker.log().matches("no room for another client").count();
    assert_eq!(said, 1, "once, not with each try");
    beside.undisturbed().await;
    echo(&client, 9).await;
    broker.stop();
}
