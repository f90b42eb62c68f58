//! A source's database and a target's, for tests that are the same on each database.

use sqlx::Pool;
use syncline::Stream;

use crate::{kit::Kit, relays::Process};

/// A source and a target.
pub struct World<DB: Kit> {
    /// The source's database.
    pub source_url: String,
    /// The target's.
    pub target_url: String,
    /// Connections to the source's.
    pub source: Pool<DB>,
    /// Connections to the target's.
    pub target: Pool<DB>,
}

impl<DB: Kit> World<DB> {
    /// Both with Syncline's tables and the campaigns'.
    pub async fn new(source_url: String, target_url: String) -> Self {
        let source = DB::connect(&source_url, 8).await.expect("connect");
        let target = DB::connect(&target_url, 8).await.expect("connect");
        for pool in [&source, &target] {
            syncline::migrate(pool).await.expect("migrate");
            DB::prepare(pool).await.expect("prepare");
        }
        Self { source_url, target_url, source, target }
    }

    /// A relay process that carries `stream` to each of `consumers`.
    pub fn process(&self, stream: &Stream, consumers: &[&str]) -> Process {
        Process::start::<DB>(&self.source_url, &self.target_url, stream.clone(), consumers)
    }
}

/// Runs each case of the file's `mod case` on every database.
#[macro_export]
macro_rules! on_each {
    ($($case:ident),* $(,)?) => {$(
        mod $case {
            use $crate::servers::{mariadb_database, postgres_database, sqlite_database};

            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                if let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) {
                    super::case::$case::<$crate::Postgres>(World::new(a, b).await).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb() {
                if let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) {
                    super::case::$case::<$crate::MySql>(World::new(a, b).await).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
                super::case::$case::<$crate::Sqlite>(World::new(a, b).await).await;
            }
        }
    )*};
}
