//! Row level security that is switched on under a process that runs: it says so, and goes on when the
//! policy is gone.

use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres};
use syncline::{Route, Stream, saga::Sagas};
use syncline_tests::{
    kit::Kit,
    logged::Logged,
    orders::{SOURCE, definition},
    relays::{self, Direct, check, eventually, noting, write},
    servers::postgres_database,
};
use tracing_subscriber::filter::LevelFilter;

async fn run(pool: &PgPool, statement: String) {
    pool.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.expect("a statement");
}

/// A role that may use every table, and owns none; with its connections.
async fn role(owner: &PgPool, url: &str) -> (String, PgPool) {
    let role = format!("role_{}", uuid::Uuid::now_v7().simple());
    run(
        owner,
        format!(
            "CREATE ROLE {role} LOGIN;
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
        ),
    )
    .await;
    let url = url.replace("postgres@", &format!("{role}@"));
    let pool = Postgres::connect(&url, 8).await.expect("connect");
    (role, pool)
}

/// Consumers and engines look by themselves: what a policy hides from them is no error.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_hides_rows_from_a_consumer_or_an_engine_is_told() {
    let Some(url) = postgres_database().await else { return };
    let logged = Logged::start(LevelFilter::WARN);
    let owner = Postgres::connect(&url, 4).await.expect("connect");
    syncline::migrate(&owner).await.expect("migrate");
    let (role, pool) = role(&owner, &url).await;
    let consumer = noting("counting", pool.clone()).build().expect("a consumer");
    let consuming = consumer.start().await.expect("it starts");
    let sagas = Sagas::builder(SOURCE, pool.clone()).saga(definition().expect("sound"));
    let engine = sagas.build().expect("an engine").run().await.expect("it runs");
    assert!(!logged.text().contains("row level security"), "{}", logged.text());
    run(&owner, "ALTER TABLE syncline_held ENABLE ROW LEVEL SECURITY".to_owned()).await;
    for of in ["the consumer counting", "the saga engine of /orders"] {
        eventually("it is told", async || {
            let text = logged.text();
            let told = |line: &&str| line.contains("ERROR") && line.contains("syncline_held");
            text.lines().filter(told).any(|line| line.contains(of)).then_some(())
        })
        .await;
    }
    engine.stop().await;
    consuming.stop().await;
    pool.close().await;
    run(&owner, format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_hides_messages_from_a_running_relay_is_told() {
    let (Some(source), Some(target)) = (postgres_database().await, postgres_database().await)
    else {
        return;
    };
    let owner = Postgres::connect(&source, 4).await.expect("connect");
    let target = Postgres::connect(&target, 8).await.expect("connect");
    for pool in [&owner, &target] {
        syncline::migrate(pool).await.expect("migrate");
        Postgres::prepare(pool).await.expect("prepare");
    }
    let (role, relaying) = role(&owner, &source).await;
    let consumer = noting("c", target.clone()).build().expect("a consumer");
    let routes = vec![Route::new("c", "s", Direct::to(consumer))];
    let relay = relays::start(&relaying, Stream::new("s").topic("counter.*"), routes, |_| {}).await;
    write(&owner, 10).await;
    check(&owner, &target, &["c"]).await;

    run(&owner, "ALTER TABLE syncline_outbox ENABLE ROW LEVEL SECURITY".to_owned()).await;
    write(&owner, 10).await;
    let told = eventually("the relay says it", async || {
        relay.problems().into_iter().find(|problem| problem.contains("row-level security"))
    })
    .await;
    assert!(told.contains("syncline_outbox"), "{told}");
    assert_eq!(Postgres::applied(&target).await.expect("applied").len(), 10);

    run(&owner, "ALTER TABLE syncline_outbox DISABLE ROW LEVEL SECURITY".to_owned()).await;
    check(&owner, &target, &["c"]).await;
    relay.stop().await;
    relaying.close().await;
    run(&owner, format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
