//! Listening for wake-ups, on a connection that may be cut off or go dead.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Executor, PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use crate::storage::Watch;

/// How long the server may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// A connection on which nothing came for so long is asked whether it is alive.
const QUIET: Duration = Duration::from_secs(10);
/// The pause after a connection could not be made.
const PAUSE: Duration = Duration::from_secs(1);

/// Listens in a task of its own: whoever waits for news often stops waiting, and the connection must
/// not lose what came meanwhile.
pub(super) struct Listener {
    news: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Listens on a connection of its own, for the pool must not be exhausted by it.
    pub(super) async fn start(pool: &PgPool, channel: &'static str) -> sqlx::Result<Self> {
        let own = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(LIMIT)
            .idle_timeout(None)
            .max_lifetime(None);
        let own = own.connect_lazy_with((*pool.connect_options()).clone());
        let first = listen(&own, channel).await?;
        let news = Arc::<Notify>::default();
        let task = tokio::spawn(keep_listening(own, channel, first, Arc::clone(&news)));
        Ok(Self { news, task })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Watch for Listener {
    async fn changed(&mut self) {
        self.news.notified().await;
    }
}

async fn listen(pool: &PgPool, channel: &str) -> sqlx::Result<PgListener> {
    let begun = async {
        let mut listener = PgListener::connect_with(pool).await?;
        // It is made anew here, whatever the reason is for which the connection was lost.
        listener.eager_reconnect(false);
        listener.listen(channel).await?;
        Ok(listener)
    };
    timeout(LIMIT, begun).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Tells of each notification, and of each new connection: what the server said between the old one
/// and the new one is lost.
async fn keep_listening(
    mut pool: PgPool,
    channel: &'static str,
    mut listener: PgListener,
    news: Arc<Notify>,
) {
    loop {
        while is_alive(&mut listener, &news).await {}
        // The old connection may hold its place in the pool for long.
        pool = pool.options().clone().connect_lazy_with((*pool.connect_options()).clone());
        tracing::debug!(channel, "the connection that listened was lost; polling covers");
        listener = loop {
            match listen(&pool, channel).await {
                Ok(listener) => break listener,
                Err(error) => tracing::debug!(channel, %error, "nobody listens; polling covers"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        news.notify_one();
    }
}

/// Waits for one notification, or finds out that the connection is lost.
async fn is_alive(listener: &mut PgListener, news: &Notify) -> bool {
    match timeout(QUIET, listener.try_recv()).await {
        Ok(Ok(Some(_))) => {
            news.notify_one();
            true
        }
        // Sqlx reconnects at the next call and says so by nothing more than this.
        Ok(Ok(None) | Err(_)) => false,
        Err(_) => matches!(timeout(LIMIT, listener.execute(";")).await, Ok(Ok(_))),
    }
}
