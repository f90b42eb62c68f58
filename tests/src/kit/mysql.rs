//! The same for MariaDB and MySQL, which return nothing from an UPDATE.

use async_trait::async_trait;
use sqlx::{Executor, MySql, MySqlPool, Transaction, mysql::MySqlPoolOptions};

use super::{KEYS, Kit};

const TABLES: &str = "
    CREATE TABLE counters (`key` VARCHAR(40) PRIMARY KEY, n BIGINT NOT NULL) ENGINE = InnoDB;
    CREATE TABLE applied (id BIGINT AUTO_INCREMENT PRIMARY KEY, `key` VARCHAR(40) NOT NULL,
                          n BIGINT NOT NULL) ENGINE = InnoDB";
const RAISE: &str = "UPDATE counters SET n = n + 1 WHERE `key` = ?";

#[async_trait]
impl Kit for MySql {
    async fn connect(url: &str, connections: u32) -> sqlx::Result<MySqlPool> {
        MySqlPoolOptions::new().max_connections(connections).connect(url).await
    }

    async fn prepare(pool: &MySqlPool) -> sqlx::Result<()> {
        pool.execute(TABLES).await?;
        for key in 0..KEYS {
            sqlx::query("INSERT INTO counters (`key`, n) VALUES (?, 0)")
                .bind(format!("key {key}"))
                .execute(pool)
                .await?;
        }
        Ok(())
    }

    async fn raise(tx: &mut Transaction<'_, Self>, key: &str) -> sqlx::Result<i64> {
        sqlx::query(RAISE).bind(key).execute(&mut **tx).await?;
        let raised = sqlx::query_scalar("SELECT n FROM counters WHERE `key` = ? FOR UPDATE");
        raised.bind(key).fetch_one(&mut **tx).await
    }

    async fn raise_alone(pool: &MySqlPool, key: &str) -> sqlx::Result<()> {
        sqlx::query(RAISE).bind(key).execute(pool).await?;
        Ok(())
    }

    async fn note(tx: &mut Transaction<'_, Self>, key: &str, n: i64) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO applied (`key`, n) VALUES (?, ?)")
            .bind(key)
            .bind(n)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    async fn counters(pool: &MySqlPool) -> sqlx::Result<Vec<(String, i64)>> {
        sqlx::query_as("SELECT `key`, n FROM counters ORDER BY `key`").fetch_all(pool).await
    }

    async fn applied(pool: &MySqlPool) -> sqlx::Result<Vec<(String, i64)>> {
        sqlx::query_as("SELECT `key`, n FROM applied ORDER BY id").fetch_all(pool).await
    }
}
