//! The main suites on MariaDB.

use futures::FutureExt;
use sqlx::MySql;

use super::{apply, delay_by_clock, drain, end_to_end, write};
use crate::{
    bench::{Bench, Suite},
    floor::Floor,
};

pub(crate) const SUITE: Suite = Suite {
    name: "mysql",
    title: "write, drain, apply, end to end and delay on MariaDB",
    floor: "those of these suites, in MariaDB's own SQL",
    run: |bench| async move { run(bench).await }.boxed(),
};

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let (pool, _) = bench.database::<MySql>(40).await?;
    bench.results.server = MySql::settings(&pool).await?;
    for (writers, messages) in [(1, 1), (8, 1), (8, 10)] {
        write::rates(bench, &pool, "write: ", (writers, messages), None).await?;
    }
    pool.close().await;
    let count = bench.pick(20_000, 50_000);
    let (pool, _) = bench.database::<MySql>(20).await?;
    drain::rates(bench, &pool, "drain: ", count, None).await?;
    pool.close().await;
    let (from, _) = bench.database::<MySql>(20).await?;
    let (to, to_url) = bench.database::<MySql>(20).await?;
    apply::rates(bench, (&from, &to), "apply: ", count, (None, None)).await?;
    from.close().await;
    let (from, from_url) = bench.database::<MySql>(20).await?;
    end_to_end::rates(bench, (&from, &from_url), (&to, &to_url), "end to end: ", count, None)
        .await?;
    delay_by_clock::rates(bench, (&from, &to), true).await
}
