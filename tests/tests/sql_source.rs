//! Services that write to the outbox by SQL alone: a plain INSERT, and `syncline_enqueue`.

#![allow(clippy::expect_used)]

use std::{collections::BTreeMap, time::Duration};

use sqlx::{
    AssertSqlSafe, Executor, MySql, MySqlPool, PgPool, Pool, Postgres, Sqlite, Transaction,
};
use syncline::{
    Consumer, Error, Message, Receipt, Relay, Route, Stream, Verdict, begin, enqueue, enqueue_all,
    handler_fn,
    message::Limits,
    outbox::enqueue_within,
    storage::{Cursor, Inspect, Level, LogRow, PageLimit},
    transport::in_process,
};
use syncline_tests::{
    kit::Kit,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use uuid::Uuid;

async fn fresh<DB: Kit>(url: &str) -> Pool<DB> {
    let pool = DB::connect(url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    pool
}

async fn log<DB: Kit>(pool: &Pool<DB>) -> Vec<LogRow> {
    let lease = DB::acquire(pool, "seal", Uuid::nil(), Duration::from_secs(60)).await;
    let lease = lease.expect("acquire").expect("nobody else seals");
    while DB::seal(pool, &lease, 1_000).await.expect("seal").count > 0 {}
    let page = PageLimit { rows: 1_000, bytes: usize::MAX };
    DB::read(pool, Cursor::default(), page).await.expect("read")
}

/// Inserts into the outbox: columns and their values, as SQL. Whether it was taken.
async fn insert<DB: Kit>(pool: &Pool<DB>, columns: &str, values: &str) -> bool
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let statement = format!("INSERT INTO syncline_outbox ({columns}) VALUES ({values})");
    let mut connection = pool.acquire().await.expect("a connection");
    match (&mut *connection).execute(AssertSqlSafe(statement)).await {
        Ok(_) => true,
        Err(sqlx::Error::Database(error)) => {
            println!("refused: {}", error.message());
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// How a database writes it: bytes from hexadecimal digits, so many of a character, its column.
struct Dialect {
    key: &'static str,
    bytes: fn(&str) -> String,
    repeat: fn(&str, usize) -> String,
}

const POSTGRES: Dialect = Dialect {
    key: "key",
    bytes: |hex| format!("'\\x{hex}'::bytea"),
    repeat: |text, n| format!("convert_to(repeat('{text}', {n}), 'UTF8')"),
};
const MARIADB: Dialect = Dialect {
    key: "`key`",
    bytes: |hex| format!("x'{hex}'"),
    repeat: |text, n| format!("REPEAT('{text}', {n})"),
};
const SQLITE: Dialect = Dialect {
    key: "key",
    bytes: |hex| format!("x'{hex}'"),
    repeat: |text, n| format!("replace(hex(zeroblob({n})), '00', '{text}')"),
};

async fn check_insert<DB: Kit>(pool: Pool<DB>, dialect: Dialect)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let Dialect { key, bytes, repeat } = dialect;
    let keyed = format!("topic, {key}, data");
    for topic in ["", "a b", ".a", "a.", "a..b", "ü", "a''b", "syncline.link", "a\n", "*"] {
        assert!(!insert(&pool, "topic, data", &format!("'{topic}', '1'")).await, "{topic:?}");
    }
    assert!(!insert(&pool, "topic, data", &format!("'{}', '1'", "x".repeat(121))).await);
    for bad in ["", "a\nb", "\u{7f}", &"k".repeat(256)] {
        assert!(!insert(&pool, &keyed, &format!("'a', '{bad}', '1'")).await, "{bad:?}");
    }
    for (column, bad) in [
        ("headers", "'{'"),
        ("headers", "'[]'"),
        ("content_type", "''"),
        ("content_type", "'text/ü'"),
        ("schema_version", "0"),
        ("time", if DB::LABEL == "SQLite" { "'now'" } else { "'0001-01-01 00:00:00'" }),
    ] {
        let columns = format!("topic, {column}, data");
        assert!(!insert(&pool, &columns, &format!("'a', {bad}, '1'")).await, "{column} {bad}");
    }
    let large = format!("'a', {}", repeat("x", (4 << 20) + 1));
    assert!(!insert(&pool, "topic, data", &large).await);
    assert!(!insert(&pool, "topic, data", "'a', NULL").await);
    assert_eq!(log(&pool).await, [], "nothing was written");

    // What is taken: it must reach the other side, or be held there.
    assert!(insert(&pool, &keyed, "'a.good', 'k ключ', '{\"n\": 1}'").await);
    let odd = "'{\"tenant\": \"north\", \"n\": 5, \"position\": \"9\", \"Bad\": \"x\"}'";
    assert!(insert(&pool, "topic, headers, data", &format!("'a.headers', {odd}, '2'")).await);
    assert!(insert(&pool, "topic, data", "'a.nonsense', 'not JSON'").await);
    assert!(insert(&pool, "topic, data", &format!("'a.bytes', {}", bytes("ff00"))).await);
    let deep = format!("'a.deep', {}", repeat("[", 100_000));
    assert!(insert(&pool, "topic, data", &deep).await);
    let deep = format!("'a.deep', '{}{}'", "[".repeat(5_000), "]".repeat(5_000));
    assert!(insert(&pool, "topic, data", &deep).await);
    assert!(insert(&pool, "topic, data", &format!("'a.large', {}", repeat("1", 4 << 20))).await);
    assert!(insert(&pool, "topic, data", "'a.last', '3'").await);

    let rows = log(&pool).await;
    let first = &rows[0].message;
    assert_eq!((first.key.as_deref(), &first.data[..]), (Some("k ключ"), &b"{\"n\": 1}"[..]));
    let age = chrono::Utc::now() - first.time;
    assert!(age.num_seconds().abs() < 120, "its time is this database's now: {}", first.time);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let kept = BTreeMap::from([header("n", "5"), header("tenant", "north")]);
    assert_eq!(rows[1].message.headers, kept);

    // Its own database, for the effects.
    let (directory, url) = sqlite_database();
    let target: Pool<Sqlite> = fresh(&url).await;
    Sqlite::prepare(&target).await.expect("prepare");
    let handler = handler_fn(|tx, message| {
        Box::pin(async move {
            let n = match message.topic.as_str() {
                "a.good" => message.decode::<BTreeMap<String, i64>>()?["n"],
                "a.large" => message.data.len() as i64,
                _ => message.decode::<i64>()?,
            };
            Sqlite::note(tx, &message.topic, n).await?;
            Ok(Verdict::Done)
        })
    });
    let consumer = Consumer::builder("target", target.clone()).handler("*", handler);
    let consumer = consumer.build().expect("a consumer");
    let (publisher, subscriber) = in_process::channel(4);
    let subscriber = Box::new(subscriber);
    tokio::spawn(syncline::transport::Subscriber::run(
        subscriber,
        std::sync::Arc::new(consumer),
        Default::default(),
    ));
    let relay = Relay::builder("/sql", pool.clone())
        .stream(Stream::new("all").topic("*"))
        .route(Route::new("target", "all", publisher))
        .start()
        .await
        .expect("the relay starts");
    let expected = [("a.good", 1), ("a.headers", 2), ("a.large", 4 << 20), ("a.last", 3)];
    for tries in 0.. {
        let applied = Sqlite::applied(&target).await.expect("applied");
        if applied.len() == expected.len() {
            assert_eq!(applied, expected.map(|(topic, n)| (topic.to_owned(), n)));
            break;
        }
        assert!(tries < 500, "{applied:?} {:?}", relay.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let held = Sqlite::held(&target, true, 0, 100).await.expect("held");
    let mut topics: Vec<&str> = held.iter().map(|held| held.topic.as_str()).collect();
    topics.sort_unstable();
    assert_eq!(topics, ["a.bytes", "a.deep", "a.deep", "a.nonsense"], "loud, and out of the way");
    relay.stop().await;
    drop(directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_insert_is_refused_or_sent_and_never_stops_the_relay_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    check_insert(fresh::<Postgres>(&url).await, POSTGRES).await;
}

/// The table's own check is for what others write: `enqueue` has checked its rows, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_others_are_checked_by_the_table_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let pool: PgPool = fresh(&url).await;
    let mut tx = begin(&pool).await.expect("begin");
    let [one, two, three] = [1, 2, 3].map(|n| Message::json("a.own", &n).expect("a number"));
    let mut receipts = vec![enqueue(&mut tx, &one).await.expect("enqueue")];
    receipts.extend(enqueue_all(&mut tx, &[two, three]).await.expect("enqueue"));
    tx.commit().await.expect("commit");
    receipts.into_iter().for_each(Receipt::committed);
    assert!(insert(&pool, "topic, data", "'a.other', '1'").await);
    assert!(!insert(&pool, "topic, data", "'a other', '1'").await);
    let checked = sqlx::query_as("SELECT topic, checked FROM syncline_outbox ORDER BY seq");
    let rows: Vec<(String, bool)> = checked.fetch_all(&pool).await.expect("read");
    let own = ("a.own".to_owned(), true);
    assert_eq!(rows, [own.clone(), own.clone(), own, ("a.other".to_owned(), false)]);
}

/// What the table would refuse, `enqueue` has to refuse by itself, and the transaction goes on.
async fn check_own<DB: Kit>(url: &str) {
    let pool: Pool<DB> = fresh(url).await;
    let mut tx = begin(&pool).await.expect("begin");
    let message = || Message::new("a.own", "text/plain", "x");
    let mut ancient = message();
    ancient.time = chrono::DateTime::from_timestamp(-62_135_596_800, 0).expect("year 1");
    let many =
        (0..300).fold(message(), |message, n| message.header(format!("h{n}"), "x".repeat(4_096)));
    for refused in [ancient, many] {
        let limits = Limits::new(4 << 20, 64);
        let error = enqueue_within(&mut tx, &[refused], &limits).await.expect_err("refused");
        assert!(matches!(error, Error::Message(_)), "{error:?}");
    }
    let receipt = enqueue(&mut tx, &message()).await.expect("the transaction goes on");
    tx.commit().await.expect("commit");
    receipt.committed();
    assert_eq!(log(&pool).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_table_would_refuse_is_refused_before_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    check_own::<Postgres>(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_table_would_refuse_is_refused_before_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    check_own::<MySql>(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_table_would_refuse_is_refused_before_on_sqlite() {
    let (_directory, url) = sqlite_database();
    check_own::<Sqlite>(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_insert_is_refused_or_sent_and_never_stops_the_relay_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let pool: MySqlPool = fresh(&url).await;
    let bad = ["x'ff'", "x'610062'", "CONVERT('a' USING utf16)"];
    for bad in bad {
        assert!(!insert(&pool, "topic, `key`, data", &format!("'a', {bad}, '1'")).await, "{bad}");
    }
    check_insert(pool, MARIADB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_insert_is_refused_or_sent_and_never_stops_the_relay_on_sqlite() {
    let (_directory, url) = sqlite_database();
    let pool: Pool<Sqlite> = fresh(&url).await;
    for bad in ["x'6100'", "CAST(x'610062' AS TEXT)", "char(133)"] {
        assert!(!insert(&pool, "topic, key, data", &format!("'a', {bad}, '1'")).await, "{bad}");
    }
    for bad in ["5", "1.5"] {
        assert!(!insert(&pool, "topic, data", &format!("'a', {bad}")).await, "{bad}");
    }
    assert!(!insert(&pool, "id, topic, data", "'text', 'a', '1'").await);
    check_insert(pool, SQLITE).await;
    // No UTF-8 at all: the key is read as well as can be, and the log goes on.
    let (_directory, url) = sqlite_database();
    let pool: Pool<Sqlite> = fresh(&url).await;
    assert!(insert(&pool, "topic, key, data", "'a', CAST(x'61ff' AS TEXT), '1'").await);
    assert_eq!(log(&pool).await[0].message.key.as_deref(), Some("a\u{fffd}"));
}

/// What both servers' `syncline_enqueue` must do; `call` runs it in a transaction with an idempotency
/// key, and returns the id as text.
async fn check_same_as_enqueue<DB: Kit, F>(pool: &Pool<DB>, call: F)
where
    F: AsyncFn(&mut Transaction<'_, DB>) -> sqlx::Result<String>,
{
    let message = Message::new("order.paid", "application/json", r#"{"n": 1e400, "ü": "\u0000"}"#)
        .key("ключ")
        .header("tenant", "n\"o\\rth ü")
        .header("a", "1")
        .idempotency_key("order-1/paid");
    message.validate(&Limits::DEFAULT).expect("it is of the allowed form");
    let mut tx = begin(pool).await.expect("begin");
    let id = call(&mut tx).await.expect("the first");
    assert_eq!(call(&mut tx).await.expect("the same transaction"), id);
    tx.commit().await.expect("commit");
    let mut tx = begin(pool).await.expect("begin");
    assert_eq!(call(&mut tx).await.expect("another transaction"), id);
    // The library knows the key, and the content.
    let receipt = enqueue(&mut tx, &message).await.expect("the same content");
    assert!(receipt.repeated && receipt.id.to_string() == id && receipt.appended.is_some());
    let other = enqueue(&mut tx, &message.clone().key("other")).await;
    assert!(matches!(other, Err(Error::IdempotencyKey { .. })), "{other:?}");
    tx.commit().await.expect("commit");
    let rows = log(pool).await;
    assert_eq!(rows.len(), 1);
    let found = &rows[0].message;
    assert_eq!((&found.topic, &found.key), (&message.topic, &message.key));
    assert_eq!((&found.headers, &found.data), (&message.headers, &message.data));
}

#[tokio::test(flavor = "multi_thread")]
async fn syncline_enqueue_writes_what_enqueue_would_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let pool: PgPool = fresh(&url).await;
    let call = r#"SELECT syncline_enqueue('order.paid', data => '{"n": 1e400, "ü": "\u0000"}', key => 'ключ',
        headers => '{"tenant": "n\"o\\rth ü", "a": "1"}', idempotency_key => 'order-1/paid')::text"#;
    check_same_as_enqueue(&pool, async |tx| sqlx::query_scalar(call).fetch_one(&mut **tx).await)
        .await;
    let refused = async |arguments: &str| {
        let call = AssertSqlSafe(format!("SELECT syncline_enqueue({arguments})"));
        let error = sqlx::query(call).execute(&pool).await.expect_err(arguments).to_string();
        assert!(error.contains("syncline_enqueue: "), "{arguments}: {error}");
        error
    };
    for (arguments, says) in [
        ("'a b', data => '1'::text", "topic"),
        ("NULL, data => '1'::text", "topic"),
        ("'syncline.link', data => '1'::text", "topic"),
        ("'a', data => '1'::text, key => ''", "key"),
        ("'a', data => '1'::text, key => E'a\\nb'", "key"),
        ("'a', data => NULL::text", "NULL"),
        ("'a', data => '{'::text", "not JSON"),
        ("'a', data => '\\xff'::bytea", "not JSON"),
        ("'a', data => '1'::text, headers => '[]'", "headers"),
        ("'a', data => '1'::text, headers => '{\"previd\": \"x\"}'", "previd"),
        ("'a', data => '1'::text, headers => '{\"n\": 1}'", "value"),
        ("'a', data => '1'::text, schema_version => 0", "schema"),
        ("'a', data => '1'::text, content_type => ''", "content type"),
        ("'a', data => repeat('1', 1048577)", "1048577 bytes"),
        ("'a', data => '1'::text, delay => '1 s', deliver_at => now()", "not both"),
        ("'a', data => '2'::text, idempotency_key => 'order-1/paid'", "another content"),
    ] {
        let error = refused(arguments).await;
        assert!(error.contains(says), "{arguments}: {error}");
    }
    // jsonb, bytes, the whole of it; and later.
    pool.execute("SELECT syncline_enqueue('b', '{\"a\": 1}'::jsonb)").await.expect("jsonb");
    pool.execute("SELECT syncline_enqueue('b', '\\xff'::bytea, content_type => 'image/png')")
        .await
        .expect("bytes");
    pool.execute("SELECT syncline_enqueue('b', '7', delay => interval '1 hour')")
        .await
        .expect("later");
    assert_eq!(log(&pool).await.len(), 3);
    use syncline::storage::DelayStore;
    assert_eq!(Postgres::delayed(&pool).await.expect("look").waiting, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn syncline_enqueue_writes_what_enqueue_would_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let pool: MySqlPool = fresh(&url).await;
    let call = r#"CALL syncline_enqueue('order.paid', 'ключ', '{"n": 1e400, "ü": "\\u0000"}',
        '{"headers": {"tenant": "n\\"o\\\\rth ü", "a": "1"}, "idempotency_key": "order-1/paid"}', @id)"#;
    check_same_as_enqueue(&pool, async |tx| {
        (&mut **tx).execute(sqlx::raw_sql(call)).await?;
        sqlx::query_scalar("SELECT CONVERT(@id USING utf8mb4)").fetch_one(&mut **tx).await
    })
    .await;
    for (arguments, says) in [
        ("'a b', NULL, '1', NULL", "topic"),
        ("NULL, NULL, '1', NULL", "topic"),
        ("'syncline.link', NULL, '1', NULL", "topic"),
        ("'a', '', '1', NULL", "key"),
        ("'a', 'a\\nb', '1', NULL", "key"),
        ("'a', NULL, NULL, NULL", "NULL"),
        ("'a', NULL, '{', NULL", "not JSON"),
        ("'a', NULL, x'22ff22', NULL", "not JSON"),
        ("'a', NULL, '1', '[]'", "options"),
        ("'a', NULL, '1', '{\"nonsense\": 1}'", "nonsense"),
        ("'a', NULL, '1', '{\"headers\": []}'", "headers"),
        ("'a', NULL, '1', '{\"headers\": {\"previd\": \"x\"}}'", "previd"),
        ("'a', NULL, '1', '{\"headers\": {\"n\": 1}}'", "header n"),
        ("'a', NULL, '1', '{\"schema_version\": 0}'", "schema"),
        ("'a', NULL, '1', '{\"id\": \"x\"}'", "option id"),
        ("'a', NULL, REPEAT('1', 1048577), NULL", "1048577 bytes"),
        ("'a', NULL, '1', '{\"delay_ms\": 1, \"deliver_at\": \"2030-01-01 00:00:00\"}'", "option"),
        ("'a', NULL, '2', '{\"idempotency_key\": \"order-1/paid\"}'", "another content"),
    ] {
        let call = AssertSqlSafe(format!("CALL syncline_enqueue({arguments}, @id)"));
        let error = pool.execute(sqlx::raw_sql(call)).await.expect_err(arguments).to_string();
        assert!(
            error.contains("syncline_enqueue: ") && error.contains(says),
            "{arguments}: {error}"
        );
    }
    for good in [
        "'b', NULL, x'ff', '{\"content_type\": \"image/png\", \"schema_version\": 2}'",
        "'b', NULL, '1', '{\"id\": \"01234567-89ab-7def-8123-456789abcdef\"}'",
        "'b', NULL, '1', '{\"delay_ms\": 3600000}'",
        "'b', NULL, '1', '{\"deliver_at\": \"2099-01-01T00:00:00\", \"idempotency_key\": \"later\"}'",
    ] {
        let call = AssertSqlSafe(format!("CALL syncline_enqueue({good}, @id)"));
        pool.execute(sqlx::raw_sql(call)).await.expect(good);
    }
    let rows = log(&pool).await;
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1].message.schema_version, 2);
    assert_eq!(rows[2].message.id.to_string(), "01234567-89ab-7def-8123-456789abcdef");
    use syncline::storage::DelayStore;
    assert_eq!(MySql::delayed(&pool).await.expect("look").waiting, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_make_no_procedure_is_told_so_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let admin: MySqlPool = MySql::connect(&url, 1).await.expect("connect");
    let name = format!("m{}", &Uuid::now_v7().simple().to_string()[12..]);
    let database = url.rsplit('/').next().expect("a name");
    for statement in [
        format!("CREATE USER {name} IDENTIFIED BY 'p'"),
        format!(
            "GRANT CREATE, ALTER, DROP, INDEX, SELECT, INSERT, UPDATE, DELETE, LOCK TABLES \
             ON {database}.* TO {name}"
        ),
    ] {
        admin.execute(AssertSqlSafe(statement)).await.expect("prepare a user");
    }
    let pool: MySqlPool =
        MySql::connect(&url.replace("root@", &format!("{name}:p@")), 2).await.expect("connect");
    let error = syncline::migrate(&pool).await.expect_err("it may not").to_string();
    assert!(error.contains("denied"), "{error}");
    let warned = async || {
        let findings = MySql::findings(&pool).await.expect("findings");
        findings.iter().any(|f| f.check == "CREATE ROUTINE" && f.level == Level::Warning)
    };
    assert!(warned().await);
    let grant = format!("GRANT CREATE ROUTINE ON {database}.* TO {name}");
    admin.execute(AssertSqlSafe(grant)).await.expect("grant");
    let pool: MySqlPool =
        MySql::connect(&url.replace("root@", &format!("{name}:p@")), 2).await.expect("connect");
    syncline::migrate(&pool).await.expect("it goes on where it stopped");
    assert!(!warned().await);
}
