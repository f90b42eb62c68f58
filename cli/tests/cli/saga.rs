//! `syncline saga` and `syncline lock`.

use crate::on_each;

on_each!(
    a_stuck_saga_is_shown_and_goes_on,
    a_saga_is_cancelled_or_resolved,
    a_saga_is_named_by_the_beginning_of_its_id_or_by_its_key,
    an_answer_that_does_not_come_is_shown_and_asked_for_again,
    what_fails_is_shown_by_step_and_error_and_tried_again,
    a_saga_that_no_engine_has_is_found_and_ended_by_force
);

mod case {
    use std::{
        io::Write,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use serde_json::{Value, json};
    use sqlx::Pool;
    use syncline::{
        Message, Storage, begin,
        saga::{Outcome, Retry, Saga, SagaBuilder, Sagas},
    };
    use syncline_tests::relays::eventually;
    use uuid::Uuid;

    use crate::{Open, syncline};

    /// The entity that is locked, if there is one, and whether the pivot refuses.
    type Input = (String, bool);

    const ONCE: Retry =
        Retry { attempts: 1, base: Duration::from_millis(10), longest: Duration::from_millis(10) };

    struct World<DB: Storage> {
        pool: Pool<DB>,
        sagas: Sagas<DB>,
        /// Whether the compensation, and what comes after the pivot, fail.
        broken: Arc<AtomicBool>,
    }

    fn order<DB: Storage>(broken: &Arc<AtomicBool>) -> Saga<DB> {
        let mut saga = SagaBuilder::<DB, Input>::new("order", 1).locks(|(entity, _): &Input| {
            if entity.is_empty() { Vec::new() } else { vec![entity.clone()] }
        });
        let (undo, last) = (Arc::clone(broken), Arc::clone(broken));
        saga.local::<_, i64, _>("open", (), |_, _| Box::pin(async { Ok(Outcome::Done(1)) }))
            .compensate(move |_, _, _| {
                let broken = undo.load(Ordering::Relaxed);
                Box::pin(async move {
                    if broken { Err("the \u{1b}[31mshop is closed".into()) } else { Ok(()) }
                })
            })
            .retry(ONCE)
            .add();
        saga.local::<_, i64, _>("approve", (), |_, call| {
            Box::pin(async move {
                match call.input.1 {
                    true => Ok(Outcome::Refuse("no credit".to_owned())),
                    false => Ok(Outcome::Done(2)),
                }
            })
        })
        .pivot()
        .add();
        saga.local::<_, i64, _>("tell", (), move |_, _| {
            let broken = last.load(Ordering::Relaxed);
            Box::pin(
                async move { if broken { Err("no paper".into()) } else { Ok(Outcome::Done(3)) } },
            )
        })
        .retriable()
        .retry(ONCE)
        .add();
        saga.build().unwrap()
    }

    /// Its first step is another service's, which never answers.
    fn trip<DB: Storage>() -> Saga<DB> {
        let mut saga = SagaBuilder::<DB, Input>::new("trip", 3);
        saga.remote::<_, i64>("look", (), |_| Ok(Message::json("trip.look", &1)?))
            .nothing_to_undo()
            .silence(Duration::from_millis(50))
            .add();
        saga.local::<_, i64, _>("pay", (), |_, _| Box::pin(async { Ok(Outcome::Done(1)) }))
            .pivot()
            .add();
        saga.build().unwrap()
    }

    /// The same, and its compensation is not answered either.
    fn tour<DB: Storage>() -> Saga<DB> {
        let mut saga = SagaBuilder::<DB, Input>::new("tour", 1);
        saga.remote::<_, i64>("book", (), |_| Ok(Message::json("tour.book", &1)?))
            .compensated()
            .deadline(Duration::from_secs(3_600))
            .add();
        saga.build().unwrap()
    }

    impl<DB: Open> World<DB> {
        async fn new(url: &str) -> Self {
            syncline(url, "migrate up").expect(0);
            let (pool, broken) = (DB::open(url).await, Arc::new(AtomicBool::new(true)));
            let sagas = Sagas::builder("/shop", pool.clone()).poll(Duration::from_millis(20));
            let sagas = sagas.saga(order(&broken)).saga(trip()).saga(tour()).build().unwrap();
            Self { pool, sagas, broken }
        }

        async fn start(&self, saga: &str, key: &str, entity: &str, refused: bool) -> Uuid {
            let mut tx = begin(&self.pool).await.unwrap();
            let input = (entity.to_owned(), refused);
            let started = self.sagas.start(&mut tx, saga, key, &input).await.unwrap();
            tx.commit().await.unwrap();
            let id = started.id;
            started.committed();
            id
        }
    }

    fn shown(url: &str, id: Uuid) -> Value {
        syncline(url, &format!("saga show {id} --json")).expect(0).json()
    }

    async fn until(url: &str, id: Uuid, status: &str) {
        let is = async || (shown(url, id)["status"] == status).then_some(());
        eventually(&format!("it is {status}"), is).await;
    }

    fn ids(list: &Value) -> Vec<String> {
        let rows = list["items"].as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) async fn a_stuck_saga_is_shown_and_goes_on<DB: Open>(url: &str) {
        let world = World::<DB>::new(url).await;
        assert!(syncline(url, "saga list").expect(0).stdout.contains("no sagas"));
        assert!(syncline(url, "lock list").expect(0).stdout.contains("nothing is locked"));
        let nobody = Uuid::max();
        syncline(url, &format!("saga show {nobody}")).expect(6);
        syncline(url, &format!("saga cancel {nobody} --by ada --why so")).expect(6);

        let running = world.sagas.run().await.unwrap();
        let back = world.start("order", "key-first", "customer/1", true).await;
        until(url, back, "stuck").await;
        let forth = world.start("order", "second", "", false).await;
        until(url, forth, "stuck").await;

        let (first, second) = (back.to_string(), forth.to_string());
        let list = |args: &str| ids(&syncline(url, &format!("saga list --json {args}")).json());
        assert_eq!(list("--stuck"), [first.as_str(), &second]);
        assert_eq!(list(""), [second.as_str(), &first]);
        assert_eq!(list(&format!("--before {forth}")), [first.as_str()]);
        assert_eq!(list("--saga order --status stuck -n 1"), [second.as_str()]);
        assert_eq!(list("--saga order --stuck"), [second.as_str(), &first]);
        assert!(list("--saga trip").is_empty() && list("--status completed").is_empty());
        syncline(url, "saga list --status odd").expect(2);
        let text = syncline(url, "saga list").expect(0).stdout;
        assert!(text.contains("order@1") && text.contains("key-first"), "{text}");

        let tree = syncline(url, &format!("saga show {back}")).expect(0).stdout;
        for line in [
            "because: approve: no credit",
            "├─ open: undo_failed, 1 attempt: the shop is closed",
            "├─ approve: refused, 1 attempt: no credit",
            "│  └─ ",
            "└─ tell: waiting",
        ] {
            assert!(tree.contains(line), "{line}: {tree}");
        }
        assert!(!tree.contains('\u{1b}'), "{tree}");
        let document = shown(url, back);
        assert_eq!(document["steps"]["open"]["phase"], "undo_failed");
        // Its input and the outputs of its steps are shown on request only.
        assert!(document["input"].is_null() && !document.to_string().contains("\"output\""));
        let all = syncline(url, &format!("saga show {back} --data --json")).expect(0).json();
        assert_eq!(all["input"], json!(["customer/1", true]));
        let tree = syncline(url, &format!("saga show {back} --data")).expect(0).stdout;
        assert!(tree.contains("input: [\"customer/1\",true]"), "{tree}");
        assert!(document["stuck_at"].is_string() && document["ended_at"].is_null());
        let locks = syncline(url, "lock list --json").expect(0).json();
        let lock = &locks["items"][0];
        assert_eq!((&lock["entity"], &lock["saga"]), (&json!("customer/1"), &json!(back)));
        assert!(syncline(url, "lock list").expect(0).stdout.contains("customer/1"));

        let saga = |args: String| syncline(url, &format!("saga {args} --by ada"));
        assert!(
            saga(format!("retry {back} approve --why so")).expect(1).stderr.contains("refused")
        );
        saga(format!("retry {back} nothing --why so")).expect(6);
        saga(format!("retry {back} --why so")).expect(1);
        saga(format!("retry {back} open")).expect(2);
        saga(format!("skip {forth} tell --why so")).expect(5);
        let skip = saga(format!("skip {back} approve --why so --yes")).expect(1).stderr;
        assert!(skip.contains("has not failed"), "{skip}");
        // All of that was refused here: the engine was not asked.
        let log = shown(url, back)["log"].clone();
        assert!(log.as_array().unwrap().iter().all(|line| line["what"] != "operator"), "{log}");
        world.broken.store(false, Ordering::Relaxed);
        saga(format!("retry {back} open --why mended")).expect(0);
        until(url, back, "compensated").await;
        let log = shown(url, back)["log"].clone();
        let said = |line: &Value| line["what"] == "operator" && line["detail"] == "ada: mended";
        assert!(log.as_array().unwrap().iter().any(said), "{log}");
        assert!(syncline(url, "lock list").expect(0).stdout.contains("nothing is locked"));
        let skip = saga(format!("skip {forth} tell --why told --yes --json")).expect(0).json();
        assert_eq!(skip, json!({"saga": forth, "asked": "skip", "decided": true}));
        until(url, forth, "completed").await;
        assert_eq!(shown(url, forth)["steps"]["tell"]["phase"], "skipped");
        assert!(saga(format!("cancel {back} --why so")).expect(7).stderr.contains("is over"));
        running.stop().await;
    }

    pub(super) async fn a_saga_is_cancelled_or_resolved<DB: Open>(url: &str) {
        let world = World::<DB>::new(url).await;
        // Cancelled before an engine has seen it, and after.
        let early = world.start("trip", "early", "", false).await;
        syncline(url, &format!("saga cancel {early} --by ada --why rain")).expect(0);
        let running = world.sagas.run().await.unwrap();
        until(url, early, "compensated").await;
        let trip = world.start("trip", "first", "", false).await;
        until(url, trip, "running").await;
        let resolve = |id: Uuid, args: &str| {
            syncline(url, &format!("saga resolve {id} --by ada --why so {args}"))
        };
        resolve(trip, "--yes").expect(1);
        // An engine has it.
        assert!(resolve(trip, "--yes --force").expect(1).stderr.contains("is not stuck"));
        syncline(url, &format!("saga cancel {trip} --by ada --why rain")).expect(0);
        until(url, trip, "compensated").await;

        let stuck = world.start("order", "first", "customer/1", true).await;
        until(url, stuck, "stuck").await;
        let release = |id: Uuid, yes: &str| {
            let args = format!("lock release customer/1 --saga {id} --by ada --why so {yes}");
            syncline(url, &args)
        };
        release(stuck, "").expect(5);
        release(trip, "").expect(6);
        release(trip, "--yes").expect(6);
        release(stuck, "--yes").expect(0);
        release(stuck, "--yes").expect(6);
        let none = json!({"items": [], "more": false});
        assert_eq!(syncline(url, "lock list --json").expect(0).json(), none);
        resolve(stuck, "").expect(5);
        resolve(stuck, "--yes").expect(0);
        until(url, stuck, "resolved").await;
        resolve(stuck, "--yes --force").expect(7);
        running.stop().await;
    }

    pub(super) async fn a_saga_is_named_by_the_beginning_of_its_id_or_by_its_key<DB: Open>(
        url: &str,
    ) {
        let world = World::<DB>::new(url).await;
        // A key may look like an id, or like the beginning of one.
        let one = world.start("trip", "request-1", "", false).await;
        let (first, id_key) = (one.to_string(), Uuid::from_u128(5).to_string());
        let two = world.start("trip", &id_key, "customer/2", false).await;
        let three = world.start("order", "request-1", "", false).await;
        let second = two.to_string();
        let show = |name: &str| syncline(url, &format!("saga show {name} --json"));
        let is = |name: &str, id: &str| assert_eq!(show(name).expect(0).json()["id"], id, "{name}");

        // All that is not the other's, with hyphens and without.
        let shared =
            |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
        let third = three.to_string();
        let own = shared(&second, &first).max(shared(&second, &third)) + 1;
        for end in [own, second.len()] {
            is(&second[..end], &second);
            is(&second[..end].replace('-', ""), &second);
            is(&second[..end].to_uppercase(), &second);
        }
        is(&id_key, &second);

        // One that is several things names them all, and does nothing.
        for (name, candidates) in
            [("request-1", vec![&first, &third]), (&second[..2], vec![&first, &second, &third])]
        {
            let error = show(name).expect(2).error();
            let said = error["message"].as_str().unwrap();
            for id in [&first, &second, &third] {
                assert_eq!(said.contains(id.as_str()), candidates.contains(&id), "{name}: {said}");
            }
            assert!(said.contains("trip@3") && said.contains("request-1"), "{said}");
            syncline(url, &format!("saga cancel {name} --by ada --why so")).expect(2);
        }
        for nobody in ["request", "request-11", "nothing", "ffffffff", "-"] {
            let run = show(nobody).expect(6);
            assert!(run.stderr.contains("saga list"), "{}", run.stderr);
        }

        // The others take it alike.
        let listed = syncline(url, &format!("saga list --json --before {}", &third)).json();
        assert_eq!(ids(&listed), [second.as_str(), &first]);
        let by = "--by ada --why so";
        let release = format!("lock release customer/2 --saga {id_key} {by} --yes");
        let said = syncline(url, &release).stderr;
        assert!(!said.contains("there is no saga"), "it is found: {said}");
        syncline(url, &format!("saga cancel {id_key} {by}")).expect(0);
        let log = show(&second).json()["log"].clone();
        assert!(log.as_array().unwrap().iter().any(|line| line["what"] == "operator"), "{log}");
        let none = show(&first).json()["log"].clone();
        assert!(none.as_array().unwrap().iter().all(|line| line["what"] != "operator"), "{none}");
        syncline(url, &format!("saga resend {id_key} nothing {by}")).expect(6);
        let skip = syncline(url, &format!("saga skip {id_key} look {by} --yes")).stderr;
        assert!(skip.contains("has not failed"), "{skip}");
        let resolve = syncline(url, &format!("saga resolve {id_key} {by} --yes")).stderr;
        assert!(resolve.contains(&second) && resolve.contains("not stuck"), "{resolve}");
    }

    pub(super) async fn an_answer_that_does_not_come_is_shown_and_asked_for_again<DB: Open>(
        url: &str,
    ) {
        let world = World::<DB>::new(url).await;
        let saga = |args: String| syncline(url, &format!("saga {args}"));
        let none = saga("list --overdue".to_owned()).expect(0).stdout;
        assert!(none.contains("no saga waits"), "{none}");
        assert!(syncline(url, "doctor").stdout.contains("none is stuck, overdue or failing"));
        let running = world.sagas.run().await.unwrap();
        let trip = world.start("trip", "first", "", false).await;
        let overdue = || ids(&saga("list --overdue --json".to_owned()).expect(0).json());
        let is = async || (overdue() == [trip.to_string()]).then_some(());
        eventually("it is overdue", is).await;
        assert!(syncline(url, "doctor").stdout.contains("1 overdue"));

        let tour = world.start("tour", "first", "", false).await;
        until(url, tour, "running").await;
        let show = saga(format!("show {tour}")).expect(0).stdout;
        let told = ["command written (attempt 1)", "its command: "].map(|word| show.contains(word));
        assert!(told == [true; 2] && !show.contains("sent (attempt"), "{show}");
        let by = "--by ada --why so";
        let way = format!("saga resend {tour} book");
        let retry = saga(format!("retry {tour} book {by}")).expect(1).stderr;
        assert!(retry.contains(&way), "{retry}");
        saga(format!("resend {tour} nothing {by}")).expect(6);
        saga(format!("resend {trip} pay {by}")).expect(1);
        let sent = async |n: usize| {
            let resent = |line: &&Value| line["what"] == "resent" && line["step"] == "book";
            let log = shown(url, tour)["log"].clone();
            (log.as_array().unwrap().iter().filter(resent).count() == n).then_some(())
        };
        let done = saga(format!("resend {tour} book {by} --json")).expect(0).json();
        assert_eq!(done["asked"], "resend");
        eventually("it is sent again", async || sent(1).await).await;
        saga(format!("cancel {tour} {by}")).expect(0);
        until(url, tour, "compensating").await;
        // It goes back already: nothing is done, and the way out is named.
        let again = saga(format!("cancel {tour} {by}")).expect(7).stderr;
        assert!(again.contains("goes back already") && again.contains(&way), "{again}");
        let force = saga(format!("resolve {tour} {by} --yes --force")).expect(1).stderr;
        assert!(force.contains(&way), "{force}");
        saga(format!("resend {tour} book {by}")).expect(0);
        eventually("its compensation is sent again", async || sent(2).await).await;
        running.stop().await;
    }

    pub(super) async fn what_fails_is_shown_by_step_and_error_and_tried_again<DB: Open>(url: &str) {
        let world = World::<DB>::new(url).await;
        let saga = |args: &str| syncline(url, &format!("saga {args}"));
        assert!(saga("list --failing").expect(0).stdout.contains("no saga has a step that fails"));
        let none = saga("retry --failing --by ada --why so --json").expect(7).json();
        assert_eq!(none, json!({"asked": "retry", "steps": 0}));
        saga("retry --failing --by ada").expect(2);
        saga("retry --by ada --why so").expect(2);
        saga("list --failing --stuck").expect(2);
        let running = world.sagas.run().await.unwrap();
        // Two compensations that were given up, and two steps after the pivot.
        let mut all = Vec::new();
        for (key, refused) in [("a", true), ("b", true), ("c", false), ("d", false)] {
            let id = world.start("order", key, "", refused).await;
            until(url, id, "stuck").await;
            all.push((id, refused));
        }
        let groups = saga("list --failing --json").expect(0).json();
        let groups = groups["items"].as_array().unwrap();
        assert_eq!(groups.len(), 2, "{groups:#?}");
        for (step, error, compensation) in
            [("open", "the shop is closed", true), ("tell", "no paper", false)]
        {
            let group = groups.iter().find(|group| group["step"] == step).unwrap();
            assert_eq!((&group["error"], &group["then"]), (&json!(error), &json!("is stuck")));
            assert_eq!(group["compensation"], compensation);
            let instances = group["instances"].as_array().unwrap();
            assert_eq!(instances.len(), 2, "{group:#}");
            assert_eq!(
                (&instances[0]["attempts"], &instances[0]["attempts_left"]),
                (&json!(1), &json!(0))
            );
        }
        let text = saga("list --failing").expect(0).stdout;
        assert!(text.contains("open (compensation)") && text.contains("no paper"), "{text}");
        let listed = saga("list --stuck").expect(0).stdout;
        assert!(listed.contains("compensation of open: the shop"), "{listed}");
        assert!(syncline(url, "doctor").stdout.contains("4 stuck, 0 overdue, 4 failing steps"));

        world.broken.store(false, Ordering::Relaxed);
        saga("retry --failing --saga trip --by ada --why mended").expect(7);
        let done = saga("retry --failing --by ada --why mended --json").expect(0).json();
        assert_eq!(done, json!({"asked": "retry", "steps": 4}));
        for (id, refused) in all {
            until(url, id, if refused { "compensated" } else { "completed" }).await;
        }
        let none = json!({"items": [], "more": false});
        assert_eq!(saga("list --failing --json").expect(0).json(), none);
        running.stop().await;
    }

    pub(super) async fn a_saga_that_no_engine_has_is_found_and_ended_by_force<DB: Open>(url: &str) {
        let world = World::<DB>::new(url).await;
        syncline(url, "saga check").expect(0);
        let order = world.start("order", "first", "customer/1", false).await;
        let check = |args: &str| syncline(url, &format!("saga check {args}"));
        let missing = check("--json").expect(8).json();
        let one = json!({"saga": "order", "version": 1, "instances": 1});
        assert_eq!(missing, json!({"missing": [one]}));
        check("--have order@1 --have trip@1").expect(0);
        assert!(check("--have order@2").expect(8).stdout.contains("order@1"));
        check("--have order").expect(2);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "trip@3\n\norder@1").unwrap();
        check(&format!("--have-file {}", file.path().display())).expect(0);
        writeln!(file, "order").unwrap();
        let bad = check(&format!("--have-file {}", file.path().display())).expect(2);
        assert!(bad.stderr.contains("line 4"), "{}", bad.stderr);
        check("--have-file no/such/file").expect(2);

        let force = format!("saga resolve {order} --by ada --why gone --yes --force --json");
        let early = syncline(url, &force).expect(1);
        assert_eq!(early.error()["kind"], "failed");
        let long_ago = if DB::NAME == "SQLite" { "0" } else { "'2020-01-01 00:00:00'" };
        DB::run(&world.pool, &format!("UPDATE syncline_saga_event SET at = {long_ago}")).await;
        let done = syncline(url, &force).expect(0).json();
        assert_eq!(done, json!({"saga": order, "resolved": true}));
        assert_eq!(shown(url, order)["status"], "resolved");
        assert!(syncline(url, "lock list").expect(0).stdout.contains("nothing is locked"));
        syncline(url, "saga check").expect(0);
        let tree = syncline(url, &format!("saga show {order}")).expect(0).stdout;
        assert!(tree.contains("operator: ada: gone"), "{tree}");
    }
}
