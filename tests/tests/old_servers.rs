//! A server that is too old is refused before anything is written to it, at start and by `doctor`.

#![allow(clippy::unwrap_used)]

use sqlx::{AssertSqlSafe, MySql, MySqlPool, PgPool, Pool, Postgres};
use syncline::{
    Error, Storage, migrate,
    storage::{Level, Steps, check_schema, plan, status},
};
use syncline_tests::{own_server::OwnServer, servers::postgres_database};

/// Refused by each way in, with its version and what would do.
async fn refused<DB: Storage>(pool: &Pool<DB>, version: &str, needed: &str) {
    let plan = plan(pool, Steps::Up).await.map(drop);
    for refused in [migrate(pool).await.map(drop), plan, check_schema(pool).await] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Unfit { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(version) && text.contains(needed), "{text}");
    }
    let findings = DB::findings(pool).await.unwrap();
    let found = findings.iter().find(|finding| finding.check == "server version").unwrap();
    assert_eq!(found.level, Level::Failure);
    assert!(found.advice.unwrap().contains(needed), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_mariadb_is_refused_before_anything_is_written() {
    // A server that calls itself so.
    let old = "--version=10.5.29-MariaDB";
    let Some(mut server) = OwnServer::<MySql>::start_with(old).await else { return };
    let url = server.database(None).await;
    let pool = MySqlPool::connect(&url).await.unwrap();
    refused(&pool, "10.5.29-MariaDB", "MariaDB 10.6").await;
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&pool).await.unwrap();
    assert_eq!(tables, 0);

    // The tables are there: the data was taken to an older server.
    server.restart_with("").await;
    let pool = MySqlPool::connect(&url).await.unwrap();
    migrate(&pool).await.unwrap();
    check_schema(&pool).await.unwrap();
    server.restart_with(old).await;
    let pool = MySqlPool::connect(&url).await.unwrap();
    refused(&pool, "10.5.29-MariaDB", "MariaDB 10.6").await;
}

/// In this database the function that tells settings is ours, and tells another version.
async fn pretend(url: &str, number: &str) {
    let pool = PgPool::connect(url).await.unwrap();
    let name = "SELECT current_database()::text";
    let name: String = sqlx::query_scalar(name).fetch_one(&pool).await.unwrap();
    let sql = format!(
        "CREATE SCHEMA pretended;
         CREATE FUNCTION pretended.current_setting(name text) RETURNS text STABLE LANGUAGE sql AS $$
             SELECT CASE name WHEN 'server_version' THEN '13.23'
                              WHEN 'server_version_num' THEN '{number}'
                              ELSE pg_catalog.current_setting(name) END $$;
         ALTER DATABASE {name} SET search_path = pretended, pg_catalog, public"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_postgres_is_refused_before_anything_is_written() {
    let Some(url) = postgres_database().await else { return };
    pretend(&url, "130023").await;
    let pool = PgPool::connect(&url).await.unwrap();
    refused::<Postgres>(&pool, "13.23", "PostgreSQL 14").await;
    let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'syncline%'";
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&pool).await.unwrap();
    assert_eq!(tables, 0);
    assert!(status(&pool).await.unwrap().iter().all(|step| step.at.is_none()));
}
