//! `kill -9` of an orchestrator and of the services that take part, each a process with a
//! PostgreSQL database of its own, over HTTP: every saga ends, with all of its effects or with none.
//! Ten kills; a hundred, and ten times the sagas, with `SYNCLINE_TEST_FULL=1`.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use sqlx::{PgPool, Postgres};
use syncline_tests::{
    kit::Kit,
    orders::{EFFECTS, is_refused},
    own_server::free_port,
    relays::eventually,
    servers::postgres_database,
};
use tokio::process::{Child, Command};

const SERVICES: [&str; 3] = ["orders", "stock", "bank"];

struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

struct Campaign {
    urls: Vec<String>,
    ports: Vec<u16>,
    sagas: i64,
    pause_ms: u64,
}

impl Campaign {
    fn start(&self, service: usize) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_saga-worker"));
        command.args([SERVICES[service], &self.urls[service]]);
        for (service, port) in SERVICES.iter().zip(&self.ports) {
            let address = SocketAddr::from(([127, 0, 0, 1], *port));
            command.args(["--at", &format!("{service}={address}")]);
        }
        if service == 0 {
            command.args(["--sagas", &self.sagas.to_string()]);
            command.args(["--pause-ms", &self.pause_ms.to_string()]);
        }
        command.kill_on_drop(true).spawn().expect("start a process")
    }
}

/// How many sagas have which status.
async fn statuses(pool: &PgPool) -> HashMap<String, i64> {
    let sql = "SELECT status, count(*) FROM syncline_saga GROUP BY status";
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(pool).await.expect("statuses");
    rows.into_iter().collect()
}

/// How many are over.
async fn ended(pool: &PgPool) -> i64 {
    count(pool, "SELECT count(*) FROM syncline_saga WHERE ended_at IS NOT NULL").await
}

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("a count")
}

/// How often each effect was made and taken back, from the notes.
type Notes = HashMap<String, (i64, i64)>;

async fn notes(pool: &PgPool) -> Notes {
    let mut notes = Notes::new();
    for (key, sign) in Postgres::applied(pool).await.expect("the notes") {
        let (made, undone) = notes.entry(key).or_default();
        *if sign > 0 { made } else { undone } += 1;
    }
    notes
}

/// Holds the effects of every saga against how it ended; returns how many effects were taken back.
fn check_effects(sagas: &[(String, String)], notes: &HashMap<&str, Notes>) -> Result<i64, String> {
    let mut undone = 0;
    for (key, status) in sagas {
        let order: i64 = key.trim_start_matches("order ").parse().expect("a number");
        let expected = if is_refused(order) { "compensated" } else { "completed" };
        if status != expected {
            return Err(format!("{key} is {status}, not {expected}"));
        }
        for (step, service) in EFFECTS {
            let note = notes[service].get(&format!("{step} {order}")).copied().unwrap_or_default();
            // One in ten is refused by the bank: what came before was applied, and is taken back.
            let right = match (is_refused(order), step) {
                (false, _) => (1, 0),
                (true, "create" | "reserve") => (1, 1),
                (true, _) => (0, 0),
            };
            if note != right {
                return Err(format!(
                    "{key} is {status}: {step} at {service} was made and taken back {note:?} times, not {right:?}"
                ));
            }
            undone += note.1;
        }
    }
    Ok(undone)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_saga_ends_whole_or_taken_back_whoever_is_killed() {
    let full = std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1");
    let (kills, sagas, pause_ms) = if full { (100, 2_000, 15) } else { (10, 200, 30) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = now.subsec_nanos();
    println!("{kills} kills, {sagas} sagas, seed {seed}");
    let (mut urls, mut pools) = (Vec::new(), Vec::new());
    for _ in SERVICES {
        let Some(url) = postgres_database().await else { return };
        let pool = Postgres::connect(&url, 2).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        Postgres::prepare(&pool).await.expect("prepare");
        urls.push(url);
        pools.push(pool);
    }
    let ports = SERVICES.iter().map(|_| free_port()).collect();
    let campaign = Campaign { urls, ports, sagas, pause_ms };
    let mut processes: Vec<Child> = (0..SERVICES.len()).map(|n| campaign.start(n)).collect();

    // The kills begin when sagas flow.
    eventually("a first saga is over", async || (ended(&pools[0]).await > 0).then_some(())).await;
    let (began, mut random) = (Instant::now(), Random(u64::from(seed) | 1));
    let mut killed = [0_u32; SERVICES.len()];
    let (mut under_way, mut last_ended) = (0, 0);
    while killed.iter().sum::<u32>() < kills {
        tokio::time::sleep(Duration::from_millis(200 + random.below(600))).await;
        for (process, service) in processes.iter_mut().zip(SERVICES) {
            assert_eq!(process.try_wait().expect("wait"), None, "{service} ended by itself");
        }
        // Each at least once; every other one is the orchestrator, which most goes through.
        let random_one = usize::try_from(random.below(4)).expect("small").saturating_sub(1);
        let victim = killed.iter().position(|times| *times == 0).unwrap_or(random_one);
        processes[victim].kill().await.expect("kill -9");
        killed[victim] += 1;
        last_ended = ended(&pools[0]).await;
        let all: i64 = statuses(&pools[0]).await.values().sum();
        under_way += u32::from(all > last_ended);
        tokio::time::sleep(Duration::from_millis(random.below(200))).await;
        processes[victim] = campaign.start(victim);
    }
    let after_kills = began.elapsed();

    let limit = Duration::from_secs(if full { 300 } else { 60 });
    while ended(&pools[0]).await < sagas && began.elapsed() < after_kills + limit {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let settled = statuses(&pools[0]).await;
    let took = began.elapsed();
    // What might come twice has time to come.
    tokio::time::sleep(Duration::from_millis(1_700)).await;
    for (process, service) in processes.iter_mut().zip(SERVICES) {
        assert_eq!(process.try_wait().expect("wait"), None, "{service} ended by itself");
        process.kill().await.expect("kill -9");
    }

    let sql = "SELECT start_key, status FROM syncline_saga";
    let rows: Vec<(String, String)> =
        sqlx::query_as(sql).fetch_all(&pools[0]).await.expect("the sagas");
    let mut all = HashMap::new();
    for (service, pool) in SERVICES.into_iter().zip(&pools) {
        all.insert(service, notes(pool).await);
    }
    let undone = check_effects(&rows, &all).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    println!(
        "killed {} orchestrators, {} of stock, {} of the bank; sagas were under way at {under_way} \
         kills, {last_ended} were over at the last; {settled:?}, {undone} effects taken back; the \
         kills took {after_kills:.1?}, all of it {took:.1?}",
        killed[0], killed[1], killed[2],
    );
    assert_eq!(rows.len(), usize::try_from(sagas).expect("few"), "every saga was started once");
    assert_eq!(settled.values().sum::<i64>(), sagas, "seed {seed}: all are over: {settled:?}");
    assert!(under_way > kills / 2, "the kills came in mid-saga: {under_way}");
    let left = [
        ("locks", "SELECT count(*) FROM syncline_saga_lock"),
        ("timers", "SELECT count(*) FROM syncline_timer"),
        ("events", "SELECT count(*) FROM syncline_saga_event"),
        ("held messages", "SELECT count(*) FROM syncline_held"),
    ];
    for (service, pool) in SERVICES.into_iter().zip(&pools) {
        for (what, sql) in left {
            assert_eq!(count(pool, sql).await, 0, "{what} are left at {service}");
        }
    }
}
