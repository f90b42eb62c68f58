//! The third act: registrations as sagas. One is watched, some are refused in the middle, and both
//! services are killed while some are under way.

use serde_json::Value;

use crate::{
    client::{Api, User},
    promises::{arrives, everyone_is_active_and_can_log_in},
    report::Report,
    services::Way,
    stores::Store,
    story::Stage,
    tree,
};

/// Users of each kind who are under way when a service is killed.
const EACH: usize = 5;

/// Those who register while something is killed.
struct Crowd {
    good: Vec<User>,
    /// Of a domain on B's block list.
    blocked: Vec<User>,
    /// Who want a display name that is taken.
    late: Vec<User>,
}

impl Crowd {
    fn new(when: &str, taken: &str) -> Self {
        let some = |what: &str| {
            (0..EACH).map(|n| User::extra(&format!("{what}-{when}"), n)).collect::<Vec<_>>()
        };
        let (good, mut blocked, mut late) = (some("good"), some("blocked"), some("late"));
        blocked.iter_mut().for_each(block);
        late.iter_mut().for_each(|user| user.display_name = Some(taken.to_uppercase()));
        Self { good, blocked, late }
    }

    fn all(&self) -> impl Iterator<Item = &User> {
        self.good.iter().chain(&self.blocked).chain(&self.late)
    }

    fn len(&self) -> usize {
        self.all().count()
    }
}

fn block(user: &mut User) {
    user.email = format!("{}@spam.example", user.user_id);
}

/// Shows registrations that succeed and that are refused, and kills services in mid-saga.
pub(crate) async fn act(
    stage: &mut Stage,
    (a, b): (&Store, &Store),
    report: &mut Report,
) -> anyhow::Result<()> {
    println!("\nthird act: a registration is a saga");
    let first = User::extra("whole", 0);
    stage.api.register(&first).await?;
    everyone_is_active_and_can_log_in(&stage.api, std::slice::from_ref(&first), report).await?;
    stage.told.registered(std::slice::from_ref(&first));
    tree::print(&a.saga_of(&first.user_id).await?);

    let mut spammer = User::extra("spammer", 0);
    block(&mut spammer);
    stage.api.register(&spammer).await?;
    println!("\nB refuses a login: its domain is on the block list");
    is_refused(&stage.api, b, &spammer, "spam.example", report).await?;
    tree::print(&a.saga_of(&spammer.user_id).await?);

    let name = Some(first.user_id.to_uppercase());
    let late = User { display_name: name, ..User::extra("namesake", 0) };
    stage.api.register(&late).await?;
    println!("\nA refuses a display name that is taken, after B has made a login");
    is_refused(&stage.api, b, &late, "is taken", report).await?;
    tree::print(&a.saga_of(&late.user_id).await?);
    stage.told.refused(1, 1);

    let crowd = Crowd::new("one", &first.user_id);
    commands_under_way(stage, a, &crowd, report).await?;
    ends_whole_or_not_at_all(stage, b, &crowd, report).await?;

    let crowd = Crowd::new("two", &first.user_id);
    answers_under_way(stage, (a, b), &crowd, report).await?;
    ends_whole_or_not_at_all(stage, b, &crowd, report).await
}

/// B is killed before it gets the commands, and A while it waits for the answers.
async fn commands_under_way(
    stage: &mut Stage,
    a: &Store,
    crowd: &Crowd,
    report: &mut Report,
) -> anyhow::Result<()> {
    println!("\nboth are killed while A's commands are under way to B");
    stage.b.kill().await?;
    println!("  kill -9 of B");
    for user in crowd.all() {
        stage.api.register(user).await?;
    }
    let begun = in_mid_saga(a, crowd).await?;
    stage.a.kill().await?;
    println!("  kill -9 of A");
    stage.a.start(&stage.api.http, Way::Push).await?;
    println!("  A is back, alone");
    let seen = format!("{} open, accounts pending", crowd.len());
    report.promise(
        "A was killed in mid-saga, and has lost none",
        begun && in_mid_saga(a, crowd).await?,
        seen,
    );
    stage.b.start(&stage.api.http, Way::Push).await?;
    println!("  B is back");
    Ok(())
}

/// B does its part and cannot say so; both are killed then.
async fn answers_under_way(
    stage: &mut Stage,
    (a, b): (&Store, &Store),
    crowd: &Crowd,
    report: &mut Report,
) -> anyhow::Result<()> {
    println!("\nboth are killed after B has done its part, before A has heard of it");
    stage.b.kill().await?;
    stage.b.start_cut_off(&stage.api.http, Way::Push).await?;
    println!("  B cannot reach A");
    let before = b.accounts().await?;
    for user in crowd.all() {
        stage.api.register(user).await?;
    }
    let made = i64::try_from(crowd.good.len() + crowd.late.len())?;
    let done = arrives(|| b.accounts(), |accounts| *accounts == before + made).await?;
    let waiting = in_mid_saga(a, crowd).await?;
    stage.b.kill().await?;
    println!("  kill -9 of B");
    stage.a.kill().await?;
    println!("  kill -9 of A");
    let seen = format!("{made} logins made, {} sagas open", crowd.len());
    report.promise("both were killed in mid-saga", done && waiting, seen);
    stage.a.start(&stage.api.http, Way::Push).await?;
    stage.b.start(&stage.api.http, Way::Push).await?;
    println!("  both are back");
    Ok(())
}

/// Whether all of them have an account at A that waits for B, and no other saga is open.
async fn in_mid_saga(a: &Store, crowd: &Crowd) -> anyhow::Result<bool> {
    let all = i64::try_from(crowd.len())?;
    Ok(arrives(|| a.pending(), |pending| *pending == all).await?
        && arrives(|| a.open_sagas(), |open| *open == all).await?)
}

async fn ends_whole_or_not_at_all(
    stage: &mut Stage,
    b: &Store,
    crowd: &Crowd,
    report: &mut Report,
) -> anyhow::Result<()> {
    everyone_is_active_and_can_log_in(&stage.api, &crowd.good, report).await?;
    for (users, reason) in [(&crowd.blocked, "spam.example"), (&crowd.late, "is taken")] {
        let mut refused = 0;
        for user in users {
            refused += usize::from(is_taken_back(&stage.api, b, user, reason).await?);
        }
        let what = format!("refused ({reason}) and taken back");
        report.count(&what, refused, users.len());
    }
    stage.told.registered(&crowd.good);
    stage.told.refused(crowd.blocked.len(), crowd.late.len());
    Ok(())
}

async fn is_refused(
    api: &Api,
    b: &Store,
    user: &User,
    reason: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let held = is_taken_back(api, b, user, reason).await?;
    report.promise("it is rejected with the reason, and taken back", held, reason);
    Ok(())
}

/// Whether the registration ends as refused for this reason, and nothing is left of it at B.
async fn is_taken_back(api: &Api, b: &Store, user: &User, reason: &str) -> anyhow::Result<bool> {
    let shown = || async { Ok(api.show(&user.user_id).await?.unwrap_or_default()) };
    let refused = arrives(shown, |shown: &Value| {
        let why = shown["reason"].as_str().unwrap_or_default();
        shown["status"] == "rejected" && why.contains(reason)
    });
    Ok(refused.await? && !b.has_account(&user.user_id).await?)
}
