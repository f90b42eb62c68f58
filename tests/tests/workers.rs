//! Processes that are told to stop under load, and processes whose clocks jump.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use syncline::{
    Route, Stream, begin,
    message::Batch,
    relay::RouteState,
    saga::{Sagas, operate},
    storage::ShardKey,
    transport::{Ack, PublishError, Publisher},
};
use syncline_tests::{
    kit::{Kit, check_applied},
    on_each,
    relays::{LEASE, eventually, start, write},
    servers::faketime,
    timed,
    world::World,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use uuid::Uuid;

on_each!(
    a_relay_and_a_consumer_that_are_told_to_stop_leave_in_time_and_give_their_leases_back,
    clocks_that_jump_lose_nothing_and_take_no_lease_away,
    services_whose_clocks_differ_say_so_and_go_on_when_they_agree,
    a_sagas_pauses_and_deadlines_are_by_the_databases_clock,
    a_publisher_that_never_answers_is_told_and_keeps_nobody_from_stopping,
);

/// How long a process may take to stop: its parts have limits of a few seconds each.
const STOPPING: Duration = Duration::from_secs(15);
const HOUR: &str = "3600";

/// Starts processes, whose clocks are set by a file of each.
struct Workers<'a, DB: Kit> {
    world: &'a World<DB>,
    address: SocketAddr,
    directory: TempDir,
    faketime: Option<PathBuf>,
}

impl<'a, DB: Kit> Workers<'a, DB> {
    fn new(world: &'a World<DB>, faketime: Option<PathBuf>) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        Self { world, address, directory: tempfile::tempdir().expect("a directory"), faketime }
    }

    fn clock(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sets a clock so many seconds ahead (`+`) or back (`-`); the whole file at once.
    fn set(&self, name: &str, offset: &str) {
        let (file, new) = (self.clock(name), self.clock("new"));
        fs::write(&new, format!("{offset}\n")).expect("write the clock");
        fs::rename(new, file).expect("set the clock");
    }

    /// A process whose clock is `clock`, with its log in the file `name`.log.
    fn start(&self, name: &str, role: &str, clock: Option<&str>, more: &[&str]) -> Child {
        let url = if role == "consumer" { &self.world.target_url } else { &self.world.source_url };
        let mut command = Command::new(env!("CARGO_BIN_EXE_crash-worker"));
        command.args([role, url, &self.address.to_string()]).args(more);
        if let (Some(library), Some(clock)) = (&self.faketime, clock) {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.clock(clock))
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        let log = fs::File::create(self.log(name)).expect("a log");
        command.stdout(Stdio::null()).stderr(log).env("RUST_LOG", "info,sqlx=error");
        command.env("NO_COLOR", "1");
        command.kill_on_drop(true).spawn().expect("start a process")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    async fn applied(&self) -> usize {
        DB::applied(&self.world.target).await.expect("applied").len()
    }

    /// Waits for so many more messages at the target.
    async fn flows(&self, what: &str) {
        let before = self.applied().await;
        eventually(what, async || (self.applied().await > before + 30).then_some(())).await;
    }

    /// The writer ends; everything that it has written arrives, once and in order.
    async fn all_arrives(&self, mut writer: Child) {
        writer.kill().await.expect("kill -9");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let counters = DB::counters(&self.world.source).await.expect("counters");
        let total: i64 = counters.iter().map(|(_, n)| n).sum();
        eventually("everything arrives", async || {
            (self.applied().await as i64 >= total).then_some(())
        })
        .await;
        let applied = DB::applied(&self.world.target).await.expect("applied");
        check_applied(&counters, &applied).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(applied.len() as i64, total);
        println!("{}: {total} messages", DB::LABEL);
    }
}

impl<DB: Kit> Drop for Workers<'_, DB> {
    /// A test that fails shows what its processes had to say.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for file in fs::read_dir(self.directory.path()).into_iter().flatten().flatten() {
                let text = fs::read_to_string(file.path()).unwrap_or_default();
                eprintln!("--- {}\n{text}", file.file_name().display());
            }
        }
    }
}

/// Tells a process to stop, and waits until it has ended well.
async fn stop(name: &str, mut process: Child) {
    let pid = process.id().expect("it runs").to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
    assert!(told.success(), "{name} was not told");
    let ended = timeout(STOPPING, process.wait()).await;
    let status = ended.unwrap_or_else(|_| panic!("{name} does not stop")).expect("wait");
    assert_eq!(status.code(), Some(0), "{name} ends well");
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).expect("a log")
}

/// Its target never answers, and it has no limit of its own.
struct Silent;

#[async_trait]
impl Publisher for Silent {
    async fn publish(&self, _batch: &Batch) -> Result<Ack, PublishError> {
        std::future::pending().await
    }
}

mod case {
    use super::*;

    pub(super) async fn a_relay_and_a_consumer_that_are_told_to_stop_leave_in_time_and_give_their_leases_back<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let workers = Workers::new(&world, None);
        // Who waits for the end of such a lease waits longer than the test.
        let lease = ["1", "--lease-ms", "500000"];
        let consumer = workers.start("consumer", "consumer", None, &[]);
        let writer = workers.start("writer", "writer", None, &[]);
        let relay = workers.start("one", "relay", None, &lease);
        workers.flows("messages flow").await;
        stop("the relay", relay).await;
        let relay = workers.start("two", "relay", None, &lease);
        workers.flows("the next relay takes over at once").await;
        stop("the consumer", consumer).await;
        let consumer = workers.start("next", "consumer", None, &[]);
        workers.flows("the next consumer goes on").await;
        workers.all_arrives(writer).await;
        stop("the relay", relay).await;
        stop("the consumer", consumer).await;
    }

    pub(super) async fn clocks_that_jump_lose_nothing_and_take_no_lease_away<DB: Kit>(
        world: World<DB>,
    ) {
        let Some(library) = faketime() else { return };
        let workers = Workers::new(&world, Some(library));
        // SQLite's clock is that of its processes: those of one machine have one.
        let own_clock = DB::LABEL == "SQLite";
        let names = if own_clock { ["all"; 3] } else { ["services", "services", "other"] };
        let set = |offset: &str| {
            workers.set(names[0], offset);
            // The third clock goes wrong the other way.
            if !own_clock {
                workers
                    .set(names[2], &offset.replace('+', "_").replace('-', "+").replace('_', "-"));
            }
        };
        set("+0");
        let lease = ["1", "--lease-ms", "20000"];
        // Where timers are set by the database's clock, retries are due whatever a process's says.
        let flaky: &[&str] = if own_clock { &[] } else { &["--flaky"] };
        let consumer = workers.start("consumer", "consumer", Some(names[0]), flaky);
        let writer = workers.start("writer", "writer", Some(names[0]), &[]);
        let one = workers.start("one", "relay", Some(names[1]), &lease);
        workers.flows("messages flow").await;
        // Two relays share the work; the push's signature is by the clock of the one that sends.
        for offset in [format!("+{HOUR}"), "+0".to_owned(), format!("-{HOUR}")] {
            set(&offset);
            workers.flows(&format!("messages flow with the clocks at {offset}")).await;
        }
        // Another relay, whose clock is an hour ahead of the first one's and of the database's.
        set(&format!("-{HOUR}"));
        let other = workers.start("other", "relay", Some(names[2]), &lease);
        tokio::time::sleep(Duration::from_secs(2)).await;
        if !own_clock {
            let probe = DB::acquire(&world.source, "seal", Uuid::now_v7(), STOPPING).await;
            assert_eq!(probe.expect("acquire"), None, "the lease to seal is held");
        }
        // Of the relays the one sends whose clock is the consumer's, too.
        set("+0");
        workers.all_arrives(writer).await;
        stop("the other relay", other).await;
        stop("the relay", one).await;
        if !own_clock {
            let probe = DB::acquire(&world.source, "seal", Uuid::now_v7(), STOPPING).await;
            let probe = probe.expect("acquire").expect("it was given back");
            assert_eq!(probe.epoch, 2, "one relay has held it all the time");
        }
        stop("the consumer", consumer).await;
    }

    pub(super) async fn services_whose_clocks_differ_say_so_and_go_on_when_they_agree<DB: Kit>(
        world: World<DB>,
    ) {
        let Some(library) = faketime() else { return };
        let workers = Workers::new(&world, Some(library));
        for wrong in ["+3600", "-3600"] {
            workers.set("relay", wrong);
            workers.set("consumer", "+0");
            let consumer = workers.start("consumer", "consumer", Some("consumer"), &[]);
            let writer = workers.start("writer", "writer", Some("consumer"), &[]);
            let relay = workers.start("relay", "relay", Some("relay"), &[]);
            let before = workers.applied().await;
            let said = eventually("the relay says what is wrong", async || {
                let log = read(&workers.log("relay"));
                log.lines().find(|line| line.contains("401")).map(str::to_owned)
            })
            .await;
            println!("{said}");
            let off = said.split("the time of signing is ").nth(1);
            let off = off.and_then(|rest| rest.split(' ').next()).and_then(|off| off.parse().ok());
            let off: i64 = off.unwrap_or_else(|| panic!("it says by how much: {said}"));
            assert!((3_590..=3_610).contains(&off) && said.contains("clock"), "{said}");
            assert_eq!(workers.applied().await, before, "nothing is applied");
            workers.set("relay", "+0");
            workers.flows("it goes on with the right clock").await;
            workers.all_arrives(writer).await;
            stop("the relay", relay).await;
            stop("the consumer", consumer).await;
        }
    }

    pub(super) async fn a_sagas_pauses_and_deadlines_are_by_the_databases_clock<DB: Kit>(
        world: World<DB>,
    ) {
        // SQLite's clock is the engine's.
        if DB::LABEL == "SQLite" {
            return;
        }
        let Some(library) = faketime() else { return };
        let (workers, pool) = (Workers::new(&world, Some(library)), &world.source);
        let sagas = Sagas::builder(timed::SOURCE, pool.clone());
        let sagas = sagas.saga(timed::definition().expect("sound")).build().expect("an engine");
        for (name, wrong) in [("ahead", "+3600"), ("behind", "-3600")] {
            workers.set(name, wrong);
            let engine = workers.start(name, "engine", Some(name), &[]);
            let mut tx = begin(pool).await.expect("begin");
            let started = sagas.start(&mut tx, timed::SAGA, name, &1_i64).await.expect("start");
            tx.commit().await.expect("commit");
            // Not after an hour, ...
            let saga = eventually("it is over", async || {
                let shown = operate::show(pool, started.id).await.expect("show").expect("there");
                shown.summary.ended_at.is_some().then_some(shown.summary)
            })
            .await;
            assert_eq!(saga.status, "compensated", "{saga:?}");
            // ... and not before it is time.
            let took = (saga.ended_at.expect("it is over") - saga.started_at).to_std();
            let took = took.expect("a time that passed");
            let least = timed::PAUSE + timed::DEADLINE - Duration::from_millis(10);
            assert!(took >= least, "{name}: {took:?}");
            // Its clock was wrong indeed.
            let said = eventually("its log tells the time", async || {
                let log = read(&workers.log(name));
                log.lines().find(|line| line.contains("a saga is compensated")).map(str::to_owned)
            })
            .await;
            let time = said.split_whitespace().next().and_then(|time| time.parse().ok());
            let time: DateTime<Utc> = time.unwrap_or_else(|| panic!("no time: {said}"));
            let off = (time - Utc::now()).num_seconds();
            assert!(off.abs() > 3_000 && (off > 0) == (name == "ahead"), "{off}: {said}");
            stop("the engine", engine).await;
        }
    }

    pub(super) async fn a_publisher_that_never_answers_is_told_and_keeps_nobody_from_stopping<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        write(&world.source, 3).await;
        let (stream, route) = (Stream::new("s").topic("*"), Route::new("silent", "s", Silent));
        let relay = start(&world.source, stream, vec![route], |options| {
            options.publish_within = Duration::from_secs(1);
        })
        .await;
        eventually("the relay says so", async || {
            let status = relay.status();
            let Some(RouteState::Backoff { error, .. }) = status.first().map(|s| &s.state) else {
                return None;
            };
            error.contains("did not answer within 1s").then_some(())
        })
        .await;
        eventually("it is stored", async || {
            let lags = DB::route_lags(&world.source).await.expect("the routes");
            let problem = lags.first().and_then(|lag| lag.problem.as_ref());
            problem.is_some_and(|problem| problem.text.contains("did not answer")).then_some(())
        })
        .await;
        timeout(STOPPING, relay.stop()).await.expect("it stops in time");
        let key = ShardKey::new("silent", 1, 0);
        let lease = DB::acquire(&world.source, &key.lease_name(), Uuid::now_v7(), LEASE).await;
        assert!(lease.expect("ask").is_some(), "its lease was given back");
    }
}
