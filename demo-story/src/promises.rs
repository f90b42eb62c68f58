//! What was promised, looked at from outside and in both databases.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::bail;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    client::{Api, User},
    report::Report,
    services::Way,
    stores::{Row, Store},
};

/// Requests at once.
pub(crate) const CLIENTS: usize = 16;
/// Users who use another one's address, in each act.
pub(crate) const THIEVES: usize = 10;
/// Probes of the sync delay, in each act.
const PROBES: usize = 100;
/// How long anything may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(120);
/// Between two looks.
const QUICK: Duration = Duration::from_millis(20);

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

pub(crate) async fn thieves_are_rejected(
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

pub(crate) async fn nobody_lost_and_nobody_twice(
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

pub(crate) async fn changes_arrive(
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

    let answers = api.strangers(&changed.user_id, gone).await?;
    let unauthorized = |answer: &StatusCode| [401, 403].contains(&answer.as_u16());
    let owner = api.login(&changed.user_id, &changed.password).await?;
    let kept_out = answers.iter().all(unauthorized) && owner.is_some();
    report.promise("strangers neither change nor delete a user", kept_out, "401, 403");

    let (name, password) = ("Новое имя 🎉", "a new password 1");
    let email = &format!("moved-by-{way}@example.org");
    let change = json!({ "name": name, "email": email, "password": password });
    api.change(&changed.user_id, &changed.password, change).await?;
    // B limits failed logins: they are no way to wait.
    let arrived = caught_up(a, b).await?;
    let known = api.login(&changed.user_id, password).await?;
    let new = arrived && known == Some(json!({ "name": name, "email": email }));
    report.promise("an update arrives at B", new, "new name, address and password");
    let old = api.login(&changed.user_id, &changed.password).await?;
    report.promise("the old password is refused", old.is_none(), "401");

    api.delete(&gone.user_id, &gone.password).await?;
    let arrived = caught_up(a, b).await?;
    let refused = api.login(&gone.user_id, &gone.password).await?.is_none();
    let shown = api.show(&gone.user_id).await?;
    let deleted = arrived && refused && shown.is_none();
    report.promise("a deletion arrives at B", deleted, "401 at B, 404 at A");

    api.change(&bold.user_id, &bold.password, json!({ "email": email })).await?;
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
pub(crate) async fn delay(
    api: &Api,
    b: &Store,
    way: Way,
    report: &mut Report,
) -> anyhow::Result<Vec<User>> {
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
pub(crate) async fn caught_up(from: &Store, to: &Store) -> anyhow::Result<bool> {
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
