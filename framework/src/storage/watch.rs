//! What was checked at the start may be changed later, by a policy or a server's setting.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Base, own::Own};
use crate::said::Said;

/// How often is looked.
const PAUSE: Duration = Duration::from_secs(30);

/// Says in the log, as long as it is so, that rows are hidden from `of` or that its sessions are not
/// as they must be.
pub(crate) async fn watch<DB: Base>(pool: Own<DB>, of: String, stop: CancellationToken) {
    let mut said = Said::default();
    while stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
        let pool = pool.now();
        let looked = async {
            DB::check_visible(&pool).await?;
            DB::check_session(&pool).await
        };
        match pool.limit(looked).await {
            Err(error) if !error.is_transient() => {
                if let Some(left_out) = said.admit(&error.to_string()) {
                    tracing::error!(of, %error, left_out, "it may stand still; `syncline doctor` names this, too");
                }
            }
            // That the database is away is told by whoever works on it.
            _ => {}
        }
    }
}
