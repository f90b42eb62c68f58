//! Which runs are made: each one is planned from what an earlier one has shown.

use std::{fs, path::PathBuf};

use uuid::Uuid;

use super::{
    Databases, Explorer, Report, Violation,
    run::{Order, Repeat, Run},
    valve::Death,
    watch::Fault,
    world::{Broken, Seen, World, broken},
};
use crate::{
    saga::{End, Role, Step, Undo, wire::Ask},
    testing::saga::random::Random,
};

/// An exploration under way.
pub(super) struct Campaign<'a> {
    explorer: &'a Explorer,
    folder: Folder,
    report: Report,
}

/// A folder for databases, which goes with it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // It is a temporary one.
        drop(fs::remove_dir_all(&self.0));
    }
}

impl<'a> Campaign<'a> {
    pub(super) fn new(explorer: &'a Explorer) -> Self {
        let folder = Folder(std::env::temp_dir().join(format!("syncline-{}", Uuid::now_v7())));
        let report = Report { seed: explorer.seed, ..Report::default() };
        Self { explorer, folder, report }
    }

    pub(super) async fn explore(mut self) -> Result<Report, Violation> {
        if let Err(problem) = self.prepare().await {
            let run = Run::new(None);
            return Err(self.violation(problem, &run, Seen::default()));
        }
        let mut seen = Vec::new();
        for course in self.courses() {
            seen.push((self.one(&course).await?, course));
        }
        let quiet = |course: &Run| course.faults.len() < 2 && course.withheld.is_none();
        for (_, course) in seen.iter().filter(|(_, course)| quiet(course)) {
            self.repeats(course).await?;
            self.orders(course).await?;
        }
        for (seen, course) in seen.iter().take(self.explorer.courses) {
            self.crashes(course, seen).await?;
        }
        self.chance().await?;
        Ok(self.report)
    }

    /// Makes the databases that each run begins with.
    async fn prepare(&self) -> Result<(), Broken> {
        fs::create_dir_all(self.folder.0.join("first")).map_err(broken)?;
        for service in &self.explorer.services {
            let file = self.folder.0.join("first").join(&service.name);
            service.prepare(&file).await.map_err(broken)?;
        }
        Ok(())
    }

    /// Makes one run.
    async fn one(&mut self, run: &Run) -> Result<Seen, Violation> {
        // SQLite removes files by name when it closes them, which may be after the run.
        let folder = self.folder.0.join(format!("run {}", self.report.runs));
        let result = self.in_folder(run, folder.clone()).await;
        drop(fs::remove_dir_all(folder));
        self.report.runs += 1;
        match result {
            Ok((seen, end)) => {
                self.report.repeats += seen.repeats;
                self.report.faults += seen.faults;
                match end {
                    End::Completed => self.report.completed += 1,
                    End::Compensated | End::Resolved => self.report.compensated += 1,
                }
                Ok(seen)
            }
            Err((problem, seen)) => Err(self.violation(problem, run, seen)),
        }
    }

    async fn in_folder(&self, run: &Run, folder: PathBuf) -> Result<(Seen, End), (Broken, Seen)> {
        let early = |problem| (problem, Seen::default());
        fs::create_dir_all(&folder).map_err(|error| early(broken(error)))?;
        for service in &self.explorer.services {
            let from = self.folder.0.join("first").join(&service.name);
            let copied = fs::copy(from, folder.join(&service.name));
            copied.map_err(|error| early(broken(error)))?;
        }
        let mut world = World::new(self.explorer, run, folder).await.map_err(early)?;
        let ended = self.to_the_end(&mut world, run).await;
        world.close().await;
        match ended {
            Ok(end) => Ok((world.seen, end)),
            Err(problem) => Err((problem, world.seen)),
        }
    }

    async fn to_the_end(&self, world: &mut World<'_>, run: &Run) -> Result<End, Broken> {
        let state = world.run().await?;
        let end = world.check(&state, run.expected).await?;
        if let Some(check) = &self.explorer.check {
            let checked = check(Databases(world.pools()), end).await;
            if let Err(error) = checked {
                return Err(format!("{error}\n{}", world.drawn().await));
            }
        }
        Ok(end)
    }

    fn violation(&self, problem: Broken, run: &Run, seen: Seen) -> Violation {
        let names: Vec<_> =
            self.explorer.services.iter().map(|service| service.name.as_str()).collect();
        let (run, story) = (run.describe(&names), seen.story);
        let (report, seed) = (self.report.clone(), self.explorer.seed);
        Violation { problem, run, story, report, seed }
    }

    /// The courses that the saga can take, those that show most first: it succeeds, it goes back at
    /// the end, a step fails once, a compensation fails; then each step is refused, fails for good,
    /// or is not heard of in time.
    fn courses(&self) -> Vec<Run> {
        let plan = self.explorer.saga.plan();
        let (done, back) = (Some(End::Completed), Some(End::Compensated));
        let (mut first, mut more) = (vec![Run::new(done)], Vec::new());
        let steps = || plan.steps().iter().enumerate().map(|(at, step)| (plan.role(at), step));
        let last = steps().rfind(|(role, _)| *role != Role::Retriable);
        if let Some((_, last)) = last {
            let refused = Run::new(back).fault(&last.name, Fault::Refused);
            first.push(refused.clone());
            let remote = |step: &Step| !step.local && step.silence < step.deadline;
            for (_, step) in steps().filter(|(_, step)| remote(step)) {
                more.push(Run::new(done).lost(&step.name, Ask::Apply));
                if step.undo == Undo::Compensation && step.name != last.name {
                    more.push(refused.clone().lost(&step.name, Ask::Compensate));
                }
            }
            let undone = steps().filter(|(_, step)| step.undo == Undo::Compensation);
            for (_, step) in undone.filter(|(_, step)| step.name != last.name) {
                more.push(refused.clone().fault(&step.name, Fault::UndoFails(1)));
                more.push(refused.clone().fault(&step.name, Fault::UndoFails(u32::MAX)));
            }
        }
        for (role, step) in steps() {
            let name = step.name.as_str();
            let end = if role == Role::Retriable { done } else { back };
            more.push(Run::new(done).fault(name, Fault::Fails(1)));
            more.push(Run::new(end).fault(name, Fault::Fails(u32::MAX)));
            if role != Role::Retriable && last.is_none_or(|(_, last)| last.name != step.name) {
                more.push(Run::new(back).fault(name, Fault::Refused));
            }
            if !step.local {
                more.push(Run::new(end).withheld(name, false));
                // Whether a pivot was applied is asked.
                let told = if role == Role::Pivot { done } else { end };
                more.push(Run::new(told).withheld(name, true));
            }
        }
        // One of each kind of fault that waits for a timer.
        for fault in [Fault::Fails(1), Fault::UndoFails(1)] {
            let of = |run: &Run| run.faults.last().is_some_and(|(_, other)| *other == fault);
            if let Some(at) = more.iter().position(of) {
                first.push(more.remove(at));
            }
        }
        if let Some(at) = more.iter().position(|run| run.lost.is_some()) {
            first.push(more.remove(at));
        }
        first.append(&mut more);
        first
    }

    /// Dies at every commit of every service, and before every answer.
    async fn crashes(&mut self, base: &Run, seen: &Seen) -> Result<(), Violation> {
        for (service, &commits) in seen.commits.iter().enumerate() {
            for commit in 1..=commits {
                for death in [Death::BeforeCommit(commit), Death::AfterCommit(commit)] {
                    let crashed = self.one(&base.clone().death(service, death)).await?;
                    self.report.crash_points += usize::from(crashed.deaths > 0);
                }
            }
        }
        for delivery in 0..seen.deliveries {
            let crashed = self.one(&base.clone().unanswered(delivery)).await?;
            self.report.lost_answers += usize::from(crashed.deaths > 0);
        }
        Ok(())
    }

    async fn repeats(&mut self, base: &Run) -> Result<(), Violation> {
        for repeat in [Repeat::Messages, Repeat::Commands, Repeat::Compensations] {
            self.one(&base.clone().repeat(repeat)).await?;
        }
        Ok(())
    }

    /// Every order in which messages can arrive, up to the limit.
    async fn orders(&mut self, base: &Run) -> Result<(), Violation> {
        let mut choices = Vec::new();
        for _ in 0..self.explorer.orders {
            let run = base.clone().order(Order::Choices(choices));
            let seen = self.one(&run).await?;
            self.report.orders += 1;
            // The last choice that has an alternative left is made otherwise.
            let Some(last) = seen.choices.iter().rposition(|(choice, of)| choice + 1 < *of) else {
                break;
            };
            choices = seen.choices[..=last].iter().map(|(choice, _)| *choice).collect();
            choices[last] += 1;
        }
        Ok(())
    }

    /// Orders, faults and deaths by chance.
    async fn chance(&mut self) -> Result<(), Violation> {
        let (explorer, plan) = (self.explorer, self.explorer.saga.plan());
        let steps = plan.steps();
        for number in 0..explorer.chances {
            let mut random = Random::new(explorer.seed.wrapping_add(number));
            let mut run = Run::new(None);
            for _ in 0..random.below(3) {
                let step = &steps[random.below(steps.len())].name;
                let times = [1, 2, u32::MAX][random.below(3)];
                let fault = match random.below(3) {
                    0 => Fault::Refused,
                    1 => Fault::Fails(times),
                    _ => Fault::UndoFails(times),
                };
                let at = plan.place(step);
                let refusable = at.is_some_and(|at| plan.role(at) != Role::Retriable);
                if fault != Fault::Refused || refusable {
                    run = run.fault(step, fault);
                }
            }
            let lost = &steps[random.below(steps.len())];
            if !lost.local && random.one_in(3) {
                let ask = [Ask::Apply, Ask::Compensate, Ask::Bar][random.below(3)];
                run = run.lost(&lost.name, ask);
            }
            for _ in 0..random.below(4) {
                let commit = 1 + u32::try_from(random.below(12)).unwrap_or(0);
                let death = match random.one_in(2) {
                    true => Death::BeforeCommit(commit),
                    false => Death::AfterCommit(commit),
                };
                run = run.death(random.below(explorer.services.len()), death);
            }
            let seen = self.one(&Run { late: true, ..run.order(Order::Chance(random)) }).await?;
            self.report.chances += 1;
            self.report.crash_points += seen.deaths;
        }
        Ok(())
    }
}
