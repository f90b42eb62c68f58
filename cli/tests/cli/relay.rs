//! `syncline relay`, the built program.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde::Deserialize;
use sqlx::{Pool, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Message, Verdict, begin,
    message::Batch,
    outbox::enqueue_all,
    transport::{
        Ack, Reached, Receive, ReceiveError, Subscriber,
        http_feed::{FeedSubscriber, Token},
        http_push::{Principal, PushListener, PushReceiver, Secret},
    },
};
use syncline_tests::kit::Kit;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{command, on_each, syncline};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOKEN: &str = "synf_3q2-7wX1c0ffee0ddba11f00dfeedbeef";
const PATIENCE: Duration = Duration::from_secs(60);

/// What the example's messages say of an entity: its key, and its version.
#[derive(Deserialize)]
struct Versioned {
    version: i64,
}

struct Note;

#[async_trait]
impl Handler<Sqlite> for Note {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let key = message.key.as_deref().ok_or("no key")?;
        Sqlite::note(tx, key, message.decode::<Versioned>()?.version).await?;
        Ok(Verdict::Done)
    }
}

/// Counts the batches.
struct Counted(Consumer<Sqlite>, Arc<AtomicU64>);

#[async_trait]
impl Receive for Counted {
    async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.receive(batch).await
    }

    async fn reached(
        &self,
        origin: &syncline::message::Origin,
    ) -> Result<Option<Reached>, ReceiveError> {
        self.0.reached(origin).await
    }
}

/// A consumer in this process, with a database of its own, that notes each message.
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) pool: Pool<Sqlite>,
    batches: Arc<AtomicU64>,
    _directory: TempDir,
}

impl Target {
    pub(crate) async fn start(source: &str, stream: &str) -> Self {
        let (target, consumer) = Self::new().await;
        let principal = Principal::new(source, stream, [Secret::parse(SECRET).unwrap()]).unwrap();
        let principal = principal.shards(8);
        let setup = |receiver| PushReceiver::new(receiver).principal(principal);
        let listener = PushListener::bind("127.0.0.1:0", setup).await.unwrap();
        let url = listener.url();
        tokio::spawn(Box::new(listener).run(consumer, CancellationToken::new()));
        Self { url, ..target }
    }

    async fn new() -> (Self, Arc<dyn Receive>) {
        let (directory, url) = syncline_tests::servers::sqlite_database();
        let pool = Sqlite::connect(&url, 4).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        Sqlite::prepare(&pool).await.expect("prepare");
        let consumer = Consumer::builder("target", pool.clone()).handler("*", Note);
        let batches = Arc::new(AtomicU64::new(0));
        let consumer = Counted(consumer.build().expect("a consumer"), Arc::clone(&batches));
        (Self { url, pool, batches, _directory: directory }, Arc::new(consumer))
    }

    /// Waits until so many messages were applied, and looks that each key's are 1, 2, 3 ...
    pub(crate) async fn applied(&self, count: usize) {
        let began = Instant::now();
        loop {
            let applied = Sqlite::applied(&self.pool).await.expect("applied");
            if applied.len() >= count {
                assert_eq!(applied.len(), count, "each once");
                let mut next = std::collections::HashMap::<&str, i64>::new();
                for (key, version) in &applied {
                    let last = next.entry(key).or_default();
                    assert_eq!(*version, *last + 1, "{key}");
                    *last = *version;
                }
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{} of {count} were applied", applied.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A process that is killed at the end.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, with what it logs going to a file of `directory`.
    pub(crate) fn start(mut command: Command, directory: &Path) -> Self {
        let log = directory.join(format!("{}.log", uuid::Uuid::now_v7()));
        let file = std::fs::File::create(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        Self { child: child.spawn().expect("it starts"), log }
    }

    /// The first line on standard output after `prefix`.
    pub(crate) fn says(&mut self, prefix: &str) -> String {
        let mut line = String::new();
        let stdout = self.child.stdout.as_mut().expect("stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        line.trim().strip_prefix(prefix).unwrap_or_else(|| panic!("{line:?} {}", self.log())).into()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for a line of the log that has `text`, and returns what follows it.
    async fn logs(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let log = self.log();
            if let Some((_, rest)) = log.split_once(text) {
                return rest.lines().next().unwrap_or_default().to_owned();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{ended:?}, no {text:?}: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Sends SIGTERM, and says how it ended and how long that took.
    async fn terminate(&mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "it does not stop: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts `syncline relay` on `url` with a configuration.
pub(crate) fn relay(url: &str, config: &str, directory: &Path) -> Process {
    let path = directory.join("relay.toml");
    std::fs::write(&path, config).unwrap();
    let mut command = command(url, "relay --config");
    command.arg(path).env("BILLING_SECRET", SECRET).env("SHIPPING_SECRET", SECRET);
    command.env("FEED_TOKEN", TOKEN);
    Process::start(command, directory)
}

fn config(target: &str, more: &str) -> String {
    format!(
        "source = '/cli'\n[[stream]]\nname = 'orders'\ntopics = ['order.*']\nshards = 8\n\
         [[route]]\nname = 'billing'\nstream = 'orders'\nurl = '{target}'\n\
         secret_env = 'BILLING_SECRET'\n{more}"
    )
}

/// Commits version `version` of so many orders.
async fn write<DB: Kit>(pool: &Pool<DB>, orders: usize, version: i64) {
    for order in 0..orders {
        let payload = serde_json::json!({"version": version});
        let message = Message::json("order.changed", &payload).unwrap().key(format!("o-{order}"));
        let mut tx = begin(pool).await.expect("begin");
        let receipts = enqueue_all(&mut tx, &[message]).await.expect("enqueue");
        tx.commit().await.expect("commit");
        receipts.into_iter().for_each(syncline::Receipt::committed);
    }
}

async fn migrated<DB: Kit>(url: &str) -> Pool<DB> {
    let pool = DB::connect(url, 4).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    pool
}

on_each!(
    two_processes_share_the_work_and_one_outlives_the_other,
    a_stopped_relay_gives_its_leases_back,
    names_in_the_configuration_are_never_sql,
);

mod case {
    use super::*;

    pub(super) async fn two_processes_share_the_work_and_one_outlives_the_other<DB: Kit>(
        url: &str,
    ) {
        let pool: Pool<DB> = migrated(url).await;
        let target = Target::start("/cli", "orders").await;
        let directory = tempfile::tempdir().unwrap();
        let config = config(&target.url, "[relay]\nlease_ms = 900\nidle_ms = 100\n");
        let mut both = [(); 2].map(|()| relay(url, &config, directory.path()));
        for process in &mut both {
            process.logs("relaying").await;
        }
        write(&pool, 40, 1).await;
        target.applied(40).await;
        let [one, mut other] = both;
        let writes = tokio::spawn({
            let pool = pool.clone();
            async move {
                for version in 2..6 {
                    write(&pool, 40, version).await;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        one.kill().await;
        writes.await.unwrap();
        target.applied(200).await;
        let (code, took) = other.terminate().await;
        assert_eq!(code, Some(0), "{}", other.log());
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(!other.log().contains(SECRET), "{}", other.log());
    }

    pub(super) async fn a_stopped_relay_gives_its_leases_back<DB: Kit>(url: &str) {
        let pool: Pool<DB> = migrated(url).await;
        let target = Target::start("/cli", "orders").await;
        let directory = tempfile::tempdir().unwrap();
        // Who had to wait for this lease would come too late.
        let config = config(&target.url, "[relay]\nlease_ms = 600000\nidle_ms = 100\n");
        for version in 1..3 {
            let mut process = relay(url, &config, directory.path());
            write(&pool, 20, version).await;
            target.applied(20 * version as usize).await;
            let (code, _) = process.terminate().await;
            assert_eq!(code, Some(0), "{}", process.log());
        }
    }

    pub(super) async fn names_in_the_configuration_are_never_sql<DB: Kit>(url: &str) {
        let _pool: Pool<DB> = migrated(url).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.toml");
        let good = config("http://127.0.0.1:9/", "");
        let hostile = "x'; DROP TABLE syncline_outbox; --";
        for (from, line) in [("/cli", 1), ("name = 'orders'", 2), ("name = 'billing'", 6)] {
            let to = match from.split_once("= ") {
                Some((name, _)) => format!("{name}= \"{hostile}\""),
                None => from.to_owned(),
            };
            let text = match from {
                "/cli" => good.replace("'/cli'", &format!("\"{hostile}\"")),
                from => good.replace(from, &to),
            };
            std::fs::write(&path, text).unwrap();
            let mut check = command(url, "relay --check --config");
            check.arg(&path).env("BILLING_SECRET", SECRET);
            let run = crate::Run::from(check.output().expect("it starts")).expect(2);
            assert!(run.stderr.contains(&format!("line {line}")), "{from}: {}", run.stderr);
        }
        // A topic pattern that no topic can match is one, too.
        let text = good.replace("'order.*'", "\"a';DROP/**/TABLE/**/syncline_lease;--\"");
        std::fs::write(&path, text).unwrap();
        let mut check = command(url, "relay --check --config");
        check.arg(&path).env("BILLING_SECRET", SECRET);
        let run = crate::Run::from(check.output().expect("it starts")).expect(2);
        assert!(run.stderr.contains("line 2"), "{}", run.stderr);
        syncline(url, "outbox lag").expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_target_does_not_keep_the_relay_from_stopping() {
    let (_database, url) = syncline_tests::servers::sqlite_database();
    let pool: Pool<Sqlite> = migrated(&url).await;
    // It takes requests, and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/", silent.local_addr().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut process = relay(&url, &config(&target, "[relay]\nstop_ms = 1500\n"), directory.path());
    write(&pool, 3, 1).await;
    let _connection = tokio::time::timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
    let (code, took) = process.terminate().await;
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(code, Some(1));
    assert!(process.log().contains("did not stop within 1.5s"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_serves_who_has_the_token() {
    let (_database, url) = syncline_tests::servers::sqlite_database();
    let pool: Pool<Sqlite> = migrated(&url).await;
    let directory = tempfile::tempdir().unwrap();
    let feed = "source = '/cli'\n[[stream]]\nname = 'orders'\ntopics = ['order.*']\n\
                [feed]\nlisten = '127.0.0.1:0'\n\
                [[feed.reader]]\nstream = 'orders'\ntopics = ['order.*']\ntoken_env = 'FEED_TOKEN'\n";
    let mut process = relay(&url, feed, directory.path());
    let address = process.logs("address=\"").await;
    let address = address.split('"').next().unwrap();
    write(&pool, 5, 1).await;
    let (target, consumer) = Target::new().await;
    let subscriber = FeedSubscriber::builder(address).source("/cli").stream("orders");
    let stranger = subscriber.token(Token::parse("synf_another-token-that-nobody-knows").unwrap());
    let stranger = stranger.build().unwrap();
    let status = stranger.status();
    let stop = CancellationToken::new();
    tokio::spawn(Box::new(stranger).run(Arc::clone(&consumer), stop.clone()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(target.batches.load(Ordering::SeqCst), 0, "{status:?}");
    stop.cancel();
    let subscriber = FeedSubscriber::builder(address).source("/cli").stream("orders");
    let subscriber = subscriber.token(Token::parse(TOKEN).unwrap()).build().unwrap();
    tokio::spawn(Box::new(subscriber).run(consumer, CancellationToken::new()));
    target.applied(5).await;
    let (code, _) = process.terminate().await;
    assert_eq!(code, Some(0), "{}", process.log());
    assert!(!process.log().contains(TOKEN), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_looks_at_the_configuration_and_the_database_and_starts_nothing() {
    let (_database, url) = syncline_tests::servers::sqlite_database();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let run = command(&url, "relay --check --config").arg(&path).output().expect("it starts");
        crate::Run::from(run)
    };
    let secret = directory.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let good = config("http://127.0.0.1:9/", "")
        .replace("secret_env = 'BILLING_SECRET'", "secret_file = 'secret'");
    check(&good).expect(3);
    let pool: Pool<Sqlite> = Sqlite::connect(&url, 1).await.expect("connect");
    check(&good).expect(4);
    syncline::migrate(&pool).await.expect("migrate");
    check(&good).expect(0);
    assert!(syncline(&url, "stream list").stdout.contains("no stream"), "nothing was begun");
    // The URL of a database in the configuration goes before the environment's, and is not shown.
    let database = "[database]\nurl = 'postgres://u:very-secret@127.0.0.1:1/none'\n";
    let run = check(&format!("{}{database}", good)).expect(3);
    assert!(!run.stderr.contains("very-secret"), "{}", run.stderr);
    std::fs::write(&secret, "whsec_not-base64-but-quite-secret!").unwrap();
    let run = check(&good).expect(2);
    assert!(run.stderr.contains("route \"billing\"") && run.stderr.contains("line 6"));
    assert!(!run.stderr.contains("quite-secret"), "{}", run.stderr);
    let run = check(&good.replace("stream = 'orders'\nurl", "stream = 'other'\nurl"));
    std::fs::write(&secret, SECRET).unwrap();
    run.expect(2);
    let run = check(&good.replace("stream = 'orders'\nurl", "stream = 'other'\nurl")).expect(2);
    assert!(run.stderr.contains("\"other\" is not declared"), "{}", run.stderr);
    // A stream without a route, and without a reader of the feed, reaches nobody.
    let (stream, _) = good.split_once("[[route]]").expect("a route");
    let run = check(stream).expect(8);
    let said = ["relay.toml line 2", "\"orders\" reaches nobody"];
    assert!(said.iter().all(|said| run.stderr.contains(said)), "{}", run.stderr);
    let feed = format!("{stream}[feed]\nlisten = '127.0.0.1:0'\n");
    check(&feed).expect(8);
    std::fs::write(directory.path().join("token"), TOKEN).unwrap();
    let reader = "[[feed.reader]]\nstream = 'orders'\ntopics = ['*']\ntoken_file = 'token'\n";
    check(&format!("{feed}{reader}")).expect(0);
}
