//! Networks that swallow what they are given, at random, before each database and each target, while
//! two processes of each service send messages and carry sagas through: nothing is lost, everything
//! takes effect once, and whoever can work does. A minute for each database; ten with
//! `SYNCLINE_TEST_FULL=1`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use sqlx::{MySql, Pool, Postgres, Sqlite};
use syncline::{
    Consumer, Relay, Route, Stream,
    consumer::{ConsumerBuilder, ConsumerHandle},
    relay::{RelayBuilder, RelayHandle},
    saga::{Sagas, SagasHandle, StartError, wire::REPLY},
    transport::{
        Subscriber,
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
    },
};
use syncline_tests::{
    gate::{Flow, Gate},
    kit::{Kit, check_applied},
    orders::{EFFECTS, SAGA, SOURCE, definition, is_refused, participant},
    relays::{noting, write},
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SERVICES: [&str; 3] = ["orders", "stock", "bank"];
/// What the counters' messages are applied by, in the stock's database.
const COUNTING: &str = "counting";
/// So often something becomes of a connection at each gate, on average.
const EVERY: Duration = Duration::from_secs(3);
/// Longer than this nothing stands still: within a minute somebody takes over, and may himself be hit.
const STANDSTILL: Duration = Duration::from_secs(120);

/// The parts of one process, which run as long as they are kept.
struct Process<DB: Kit> {
    relay: RelayHandle,
    consumers: Vec<ConsumerHandle>,
    engine: Option<(Sagas<DB>, SagasHandle)>,
    listeners: Vec<JoinHandle<()>>,
}

/// A consumer that listens for what `streams`, each a source with its stream, send; and where.
async fn listen<DB: Kit>(
    consumer: ConsumerBuilder<DB>,
    streams: &[(&str, &str)],
) -> (ConsumerHandle, JoinHandle<()>, String) {
    let consumer = consumer.build().expect("a consumer");
    let running = consumer.start().await.expect("the consumer starts");
    let secret = || [Secret::parse(SECRET).expect("a secret")];
    let principals: Vec<_> = streams
        .iter()
        .map(|(source, stream)| {
            Principal::new(*source, *stream, secret()).expect("a principal").shards(4)
        })
        .collect();
    let setup = |receiver| {
        principals.into_iter().fold(PushReceiver::new(receiver), PushReceiver::principal)
    };
    let listener = PushListener::bind("127.0.0.1:0", setup).await.expect("it listens");
    let address = listener.local_addr().to_string();
    let listening = tokio::spawn(async move {
        let run = Box::new(listener).run(Arc::new(consumer), CancellationToken::new());
        run.await.expect("it listens on");
    });
    (running, listening, address)
}

/// A campaign on one kind of database.
struct Campaign<DB: Kit> {
    /// Each service's database, and connections to it that nothing becomes of.
    urls: Vec<String>,
    pools: Vec<Pool<DB>>,
    seed: u64,
    faults: Vec<JoinHandle<()>>,
    gates: Vec<Gate>,
}

impl<DB: Kit> Campaign<DB> {
    async fn new(urls: Vec<String>, seed: u64) -> Self {
        let mut pools = Vec::new();
        for url in &urls {
            let pool = DB::connect(url, 4).await.expect("connect");
            syncline::migrate(&pool).await.expect("migrate");
            DB::prepare(&pool).await.expect("prepare");
            pools.push(pool);
        }
        Self { urls, pools, seed, faults: Vec::new(), gates: Vec::new() }
    }

    /// Connections to a service's database by way of a gate; SQLite is no server, and has none.
    async fn gated(&mut self, service: usize) -> Pool<DB> {
        let url = &self.urls[service];
        let url = match url.starts_with("sqlite") {
            true => url.clone(),
            false => {
                let (gate, url) = Gate::before(url).await;
                self.gates.push(gate);
                url
            }
        };
        DB::connect(&url, 8).await.expect("connect")
    }

    /// A publisher to `targets`, by way of a gate.
    async fn publisher(&mut self, targets: &[String]) -> PushPublisher {
        let gate = Gate::before_each(targets.to_vec()).await;
        let publisher = PushPublisher::builder(format!("http://127.0.0.1:{}/", gate.port()))
            .secret(Secret::parse(SECRET).expect("a secret"))
            .timeout(Duration::from_secs(5))
            .build();
        self.gates.push(gate);
        publisher.expect("a publisher")
    }

    /// Where both processes of each service listen, and what runs there.
    async fn start(&mut self) -> Vec<Process<DB>> {
        let (mut halves, mut targets) = (Vec::new(), vec![Vec::new(); SERVICES.len() + 1]);
        for service in [0, 1, 2, 0, 1, 2] {
            let pool = self.gated(service).await;
            let (mut consumers, mut listeners, mut engine) = (Vec::new(), Vec::new(), None);
            let name = SERVICES[service];
            let (consumer, streams) = match service {
                0 => {
                    let sagas = Sagas::builder(SOURCE, pool.clone())
                        .saga(definition().expect("sound"))
                        .build()
                        .expect("an engine");
                    let consumer =
                        Consumer::builder(name, pool.clone()).batch_handler(REPLY, sagas.replies());
                    let running = sagas.run().await.expect("the engine runs");
                    engine = Some((sagas, running));
                    (consumer, vec![("/stock", "replies"), ("/bank", "replies")])
                }
                _ => (participant(name, pool.clone(), false), vec![(SOURCE, name)]),
            };
            let (running, listening, at) = listen(consumer, &streams).await;
            consumers.push(running);
            listeners.push(listening);
            targets[service].push(at);
            if service == 1 {
                let counting = noting(COUNTING, pool.clone());
                let (running, listening, at) = listen(counting, &[(SOURCE, "counters")]).await;
                consumers.push(running);
                listeners.push(listening);
                targets[SERVICES.len()].push(at);
            }
            halves.push((service, pool, consumers, listeners, engine));
        }
        let mut processes = Vec::new();
        for (service, pool, consumers, listeners, engine) in halves {
            let relay = match service {
                0 => self.orders(pool, &targets).await,
                _ => {
                    let replies = self.publisher(&targets[0]).await;
                    Relay::builder(format!("/{}", SERVICES[service]), pool)
                        .stream(Stream::new("replies").topic(REPLY))
                        .route(Route::new("orders", "replies", replies))
                }
            };
            let relay = relay.start().await.expect("the relay starts");
            processes.push(Process { relay, consumers, engine, listeners });
        }
        processes
    }

    async fn orders(&mut self, pool: Pool<DB>, targets: &[Vec<String>]) -> RelayBuilder<DB> {
        let counters = self.publisher(&targets[SERVICES.len()]).await;
        let mut relay = Relay::builder(SOURCE, pool)
            .stream(Stream::new("counters").topic("counter.*").shards(4))
            .route(Route::new(COUNTING, "counters", counters));
        for service in [1, 2] {
            let (name, publisher) = (SERVICES[service], self.publisher(&targets[service]).await);
            relay = relay
                .stream(Stream::new(name).topic(format!("{name}.*")))
                .route(Route::new(name, name, publisher));
        }
        relay
    }

    /// From now on things become of the network.
    fn begin_faults(&mut self) {
        for (n, gate) in self.gates.iter().enumerate() {
            self.faults.push(gate.faults(self.seed.wrapping_mul(31) + n as u64, EVERY));
        }
    }

    /// New connections work again. What had stalled for good stays so.
    async fn end_faults(&mut self) {
        for faults in self.faults.drain(..) {
            faults.abort();
            drop(faults.await);
        }
        self.gates.iter().for_each(|gate| gate.new_ones(Flow::Open));
    }

    /// Counts of effects, and of steps of all sagas together: a command that is only sent again is no
    /// progress.
    async fn moved(&self) -> [i64; 2] {
        let notes = "SELECT count(*) FROM applied";
        let steps = "SELECT count(*) FROM syncline_saga_log WHERE what <> 'resent'";
        [
            DB::count(&self.pools[1], notes).await.expect("a count"),
            DB::count(&self.pools[0], steps).await.expect("a count"),
        ]
    }

    /// Count of the sagas that are over.
    async fn ended(&self) -> i64 {
        let ended = "SELECT count(*) FROM syncline_saga WHERE ended_at IS NOT NULL";
        DB::count(&self.pools[0], ended).await.expect("a count")
    }
}

/// Starts sagas until `until`, and counters' messages; returns how many sagas.
async fn work<DB: Kit>(pool: &Pool<DB>, until: Instant) -> i64 {
    let sagas = Sagas::builder(SOURCE, pool.clone())
        .saga(definition().expect("sound"))
        .build()
        .expect("an engine");
    let mut order = 0;
    while Instant::now() < until {
        write(pool, 4).await;
        let mut tx = syncline::begin(pool).await.expect("begin");
        match sagas.start(&mut tx, SAGA, &format!("order {order}"), &order).await {
            Ok(started) => {
                tx.commit().await.expect("commit");
                started.committed();
                order += 1;
            }
            // The customer's order before is under way.
            Err(StartError::Locked { .. }) => drop(tx),
            // A deadlock with an engine: the transaction is run again.
            Err(StartError::Storage(error)) if error.is_transient() => drop(tx),
            Err(error) => panic!("order {order}: {error}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
    order
}

/// Watches until `done` holds or nothing has moved for too long; returns the longest standstill of
/// what is applied, and of the sagas.
async fn watch<DB: Kit>(
    campaign: &Campaign<DB>,
    processes: &[Process<DB>],
    mut done: impl AsyncFnMut() -> bool,
) -> [Duration; 2] {
    let mut last = ([0; 2], [Instant::now(); 2]);
    let mut longest = [Duration::ZERO; 2];
    while !done().await {
        sleep(Duration::from_millis(250)).await;
        let now = campaign.moved().await;
        for (part, moved) in now.iter().enumerate() {
            if *moved != last.0[part] {
                last.1[part] = Instant::now();
            }
        }
        last.0 = now;
        for (longest, since) in longest.iter_mut().zip(last.1) {
            *longest = since.elapsed().max(*longest);
            if since.elapsed() > STANDSTILL {
                for process in processes {
                    println!("{:#?}\n{:?}", process.relay.status(), process.relay.problems());
                }
                panic!("seed {}: nothing moved for {STANDSTILL:?}: {now:?}", campaign.seed);
            }
        }
    }
    longest
}

async fn campaign<DB: Kit>(urls: Vec<String>) {
    let full = std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1");
    let time = Duration::from_secs(if full { 600 } else { 60 });
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = u64::from(now.subsec_nanos());
    println!("{}: {time:?}, seed {seed}", DB::LABEL);
    let mut campaign = Campaign::<DB>::new(urls, seed).await;
    let processes = campaign.start().await;
    campaign.begin_faults();
    let until = Instant::now() + time;
    let (orders, counted) = (campaign.pools[0].clone(), campaign.pools[1].clone());
    let working = tokio::spawn(async move { work(&orders, until).await });
    let under_faults = watch(&campaign, &processes, async || working.is_finished()).await;
    let started = working.await.expect("the work");
    campaign.end_faults().await;
    let ended = Instant::now();
    let counters = DB::counters(&campaign.pools[0]).await.expect("counters");
    let total: i64 = counters.iter().map(|(_, n)| n).sum();
    let after = watch(&campaign, &processes, async || {
        let notes = DB::applied(&counted).await.expect("the notes");
        let applied = notes.iter().filter(|(key, _)| key.starts_with(COUNTING)).count();
        campaign.ended().await >= started && applied as i64 >= total
    })
    .await;
    let settled = ended.elapsed();
    // What might come twice has time to come.
    sleep(Duration::from_millis(1_700)).await;
    println!(
        "{}: {} gates; {total} messages and {started} sagas; nothing moved for {under_faults:.1?} at \
         the longest, and for {after:.1?} after the faults; settled in {settled:.1?}",
        DB::LABEL,
        campaign.gates.len(),
    );
    check(&campaign, &counters, started).await;
    for process in processes {
        process.listeners.iter().for_each(JoinHandle::abort);
        drop((process.consumers, process.engine));
    }
}

async fn check<DB: Kit>(campaign: &Campaign<DB>, counters: &[(String, i64)], started: i64) {
    let seed = campaign.seed;
    assert!(started > 20, "sagas were started under the faults: {started}");
    let mut applied = Vec::new();
    for pool in &campaign.pools {
        applied.push(DB::applied(pool).await.expect("the notes"));
    }
    let counters: Vec<_> = counters.iter().map(|(k, n)| (format!("{COUNTING} {k}"), *n)).collect();
    check_applied(&counters, &applied[1]).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    for order in 0..started {
        let ended = |status: &str| {
            format!(
                "SELECT count(*) FROM syncline_saga
                 WHERE start_key = 'order {order}' AND status = '{status}'"
            )
        };
        let [completed, compensated] = ["completed", "compensated"].map(ended);
        let completed = DB::count(&campaign.pools[0], &completed).await.expect("a count") == 1;
        let compensated = DB::count(&campaign.pools[0], &compensated).await.expect("a count") == 1;
        // One that waited for its deadline in vain is taken back, too.
        assert!(completed != compensated, "seed {seed}: order {order} ends whole or taken back");
        assert!(!(completed && is_refused(order)), "seed {seed}: order {order} was refused");
        for (step, service) in EFFECTS {
            let service = SERVICES.iter().position(|name| *name == service).expect("a service");
            let key = format!("{step} {order}");
            let notes = applied[service].iter().filter(|(noted, _)| *noted == key);
            let (made, undone): (Vec<i64>, Vec<i64>) =
                notes.map(|(_, sign)| *sign).partition(|sign| *sign > 0);
            let effects = (made.len(), undone.len());
            let right = match completed {
                true => effects == (1, 0),
                false => matches!(effects, (0, 0) | (1, 1)),
            };
            assert!(right, "seed {seed}: {key} was made and taken back {effects:?} times");
        }
    }
    for (service, pool) in SERVICES.iter().zip(&campaign.pools) {
        for table in ["syncline_held", "syncline_saga_lock"] {
            let left = DB::count(pool, &format!("SELECT count(*) FROM {table}")).await;
            assert_eq!(left.expect("a count"), 0, "{service}: {table} is empty, seed {seed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_black_holes_on_postgres() {
    let mut urls = Vec::new();
    for _ in SERVICES {
        let Some(url) = postgres_database().await else { return };
        urls.push(url);
    }
    campaign::<Postgres>(urls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_black_holes_on_mariadb() {
    let mut urls = Vec::new();
    for _ in SERVICES {
        let Some(url) = mariadb_database().await else { return };
        urls.push(url);
    }
    campaign::<MySql>(urls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_black_holes_on_sqlite() {
    let databases: Vec<_> = SERVICES.iter().map(|_| sqlite_database()).collect();
    let urls = databases.iter().map(|(_, url)| url.clone()).collect();
    campaign::<Sqlite>(urls).await;
}
