//! What a database itself does: the same bytes without the framework.
//!
//! `plain` is as wide as the outbox; `business` is what a service writes anyway; `applied` is
//! what a consumer keeps, and `progress` how far a hand-written one got.

mod mysql;
mod postgres;
mod sqlite;

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::{Pool, Transaction};
use syncline::{Message, Storage};

use crate::bench::Servers;

/// What a consumer is given: the place in the log, the ordering key, the payload.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) place: i64,
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
}

/// A database as somebody uses it who writes everything by hand.
#[async_trait]
pub(crate) trait Floor: Storage {
    /// Makes a database called `name`, and says its URL.
    async fn create(servers: &Servers, name: &str) -> anyhow::Result<String>;

    /// Removes it, if it is there.
    async fn remove(servers: &Servers, name: &str) -> anyhow::Result<()>;

    async fn open(url: &str, connections: u32) -> anyhow::Result<Pool<Self>>;

    /// Makes the floor's tables.
    async fn prepare(pool: &Pool<Self>) -> anyhow::Result<()>;

    /// The server's version and the settings that matter.
    async fn settings(pool: &Pool<Self>) -> anyhow::Result<Vec<(String, String)>>;

    /// What the business transaction writes in every run.
    async fn business(tx: &mut Transaction<'_, Self>, message: &Message) -> sqlx::Result<()>;

    /// A plain INSERT of the messages' bytes into `plain`.
    async fn insert(tx: &mut Transaction<'_, Self>, messages: &[Message]) -> sqlx::Result<()>;

    /// An ordered SELECT of `plain` in pages of `page`; how many rows there were.
    async fn drain(pool: &Pool<Self>, page: i64) -> sqlx::Result<usize>;

    /// Removes and returns the first `page` rows of `plain`, as a queue does that is read with
    /// `SKIP LOCKED`, in a transaction of its own; how many there were.
    async fn take(pool: &Pool<Self>, page: i64) -> sqlx::Result<usize>;

    /// A page of `plain` after `after`.
    async fn page(pool: &Pool<Self>, after: i64, limit: i64) -> sqlx::Result<Vec<Item>>;

    /// Upserts one message into `applied`.
    async fn apply(tx: &mut Transaction<'_, Self>, item: (i64, &str, &[u8])) -> sqlx::Result<()>;

    /// Upserts many, set-based: the last of each key.
    async fn apply_all(
        tx: &mut Transaction<'_, Self>,
        items: &[(i64, &str, &[u8])],
    ) -> sqlx::Result<()>;

    /// Notes how far a reader got and adds to how many messages it has applied.
    async fn progress(tx: &mut Transaction<'_, Self>, place: i64, count: i64) -> sqlx::Result<()>;

    /// How many messages were applied in all, and how many keys there are.
    async fn applied(pool: &Pool<Self>) -> sqlx::Result<(i64, i64)>;

    /// Empties `applied` and sets `progress` back; our inbox, too.
    async fn reset(pool: &Pool<Self>) -> sqlx::Result<()>;

    /// Tidies up, so that neither way pays for the other's rows.
    async fn settle(pool: &Pool<Self>) -> sqlx::Result<()>;
}

/// The last of each key, in the order of their keys: for databases that refuse to touch a row twice
/// in one statement.
fn last_of_each_key<'a>(items: &[(i64, &'a str, &'a [u8])]) -> Vec<(i64, &'a str, &'a [u8])> {
    let last: BTreeMap<_, _> = items.iter().map(|item| (item.1, *item)).collect();
    last.into_values().collect()
}
