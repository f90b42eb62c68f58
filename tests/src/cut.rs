//! A TCP proxy before a database server that can cut a connection in the midst of a COMMIT.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const STATEMENT: &[u8] = b"COMMIT";
const FORWARD: usize = 0;

/// How the next COMMIT fails for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The server never gets it.
    Request = 1,
    /// The server has carried it out, and its answer is lost.
    Answer = 2,
}

/// Forwards connections to a server.
pub struct Proxy {
    port: u16,
    next: Arc<AtomicUsize>,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens on a free port of the loopback interface, for `server` (`host:port`).
    pub async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (next, cuts) = (Arc::new(AtomicUsize::new(FORWARD)), Arc::new(AtomicUsize::new(0)));
        let shared = (Arc::clone(&next), Arc::clone(&cuts));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, (next, cuts)) = (server.clone(), shared.clone());
                tokio::spawn(async move { forward(client, &server, &next, &cuts).await });
            }
        });
        Self { port, next, cuts }
    }

    /// `url` by way of this proxy. It reads what is said, so nothing is encrypted: servers of MariaDB
    /// offer TLS by themselves as of 11.4.
    pub fn url(url: &str, port: u16) -> String {
        let at = url.rfind('@').map_or_else(|| url.find("://").map_or(0, |at| at + 3), |at| at + 1);
        let end = url[at..].find('/').map_or(url.len(), |end| at + end);
        let plain = match (url.starts_with("mysql"), url.contains('?')) {
            (true, true) => "&ssl-mode=disabled",
            (true, false) => "?ssl-mode=disabled",
            _ => "",
        };
        format!("{}127.0.0.1:{port}{}{plain}", &url[..at], &url[end..])
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the next COMMIT.
    pub fn cut_next(&self, cut: Cut) {
        self.next.store(cut as usize, Ordering::SeqCst);
    }

    /// How many it has cut.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

async fn forward(mut client: TcpStream, server: &str, next: &AtomicUsize, cuts: &AtomicUsize) {
    let mut server = TcpStream::connect(server).await.expect("the server");
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                let commits = asked[..read].windows(STATEMENT.len()).any(|w| w == STATEMENT);
                let cut = if commits { next.swap(FORWARD, Ordering::SeqCst) } else { FORWARD };
                if cut == Cut::Request as usize {
                    cuts.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if server.write_all(&asked[..read]).await.is_err() {
                    return;
                }
                if cut == Cut::Answer as usize {
                    let answer = server.read(&mut answered).await;
                    assert!(answer.is_ok_and(|answer| answer > 0), "the server has answered");
                    cuts.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
