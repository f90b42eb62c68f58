//! The story: register, kill, restart, log in; and what must be true at the end.

use std::{
    future::Future,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::{
    client::{Api, User},
    registrations,
    report::Report,
    services::{Service, Way, pair},
    stores::{Row, Store},
};

/// Requests at once.
const CLIENTS: usize = 16;
/// Users who use another one's address, in each act.
const THIEVES: usize = 10;
/// Probes of the sync delay, in each act.
const PROBES: usize = 100;
/// Users who register while the services move from one way to the other.
const MOVERS: usize = 25;
/// How long anything may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(120);
/// Between two looks.
const QUICK: Duration = Duration::from_millis(20);

/// Both services, with a client.
pub(crate) struct Stage {
    pub(crate) a: Service,
    pub(crate) b: Service,
    pub(crate) api: Api,
    pub(crate) told: Told,
}

/// What the services were told so far, and must know.
#[derive(Default)]
pub(crate) struct Told {
    /// Who must be at A and at B.
    users: Vec<User>,
    /// Who was active once, and was deleted.
    gone: usize,
    /// Registrations that B has refused.
    refused: usize,
    /// Registrations that were refused after B had made a login.
    revoked: usize,
    /// Updates that B has accepted.
    updates: usize,
}

impl Told {
    pub(crate) fn registered(&mut self, users: &[User]) {
        self.users.extend_from_slice(users);
    }

    pub(crate) fn refused(&mut self, by_b: usize, after_b: usize) {
        self.refused += by_b;
        self.revoked += after_b;
    }
}

impl Stage {
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let (a, b) = pair(dir)?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .context("the HTTP client")?;
        let api = Api { http, a: a.url.clone(), b: b.url.clone(), again: AtomicUsize::new(0) };
        Ok(Self { a, b, api, told: Told::default() })
    }

    /// Tells the story; what was seen goes into the report.
    pub(crate) async fn play(&mut self, users: &[User], report: &mut Report) -> anyhow::Result<()> {
        self.start(Way::Push).await?;
        println!("service A (register) at {}, service B (login) at {}", self.api.a, self.api.b);
        let (a, b) = (Store::open(&self.a.database).await?, Store::open(&self.b.database).await?);
        let (pushed, pulled) = users.split_at(users.len() / 2);
        let (to_pull, pulled) = pulled.split_at(MOVERS);
        let (pulled, to_push) = pulled.split_at(pulled.len() - MOVERS);
        self.act("first act", Way::Push, (&a, &b), pushed, report).await?;
        self.change_over(Way::Pull, (&a, &b), to_pull, report).await?;
        self.act("second act", Way::Pull, (&a, &b), pulled, report).await?;
        self.change_over(Way::Push, (&a, &b), to_push, report).await?;
        registrations::act(self, (&a, &b), report).await?;
        println!("\nwhat must be true at the end:");
        nobody_lost_and_nobody_twice(&a, &b, &self.told, report).await
    }

    async fn start(&mut self, way: Way) -> anyhow::Result<()> {
        self.a.start(&self.api.http, way).await?;
        self.b.start(&self.api.http, way).await
    }

    /// Registers `users`, kills both services meanwhile, and looks at what became of everything.
    async fn act(
        &mut self,
        name: &str,
        way: Way,
        (a, b): (&Store, &Store),
        users: &[User],
        report: &mut Report,
    ) -> anyhow::Result<()> {
        println!("\n{name}: users come to B by {way}");
        self.register_and_kill(way, users, report).await?;
        self.told.registered(users);
        println!("\nwhat must be true now, by {way}:");
        everyone_is_active_and_can_log_in(&self.api, users, report).await?;
        thieves_are_rejected(&self.api, way, users, report).await?;
        self.told.refused(THIEVES, 0);
        nobody_lost_and_nobody_twice(a, b, &self.told, report).await?;
        changes_arrive(&self.api, (a, b), way, users, &mut self.told, report).await?;
        let probes = delay(&self.api, b, way, report).await?;
        self.told.registered(&probes);
        report.none("messages held or dead", a.held().await? + b.held().await?);
        Ok(())
    }

    /// Moves the stream of users to another way: B first, and `users` register while it is away,
    /// so that what is under way is taken up by the new way.
    async fn change_over(
        &mut self,
        way: Way,
        (a, b): (&Store, &Store),
        users: &[User],
        report: &mut Report,
    ) -> anyhow::Result<()> {
        println!("\nthe services move to {way}; {} users register meanwhile", users.len());
        self.b.stop(report).await?;
        for user in users {
            self.api.register(user).await?;
        }
        self.told.registered(users);
        self.a.stop(report).await?;
        let (known, sent) = (b.watermark().await?, a.checkpoint().await?);
        println!(
            "  B has applied A's log up to {known}, A's route is at {sent}, the log ends at {}",
            a.head().await?
        );
        self.start(way).await?;
        report.promise("what was under way arrives by the other", caught_up(a, b).await?, way);
        everyone_is_active_and_can_log_in(&self.api, users, report).await
    }

    /// Stops both services, as an operator would.
    pub(crate) async fn stop(&mut self, report: &mut Report) -> anyhow::Result<()> {
        self.a.stop(report).await?;
        self.b.stop(report).await
    }

    /// Ends whatever still runs.
    pub(crate) async fn end(&mut self) {
        tokio::join!(self.a.end(), self.b.end());
    }

    /// Registers everybody; B is killed after a third of them and comes back after half, A is
    /// killed after two thirds. Counts set the pace, not times: a fast machine would otherwise
    /// be through before the second kill.
    async fn register_and_kill(
        &mut self,
        way: Way,
        users: &[User],
        report: &mut Report,
    ) -> anyhow::Result<()> {
        println!("registering {} users, {CLIENTS} at once", users.len());
        let done = AtomicUsize::new(0);
        let (a, b, api, done) = (&mut self.a, &mut self.b, &self.api, &done);
        let registering =
            stream::iter(users).map(Ok).try_for_each_concurrent(CLIENTS, |user| async move {
                api.register(user).await?;
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if done.is_multiple_of(100) {
                    println!("  {done} registered");
                }
                anyhow::Ok(())
            });
        let reached = async |sixths: usize| {
            while done.load(Ordering::Relaxed) < users.len() * sixths / 6 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            done.load(Ordering::Relaxed)
        };
        let killing_b = async {
            let before = reached(2).await;
            b.kill().await?;
            println!("  kill -9 of B; A goes on alone");
            let after = reached(3).await;
            b.start(&api.http, way).await?;
            println!("  B is back");
            anyhow::Ok((before, after))
        };
        let killing_a = async {
            let before = reached(4).await;
            let again = api.again.load(Ordering::Relaxed);
            a.kill().await?;
            println!("  kill -9 of A; its clients try again");
            tokio::time::sleep(Duration::from_millis(300)).await;
            a.start(&api.http, way).await?;
            println!("  A is back");
            anyhow::Ok((before, api.again.load(Ordering::Relaxed) - again))
        };
        let ((), (first, alone), (second, again)) =
            tokio::try_join!(registering, killing_b, killing_a)?;
        println!("\nwhat was done to them:");
        let seen = format!("after {first} of {}; A took {} without it", users.len(), alone - first);
        report.promise("kill -9 of B in mid-stream", alone < users.len(), seen);
        let seen = format!("after {second} of {}; {again} requests sent again", users.len());
        report.promise("kill -9 of A in mid-stream", second < users.len() && again > 0, seen);
        Ok(())
    }
}

pub(crate) async fn everyone_is_active_and_can_log_in(
    api: &Api,
    users: &[User],
    report: &mut Report,
) -> anyhow::Result<()> {
    let count = |results: Vec<bool>| results.into_iter().filter(|good| *good).count();
    // One limit for all of them.
    let until = Instant::now() + ARRIVAL;
    let active = stream::iter(users)
        .map(|user| async move {
            let status = || async { api.show(&user.user_id).await };
            let is = |shown: &Option<serde_json::Value>| {
                shown.as_ref().is_some_and(|shown| shown["status"] == "active")
            };
            arrives_until(until, QUICK, status, is).await
        })
        .buffer_unordered(CLIENTS)
        .try_collect()
        .await?;
    report.count("users are active at A", count(active), users.len());
    let logged_in = stream::iter(users)
        .map(|user| async {
            let known = api.login(&user.user_id, &user.password).await?;
            let expected = json!({ "name": user.name, "email": user.email });
            anyhow::Ok(known == Some(expected))
        })
        .buffer_unordered(CLIENTS)
        .try_collect()
        .await?;
    report.count("users log in at B, names to the byte", count(logged_in), users.len());
    Ok(())
}

async fn thieves_are_rejected(
    api: &Api,
    way: Way,
    users: &[User],
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut rejected, mut kept_out, mut owners) = (0, 0, 0);
    for (n, owner) in users.iter().enumerate().take(THIEVES) {
        let thief =
            User { email: owner.email.to_uppercase(), ..User::extra(&format!("{way}-thief"), n) };
        api.register(&thief).await?;
        let status = || async { Ok(api.show(&thief.user_id).await?.unwrap_or_default()) };
        let refused = arrives(status, |shown| {
            let reason = shown["reason"].as_str().unwrap_or_default();
            shown["status"] == "rejected" && reason.contains("in use")
        });
        rejected += usize::from(refused.await?);
        kept_out += usize::from(api.login(&thief.user_id, &thief.password).await?.is_none());
        owners += usize::from(api.login(&owner.user_id, &owner.password).await?.is_some());
    }
    report.count("registrations with a known address are rejected at A", rejected, THIEVES);
    report.count("rejected users cannot log in", kept_out, THIEVES);
    report.count("the addresses' owners still can", owners, THIEVES);
    Ok(())
}

async fn nobody_lost_and_nobody_twice(
    a: &Store,
    b: &Store,
    told: &Told,
    report: &mut Report,
) -> anyhow::Result<()> {
    // Those who were killed may have been the last ones to tell.
    for (what, from, to) in [
        ("B's watermark is the end of A's log", a, b),
        ("A's watermark is the end of B's log", b, a),
    ] {
        report.promise(what, caught_up(from, to).await?, from.head().await?);
    }
    let mut expected: Vec<Row> = told
        .users
        .iter()
        .map(|user| (user.user_id.clone(), user.name.clone(), user.email.clone()))
        .collect();
    expected.sort_unstable();
    let (active, known) = (a.active().await?, b.known().await?);
    let seen = format!("{} at A, {} at B", active.len(), known.len());
    let same = active == expected && known == expected;
    report.promise("both databases hold these users, to the byte", same, seen);
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let (users, refused) = (number(told.users.len()), number(told.refused + told.revoked));
    report.count("accounts at A, active ones and no others", a.users().await?, users);
    report.count("rows at B", b.accounts().await?, users);
    report.count("refused registrations at A", a.registrations().await?, refused);
    report.count("display names at A", a.display_names().await?, users);
    let (twice, welcomed) = a.welcomed().await?;
    report.count("users who were welcomed", welcomed, users);
    report.none("users welcomed twice", twice);
    let over = arrives(|| a.open_sagas(), |open| *open == 0).await?;
    report.promise("every registration is over, whole or not at all", over, "no open saga");
    let made = number(told.users.len() + told.gone + told.revoked);
    let (twice, asked) = a.asked().await?;
    report.count("logins that A has asked for", asked, made + number(told.refused));
    report.none("users for whom it has asked twice", twice);
    let (twice, provisioned) = b.provisioned().await?;
    report.count("logins that B has made", provisioned, made);
    report.none("logins made twice", twice);
    let (twice, revoked) = b.revoked().await?;
    report.count("logins that B has taken back", revoked, number(told.revoked));
    report.none("logins taken back twice", twice);
    let (twice, updates) = b.accepted().await?;
    report.count("updates applied at B", updates, number(told.updates));
    report.none("updates applied twice", twice);
    report.none("messages held after a failure, or dead", a.held().await? + b.held().await?);
    Ok(())
}

async fn changes_arrive(
    api: &Api,
    (a, b): (&Store, &Store),
    way: Way,
    users: &[User],
    told: &mut Told,
    report: &mut Report,
) -> anyhow::Result<()> {
    let [changed, gone, bold, ..] = users else { bail!("the story needs three users") };
    let wrong = api.login(&changed.user_id, "not the password").await?;
    report.promise("a wrong password is refused", wrong.is_none(), "401");

    let (name, password) = ("Новое имя 🎉", "a new password 1");
    let email = &format!("moved-by-{way}@example.org");
    let change = json!({ "name": name, "email": email, "password": password });
    api.change(&changed.user_id, change).await?;
    // B limits failed logins: they are no way to wait.
    let arrived = caught_up(a, b).await?;
    let known = api.login(&changed.user_id, password).await?;
    let new = arrived && known == Some(json!({ "name": name, "email": email }));
    report.promise("an update arrives at B", new, "new name, address and password");
    let old = api.login(&changed.user_id, &changed.password).await?;
    report.promise("the old password is refused", old.is_none(), "401");

    api.delete(&gone.user_id).await?;
    let arrived = caught_up(a, b).await?;
    let refused = api.login(&gone.user_id, &gone.password).await?.is_none();
    let shown = api.show(&gone.user_id).await?;
    let deleted = arrived && refused && shown.is_none();
    report.promise("a deletion arrives at B", deleted, "401 at B, 404 at A");

    api.change(&bold.user_id, json!({ "email": email })).await?;
    let status = || async { Ok(api.show(&bold.user_id).await?.unwrap_or_default()) };
    let restored = arrives(status, |shown| {
        shown["email"] == bold.email.as_str() && shown["reason"].is_string()
    });
    report.promise("a refused update goes back at A", restored.await?, "old address, with reason");
    told.updates += 1;
    told.gone += 1;
    told.users.retain(|user| user.user_id != gone.user_id);
    for user in told.users.iter_mut().filter(|user| user.user_id == changed.user_id) {
        (user.name, user.email) = (name.to_owned(), email.clone());
    }
    Ok(())
}

/// Registers one user after the other, each when the one before has arrived. The clock runs
/// from A's answer to B's answer to the login. B limits failed logins, so its database is what
/// is looked at every millisecond; the login follows as soon as the row is there.
async fn delay(api: &Api, b: &Store, way: Way, report: &mut Report) -> anyhow::Result<Vec<User>> {
    let mut probes = Vec::with_capacity(PROBES);
    let mut delays = Vec::with_capacity(PROBES);
    let mut logged_in = 0;
    for n in 0..PROBES {
        let user = User::extra(&format!("{way}-probe"), n);
        api.register(&user).await?;
        let answered = Instant::now();
        while !b.has_account(&user.user_id).await? {
            if answered.elapsed() > ARRIVAL {
                bail!("{} did not arrive at B within {ARRIVAL:?}", user.user_id);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        logged_in += usize::from(api.login(&user.user_id, &user.password).await?.is_some());
        delays.push(answered.elapsed());
        probes.push(user);
    }
    report.count("new users log in as soon as they have arrived", logged_in, PROBES);
    delays.sort_unstable();
    let at = |percent: usize| delays[(delays.len() * percent / 100).min(delays.len() - 1)];
    println!(
        "\nsync delay by {way}, from A's answer to a registration to B's answer to the login,\n\
         {PROBES} users one after the other: p50 {:.1?}, p99 {:.1?}, longest {:.1?}\n",
        at(50),
        at(99),
        at(100)
    );
    Ok(probes)
}

/// Whether all of one's log was taken in by the other.
async fn caught_up(from: &Store, to: &Store) -> anyhow::Result<bool> {
    let head = from.head().await?;
    arrives(|| to.watermark(), |watermark| *watermark >= head).await
}

/// Looks again and again until `is` is so; false when it never was.
pub(crate) async fn arrives<T, F: Future<Output = anyhow::Result<T>>>(
    look: impl Fn() -> F,
    is: impl Fn(&T) -> bool,
) -> anyhow::Result<bool> {
    arrives_until(Instant::now() + ARRIVAL, QUICK, look, is).await
}

async fn arrives_until<T, F: Future<Output = anyhow::Result<T>>>(
    until: Instant,
    pause: Duration,
    look: impl Fn() -> F,
    is: impl Fn(&T) -> bool,
) -> anyhow::Result<bool> {
    loop {
        if is(&look().await?) {
            return Ok(true);
        }
        if Instant::now() + pause > until {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
    }
}
