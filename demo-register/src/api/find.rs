//! A user, wherever the registration stands.

use demo_common::{Hashed, Problem, id_form};
use sqlx::Pool;
use syncline::saga::{self, End, State, operate};

use super::{Shown, ShownUser};
use crate::{
    store::{Requested, Store},
    user::{Status, User},
};

/// A user whom clients are shown.
pub(super) struct Found {
    user: User,
}

impl From<User> for Found {
    fn from(user: User) -> Self {
        Self { user }
    }
}

impl Found {
    /// Whose registration has begun.
    pub(super) fn pending(requested: Requested) -> Self {
        let Requested { registration, password_hash, .. } = requested;
        let user = User {
            id: registration.user_id,
            name: registration.name,
            email: registration.email,
            display_name: registration.display_name,
            password_hash,
            status: Status::Pending,
            reason: None,
            version: 1,
            last_version: 1,
        };
        Self { user }
    }

    pub(super) fn shown(self) -> Shown {
        let User { id, name, email, display_name, status, reason, .. } = self.user;
        Shown { user_id: id, user: ShownUser { name, email, display_name, status, reason } }
    }

    pub(super) fn status(&self) -> Status {
        self.user.status
    }

    pub(super) fn hash(&self) -> Hashed {
        self.user.password_hash.clone()
    }

    /// Whether the user is who would be registered so.
    pub(super) fn is(&self, name: &str, email: &str, display_name: Option<&str>) -> bool {
        let User { name: own, email: address, display_name: display, .. } = &self.user;
        own == name && address == email && display.as_deref() == display_name
    }
}

/// The id under which a user is stored who is asked for as `id`: its one form, unless it is of earlier
/// days, when others were stored, too.
pub(super) async fn stored_id<DB: Store>(pool: &Pool<DB>, id: String) -> Result<String, Problem> {
    let form = id_form(&id);
    let old = form != id
        && (DB::get(pool, &id).await?.is_some() || DB::requested(pool, &id).await?.is_some());
    Ok(if old { id } else { form })
}

/// Finds a user who is active, whose registration is under way, or was refused.
pub(super) async fn find<DB: Store>(
    pool: &Pool<DB>,
    user_id: &str,
) -> Result<Option<Found>, Problem> {
    // What was asked for goes with the commit that makes the account active.
    let requested = DB::requested(pool, user_id).await?;
    let user = match (DB::get(pool, user_id).await?, requested) {
        (Some(user), _) if user.status == Status::Active => Some(user),
        (_, Some(requested)) => match asked_for(pool, requested).await? {
            None => DB::get(pool, user_id).await?,
            user => user,
        },
        (user, None) => user,
    };
    Ok(user.map(Found::from))
}

/// The user of a registration that is under way or refused, as the client wants to be; none when it
/// has succeeded meanwhile.
async fn asked_for<DB: Store>(
    pool: &Pool<DB>,
    requested: Requested,
) -> Result<Option<User>, Problem> {
    let shown = operate::show(pool, requested.saga).await?;
    let mut user = Found::pending(requested).user;
    let state = shown.map(|shown| shown.state);
    match state {
        Some(Ok(State { status: saga::Status::Ended(End::Completed), .. })) => return Ok(None),
        // It is over; or so long that it is forgotten.
        Some(Ok(State { status: saga::Status::Ended(_), reason, .. })) => {
            user.status = Status::Rejected;
            user.reason = reason;
        }
        None => user.status = Status::Rejected,
        Some(_) => {}
    }
    Ok(Some(user))
}
