//! A client in a process of its own: keeps calls in flight until it is killed.
//!
//! Arguments: the socket, how many calls, the milliseconds that each waits in its worker, and `again` if another call is to
//! take the place of each that was answered. Says `sent` once all calls are on their way.

use std::io::Write as _;

use lifeboat_client::Client;
use lifeboat_tests::act::Wait;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| args.next().ok_or_else(|| anyhow::anyhow!("the argument {what} is missing"));
    let socket = next("SOCKET")?;
    let (calls, millis): (u32, u64) = (next("CALLS")?.parse()?, next("MILLIS")?.parse()?);
    let again = args.next().is_some_and(|word| word == "again");
    let client = Client::connect(socket).await?;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..calls {
        let client = client.clone();
        waiting.spawn(async move {
            loop {
                let answered = client.call(Wait { millis }).await;
                if !again || answered.is_err() {
                    return answered;
                }
            }
        });
    }
    // Every call has been polled, and so written, once this task runs again after the connection was flushed.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    writeln!(std::io::stdout(), "sent")?;
    while let Some(ended) = waiting.join_next().await {
        writeln!(std::io::stdout(), "{:?}", ended?.map(|acted| acted.pid))?;
    }
    Ok(())
}
