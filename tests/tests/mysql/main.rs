//! What MariaDB and MySQL ask for beside what every database is asked: names and times whatever
//! the session's settings are, transactions that the server ends by itself, migrations that commit
//! statement by statement.

#![allow(clippy::unwrap_used)]
mod characters;
mod migrations;
mod sessions;

use std::{sync::Arc, time::Duration};

use sqlx::{MySql, MySqlPool};
use syncline::{
    Message, migrate,
    storage::{Cursor, Lease, LeaseStore, LogStore, PageLimit},
};
use syncline_tests::{kit::Kit, servers::mariadb_database};
use uuid::Uuid;

const PAGE: PageLimit = PageLimit { rows: 1_000, bytes: usize::MAX };
const LONG: Duration = Duration::from_secs(600);

async fn open() -> Option<MySqlPool> {
    Some(MySql::connect(&mariadb_database().await?, 12).await.unwrap())
}

async fn migrated() -> Option<MySqlPool> {
    let pool = open().await?;
    migrate(&pool).await.unwrap();
    Some(pool)
}

async fn lease(pool: &MySqlPool, name: &str) -> Lease {
    MySql::acquire(pool, name, Uuid::now_v7(), LONG).await.unwrap().unwrap()
}

async fn log(pool: &MySqlPool) -> Vec<Message> {
    let lease = lease(pool, "seal").await;
    while MySql::seal(pool, &lease, 100).await.unwrap().count > 0 {}
    MySql::release(pool, &lease).await.unwrap();
    let rows = MySql::read(pool, Cursor::default(), PAGE).await.unwrap();
    rows.into_iter().map(|row| Arc::unwrap_or_clone(row.message)).collect()
}
