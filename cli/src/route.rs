//! `syncline route`: where routes stand, and an operator's hand on them.

mod list;

use clap::Subcommand;
use serde_json::json;
use sqlx::Pool;
use syncline::{Storage, message::Position, routes, storage::check_schema};

use crate::{
    ask::Who,
    failure::{Failure, Outcome},
    output::Output,
    schema::to_look,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Every shard of every route, with how far it is behind
    List,
    /// Send nothing more, until `route resume`; who looks at the route is told by whom and why
    Pause {
        /// The route
        route: String,
        #[command(flatten)]
        who: Who,
    },
    /// Let a paused route go on
    Resume {
        /// The route
        route: String,
        #[command(flatten)]
        who: Who,
    },
    /// Send again what follows a position; what consumers have applied has no second effect
    Rewind {
        /// The route
        route: String,
        /// The position after which it is sent again; 0 for the whole log
        #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
        to: i64,
        #[command(flatten)]
        who: Who,
    },
}

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        Command::List | Command::Pause { .. } => to_look(pool, output).await?,
        _ => check_schema(pool).await?,
    }
    let (route, who) = match command {
        Command::List => return list::run(pool, output).await,
        Command::Pause { route, who }
        | Command::Resume { route, who }
        | Command::Rewind { route, who, .. } => (route, who),
    };
    let (name, word) = match command {
        Command::Rewind { .. } => ("route rewind", "rewound"),
        Command::Resume { .. } => ("route resume", "resumed"),
        Command::Pause { .. } | Command::List => ("route pause", "paused"),
    };
    let target = match command {
        Command::Rewind { to, .. } => format!("{route} to position {to}"),
        _ => route.clone(),
    };
    let act = async { act(command, route, who, pool).await.map(|()| (1, ())) };
    who.record(pool, name, &target, act).await?;
    if output.is_json() {
        output.json(&json!({word: route}))?;
    } else {
        output.line(format!("{word} {route}; its relay notices within a third of its lease"))?;
    }
    Ok(Outcome::Done)
}

/// Does it to a route that is there.
async fn act<DB: Storage>(
    command: &Command,
    route: &str,
    who: &Who,
    pool: &Pool<DB>,
) -> Result<(), Failure> {
    let unknown =
        || Failure::not_found(format!("there is no route {route:?}: see `syncline route list`"));
    let rows = routes::list(pool, Some(route)).await?;
    if rows.is_empty() {
        return Err(unknown());
    }
    let done = match command {
        Command::Rewind { to, .. } => {
            let head = DB::head(pool).await?;
            if Position(*to) > head {
                return Err(Failure::failed(format!(
                    "nothing was changed: the log ends at position {head}, before {to}: see `syncline \
                     outbox lag`"
                )));
            }
            routes::rewind(pool, route, Position(*to)).await?
        }
        Command::Resume { .. } if rows.iter().all(|row| !row.paused) => {
            return Err(Failure::unchanged(format!(
                "nothing was changed: route {route:?} is not paused"
            )));
        }
        Command::Resume { .. } => routes::resume(pool, route).await?,
        Command::Pause { .. } | Command::List => {
            routes::pause_because(pool, route, &who.by, &who.why).await?
        }
    };
    // It was there a moment ago.
    if done { Ok(()) } else { Err(unknown()) }
}
