//! What happens when nothing is under way: time passes, an operator looks, or it is over.

use std::time::Duration;

use super::{Broken, Orchestrator, Order, Repeat, World, broken};
use crate::{
    saga::{State, Status},
    storage::sqlite::explored,
};

impl World<'_> {
    /// Nothing is under way: time passes until a timer is due. The state when there is none.
    pub(super) async fn idle(&mut self) -> Result<Option<State>, Broken> {
        let state = self.state().await?;
        if state.is_ended() {
            return Ok(Some(state));
        }
        if self.advance().await? {
            return Ok(None);
        }
        if state.status == Status::Stuck {
            self.operate(&state).await?;
            return Ok(None);
        }
        Err(format!(
            "it is not over, nothing is under way and no timer is armed\n{}",
            self.drawn().await
        ))
    }

    /// In an order by chance timers are due before everything was delivered, now and then.
    pub(super) async fn let_time_pass_early(&mut self) -> Result<bool, Broken> {
        let early = match &mut self.run.order {
            Order::Chance(random) => random.one_in(40),
            _ => false,
        };
        Ok(early && self.advance().await?)
    }

    /// Lets time pass until the next timer is due; whether there is one.
    async fn advance(&mut self) -> Result<bool, Broken> {
        let pool = &self.own;
        let Some(left) = explored::next_timer(pool).await.map_err(broken)? else {
            return Ok(false);
        };
        if left > 0 {
            explored::hasten(pool, left).await.map_err(broken)?;
            self.elapsed += Duration::from_millis(left.unsigned_abs());
            self.tell(format!("{left} ms pass"));
        }
        self.engine_due = true;
        Ok(true)
    }

    /// It is stuck. What had to run has run; then an operator mends what is broken, and has it
    /// tried again.
    async fn operate(&mut self, state: &State) -> Result<(), Broken> {
        self.check_stuck(state).await?;
        self.tell("it is stuck: an operator mends it".to_owned());
        self.script.mend();
        self.run.withheld = None;
        let id = self.id.ok_or("it was not started")?;
        Orchestrator::mend(&self.own, id, state).await?;
        self.engine_due = true;
        Ok(())
    }

    /// What was withheld, and what comes again late, arrives after the end and changes nothing.
    pub(super) async fn finish(&mut self, state: State) -> Result<State, Broken> {
        let before = self.effects().await?;
        self.run.withheld = None;
        if self.run.late {
            for flight in self.sent.clone() {
                self.send_again(&flight);
            }
        }
        self.run.repeat = Repeat::Nothing;
        self.tell("it is over; what is late comes now".to_owned());
        while let Some(last) = self.deliverable().first().copied() {
            self.deliver(last).await?;
            if self.engine_due {
                self.work().await?;
            }
        }
        let after = self.state().await?;
        if after != state {
            return Err(format!("something changed after its end\n{}", self.drawn().await));
        }
        if self.effects().await? != before {
            return Err(format!("a step had an effect after its end\n{}", self.drawn().await));
        }
        if explored::next_timer(&self.own).await.map_err(broken)?.is_some() {
            return Err("a timer is armed after its end".to_owned());
        }
        Ok(state)
    }
}
