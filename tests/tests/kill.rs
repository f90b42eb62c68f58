//! `kill -9` of writer, relay and consumer under load: nothing lost, nothing twice, order
//! kept. Ten kills a database; 200 with `SYNCLINE_TEST_FULL=1`.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use sqlx::{MySql, Pool, Postgres, Sqlite};
use syncline_tests::{
    kit::{Kit, check_applied},
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

const ROLES: [&str; 3] = ["writer", "relay", "consumer"];

/// What the processes said: counts the committing writer told, and messages on the wire.
#[derive(Default)]
struct Said {
    told: HashMap<String, i64>,
    received: u64,
}

struct Campaign {
    urls: [String; 3],
    address: SocketAddr,
    said: Arc<Mutex<Said>>,
    seed: u64,
}

impl Campaign {
    fn start(&mut self, role: usize) -> Child {
        self.seed = self.seed.wrapping_add(1);
        let mut child = Command::new(env!("CARGO_BIN_EXE_crash-worker"))
            .args([ROLES[role], &self.urls[role], &self.address.to_string()])
            .arg(self.seed.to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("start a process");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said = Arc::clone(&self.said);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut said = said.lock().expect("no panic");
                let words: Vec<&str> = line.split(' ').collect();
                match words[..] {
                    ["told", a, b, n] => {
                        let n: i64 = n.parse().expect("a number");
                        let most = said.told.entry(format!("{a} {b}")).or_default();
                        *most = n.max(*most);
                    }
                    ["received", n] => said.received += n.parse::<u64>().expect("a number"),
                    _ => {}
                }
            }
        });
        child
    }
}

async fn campaign<DB: Kit>(source: &str, target: &str) {
    let kills =
        if std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1") { 200 } else { 10 };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = now.subsec_nanos();
    println!("{}: {kills} kills, seed {seed}", DB::LABEL);
    let from: Pool<DB> = DB::connect(source, 2).await.expect("connect");
    let to: Pool<DB> = DB::connect(target, 2).await.expect("connect");
    for pool in [&from, &to] {
        syncline::migrate(pool).await.expect("migrate");
        DB::prepare(pool).await.expect("prepare");
    }
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let urls = [source.to_owned(), source.to_owned(), target.to_owned()];
    let said = Arc::<Mutex<Said>>::default();
    let mut campaign = Campaign { urls, address, said: Arc::clone(&said), seed: seed.into() };
    let mut processes: Vec<Child> = (0..3).map(|role| campaign.start(role)).collect();

    let mut random = u64::from(seed) | 1;
    let mut next = |most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % most
    };
    let mut killed = [0; 3];
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(100 + next(500))).await;
        let victim = usize::try_from(next(3)).expect("small");
        // A process that ended by itself would be a bug of its own.
        assert_eq!(processes[victim].try_wait().expect("wait"), None, "{} ended", ROLES[victim]);
        processes[victim].kill().await.expect("kill -9");
        killed[victim] += 1;
        tokio::time::sleep(Duration::from_millis(next(200))).await;
        processes[victim] = campaign.start(victim);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    processes[0].kill().await.expect("kill -9");

    let began = Instant::now();
    let (counters, applied) = loop {
        // Read again each time: the server may still finish the killed writer's COMMIT.
        let counters = DB::counters(&from).await.expect("counters");
        let total: i64 = counters.iter().map(|(_, n)| n).sum();
        let applied = DB::applied(&to).await.expect("applied").len() as i64;
        if applied >= total || began.elapsed() > Duration::from_secs(60) {
            // What might come twice has time to come.
            tokio::time::sleep(Duration::from_millis(700)).await;
            let applied = DB::applied(&to).await.expect("applied");
            let later = DB::counters(&from).await.expect("counters");
            if later == counters || began.elapsed() > Duration::from_secs(90) {
                break (counters, applied);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let total: i64 = counters.iter().map(|(_, n)| n).sum();
    for process in &mut processes[1..] {
        process.kill().await.expect("kill -9");
    }
    let said = said.lock().expect("no panic");
    println!(
        "{}: killed writer, relay, consumer {killed:?} times; {total} messages committed, {} \
         applied, {} came over the wire more than once",
        DB::LABEL,
        applied.len(),
        said.received.saturating_sub(applied.len() as u64)
    );
    check_applied(&counters, &applied).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(total > 100, "the writer wrote under load: {total}");
    for (key, told) in &said.told {
        let counter = counters.iter().find(|(k, _)| k == key).map_or(0, |(_, n)| *n);
        assert!(counter >= *told, "{key}: {told} was told committed and the counter is {counter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_twice_on_sqlite() {
    let ((_one, source), (_two, target)) = (sqlite_database(), sqlite_database());
    campaign::<Sqlite>(&source, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_twice_on_postgres() {
    let (Some(source), Some(target)) = (postgres_database().await, postgres_database().await)
    else {
        return;
    };
    campaign::<Postgres>(&source, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_twice_on_mariadb() {
    let (Some(source), Some(target)) = (mariadb_database().await, mariadb_database().await) else {
        return;
    };
    campaign::<MySql>(&source, &target).await;
}
