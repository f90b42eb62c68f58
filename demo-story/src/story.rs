//! The story: register, kill, restart, log in; and what must be true at the end.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    client::{Api, User},
    promises::{
        CLIENTS, THIEVES, Told, caught_up, changes_arrive, delay,
        everyone_is_active_and_can_log_in, nobody_lost_and_nobody_twice, thieves_are_rejected,
    },
    registrations,
    report::Report,
    services::{Service, Way, pair},
    stores::Store,
};

/// Users who register while the services move from one way to the other.
const MOVERS: usize = 25;

/// Both services, with a client.
pub(crate) struct Stage {
    pub(crate) a: Service,
    pub(crate) b: Service,
    pub(crate) api: Api,
    pub(crate) told: Told,
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
