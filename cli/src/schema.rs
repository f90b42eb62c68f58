//! Whether a command can do its work on the tables that are there.

use sqlx::Pool;
use syncline::{Error, Storage, storage::check_schema};

use crate::{failure::Failure, output::Output, text};

/// Asks for the database's clock, by which times were written. Without an answer this machine's is taken.
pub(crate) async fn tell_time<DB: Storage>(pool: &Pool<DB>) {
    if let Ok(now) = DB::time(pool).await {
        text::set_clock(now);
    }
}

/// For a command that only reads, or pauses a route: tables that a newer program has made are no
/// obstacle, and warned of. It is what an operator needs who goes back to an older program.
pub(crate) async fn to_look<DB: Storage>(
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<(), Failure> {
    tell_time(pool).await;
    let newer = match check_schema(pool).await {
        Ok(()) => return Ok(()),
        Err(error @ Error::SchemaNewer { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    // Asked after the history, and so not asked yet.
    DB::check_encoding(pool).await?;
    DB::check_visible(pool).await?;
    output.warn(
        "schema",
        &format!(
            "{newer}. What only reads or pauses is done all the same, and may not show what is new; all \
             else is refused"
        ),
    )
}
