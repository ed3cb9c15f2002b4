//! As much HTTP as a test needs: one GET per connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// No answer takes longer.
const LIMIT: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Gets a page.
///
/// # Errors
///
/// When nobody listens, the answer is not whole after 5 s, or is no HTTP.
pub async fn get(address: SocketAddr, path: &str) -> io::Result<Page> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::other("the answer is no HTTP"))
    };
    tokio::time::timeout(LIMIT, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn parse(answer: &str) -> Option<Page> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some(Page { status, body: body.to_owned() })
}
