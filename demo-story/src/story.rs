//! The story: register, kill, restart, log in; and what must be true at the end.

use std::{
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::{
    client::{Api, User},
    report::Report,
    services::{Service, pair},
    stores::Store,
};

/// Requests at once.
const CLIENTS: usize = 16;
/// Users who use another one's address.
const THIEVES: usize = 10;
/// Probes of the sync delay.
const PROBES: usize = 200;
/// How long anything may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(120);

/// Both services, running, with a client.
pub(crate) struct Stage {
    pub(crate) a: Service,
    pub(crate) b: Service,
    pub(crate) api: Api,
}

impl Stage {
    pub(crate) async fn open(dir: &Path) -> anyhow::Result<Self> {
        let (mut a, mut b) = pair(dir)?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .context("the HTTP client")?;
        a.start(&http).await?;
        b.start(&http).await?;
        let api = Api { http, a: a.url.clone(), b: b.url.clone() };
        println!("service A (register) at {}, service B (login) at {}", api.a, api.b);
        Ok(Self { a, b, api })
    }

    /// Tells the story; what was seen goes into the report.
    pub(crate) async fn play(&mut self, users: &[User], report: &mut Report) -> anyhow::Result<()> {
        self.register_and_kill(users).await?;
        println!("\nwhat must be true now:");
        everyone_is_active_and_can_log_in(&self.api, users, report).await?;
        thieves_are_rejected(&self.api, users, report).await?;
        let (a, b) = (Store::open(&self.a.database).await?, Store::open(&self.b.database).await?);
        nobody_lost_and_nobody_twice(&a, &b, users.len(), report).await?;
        changes_arrive(&self.api, users, report).await?;
        delay(&self.api, &b, report).await
    }

    /// Registers everybody; B is killed after a third of them, A after two thirds.
    async fn register_and_kill(&mut self, users: &[User]) -> anyhow::Result<()> {
        println!("registering {} users, {CLIENTS} at once", users.len());
        let done = Arc::new(AtomicUsize::new(0));
        let registering = stream::iter(users).map(Ok).try_for_each_concurrent(CLIENTS, |user| {
            let (api, done) = (&self.api, Arc::clone(&done));
            async move {
                api.register(user).await?;
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if done.is_multiple_of(100) {
                    println!("  {done} registered");
                }
                anyhow::Ok(())
            }
        });
        let (a, b, http) = (&mut self.a, &mut self.b, &self.api.http);
        let reached = async |part: usize| {
            while done.load(Ordering::Relaxed) < users.len() * part / 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let killing = async {
            reached(1).await;
            b.kill().await?;
            println!("  kill -9 of B; A goes on alone");
            tokio::time::sleep(Duration::from_millis(700)).await;
            b.start(http).await?;
            println!("  B is back");
            reached(2).await;
            a.kill().await?;
            println!("  kill -9 of A; its clients try again");
            tokio::time::sleep(Duration::from_millis(300)).await;
            a.start(http).await?;
            println!("  A is back");
            anyhow::Ok(())
        };
        tokio::try_join!(registering, killing)?;
        Ok(())
    }
}

async fn everyone_is_active_and_can_log_in(
    api: &Api,
    users: &[User],
    report: &mut Report,
) -> anyhow::Result<()> {
    let count = |results: Vec<bool>| results.into_iter().filter(|good| *good).count();
    let active = stream::iter(users)
        .map(|user| async {
            let status = || async { api.show(&user.user_id).await };
            let is = |shown: &Option<serde_json::Value>| {
                shown.as_ref().is_some_and(|shown| shown["status"] == "active")
            };
            arrives(status, is).await
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
    users: &[User],
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut rejected, mut kept_out, mut owners) = (0, 0, 0);
    for (n, owner) in users.iter().enumerate().take(THIEVES) {
        let thief = User { email: owner.email.to_uppercase(), ..User::extra("thief", n) };
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
    users: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (users, thieves) = (i64::try_from(users)?, i64::try_from(THIEVES)?);
    report.count("rows at A", a.users().await?, users + thieves);
    report.count("rows at B", b.accounts().await?, users);
    let (twice, told) = a.told("user.registered").await?;
    report.count("messages about registrations in A's log", told, users + thieves);
    report.count("users told of twice", twice, 0);
    let (twice, effects) = b.told("account.accepted").await?;
    report.count("registrations applied at B", effects, users);
    report.count("registrations applied twice", twice, 0);
    let watermark = || async { b.watermark().await };
    let head = a.head().await?;
    let reached = arrives(watermark, |watermark| *watermark == head).await?;
    report.promise("B's watermark is the end of A's log", reached, head);
    report.count("messages held after a failure", a.held().await? + b.held().await?, 0);
    Ok(())
}

async fn changes_arrive(api: &Api, users: &[User], report: &mut Report) -> anyhow::Result<()> {
    let [changed, gone, bold, ..] = users else { bail!("the story needs three users") };
    let (name, password) = ("Новое имя 🎉", "a new password 1");
    let email = "moved@example.org";
    let change = json!({ "name": name, "email": email, "password": password });
    api.change(&changed.user_id, change).await?;
    let login = || async { api.login(&changed.user_id, password).await };
    // Failed logins are limited: a few patient tries.
    let new = arrives_slowly(login, |user| {
        user.as_ref().is_some_and(|user| user["name"] == name && user["email"] == email)
    });
    report.promise("an update arrives at B", new.await?, "new name, address and password");
    let old = api.login(&changed.user_id, &changed.password).await?;
    report.promise("the old password is refused", old.is_none(), "401");

    api.delete(&gone.user_id).await?;
    let login = || async { api.login(&gone.user_id, &gone.password).await };
    let refused = arrives_slowly(login, Option::is_none).await?;
    let shown = api.show(&gone.user_id).await?;
    report.promise("a deletion arrives at B", refused && shown.is_none(), "401 at B, 404 at A");

    api.change(&bold.user_id, json!({ "email": email })).await?;
    let status = || async { Ok(api.show(&bold.user_id).await?.unwrap_or_default()) };
    let restored = arrives(status, |shown| {
        shown["email"] == bold.email.as_str() && shown["reason"].is_string()
    });
    report.promise("a refused update goes back at A", restored.await?, "old address, with reason");
    Ok(())
}

/// Registers one user after the other and looks every half millisecond for the row at B.
async fn delay(api: &Api, b: &Store, report: &mut Report) -> anyhow::Result<()> {
    let mut delays = Vec::with_capacity(PROBES);
    for n in 0..PROBES {
        let user = User::extra("probe", n);
        api.register(&user).await?;
        let answered = Instant::now();
        while !b.has_account(&user.user_id).await? {
            if answered.elapsed() > ARRIVAL {
                bail!("{} did not arrive at B", user.user_id);
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        delays.push(answered.elapsed());
    }
    delays.sort_unstable();
    let at = |percent: usize| delays[(delays.len() * percent / 100).min(delays.len() - 1)];
    let seen = format!("p50 {:.1?}, p99 {:.1?} from A's answer to the row at B", at(50), at(99));
    report.promise("new users arrive one by one", delays.len() == PROBES, seen);
    Ok(())
}

/// Looks every 20 ms until `is` is so; false when it never was.
async fn arrives<T, F: Future<Output = anyhow::Result<T>>>(
    look: impl Fn() -> F,
    is: impl Fn(&T) -> bool,
) -> anyhow::Result<bool> {
    arrives_every(Duration::from_millis(20), look, is).await
}

async fn arrives_slowly<T, F: Future<Output = anyhow::Result<T>>>(
    look: impl Fn() -> F,
    is: impl Fn(&T) -> bool,
) -> anyhow::Result<bool> {
    arrives_every(Duration::from_secs(1), look, is).await
}

async fn arrives_every<T, F: Future<Output = anyhow::Result<T>>>(
    pause: Duration,
    look: impl Fn() -> F,
    is: impl Fn(&T) -> bool,
) -> anyhow::Result<bool> {
    let began = Instant::now();
    while began.elapsed() < ARRIVAL {
        if is(&look().await?) {
            return Ok(true);
        }
        tokio::time::sleep(pause).await;
    }
    Ok(false)
}
