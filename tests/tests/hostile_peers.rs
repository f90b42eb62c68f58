//! A campaign: strangers attack every endpoint of both demo services (receiver, feed, their own) while
//! users register, which takes a saga over both services by signed pushes. They read slowly, write
//! slowly, send half heads, huge bodies and garbage. Registrations go on nearly as quickly as before,
//! memory stays flat, the log short and clean. Half a minute; five with `SYNCLINE_TEST_FULL=1`.
#![cfg(target_os = "linux")] // any 127.0.0.n is an address of this machine

mod demo;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use demo::Pair;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use syncline::{
    logs::is_hidden,
    transport::http_push::{
        ID_HEADER, SIGNATURE_HEADER, SOURCE_HEADER, STREAM_HEADER, TIMESTAMP_HEADER,
    },
};
use syncline_tests::{chance::Chance, logged::Logged, servers::sqlite_database};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing_subscriber::filter::LevelFilter;

/// Registrations under way at once.
const CLIENTS: usize = 4;
/// A slow machine's share of what registrations may take.
const MARGIN: Duration = Duration::from_secs(3);
/// What the process may grow by, both services, the attackers and their buffers together.
const GROWTH: u64 = 256 << 20;
/// Lines of the log that all refusals together may take, in each minute that has begun.
const LINES: usize = 600;
/// So long an attacker rests before it comes again.
const REST: Duration = Duration::from_millis(20);

/// A service as an attacker knows it: where it listens, and whose pushes it takes.
#[derive(Clone, Copy)]
struct Victim {
    address: SocketAddr,
    source: &'static str,
    stream: &'static str,
    /// Of its own API, and of its feed.
    paths: &'static [&'static str],
}

impl Victim {
    /// From 127.0.0.`last`; none while it is not let in.
    async fn connect(&self, from: u8) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::new(127, 0, 0, from), 0).into()).expect("an address");
        timeout(Duration::from_secs(5), socket.connect(self.address)).await.ok()?.ok()
    }

    /// The head of a push that everything is right with but the signature.
    fn push(&self, length: &str) -> String {
        let now = chrono::Utc::now().timestamp();
        format!(
            "POST /syncline HTTP/1.1\r\nhost: a\r\n\
             content-type: application/cloudevents-batch+json\r\n\
             {SOURCE_HEADER}: {}\r\n{STREAM_HEADER}: {}\r\n{ID_HEADER}: msg_1\r\n\
             {TIMESTAMP_HEADER}: {now}\r\n{SIGNATURE_HEADER}: v1,AAAA\r\n{length}\r\n\r\n",
            self.source, self.stream
        )
    }
}

/// Writes `head`, then a byte now and then, until the service has enough of it.
async fn drip(mut stream: TcpStream, head: &[u8], every: Duration) {
    if stream.write_all(head).await.is_err() {
        return;
    }
    let (mut reading, mut writing) = stream.split();
    let writes = async {
        while writing.write_all(b" ").await.is_ok() {
            sleep(every).await
        }
    };
    let reads = async {
        let mut some = [0; 512];
        while reading.read(&mut some).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        () = writes => {}
        () = reads => {}
    }
}

/// Bodies of pushes, of foreign events and of the API that do not come.
async fn slow_writer(victim: Victim, from: u8, n: usize) {
    let heads = [
        victim.push("content-length: 100000"),
        victim.push("content-length: 100000").replace("/syncline", "/syncline/foreign"),
        format!(
            "POST {} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-length: 50000\r\n\r\n",
            victim.paths[0]
        ),
    ];
    let Some(stream) = victim.connect(from).await else { return };
    drip(stream, heads[n % heads.len()].as_bytes(), Duration::from_millis(200)).await;
}

async fn half_head(victim: Victim, from: u8, n: usize) {
    let path = victim.paths[n % victim.paths.len()];
    let Some(stream) = victim.connect(from).await else { return };
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nx: ");
    drip(stream, head.as_bytes(), Duration::from_millis(500)).await;
}

/// Asks for much and reads nothing.
async fn slow_reader(victim: Victim, from: u8, n: usize) {
    let path =
        if n.is_multiple_of(2) { "/openapi.json" } else { victim.paths[n % victim.paths.len()] };
    let Some(mut stream) = victim.connect(from).await else { return };
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").repeat(1_000);
    let _ = timeout(Duration::from_secs(10), stream.write_all(request.as_bytes())).await;
    // Until the service has closed it, which is seen without reading: a write fails.
    while stream.write_all(b"G").await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
}

/// Bodies as large as they may be, and larger, of which the end does not come.
async fn huge_body(victim: Victim, from: u8, n: usize) {
    let lengths =
        ["content-length: 16777216", "transfer-encoding: chunked", "content-length: 99999999999"];
    let Some(mut stream) = victim.connect(from).await else { return };
    let chunk = vec![b'['; 128 << 10];
    let head = victim.push(lengths[n % lengths.len()]);
    let sends = async {
        stream.write_all(head.as_bytes()).await?;
        for _ in 0..120 {
            if n % lengths.len() == 1 {
                stream.write_all(b"20000\r\n").await?;
                stream.write_all(&chunk).await?;
                stream.write_all(b"\r\n").await?;
            } else {
                stream.write_all(&chunk).await?;
            }
            // A flood would only measure this machine's memory bus.
            sleep(Duration::from_millis(50)).await;
        }
        std::io::Result::Ok(())
    };
    if timeout(Duration::from_secs(20), sends).await.is_ok_and(|sent| sent.is_ok()) {
        drip(stream, b"[", Duration::from_millis(500)).await;
    }
}

/// Requests and bytes that nobody would send, one after the other.
async fn garbage(victim: Victim, from: u8, n: usize) {
    let mut chance = Chance::new(n as u64);
    let methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "\u{9b}31m"];
    let queries = ["", "?after=%0aERROR%20forged", "?topics=%c2%9b%e2%80%ae&wait=x", "?\u{202e}"];
    let headers = [
        "authorization: Bearer \u{1b}[2J",
        "authorization: Bearer synf_0123456789012345678901234",
        "content-type: application/cloudevents-batch+json\r\nsyncline-source: /nobody",
        "content-length: -1",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-encoding: gzip",
        "expect: 100-continue",
    ];
    let paths = [victim.paths, &["/syncline", "/syncline/foreign", "/", "//", "/%ff%00"]].concat();
    let Some(mut stream) = victim.connect(from).await else { return };
    let bytes = match chance.below(4) {
        0 => (0..chance.below(4_000)).map(|_| chance.below(256) as u8).collect(),
        _ => {
            let (method, path) = (methods[chance.below(8)], paths[chance.below(paths.len())]);
            let (query, header) = (queries[chance.below(4)], headers[chance.below(7)]);
            format!("{method} {path}{query} HTTP/1.1\r\nhost: a\r\n{header}\r\n\r\n{{\"\u{0}")
                .into_bytes()
        }
    };
    let _ = stream.write_all(&bytes).await;
    let mut answer = vec![0; 4_096];
    let _ = timeout(Duration::from_millis(500), stream.read(&mut answer)).await;
}

/// Everything that attacks, until it is dropped. How often they came is counted.
fn attack(victims: [Victim; 2], came: &Arc<AtomicU64>) -> JoinSet<()> {
    let mut all = JoinSet::new();
    macro_rules! many {
        ($what:ident, $how_many:expr) => {
            for (n, victim) in (0..$how_many).flat_map(|n| victims.map(|victim| (n, victim))) {
                let (came, from) = (Arc::clone(came), 2 + (n % 5) as u8);
                all.spawn(async move {
                    for round in 0.. {
                        $what(victim, from, n + round * $how_many).await;
                        came.fetch_add(1, Ordering::Relaxed);
                        sleep(REST).await;
                    }
                });
            }
        };
    }
    many!(slow_writer, 48);
    many!(half_head, 24);
    many!(slow_reader, 6);
    many!(huge_body, 6);
    many!(garbage, 4);
    all
}

/// Registers users for as long as `time`; how long each took until the account was active.
async fn register(pair: &Pair, name: &str, time: Duration) -> Vec<Duration> {
    let until = Instant::now() + time;
    let client = async |client: usize| {
        let mut took = Vec::new();
        while Instant::now() < until {
            let (id, began) = (format!("{name}-{client}-{}", took.len()), Instant::now());
            let email = format!("{id}@example.org");
            // A database that is busy says so; then it may have been taken in.
            let ask = async || pair.register(&id, &email, "password 1").await.0;
            let mut status = ask().await;
            while status == StatusCode::SERVICE_UNAVAILABLE {
                status = ask().await;
            }
            assert!([StatusCode::ACCEPTED, StatusCode::CONFLICT].contains(&status), "{status}");
            pair.becomes(&id, "active").await;
            took.push(began.elapsed());
        }
        took
    };
    let all = futures::future::join_all((0..CLIENTS).map(client)).await;
    let mut all = all.concat();
    all.sort_unstable();
    all
}

/// The time that 99 of a hundred did not exceed.
fn p99(sorted: &[Duration]) -> Duration {
    sorted[(sorted.len() * 99).div_ceil(100) - 1]
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number of pages") * 4_096
}

fn victim(
    url: &str,
    (source, stream): (&'static str, &'static str),
    paths: &'static [&'static str],
) -> Victim {
    let address = url.trim_start_matches("http://").parse().expect("an address");
    Victim { address, source, stream, paths }
}

// The only test of its program, since it sets the program's subscriber.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_hold_nothing_up() {
    let full = std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1");
    let (quiet, loud) = if full { (60, 240) } else { (10, 20) };
    let log = Logged::start(LevelFilter::WARN);
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    let victims = [
        victim(
            &pair.a,
            demo_register::PEER,
            &["/register", "/users/u", "/feed/users/0", "/feed/users/-1", "/healthz"],
        ),
        victim(
            &pair.b,
            demo_login::PEER,
            &["/login", "/feed/accounts/0", "/feed/a%0ab/0", "/readyz", "/nowhere%0a"],
        ),
    ];
    register(&pair, "warm", Duration::from_secs(2)).await;
    let before = register(&pair, "quiet", Duration::from_secs(quiet)).await;
    let (memory, lines) = (resident(), log.text().lines().count());

    let came = Arc::new(AtomicU64::new(0));
    let attackers = attack(victims, &came);
    let (began, most) = (Instant::now(), Arc::new(AtomicU64::new(memory)));
    let watching = Arc::clone(&most);
    let watch = tokio::spawn(async move {
        for n in 0_u32.. {
            let now = resident();
            watching.fetch_max(now, Ordering::Relaxed);
            if n.is_multiple_of(50) {
                println!("{} MiB after {} s", now >> 20, n / 5);
            }
            sleep(Duration::from_millis(200)).await;
        }
    });
    let during = register(&pair, "loud", Duration::from_secs(loud)).await;
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).expect("few") + 1;
    drop(attackers);
    watch.abort();

    let (quiet, loud) = (p99(&before), p99(&during));
    let grown = most.load(Ordering::Relaxed) - memory;
    let text = log.text();
    let logged = text.lines().count() - lines;
    println!(
        "undisturbed: {} registrations, p99 {quiet:?}; attacked {} times: {} registrations, p99 \
         {loud:?}; {} MiB more at most; {logged} lines logged",
        before.len(),
        came.load(Ordering::Relaxed),
        during.len(),
        grown >> 20
    );
    assert!(came.load(Ordering::Relaxed) > 100, "the attackers were let in");
    assert!(loud <= quiet * 3 + MARGIN, "p99 of {loud:?} instead of {quiet:?}");
    assert!(grown <= GROWTH, "{} MiB more", grown >> 20);
    assert!(logged <= LINES * minutes, "{logged} lines:\n{text}");
    for line in text.lines() {
        let spoils = line.chars().find(|c| *c != '\u{1b}' && is_hidden(*c));
        let whole = line.contains("WARN") || line.contains("ERROR");
        assert!(spoils.is_none() && whole, "{spoils:?} in {line:?}");
    }
    // Nothing of theirs was taken in, and what was asked for before is there.
    let nobody = pair.user(Method::GET, "u", &Value::Null).await;
    assert_eq!(nobody.0, StatusCode::NOT_FOUND);
    pair.becomes("loud-0-0", "active").await;
    pair.stop().await;
}
