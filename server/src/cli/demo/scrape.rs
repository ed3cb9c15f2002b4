//! Reads the broker's own `/metrics`, as Prometheus would, so that the account is balanced with what operators see.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

/// The samples of one scrape: name with labels, and value.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// The sum of a counter over all its series, by the value of one label.
    pub(super) fn sum_by(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (series, value) in &self.0 {
            let Some(labels) = series.strip_prefix(name).and_then(|rest| rest.strip_prefix('{')) else {
                continue;
            };
            let wanted = format!("{label}=\"");
            let found = labels.split_once(&wanted).and_then(|(_, rest)| rest.split_once('"'));
            if let Some((found, _)) = found
                && *value > 0.0
            {
                *sums.entry(found.to_owned()).or_default() += whole(*value);
            }
        }
        sums
    }

    /// A counter without labels; `None` if it is not there.
    pub(super) fn single(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied().map(whole)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole and far below 2^53"
)]
const fn whole(value: f64) -> u64 {
    value as u64
}

/// One scrape.
pub(super) async fn scrape(address: SocketAddr) -> anyhow::Result<Samples> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/metrics").header("host", address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    anyhow::ensure!(response.status() == StatusCode::OK, "/metrics answered {}", response.status());
    let body = response.into_body().collect().await?.to_bytes();
    drop(sender);
    driver.await??;
    parse(std::str::from_utf8(&body)?)
}

fn parse(text: &str) -> anyhow::Result<Samples> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, value) =
            line.rsplit_once(' ').ok_or_else(|| anyhow::anyhow!("/metrics has the line {line:?}"))?;
        samples.insert(series.to_owned(), value.parse()?);
    }
    Ok(Samples(samples))
}
