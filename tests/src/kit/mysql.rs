//! The same for MariaDB and MySQL, which return nothing from an UPDATE.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Executor, MySql, MySqlPool, Transaction, mysql::MySqlPoolOptions};

use super::{KEYS, Kit};

const TABLES: &str = "
    CREATE TABLE counters (`key` VARCHAR(40) PRIMARY KEY, n BIGINT NOT NULL) ENGINE = InnoDB;
    CREATE TABLE applied (id BIGINT AUTO_INCREMENT PRIMARY KEY, `key` VARCHAR(40) NOT NULL,
                          n BIGINT NOT NULL) ENGINE = InnoDB";
const FILL: &str = "
    INSERT INTO syncline_outbox (topic, `key`, data)
    WITH digits (d) AS (
        SELECT 0 UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
        UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9
    ), numbers (n) AS (
        SELECT ? + a.d * 1000 + b.d * 100 + c.d * 10 + d.d + 1
        FROM digits AS a, digits AS b, digits AS c, digits AS d
    )
    SELECT 'counter.raised', CONCAT('key ', n % 12), CAST(n AS CHAR) FROM numbers WHERE n <= ?";
const RAISE: &str = "UPDATE counters SET n = n + 1 WHERE `key` = ?";

#[async_trait]
impl Kit for MySql {
    async fn connect(url: &str, connections: u32) -> sqlx::Result<MySqlPool> {
        MySqlPoolOptions::new().max_connections(connections).connect(url).await
    }

    async fn execute(pool: &MySqlPool, statement: &str) -> sqlx::Result<()> {
        pool.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
        Ok(())
    }

    async fn count(pool: &MySqlPool, statement: &str) -> sqlx::Result<i64> {
        sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(pool).await
    }

    async fn fill(pool: &MySqlPool, rows: i64) -> sqlx::Result<()> {
        // Ten thousand at a time, of four digits each.
        for done in (0..rows).step_by(10_000) {
            sqlx::query(FILL).bind(done).bind(rows).execute(pool).await?;
        }
        Ok(())
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
