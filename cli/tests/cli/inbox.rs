//! `syncline inbox`.

use crate::on_each;

on_each!(
    what_was_applied_is_listed_and_applied_again,
    a_reader_that_came_too_late_goes_on_by_the_commands_that_it_is_told,
    commands_of_sagas_are_not_applied_again_and_it_says_so,
);

mod case {
    use std::time::Duration;

    use async_trait::async_trait;
    use serde_json::{Value, json};
    use sqlx::{Pool, Transaction};
    use syncline::{
        Consumer, Envelope, Handler, HandlerError, Message, Relay, Route, Stream, Verdict, begin,
        enqueue,
        relay::RouteState,
        saga::{End, Outcome, SagaBuilder, SagaHandler, Sagas, wire},
    };
    use syncline_tests::{
        kit::Kit,
        relays::{Direct, eventually, noting},
    };

    use crate::{Open, syncline};

    async fn raise<DB: Kit>(pool: &Pool<DB>, n: i64) {
        let mut tx = begin(pool).await.unwrap();
        let message = Message::json("user.changed", &n).unwrap().key("key 0");
        let receipt = enqueue(&mut tx, &message).await.unwrap();
        tx.commit().await.unwrap();
        receipt.committed();
    }

    /// Waits until as many as `expected` are applied, which are these.
    async fn applied<DB: Kit>(pool: &Pool<DB>, expected: &[i64]) {
        let numbers = async || -> Vec<i64> {
            DB::applied(pool).await.unwrap().into_iter().map(|(_, n)| n).collect()
        };
        let all = async || (numbers().await.len() >= expected.len()).then_some(());
        eventually("it is applied", all).await;
        assert_eq!(numbers().await, expected);
    }

    pub(super) async fn what_was_applied_is_listed_and_applied_again<DB: Open + Kit>(url: &str) {
        syncline(url, "migrate up").expect(0);
        assert!(syncline(url, "inbox list").expect(0).stdout.contains("nothing was taken in yet"));
        let reapply = |consumer: &str, more: &str| {
            syncline(
                url,
                &format!("inbox reapply {consumer} --source /tests --stream users {more}"),
            )
        };
        assert!(reapply("c", "--to 0 --yes").expect(6).stderr.contains("nothing of /tests users"));

        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        let relay = Relay::builder("/tests", pool.clone())
            .stream(Stream::new("users").topic("user.*"))
            .route(Route::new(
                "login",
                "users",
                Direct::to(noting("c", pool.clone()).build().unwrap()),
            ))
            .options(|options| options.lease = Duration::from_millis(600))
            .start()
            .await
            .unwrap();
        let write = async |n: i64| raise(&pool, n).await;
        let applied = async |expected: &[i64]| applied(&pool, expected).await;
        for n in 1..=4 {
            write(n).await;
        }
        applied(&[1, 2, 3, 4]).await;

        let list = syncline(url, "inbox list --json").expect(0).json()["items"].clone();
        let row = &list[0];
        assert_eq!((&row["consumer"], &row["source"]), (&json!("c"), &json!("/tests")));
        assert_eq!((&row["stream"], &row["version"]), (&json!("users"), &json!(1)));
        assert_eq!((&row["watermark"], &row["last"]), (&json!(4), &json!(4)));
        let table = syncline(url, "inbox list --consumer c").expect(0).stdout;
        assert!(table.contains("/tests") && table.contains("watermark"), "{table}");
        let none = json!({"items": [], "more": false});
        assert_eq!(syncline(url, "inbox list --consumer x --json").expect(0).json(), none);

        // It says what it would do, and does it only when it is sure.
        let warned = reapply("c", "--to 2").expect(5);
        assert!(warned.stdout.contains("c is at 4"), "{}", warned.stdout);
        assert!(
            warned.stderr.contains("AGAIN") && warned.stderr.contains("--yes"),
            "{}",
            warned.stderr
        );
        let would = reapply("c", "--to 2 --dry-run --json").expect(0).json();
        assert_eq!(would["would_move"][0]["watermark"], json!(4));
        // A preview makes the checks of the act.
        assert!(reapply("c", "--to 4").expect(1).stderr.contains("up to position 4 only"));
        reapply("c", "--to 2 --shard 1").expect(6);
        assert!(reapply("c", "--to 4 --yes").expect(1).stderr.contains("up to position 4 only"));
        reapply("c", "--to -1 --yes").expect(2);
        reapply("c", "--to 2 --shard 1 --yes").expect(6);
        let same = syncline(url, "inbox list --json").expect(0).json();
        assert_eq!(same["items"], list, "nothing changed");

        let moved = reapply("c", "--to 2 --shard 0 --yes --json").expect(0).json();
        assert_eq!((&moved["to"], &moved["moved"][0]["watermark"]), (&json!(2), &json!(4)));
        let after = syncline(url, "inbox list --json").expect(0).json();
        assert_eq!(after["items"][0]["watermark"], json!(2));
        write(5).await;
        applied(&[1, 2, 3, 4, 3, 4, 5]).await;
        let said = reapply("c", "--to 4 --yes").expect(0).stdout;
        assert!(said.contains("goes back to 4") && said.contains("route rewind"), "{said}");
        // A checkpoint is saved a little later than it is reached.
        eventually("the route is there", async || {
            let list = syncline(url, "route list --json").expect(0).json();
            (list["items"][0]["position"] == json!(5)).then_some(())
        })
        .await;
        syncline(url, "route rewind login --to 4").expect(0);
        applied(&[1, 2, 3, 4, 3, 4, 5, 5]).await;
        relay.stop().await;
    }

    /// Notes what it applies.
    struct Noted;

    #[async_trait]
    impl<DB: Kit> SagaHandler<DB> for Noted {
        async fn apply(
            &self,
            tx: &mut Transaction<'_, DB>,
            command: &Envelope,
        ) -> Result<Outcome<Value>, HandlerError> {
            DB::note(tx, "command", command.decode()?).await?;
            Ok(Outcome::Done(Value::Null))
        }

        async fn compensate(
            &self,
            _tx: &mut Transaction<'_, DB>,
            _command: &Envelope,
            _applied: &Value,
        ) -> Result<(), HandlerError> {
            Ok(())
        }
    }

    #[async_trait]
    impl<DB: Kit> Handler<DB> for Noted {
        async fn handle(
            &self,
            tx: &mut Transaction<'_, DB>,
            message: &Envelope,
        ) -> Result<Verdict, HandlerError> {
            DB::note(tx, "message", message.decode()?).await?;
            Ok(Verdict::Done)
        }
    }

    pub(super) async fn commands_of_sagas_are_not_applied_again_and_it_says_so<DB: Open + Kit>(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        let mut order = SagaBuilder::<DB, i64>::new("order", 1);
        order
            .remote::<_, Value>("book", (), |call| Ok(Message::json("cmd.book", &call.input)?))
            .compensated()
            .add();
        let sagas = Sagas::builder("/shop", pool.clone()).poll(Duration::from_millis(50));
        let sagas = sagas.saga(order.build().unwrap()).build().unwrap();
        let running = sagas.run().await.unwrap();
        let stock = Consumer::builder("stock", pool.clone()).participant("cmd.*", Noted);
        let stock = stock.handler("user.*", Noted).build().unwrap();
        let replies = Consumer::builder("orders", pool.clone());
        let replies = replies.batch_handler(wire::REPLY, sagas.replies()).build().unwrap();
        let relay = Relay::builder("/shop", pool.clone())
            .stream(Stream::new("orders").topic("cmd.*").topic("user.*"))
            .stream(Stream::new("replies").topic(wire::REPLY))
            .route(Route::new("orders", "orders", Direct::to(stock)))
            .route(Route::new("replies", "replies", Direct::to(replies)))
            .options(|options| options.lease = Duration::from_millis(600))
            .start()
            .await
            .unwrap();
        let mut tx = begin(&pool).await.unwrap();
        let started = sagas.start(&mut tx, "order", "1", &7).await.unwrap();
        let other = Message::json("user.changed", &8).unwrap().key("key 0");
        let receipt = enqueue(&mut tx, &other).await.unwrap();
        tx.commit().await.unwrap();
        receipt.committed();
        started.clone().committed();
        let minute = Duration::from_secs(60);
        assert_eq!(started.over().within(minute).await.unwrap(), Some(End::Completed));
        let applied = async |n: i64| {
            let all = DB::applied(&pool).await.unwrap();
            all.into_iter().filter(|(_, of)| *of == n).count()
        };
        eventually("both are applied", async || {
            ((applied(7).await, applied(8).await) == (1, 1)).then_some(())
        })
        .await;

        let of = "stock --source /shop --stream orders --to 0 --yes";
        let said = syncline(url, &format!("inbox reapply {of}")).expect(1).stderr;
        let words = ["1 step of sagas of /shop", "syncline saga resend", "--except-commands"];
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        let list = syncline(url, "inbox list --consumer stock --json").expect(0).json();
        assert_ne!(list["items"][0]["watermark"], json!(0), "nothing is changed");
        // The rest that the consumer has of the source is applied again.
        syncline(url, &format!("inbox reapply {of} --except-commands")).expect(0);
        syncline(url, "route rewind orders --to 0").expect(0);
        eventually("it is applied again", async || (applied(8).await == 2).then_some(())).await;
        assert_eq!(applied(7).await, 1, "the command is not");
        relay.stop().await;
        running.stop().await;
    }

    /// The consumer was away for so long that the source has trimmed what it lacks.
    pub(super) async fn a_reader_that_came_too_late_goes_on_by_the_commands_that_it_is_told<
        DB: Open + Kit,
    >(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        let relay = Relay::builder("/tests", pool.clone())
            .stream(Stream::new("users").topic("user.*"))
            .route(Route::new(
                "login",
                "users",
                Direct::to(noting("c", pool.clone()).build().unwrap()),
            ))
            .options(|options| {
                options.lease = Duration::from_millis(600);
                options.max_backoff = Duration::from_millis(200);
            })
            .start()
            .await
            .unwrap();
        let write = async |n: i64| raise(&pool, n).await;
        let applied = async |expected: &[i64]| applied(&pool, expected).await;
        // One seal each: PostgreSQL trims whole ones.
        for n in 1..=6 {
            write(n).await;
            applied(&(1..=n).collect::<Vec<_>>()).await;
        }
        // The source keeps the last two; the consumer stands before them, as after a restore.
        eventually("the log is trimmed", async || {
            let _ = syncline(url, "outbox trim --keep-messages 2 --yes");
            let lag = syncline(url, "outbox lag --json").expect(0).json();
            (lag["trimmed"] == json!(4)).then_some(())
        })
        .await;
        let of = "c --source /tests --stream users";
        syncline(url, &format!("inbox reapply {of} --to 2 --yes")).expect(0);
        write(7).await;
        let told = eventually("the route says what to do", async || {
            relay.status().into_iter().find_map(|status| match status.state {
                RouteState::Trimmed { error } => Some(error),
                _ => None,
            })
        })
        .await;
        // So it is told from outside, with the same commands.
        let list = eventually("the list says what to do", async || {
            let list = syncline(url, "route list").expect(0).stdout;
            list.contains("trimmed since").then_some(list)
        })
        .await;
        assert!(list.contains(&told), "{list}");
        let lag = syncline(url, "outbox lag --json").expect(0).json();
        assert_eq!(lag["routes"][0]["state"], json!("trimmed"));
        assert_eq!(lag["routes"][0]["problem"]["text"], json!(told));
        // The commands as they are told, but for the consumer's name.
        let told = told.replace("CONSUMER", "c");
        let mut commands = told.split('`').filter_map(|text| text.strip_prefix("syncline "));
        let skip = commands.next().expect("a command to skip");
        let rewind = commands.next().expect("a command to rewind");
        // It works as it is told, once somebody has said yes.
        let told_end = " --log-ends 4";
        let without = "inbox skip c --source /tests --stream users --shard 0 --to 4";
        assert_eq!(skip, format!("{without}{told_end}"));
        let warned = syncline(url, skip).expect(5).stderr;
        assert!(warned.contains("up to 2 positions") && warned.contains("NEVER"), "{warned}");
        syncline(url, &format!("{skip} --dry-run")).expect(0);
        assert!(syncline(url, without).expect(1).stderr.contains("--log-ends"), "as the act");
        syncline(url, &format!("inbox skip {of} --to 1 --yes")).expect(1);
        syncline(url, "inbox skip x --source /tests --stream users --to 4 --yes").expect(6);
        // Only the source knows where its log ends.
        let unknown = syncline(url, &format!("{without} --yes")).expect(1).stderr;
        assert!(unknown.contains("up to 2") && unknown.contains("--log-ends"), "{unknown}");
        let beyond = format!("inbox skip {of} --to 400 --log-ends 7 --yes");
        let beyond = syncline(url, &beyond).expect(1).stderr;
        assert!(beyond.contains("beyond 7") && beyond.contains("would be lost"), "{beyond}");
        let list = syncline(url, "inbox list --json").expect(0).json();
        assert_eq!(list["items"][0]["watermark"], json!(2), "nothing is changed");
        let said = syncline(url, &format!("{skip} --yes --by ada --why late")).expect(0).stdout;
        assert!(said.contains("c was at 2") && said.contains("never applied here"), "{said}");
        assert_eq!(rewind, "route rewind login --to 4");
        syncline(url, rewind).expect(0);
        applied(&[1, 2, 3, 4, 5, 6, 5, 6, 7]).await;
        write(8).await;
        applied(&[1, 2, 3, 4, 5, 6, 5, 6, 7, 8]).await;
        eventually("nothing is wrong any more", async || {
            let lag = syncline(url, "outbox lag --json").expect(0).json();
            (lag["routes"][0]["state"] == json!("on")).then_some(())
        })
        .await;
        relay.stop().await;
    }
}
