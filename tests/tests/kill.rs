//! `kill -9` of writer, relays, consumers and database servers under load, with a transport that
//! loses, doubles and reorders: nothing lost, nothing twice, order kept. A dozen kills a database;
//! 200 of relays and consumers and 20 of servers with `SYNCLINE_TEST_FULL=1`.

use std::{
    collections::HashMap,
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use sqlx::{MySql, Pool, Postgres, Sqlite};
use syncline_tests::{
    kit::{KEYS, Kit, check_applied},
    own_server::{OwnServer, Served, free_port},
    relays::write,
    servers::sqlite_database,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    Writer,
    Relay,
    Consumer,
}

const PROCESSES: [Role; 5] =
    [Role::Writer, Role::Relay, Role::Relay, Role::Consumer, Role::Consumer];

/// So many of a thousand batches are lost, doubled and delayed each; more of the few of the short
/// form.
const FAULTS: u64 = 10;
const FAULTS_IN_SHORT: u64 = 40;

/// A server that can be killed.
#[async_trait]
trait Mortal: Send {
    fn kill(&mut self);
    async fn restart(&mut self);
}

#[async_trait]
impl<DB: Served> Mortal for OwnServer<DB> {
    fn kill(&mut self) {
        OwnServer::kill(self);
    }

    async fn restart(&mut self) {
        OwnServer::restart(self).await;
    }
}

/// What the processes said: counts the committing writer told, messages on the wire, and how
/// often each of the other words.
#[derive(Default)]
struct Said {
    told: HashMap<String, i64>,
    counts: HashMap<String, u64>,
}

impl Said {
    fn count(&self, word: &str) -> u64 {
        self.counts.get(word).copied().unwrap_or_default()
    }
}

struct Campaign {
    source: String,
    target: String,
    /// Where the consumers listen, and what shares connections out among them.
    consumers: [SocketAddr; 2],
    balancer: SocketAddr,
    said: Arc<Mutex<Said>>,
    seed: u64,
    faults: u64,
}

impl Campaign {
    fn start(&mut self, process: usize) -> Child {
        self.seed = self.seed.wrapping_add(1);
        let role = PROCESSES[process];
        let (name, url, address) = match role {
            Role::Writer => ("writer", &self.source, self.balancer),
            Role::Relay => ("relay", &self.source, self.balancer),
            Role::Consumer => ("consumer", &self.target, self.consumers[process - 3]),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_crash-worker"));
        command.args([name, url, &address.to_string(), &self.seed.to_string()]);
        command.args(["--faults", &self.faults.to_string()]);
        // One of the two asks again for what it misses, the other one holds what came early.
        if process == 4 {
            command.arg("--hold-early");
        }
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("start a process");
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
                    [word, n] => {
                        let n: u64 = n.parse().expect("a number");
                        *said.counts.entry(word.to_owned()).or_default() += n;
                    }
                    _ => *said.counts.entry(line).or_default() += 1,
                }
            }
        });
        child
    }
}

/// Shares connections out among the consumers, goes to the other one when one is away, and cuts
/// connections now and then.
async fn balance(listener: TcpListener, consumers: [SocketAddr; 2]) {
    let next = Arc::new(AtomicUsize::new(0));
    while let Ok((mut from, _)) = listener.accept().await {
        let n = next.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            for consumer in [consumers[n % 2], consumers[(n + 1) % 2]] {
                if let Ok(mut to) = TcpStream::connect(consumer).await {
                    let life = Duration::from_millis(500 + (n as u64 * 379) % 4_000);
                    let _ =
                        tokio::time::timeout(life, copy_bidirectional(&mut from, &mut to)).await;
                    return;
                }
            }
        });
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

async fn campaign<DB: Kit>(source: &str, target: &str, mut servers: Vec<Box<dyn Mortal>>) {
    let full = std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1");
    let (kills, server_kills) = if full { (200, 20) } else { (10, 2) };
    let server_kills = if servers.is_empty() { 0 } else { server_kills };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = now.subsec_nanos();
    println!("{}: {kills} and {server_kills} kills, seed {seed}", DB::LABEL);
    let from: Pool<DB> = DB::connect(source, 2).await.expect("connect");
    let to: Pool<DB> = DB::connect(target, 2).await.expect("connect");
    for pool in [&from, &to] {
        syncline::migrate(pool).await.expect("migrate");
        DB::prepare(pool).await.expect("prepare");
    }
    let said = Arc::<Mutex<Said>>::default();
    let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let consumers = [local(free_port()), local(free_port())];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let balancer = listener.local_addr().expect("an address");
    tokio::spawn(balance(listener, consumers));
    let mut campaign = Campaign {
        source: source.to_owned(),
        target: target.to_owned(),
        consumers,
        balancer,
        said: Arc::clone(&said),
        seed: seed.into(),
        faults: if full { FAULTS } else { FAULTS_IN_SHORT },
    };
    let mut processes: Vec<Child> = (0..5).map(|process| campaign.start(process)).collect();

    let mut random = Random(u64::from(seed) | 1);
    let mut killed: HashMap<Role, u32> = HashMap::new();
    let mut killed_servers = 0;
    let of = |killed: &HashMap<Role, u32>, role| killed.get(&role).copied().unwrap_or_default();
    loop {
        let done = of(&killed, Role::Relay) + of(&killed, Role::Consumer);
        if done >= kills && killed_servers >= server_kills {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100 + random.below(500))).await;
        // A process that ended by itself would be a bug of its own.
        for (process, role) in processes.iter_mut().zip(PROCESSES) {
            assert_eq!(process.try_wait().expect("wait"), None, "a {role:?} ended");
        }
        let down = if killed_servers * kills < done * server_kills {
            let victim = killed_servers as usize % servers.len();
            servers[victim].kill();
            killed_servers += 1;
            tokio::time::sleep(Duration::from_millis(random.below(800))).await;
            Some(victim)
        } else {
            None
        };
        // With a server down one in two times a process is killed as well, and must start so.
        if down.is_none() || random.below(2) == 0 {
            let victim = match random.below(10) {
                0 => 0,
                n => usize::try_from(1 + n % 4).expect("small"),
            };
            processes[victim].kill().await.expect("kill -9");
            *killed.entry(PROCESSES[victim]).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(random.below(200))).await;
            processes[victim] = campaign.start(victim);
        }
        if let Some(victim) = down {
            servers[victim].restart().await;
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    processes[0].kill().await.expect("kill -9");
    for (process, role) in processes.iter_mut().zip(PROCESSES).skip(1) {
        assert_eq!(process.try_wait().expect("wait"), None, "a {role:?} ended");
    }
    // What a transport lost and acknowledged is noticed with the next message of its shard.
    campaign.faults = 0;
    for relay in [1, 2] {
        processes[relay].kill().await.expect("kill -9");
        processes[relay] = campaign.start(relay);
    }
    write(&from, KEYS).await;

    let limit = Duration::from_secs(if full { 240 } else { 60 });
    let began = Instant::now();
    let (counters, applied) = loop {
        // Read again each time: the server may still finish the killed writer's COMMIT.
        let counters = DB::counters(&from).await.expect("counters");
        let total: i64 = counters.iter().map(|(_, n)| n).sum();
        let applied = DB::applied(&to).await.expect("applied").len() as i64;
        if applied >= total || began.elapsed() > limit {
            // What might come twice has time to come.
            tokio::time::sleep(Duration::from_millis(1_700)).await;
            let applied = DB::applied(&to).await.expect("applied");
            let later = DB::counters(&from).await.expect("counters");
            if later == counters || began.elapsed() > 2 * limit {
                break (counters, applied);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let total: i64 = counters.iter().map(|(_, n)| n).sum();
    for process in &mut processes[1..] {
        process.kill().await.expect("kill -9");
    }
    let said = said.lock().expect("no panic");
    println!(
        "{}: killed {} relays, {} consumers, {} writers, {killed_servers} servers; batches lost {} \
         (silently {}), doubled {}, delayed {}; gaps noticed {}, early messages held {}; {total} \
         messages committed, {} applied, {} came over the wire more than once; settled in {:?}",
        DB::LABEL,
        of(&killed, Role::Relay),
        of(&killed, Role::Consumer),
        of(&killed, Role::Writer),
        said.count("lost"),
        said.count("silently"),
        said.count("doubled"),
        said.count("delayed"),
        said.count("gap"),
        said.count("held"),
        applied.len(),
        said.count("received").saturating_sub(applied.len() as u64),
        began.elapsed(),
    );
    check_applied(&counters, &applied).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(total > 100, "the writer wrote under load: {total}");
    for (key, told) in &said.told {
        let counter = counters.iter().find(|(k, _)| k == key).map_or(0, |(_, n)| *n);
        assert!(counter >= *told, "{key}: {told} was told committed and the counter is {counter}");
    }
    if full {
        for word in ["lost", "silently", "doubled", "delayed", "gap", "held"] {
            assert!(said.count(word) > 0, "{word}: nothing of it happened");
        }
    }
}

/// A server for each side, so that each dies alone.
async fn with_servers<DB: Served>() {
    let (one, two) = tokio::join!(OwnServer::<DB>::start(), OwnServer::<DB>::start());
    let (Some(one), Some(two)) = (one, two) else { return };
    let (source, target) = (one.database(None).await, two.database(None).await);
    campaign::<DB>(&source, &target, vec![Box::new(one), Box::new(two)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_twice_on_sqlite() {
    let ((_one, source), (_two, target)) = (sqlite_database(), sqlite_database());
    campaign::<Sqlite>(&source, &target, Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_twice_on_postgres() {
    with_servers::<Postgres>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_twice_on_mariadb() {
    with_servers::<MySql>().await;
}
