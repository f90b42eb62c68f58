//! Checks before a relay starts: of its definitions, its database, and whether what it declares reaches
//! anybody.

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{RelayBuilder, RelayOptions, define};
use crate::{
    Error, Result, Storage,
    message::{check_source, check_stream},
    storage::{Own, check_schema, check_writable, close},
};

/// Allowed duration of a lease. A stored one that ends later is from a time when the database's clock
/// was ahead, and is taken over: the statements say so, too.
const LEASES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(10);

impl<DB: Storage> RelayBuilder<DB> {
    /// Checks what [`RelayBuilder::start`] checks, that no stored route with messages which were
    /// not sent is left out ([`RelayBuilder::leaves`]), and that each stream would be carried: that
    /// no newer definition is in force, nor the stream closed and sent; and that it would reach
    /// somebody, by a route or the feed ([`RelayBuilder::feeds`]). Begins nothing and changes nothing.
    ///
    /// # Errors
    /// As [`RelayBuilder::start`]; [`Error::ReachesNobody`].
    pub async fn check(&self) -> Result<()> {
        self.check_start().await?;
        let pool = Own::service(&self.source, &self.pool, self.options.answer_within).now();
        let stored = pool.limit(define::Stored::read(&pool)).await?;
        define::check(&stored, &self.streams, &self.routes)?;
        for (name, problem, left) in define::not_in_force(&stored, &self.streams) {
            if !left {
                return Err(Error::Definition { what: "stream", name, problem });
            }
        }
        pool.limit(define::left_behind(&pool, &stored, &self.routes, &self.leaves)).await?;
        self.check_reached(&stored)
    }

    /// That each stream has a route, here or in another program, or readers.
    fn check_reached(&self, stored: &define::Stored) -> Result<()> {
        let reached = |name: &str| {
            self.feeds.contains(name)
                || self.routes.iter().any(|route| route.stream == name)
                || stored.is_routed(name)
        };
        match self.streams.iter().find(|stream| !reached(stream.name())) {
            Some(stream) => Err(Error::ReachesNobody { stream: stream.name().to_owned() }),
            None => Ok(()),
        }
    }

    pub(super) async fn check_start(&self) -> Result<()> {
        self.check_definitions()?;
        let pool = Own::service(&self.source, &self.pool, self.options.answer_within).now();
        pool.limit(DB::check_durable(&pool)).await?;
        pool.limit(check_schema(&pool)).await?;
        // Its own connections have settings that the service's have not, and look whether they hold.
        let own = DB::relay_pool(&self.pool, 1, Arc::new(|_| ()));
        let fit = pool.limit(async {
            DB::head(&own).await?;
            check_writable(&own).await
        });
        let fit = fit.await;
        close(&own).await;
        fit
    }

    fn check_definitions(&self) -> Result<()> {
        let fail = |what, name: &str, problem: String| {
            Err(Error::Definition { what, name: name.to_owned(), problem })
        };
        if let Err(error) = check_source(&self.source) {
            return fail("relay", &self.source, error.to_string());
        }
        let mut streams = HashSet::new();
        for stream in &self.streams {
            stream.check()?;
            if !streams.insert(stream.name()) {
                return fail("stream", stream.name(), "it is declared twice".to_owned());
            }
        }
        let mut routes = HashSet::new();
        for route in &self.routes {
            if let Err(error) = check_stream(&route.name) {
                return fail("route", &route.name, error.to_string());
            }
            if !routes.insert(&route.name) {
                return fail("route", &route.name, "it is defined twice".to_owned());
            }
            if !streams.contains(route.stream.as_str()) {
                let problem = format!("its stream {:?} is not declared", route.stream);
                return fail("route", &route.name, problem);
            }
        }
        let RelayOptions { batch_messages, batch_bytes, window, seal_messages, lease, .. } =
            self.options;
        if [batch_messages as usize, batch_bytes, window, seal_messages as usize].contains(&0)
            || !LEASES.contains(&lease)
            || self.options.answer_within < *LEASES.start()
            || self.options.publish_within < *LEASES.start()
            || self.options.ask_every < *LEASES.start()
        {
            let problem = "batches, the window and seals hold at least 1, a lease lasts 100 ms to \
                           10 min, the database and a publisher have at least 100 ms to answer, and \
                           a consumer is asked where it is every 100 ms at the most";
            return fail("relay", &self.source, problem.to_owned());
        }
        Ok(())
    }
}
