//! A future that is dropped while its statement is made ready must not take its connection from the
//! pool for good: with sqlx 0.9.0 it does on MySQL and MariaDB (as in sqlx issue 4349).

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::try_join_all;
use sqlx::{
    AssertSqlSafe, Connection, MySql, Pool, Postgres, mysql::MySqlPoolOptions, pool::PoolOptions,
};
use syncline::{begin, storage::pool::release_within};
use syncline_tests::{
    cut::Proxy,
    kit::Kit,
    own_server::OwnServer,
    relays::eventually,
    servers::{mariadb_database, postgres_database},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How long the rest of an answer is kept back.
const KEPT_BACK: Duration = Duration::from_millis(40);
const LIMIT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(3);
const PLACES: u32 = 10;
/// No part of an answer is kept back.
const WHOLE: usize = usize::MAX;

/// A proxy that gives the next answer in two parts, the first of so many bytes.
async fn splitting(server: String) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let first = Arc::new(AtomicUsize::new(WHOLE));
    let shared = Arc::clone(&first);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.expect("the server");
            tokio::spawn(forward(client, server, Arc::clone(&shared)));
        }
    });
    (port, first)
}

async fn forward(client: TcpStream, server: TcpStream, first: Arc<AtomicUsize>) {
    let (mut asking, mut told) = client.into_split();
    let (mut answers, mut asked) = server.into_split();
    let asks = tokio::spawn(async move { tokio::io::copy(&mut asking, &mut asked).await });
    let mut answer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = answers.read(&mut answer).await {
        let at = first.swap(WHOLE, Ordering::SeqCst).min(read);
        if told.write_all(&answer[..at]).await.is_err() {
            break;
        }
        if at < read {
            tokio::time::sleep(KEPT_BACK).await;
        }
        if told.write_all(&answer[at..read]).await.is_err() {
            break;
        }
    }
    asks.abort();
}

/// Drops a statement `after` so many bytes of its first answer, on a new pool of one connection
/// each time; after which of `after` nobody got the connection again.
async fn lost<DB: Kit>(
    url: &str,
    after: impl Iterator<Item = usize>,
    guard: fn(PoolOptions<DB>) -> PoolOptions<DB>,
) -> Vec<usize> {
    let direct: Pool<DB> = DB::connect(url, 1).await.expect("connect");
    DB::prepare(&direct).await.expect("prepare");
    let expected = DB::counters(&direct).await.expect("counters");
    let at = url.rfind('@').map_or(0, |at| at + 1);
    let end = url[at..].find('/').map_or(url.len(), |end| at + end);
    let (port, first) = splitting(url[at..end].to_owned()).await;
    let proxied: Pool<DB> = DB::connect(&Proxy::url(url, port), 1).await.expect("connect");
    let mut lost = Vec::new();
    for bytes in after {
        let options = PoolOptions::<DB>::new().max_connections(1).acquire_timeout(PATIENCE);
        let options = guard(options.test_before_acquire(false));
        let pool = options.connect_with((*proxied.connect_options()).clone()).await;
        let pool = pool.expect("connect");
        eventually("it is idle", async || (pool.num_idle() == 1).then_some(())).await;
        first.store(bytes, Ordering::SeqCst);
        drop(tokio::time::timeout(KEPT_BACK / 2, DB::counters(&pool)).await);
        first.store(WHOLE, Ordering::SeqCst);
        match DB::counters(&pool).await {
            Ok(counters) => assert_eq!(counters, expected, "after {bytes} bytes"),
            Err(sqlx::Error::PoolTimedOut) => lost.push(bytes),
            Err(error) => panic!("after {bytes} bytes: {error:?}"),
        }
    }
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_has_another_user_on_postgres_without_a_limit() {
    let Some(url) = postgres_database().await else { return };
    assert_eq!(lost::<Postgres>(&url, (1..160).step_by(3), |options| options).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_has_another_user_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    assert_eq!(
        lost::<MySql>(&url, (1..160).step_by(3), |options| release_within(LIMIT, options)).await,
        [0; 0]
    );
}

/// Over TLS, as servers of MariaDB offer it by themselves as of 11.4, sqlx would wait for such a
/// connection also when it closes it. An answer comes as one record there: what is cut is the time.
#[tokio::test(flavor = "multi_thread")]
async fn the_connections_have_other_users_on_mariadb_with_tls() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| dir.path().join(name));
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(&certificate, own.cert.pem()).expect("write");
    fs::write(&key, own.signing_key.serialize_pem()).expect("write");
    // The server's user is another one than ours, where we are root.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    let options = format!("--ssl-cert={} --ssl-key={}", certificate.display(), key.display());
    let Some(server) = OwnServer::<MySql>::start_with(&options).await else { return };
    let options = release_within(LIMIT, MySqlPoolOptions::new()).max_connections(PLACES);
    let pool = options.connect(&server.database(None).await).await.expect("connect");
    let cipher: (String, String) = sqlx::query_as("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        .fetch_one(&pool)
        .await
        .expect("the cipher");
    assert_ne!(cipher.1, "", "it is encrypted");
    let (mut cut, mut limit) = (0, Duration::from_micros(50));
    while limit < KEPT_BACK {
        let work = async {
            let mut tx = begin(&pool).await.expect("begin");
            for n in 0..3 {
                // A statement that was not made ready before.
                let select = AssertSqlSafe(format!("SELECT {cut} + {n}"));
                sqlx::query(select).execute(&mut *tx).await?;
            }
            tx.commit().await
        };
        match tokio::time::timeout(limit, work).await {
            Err(_) => cut += 1,
            Ok(done) => done.expect("it has an answer"),
        }
        limit = limit * 41 / 40;
    }
    assert!(cut > PLACES, "some were cut off");
    let all = try_join_all((0..PLACES).map(|_| tokio::time::timeout(PATIENCE, pool.acquire())));
    for connection in all.await.expect("each place has a user") {
        connection.expect("a connection").ping().await.expect("it answers");
    }
}

/// Shows that the first test on MariaDB can fail. When sqlx mends it, this one fails, and the guard can go.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_limit_it_is_lost_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let lost = lost::<MySql>(&url, [4, 40, 100].into_iter(), |options| options).await;
    println!("lost after {lost:?} bytes");
    assert_ne!(lost, [0; 0], "the hazard is gone");
}
