//! A running engine's row in the table of processes: the sagas that it can decide, and what it does
//! not get on with.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Inner, SagasStatus};
use crate::{
    Result, Storage,
    processes::{Defined, Kind, Reporter, Tell, Told},
    storage::Current,
};

struct Teller<DB: Storage>(Arc<Inner<DB>>);

/// Reports until `stop`.
pub(super) async fn run<DB: Storage>(engine: Arc<Inner<DB>>, stop: CancellationToken) {
    let (source, pool) = (engine.source.clone(), engine.pool.clone());
    Reporter::new(Uuid::now_v7(), Kind::Engine, source, pool).run(Teller(engine), stop).await;
}

#[async_trait]
impl<DB: Storage> Tell<DB> for Teller<DB> {
    async fn tell(&self, _pool: &Current<DB>) -> Result<Told> {
        let defined = Defined { sagas: self.0.owners.clone(), ..Defined::default() };
        Ok(Told { defined, problems: problems(&self.0.status()) })
    }
}

fn problems(status: &SagasStatus) -> Vec<String> {
    let error = status.error.iter().map(|error| format!("the last decision failed: {error}"));
    let unknown = status.unknown.iter().map(|(saga, version, instances)| {
        let instances = crate::logs::count(*instances, "instance");
        format!("no definition here is of {saga}@{version}, which has {instances}")
    });
    error.chain(status.aside.clone()).chain(unknown).collect()
}
