//! PostgreSQL behind a pooler, which drops settings, and sessions whose durability is switched off.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{Executor, Postgres};
use syncline::{
    Error, Message, Relay, Stream, begin, enqueue,
    storage::{LeaseStore, LogStore},
};
use syncline_tests::{
    cut::Proxy,
    kit::Kit,
    own_server::free_port,
    relays::eventually,
    servers::{POSTGRES, postgres_database, skipped},
};
use tempfile::TempDir;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_is_durable_whatever_its_session_says() {
    let Some(url) = postgres_database().await else { return };
    let pool = Postgres::connect(&url, 4).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    // Looks when the seal commits.
    let look = "CREATE TABLE seen (setting text);
        CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER look AFTER INSERT ON syncline_seal
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look();
        DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
        END $$";
    pool.execute(sqlx::raw_sql(look)).await.expect("look");
    let pool = Postgres::connect(&url, 4).await.expect("connect");
    let mut tx = begin(&pool).await.expect("begin");
    let _ = enqueue(&mut tx, &Message::json("in", &1).expect("JSON")).await.expect("enqueue");
    tx.commit().await.expect("commit");
    let lease = Postgres::acquire(&pool, "seal", Uuid::now_v7(), Duration::from_secs(60)).await;
    let lease = lease.expect("acquire").expect("it is free");
    assert_eq!(Postgres::seal(&pool, &lease, 10).await.expect("seal").count, 1);
    let seen: Vec<String> =
        sqlx::query_scalar("SELECT setting FROM seen").fetch_all(&pool).await.expect("seen");
    assert_eq!(seen, ["on"]);
}

/// A PgBouncer of a test's own.
struct Bouncer {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Bouncer {
    /// Starts one before the test server; none when it was switched off by name.
    fn start(mode: &str) -> Option<Self> {
        if skipped("pgbouncer") {
            return None;
        }
        let program = std::env::var("SYNCLINE_TEST_PGBOUNCER");
        let program = program.unwrap_or_else(|_| "pgbouncer".to_owned());
        let server = std::env::var(POSTGRES).expect("a server");
        let (_, address) = server.split_once('@').expect("a user");
        let (host, port) = address.split('/').next().expect("it").split_once(':').expect("a port");
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let (file, own) = (dir.path().join("pgbouncer.ini"), free_port());
        let configuration = format!(
            "[databases]\n* = host={host} port={port} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\nignore_startup_parameters = extra_float_digits, options\n"
        );
        fs::write(&file, configuration).expect("its configuration");
        // It refuses to run as root.
        let root = fs::metadata("/proc/self").expect("this process").uid() == 0;
        let mut command = Command::new(if root { "setpriv" } else { program.as_str() });
        if root {
            let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
            command.args(nobody).arg(&program);
        }
        let child = command
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("PgBouncer, or SYNCLINE_TEST_SKIP=pgbouncer");
        Some(Self { child, port: own, _dir: dir })
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_behind_a_pooler_has_its_settings_or_is_refused() {
    let Some(url) = postgres_database().await else { return };
    let direct = Postgres::connect(&url, 4).await.expect("connect");
    syncline::migrate(&direct).await.expect("migrate");
    for mode in ["session", "transaction"] {
        let Some(bouncer) = Bouncer::start(mode) else { return };
        let url = Proxy::url(&url, bouncer.port);
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
        let options = options.statement_cache_capacity(0);
        let pool = eventually("the pooler serves", async || {
            sqlx::postgres::PgPoolOptions::new().connect_with(options.clone()).await.ok()
        })
        .await;
        let relay = Relay::builder("/pooled", pool).stream(Stream::new("s").topic("*"));
        let checked = relay.check().await;
        match (mode, checked) {
            ("session", Ok(())) => {}
            ("transaction", Err(Error::NotDurable { setting, remedy, .. })) => {
                assert_eq!(setting, "the connection");
                assert!(remedy.contains("direct"), "{remedy}");
            }
            (_, other) => panic!("{mode}: {other:?}"),
        }
    }
}
