//! An orchestrator that is restored, and the service that takes part.

use super::*;

/// Where a service can be reached, while it runs.
#[derive(Clone, Default)]
pub(crate) struct Address(Arc<Mutex<Option<Direct>>>);

impl Address {
    pub(crate) fn is(&self, service: Option<Direct>) {
        *self.0.lock().expect("no panic") = service;
    }
}

#[async_trait]
impl Publisher for Address {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        let service = self.0.lock().expect("no panic").clone();
        let Some(service) = service else {
            let (target, reason) = ("a service".to_owned(), "it does not run".to_owned());
            return Err(PublishError::Unavailable { target, reason, retry_after: None });
        };
        service.publish(batch).await
    }
}

/// Notes (topic, 1) for what it applies and (topic, -1) for what it takes back.
pub(crate) struct Noted;

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Noted {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        DB::note(tx, &command.topic, 1).await?;
        Ok(Outcome::Done(Value::Null))
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        _applied: &Value,
    ) -> Result<(), HandlerError> {
        DB::note(tx, &command.topic, -1).await?;
        Ok(())
    }
}

/// Carries `topic` of `source`.
pub(crate) async fn carry<DB: Kit>(
    pool: &Pool<DB>,
    source: &str,
    topic: &str,
    to: Address,
) -> RelayHandle {
    Relay::builder(source, pool.clone())
        .stream(Stream::new("sagas").topic(topic))
        .route(Route::new("there", "sagas", to))
        .options(|options| {
            options.lease = Duration::from_millis(900);
            options.max_backoff = Duration::from_millis(100);
            options.ask_every = ASK;
        })
        .start()
        .await
        .expect("the relay starts")
}

/// A service that runs sagas.
pub(crate) struct Orders<DB: Kit> {
    pub(crate) pool: Pool<DB>,
    pub(crate) sagas: Sagas<DB>,
    pub(crate) engine: SagasHandle,
    pub(crate) relay: RelayHandle,
}

impl<DB: Kit> Orders<DB> {
    pub(crate) async fn start(url: &str, theirs: &Address, ours: &Address) -> Self {
        let pool = DB::connect(url, 12).await.expect("connect");
        let mut saga = SagaBuilder::<DB, i64>::new("order", 1);
        for (step, topic) in [("first", "cmd.first"), ("second", "cmd.second")] {
            // Not for its own asking again: that is for what was lost on the way.
            let (deadline, silence) = (Duration::from_secs(45), Duration::from_secs(3_600));
            saga.remote::<_, Value>(step, (), move |call| Ok(Message::json(topic, &call.input)?))
                .compensated()
                .deadline(deadline)
                .silence(silence)
                .add();
        }
        let sagas = Sagas::builder("/orders", pool.clone())
            .poll(Duration::from_millis(100))
            .saga(saga.build().expect("a sound definition"))
            .build()
            .expect("an engine");
        let engine = sagas.run().await.expect("it runs");
        let replies = Consumer::builder("orders", pool.clone());
        let replies = replies.batch_handler(wire::REPLY, sagas.replies());
        ours.is(Some(Direct::to(replies.build().expect("a consumer"))));
        let relay = carry(&pool, "/orders", "cmd.*", theirs.clone()).await;
        Self { pool, sagas, engine, relay }
    }

    pub(crate) async fn begin(&self) -> Uuid {
        let mut tx = begin(&self.pool).await.expect("begin");
        let started = self.sagas.start(&mut tx, "order", "1", &1).await.expect("start");
        tx.commit().await.expect("commit");
        started.clone().committed();
        started.id
    }

    pub(crate) async fn is_over(&self, id: Uuid) {
        let status = eventually("it is over", async || {
            let shown = operate::show(&self.pool, id).await.expect("show").expect("there");
            let status = shown.summary.status;
            let goes_on = ["new", "running", "compensating"].contains(&status.as_str());
            (!goes_on).then_some(status)
        })
        .await;
        assert_eq!(status, "completed");
    }

    pub(crate) async fn stop(self, ours: &Address) {
        ours.is(None);
        self.relay.stop().await;
        self.engine.stop().await;
        self.pool.close().await;
    }
}
