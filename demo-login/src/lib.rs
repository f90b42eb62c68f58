//! Service B of the demo: logs users in whom the other service registered, from a store of its
//! own. It takes part in the saga of a registration, and refuses a login for an e-mail address
//! that it knows for another user, or of a domain on its block list.

mod account;
mod api;
mod provision;
mod store;
mod sync;

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use demo_common::{Config, Database, Guard, Intake};
use sqlx::Pool;
use syncline::storage::Writes;
use tokio_util::sync::CancellationToken;

pub use api::{App, router};
pub use provision::ProvisionLogin;
pub use store::Store;
pub use sync::{PEER, PROVISION, SHARDS, SOURCE, STREAM, TOPICS, consumer, relay};

const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8082);

/// Runs the service until `stop`.
///
/// # Errors
/// What keeps it from starting: configuration, database, schema, address.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let url = config.database_url.as_deref().unwrap_or("sqlite://demo-login.db");
    match demo_common::connect(url).await? {
        Database::Sqlite(pool) => serve(config, pool, stop).await,
        Database::MySql(pool) => serve(config, pool, stop).await,
        Database::Postgres(pool) => serve(config, pool, stop).await,
    }
}

async fn serve<DB>(config: Config, pool: Pool<DB>, stop: CancellationToken) -> anyhow::Result<()>
where
    DB: Store,
    DB::Connection: sqlx::migrate::Migrate,
{
    demo_common::migrate(&pool, DB::TABLES).await?;
    let guard = Guard::new(config.hash_cost)?;
    let consumer = consumer(pool.clone())?;
    let retries = consumer.start().await?;
    let relay = relay(pool.clone(), demo_common::push_to(&config)?).await?;
    let feed = demo_common::feed_of(&config, &relay, STREAM, TOPICS, stop.clone())?;
    let intake = Intake::start(&config, PEER, SHARDS, Arc::new(consumer), &stop)?;
    let proxies = config.proxies();
    let writes = Arc::new(Writes::new(pool.clone()));
    let app = App { pool: pool.clone(), writes, guard, proxies: proxies.clone() };
    let app = self::app(app, intake.router.clone(), feed);
    let listen = config.listen.unwrap_or(LISTEN);
    let result = demo_common::hold_open(listen, app, &proxies, stop.clone()).await;
    stop.cancel();
    intake.stopped().await;
    demo_common::stop_soon(relay.stop()).await;
    retries.stop().await;
    demo_common::stop_soon(pool.close()).await;
    result
}

/// All endpoints: the service's own, the one that the other service pushes to, and the feed that
/// it pulls from.
pub fn app<DB: Store>(app: App<DB>, push: Router, feed: Router) -> Router {
    router(app).nest("/syncline", push).nest("/feed", feed)
}
