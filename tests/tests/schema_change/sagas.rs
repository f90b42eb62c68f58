//! Steps of sagas, and of those who take part in them.

use super::*;

pub(crate) struct Part;

#[async_trait]
impl<DB: Star> SagaHandler<DB> for Part {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        DB::note(tx, "n", command.position.0).await?;
        Ok(Outcome::Done(DB::star(tx).await?.into()))
    }

    async fn compensate(
        &self,
        _: &mut Transaction<'_, DB>,
        _: &Envelope,
        _: &Value,
    ) -> Result<(), HandlerError> {
        Ok(())
    }
}

pub(crate) async fn no_participant_pays<DB: Star>(pool: Pool<DB>) {
    let consumer = Consumer::builder("c", pool.clone()).participant("in", Part);
    let consumer = consumer.build().expect("a consumer");
    let mut commands = numbered(12);
    for message in &mut commands.messages {
        let command = Command {
            saga: Uuid::now_v7(),
            step: "step".to_owned(),
            ask: Ask::Apply,
            attempt: 1,
            not_after: None,
            confirms: None,
            why: None,
        };
        let mut command = command.address(Message::json("in", &1).expect("JSON"));
        command.id = message.id;
        message.message = command.into();
    }
    for (n, batch) in one_by_one(&commands).into_iter().enumerate() {
        if n == 6 {
            alter(&pool).await;
        }
        let ack = consumer.receive(batch.clone()).await.expect("an answer");
        assert_eq!(ack.watermark, batch.through);
    }
    assert_eq!(DB::held(&pool, true, 0, 99).await.expect("held"), [], "nothing is counted");
    assert_eq!(DB::applied(&pool).await.expect("applied").len(), 12);
    let told = |what: &str| {
        let data = match DB::LABEL {
            "PostgreSQL" => "convert_from(data, 'UTF8')",
            "SQLite" => "CAST(data AS TEXT)",
            _ => "CONVERT(data USING utf8mb4)",
        };
        let (pool, topic) = (pool.clone(), wire::REPLY);
        let statement = format!(
            "SELECT count(*) FROM syncline_outbox WHERE topic = '{topic}' AND {data} LIKE '%{what}%'"
        );
        async move { DB::count(&pool, &statement).await.expect("count") }
    };
    assert_eq!(told("\"applied\":2").await, 6);
    assert_eq!(told("\"applied\":3").await, 6);
    assert_eq!(told("failed").await, 0, "no orchestrator is told of it");
}

/// A saga of one step.
pub(crate) fn one_step<DB: Star>(
    pool: &Pool<DB>,
    step: impl for<'a> Fn(
        &'a mut Transaction<'_, DB>,
        i64,
    ) -> futures::future::BoxFuture<'a, Result<Outcome<()>, HandlerError>>
    + Send
    + Sync
    + 'static,
) -> Sagas<DB> {
    let mut saga = SagaBuilder::<DB, i64>::new("one", 1);
    let once = Retry { attempts: 1, base: Duration::ZERO, longest: Duration::ZERO };
    let local = saga.local::<_, (), _>("step", (), move |tx, call| step(tx, call.input));
    local.retry(once).pivot().add();
    let saga = saga.build().expect("a sound definition");
    let sagas = Sagas::builder("/one", pool.clone()).saga(saga).poll(Duration::from_millis(20));
    sagas.build().expect("an engine")
}

pub(crate) async fn start_one<DB: Kit>(
    pool: &Pool<DB>,
    sagas: &Sagas<DB>,
    n: i64,
) -> (Uuid, syncline::saga::Over) {
    let mut tx = begin(pool).await.expect("begin");
    let started = sagas.start(&mut tx, "one", &n.to_string(), &n).await.expect("start");
    let over = started.over();
    tx.commit().await.expect("commit");
    let id = started.id;
    started.committed();
    (id, over)
}

pub(crate) async fn no_step_pays<DB: Star>(pool: Pool<DB>) {
    let sagas = one_step(&pool, |tx, n| {
        async move {
            DB::note(tx, "n", n).await?;
            DB::star(tx).await?;
            // So that several transactions are under way, where there may be.
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(Outcome::Done(()))
        }
        .boxed()
    });
    let running = sagas.run().await.expect("it runs");
    for round in 0..2 {
        let mut all = Vec::new();
        for n in 0..12 {
            all.push(start_one(&pool, &sagas, round * 12 + n).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for (id, over) in all {
            let end = over.within(PATIENCE).await.expect("asked");
            let shown = operate::show(&pool, id).await.expect("show").expect("it is there");
            assert_eq!(end, Some(End::Completed), "{:?}", shown.log);
            let failed = shown.log.iter().filter(|line| line.what == "failed");
            assert_eq!(failed.count(), 0, "{:?}", shown.log);
        }
        if round == 0 {
            alter(&pool).await;
        }
    }
    running.stop().await;
    assert_eq!(DB::applied(&pool).await.expect("applied").len(), 24);
}

pub(crate) async fn a_step_that_stands_has_failed<DB: Star>(pool: Pool<DB>) {
    let sagas = one_step(&pool, |tx, n| {
        async move {
            DB::note(tx, "n", n).await?;
            if n == 1 { Err(reset()) } else { Ok(Outcome::Done(())) }
        }
        .boxed()
    });
    let running = sagas.run().await.expect("it runs");
    let (id, over) = start_one(&pool, &sagas, 1).await;
    let (_, other) = start_one(&pool, &sagas, 2).await;
    assert_eq!(over.within(PATIENCE).await.expect("asked"), Some(End::Compensated));
    let shown = operate::show(&pool, id).await.expect("show").expect("it is there");
    let told = |line: &&syncline::storage::SagaLogRow| {
        line.detail.as_deref().is_some_and(|why| why.contains("should pass by itself"))
    };
    assert!(shown.log.iter().find(told).is_some(), "{:?}", shown.log);
    assert_eq!(other.within(PATIENCE).await.expect("asked"), Some(End::Completed));
    running.stop().await;
    assert_eq!(DB::applied(&pool).await.expect("applied"), [("n".to_owned(), 2)]);
}
