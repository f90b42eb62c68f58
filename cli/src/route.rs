//! `syncline route`: where routes stand, and an operator's hand on them.

mod list;

use clap::Subcommand;
use serde_json::json;
use sqlx::Pool;
use syncline::{Storage, message::Position, routes, storage::check_schema};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    schema::to_look,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Every shard of every route, with how far it is behind
    List,
    /// Send nothing more, until `route resume`
    Pause {
        /// The route
        route: String,
        /// Why; it is shown to whoever looks at the route
        #[arg(long, value_name = "REASON", default_value = "no reason was given")]
        why: String,
        /// The operator's name; $USER unless given
        #[arg(long, env = "USER", value_name = "NAME", default_value = "somebody")]
        by: String,
    },
    /// Let a paused route go on
    Resume {
        /// The route
        route: String,
    },
    /// Send again what follows a position; what consumers have applied has no second effect
    Rewind {
        /// The route
        route: String,
        /// The position after which it is sent again; 0 for the whole log
        #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
        to: i64,
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
    let (route, done, word) = match command {
        Command::List => return list::run(pool, output).await,
        Command::Pause { route, why, by } => {
            (route, routes::pause_because(pool, route, by, why).await?, "paused")
        }
        Command::Resume { route } => (route, routes::resume(pool, route).await?, "resumed"),
        Command::Rewind { route, to } => {
            (route, routes::rewind(pool, route, Position(*to)).await?, "rewound")
        }
    };
    if !done {
        return Err(Failure::failed(format!(
            "there is no route {route:?}, or the log does not reach so far: see \
             `syncline route list` and `syncline outbox lag`"
        )));
    }
    if output.is_json() {
        output.json(&json!({word: route}))?;
    } else {
        output.line(format!("{word} {route}; its relay notices within a third of its lease"))?;
    }
    Ok(Outcome::Done)
}
