//! Only a user may change or delete itself: it shows its password, as when it logs in.

use axum::http::{HeaderMap, StatusCode};
use demo_common::{Client, Credentials, Hashed, Problem};

use super::{
    App,
    find::{find, stored_id},
    unknown,
};
use crate::store::Store;

/// A user who has shown the password.
pub(super) struct Owner {
    pub(super) id: String,
    /// The hash of that password.
    hash: Hashed,
}

impl Owner {
    /// Makes sure that a request is by the user `id`, wherever its registration stands.
    pub(super) async fn of<DB: Store>(
        app: &App<DB>,
        headers: &HeaderMap,
        client: Client,
        id: String,
    ) -> Result<Self, Problem> {
        let credentials = Credentials::read(headers)?;
        let id = stored_id(&app.pool, id).await?;
        // First whose they are: another user's are refused whether there is this one or not.
        let password = credentials.password_of(&id)?;
        let hash = find(&app.pool, &id).await?.ok_or_else(unknown)?.hash();
        app.guard.admit(&id, client).await?;
        match app.guard.verify(&id, client, password, Some(hash.clone())).await? {
            true => Ok(Self { id, hash }),
            false => Err(Problem::unauthorized("the password is wrong")),
        }
    }

    /// To be asked when the user's row is locked: somebody else may have registered under the id since
    /// the password was looked at.
    pub(super) fn still_is(&self, hash: &Hashed) -> Result<(), Problem> {
        match *hash == self.hash {
            true => Ok(()),
            false => {
                let detail = "the user has changed meanwhile: look at it, and try again";
                Err(Problem::new(StatusCode::CONFLICT, detail).retry_after(1))
            }
        }
    }
}
