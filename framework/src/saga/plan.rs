//! The plan of a saga: its steps as a graph without circles, checked when it is built. It knows
//! neither a database nor user code: `decide` works on it alone.

mod check;

use std::{collections::BTreeSet, time::Duration};

#[cfg(all(feature = "testing", feature = "sqlite"))]
use super::step::Retry;
use super::step::{Role, Step};
use check::{ancestors, check_names, reservations, roles};

pub use check::PlanError;

/// The checked plan of one version of a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    name: String,
    version: i32,
    deadline: Option<Duration>,
    steps: Vec<Step>,
    roles: Vec<Role>,
    /// For each step, the places of the steps that wait for it directly.
    dependents: Vec<Vec<usize>>,
    /// For each step, the places of the steps that it waits for directly.
    needs: Vec<Vec<usize>>,
    /// How what is decided is broken, on purpose.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) mutant: Option<crate::testing::saga::Mutant>,
}

/// Builds a [`Plan`].
#[derive(Debug, Clone, Default)]
pub struct PlanBuilder {
    name: String,
    version: i32,
    deadline: Option<Duration>,
    steps: Vec<Step>,
    /// What the next step waits for, unless it says otherwise.
    front: Vec<String>,
}

impl Plan {
    /// Begins the plan of version `version`, from 1, of the saga `name`.
    ///
    /// ```
    /// use syncline::saga::{Plan, Step};
    /// let plan = Plan::builder("registration", 1)
    ///     .step(Step::local("create-account").compensated())
    ///     .step(Step::remote("provision-login").compensated())
    ///     .step(Step::local("activate").pivot())
    ///     .step(Step::remote("send-welcome").retriable())
    ///     .build()?;
    /// assert_eq!(plan.steps().len(), 4);
    /// # Ok::<(), syncline::saga::PlanError>(())
    /// ```
    pub fn builder(name: impl Into<String>, version: i32) -> PlanBuilder {
        let (steps, front) = (Vec::new(), Vec::new());
        PlanBuilder { name: name.into(), version, deadline: None, steps, front }
    }

    /// The saga's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of this definition.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// How long an instance may take up to its pivot.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The steps in the order in which they were declared.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Which way the saga can go from the step at `index`.
    pub fn role(&self, index: usize) -> Role {
        self.roles[index]
    }

    /// The place of the step `name`.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }

    /// The steps whose results and commands are erased when an instance ends.
    pub(crate) fn secret_steps(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|step| step.secret).map(|step| &*step.name)
    }

    pub(crate) fn needs(&self, index: usize) -> &[usize] {
        &self.needs[index]
    }

    pub(crate) fn dependents(&self, index: usize) -> &[usize] {
        &self.dependents[index]
    }

    /// No step is tried more often, for a test that takes all of them.
    #[cfg(all(feature = "testing", feature = "sqlite"))]
    pub(crate) fn limit_attempts(&mut self, attempts: u32) {
        for step in &mut self.steps {
            let limited =
                |retry: Retry| Some(Retry { attempts: retry.attempts.min(attempts), ..retry });
            step.undo_retry = limited(step.compensation_retry());
            step.retry = limited(step.action_retry());
        }
    }

    /// The place of the pivot.
    pub(crate) fn pivot(&self) -> Option<usize> {
        self.steps.iter().position(|step| step.pivot)
    }
}

impl PlanBuilder {
    /// How long an instance may take from its start until its pivot is applied: it is compensated
    /// then. What comes after the pivot has no end but its own.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Adds a step after the one, or the group, before it.
    #[must_use]
    pub fn step(self, step: Step) -> Self {
        self.parallel([step])
    }

    /// Adds steps that run side by side, after what is before them.
    #[must_use]
    pub fn parallel(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        let before = std::mem::take(&mut self.front);
        for mut step in steps {
            if step.after.is_empty() {
                step.after.clone_from(&before);
            }
            self.front.push(step.name.clone());
            self.steps.push(step);
        }
        self
    }

    /// Checks the plan.
    ///
    /// # Errors
    /// [`PlanError`]: the first thing that is wrong, and what to do about it.
    pub fn build(self) -> Result<Plan, PlanError> {
        let Self { name: saga, version, deadline, steps, front: _ } = self;
        let places = check_names(&saga, version, &steps)?;
        let at = |step: &Step, name: &String| {
            places.get(name.as_str()).copied().ok_or_else(|| PlanError::Unknown {
                saga: saga.clone(),
                step: step.name.clone(),
                unknown: name.clone(),
            })
        };
        let mut needs = Vec::with_capacity(steps.len());
        let mut dependents = vec![Vec::new(); steps.len()];
        for (index, step) in steps.iter().enumerate() {
            let after: BTreeSet<usize> =
                step.after.iter().map(|name| at(step, name)).collect::<Result<_, _>>()?;
            for &before in &after {
                dependents[before].push(index);
            }
            needs.push(after.into_iter().collect::<Vec<usize>>());
        }
        let ancestors = ancestors(&saga, &steps, &needs)?;
        for (index, step) in steps.iter().enumerate() {
            for read in step.reads.iter().chain(&step.confirms) {
                if !ancestors[index].contains(&at(step, read)?) {
                    let (step, read) = (step.name.clone(), read.clone());
                    return Err(PlanError::ReadsAhead { saga, step, read });
                }
            }
        }
        reservations(&saga, &steps, &ancestors)?;
        let roles = roles(&saga, &steps, &ancestors)?;
        Ok(Plan {
            name: saga,
            version,
            deadline,
            steps,
            roles,
            dependents,
            needs,
            #[cfg(any(test, feature = "testing"))]
            mutant: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::Retry;

    fn build(steps: impl IntoIterator<Item = Step>) -> Result<Plan, PlanError> {
        steps.into_iter().fold(Plan::builder("order", 1), PlanBuilder::step).build()
    }

    #[test]
    fn a_reservation_is_confirmed_once_and_the_pivot_stands_between() {
        let (reserve, pivot) = (Step::remote("r").reserves(), Step::local("p").pivot());
        let confirm = |name: &str| Step::remote(name).confirms("r");
        let plan = build([reserve.clone(), pivot.clone(), confirm("c")]).expect("sound");
        assert_eq!([plan.role(0), plan.role(2)], [Role::Compensatable, Role::Retriable]);

        let broken = |steps: Vec<Step>| build(steps).expect_err("broken").to_string();
        let error = broken(vec![reserve.clone(), pivot.clone()]);
        assert!(error.contains("\"r\" reserves and no step confirms it"), "{error}");
        let error = broken(vec![reserve.clone(), confirm("c"), pivot.clone()]);
        assert!(error.contains("does not come after the pivot"), "{error}");
        let error = broken(vec![reserve.clone(), confirm("c")]);
        assert!(error.contains("does not come after the pivot"), "{error}");
        let error = broken(vec![reserve.clone(), pivot.clone(), confirm("c"), confirm("d")]);
        assert!(error.contains("\"c\" and \"d\" confirm the same"), "{error}");
        let plain = Step::remote("r").compensated();
        let error = broken(vec![plain, pivot.clone(), confirm("c")]);
        assert!(error.contains("\"r\", which is no step that reserves"), "{error}");
        let error = broken(vec![pivot.clone(), reserve.clone(), confirm("c")]);
        assert!(error.contains("does not come before the pivot"), "{error}");
        let error = broken(vec![Step::local("r").reserves(), pivot, confirm("c")]);
        assert!(error.contains("only a participant reserves"), "{error}");
    }

    #[test]
    fn a_declared_topic_is_one_and_of_a_step_that_sends() {
        let remote = |topic: &str| Step::remote("r").compensated().topic(topic);
        assert!(build([remote("credit.reserve")]).is_ok());
        for (step, problem) in [
            (remote("credit.*"), "credit.*"),
            (remote("syncline.link"), "Syncline's own"),
            (Step::local("r").compensated().topic("credit.reserve"), "sends no command"),
        ] {
            let error = build([step]).expect_err(problem).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_step_needs_time_and_an_attempt() {
        use std::time::Duration;
        let step = || Step::remote("r").compensated();
        let none = Retry { attempts: 0, ..Retry::default() };
        for step in [
            step().deadline(Duration::ZERO),
            step().try_limit(Duration::ZERO),
            step().retry(none),
            step().undo_retry(none),
        ] {
            assert!(matches!(build([step]), Err(PlanError::NoTime { .. })));
        }
    }
}
