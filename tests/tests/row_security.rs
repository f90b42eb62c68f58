//! Row level security that is switched on under a relay that runs: it says so, and goes on when the
//! policy is gone.

use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres};
use syncline::{Route, Stream};
use syncline_tests::{
    kit::Kit,
    relays::{self, Direct, check, eventually, noting, write},
    servers::postgres_database,
};

async fn run(pool: &PgPool, statement: String) {
    pool.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.expect("a statement");
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
    let role = format!("role_{}", uuid::Uuid::now_v7().simple());
    run(
        &owner,
        format!(
            "CREATE ROLE {role} LOGIN;
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
        ),
    )
    .await;
    let relaying = source.replace("postgres@", &format!("{role}@"));
    let relaying = Postgres::connect(&relaying, 4).await.expect("connect");
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
