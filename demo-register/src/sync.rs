//! What goes to the other service, and what comes back: answers to the commands of sagas, and of an
//! update its acceptance, or a rejection to take back.

use async_trait::async_trait;
use sqlx::{Pool, Transaction};
use syncline::{
    Compensate, Consumer, Envelope, Handler, HandlerError, Rejection, Relay, RelayHandle, Route,
    Stream, Verdict,
    erasure::Erase,
    saga::{Sagas, wire::REPLY},
    transport::Publisher,
};

use crate::{store::Store, user::Accepted};

/// This service, as the source of its messages.
pub const SOURCE: &str = "/demo/register";
/// The stream that it sends.
pub const STREAM: &str = "users";
/// The topics of that stream.
pub const TOPICS: &[&str] = &["user.*", "login.*"];
/// The other service, and the stream that it sends back.
pub const PEER: (&str, &str) = ("/demo/login", "accounts");
/// How many shards that stream has.
pub const SHARDS: i32 = 1;

/// Erases what told of a user's values: it was answered, and nobody needs the hash in it any more.
async fn answered<DB: Store>(
    tx: &mut Transaction<'_, DB>,
    message_id: &str,
) -> Result<(), HandlerError> {
    if let Some(seq) = DB::sent_at(tx, message_id).await? {
        Erase::new().message(seq).run(tx).await?;
    }
    Ok(())
}

struct OnAccepted;

#[async_trait]
impl<DB: Store> Handler<DB> for OnAccepted {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let Accepted { user_id, message_id } = message.decode()?;
        // The user's row is locked before its messages, as by a deletion, which erases them. An answer
        // to a user who has been deleted since finds nothing, also when another one has the id now.
        let Some(mut user) = DB::lock(tx, &user_id).await? else { return Ok(Verdict::Done) };
        answered(tx, &message_id).await?;
        let Some(version) = DB::accepted(tx, &user_id, &message_id).await? else {
            return Ok(Verdict::Done);
        };
        if user.version == version {
            user.reason = None;
        }
        DB::save(tx, &user).await?;
        Ok(Verdict::Done)
    }
}

struct OnRefused;

#[async_trait]
impl<DB: Store> Compensate<DB> for OnRefused {
    /// A refused update goes back to the values before.
    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        rejection: &Rejection,
    ) -> Result<(), HandlerError> {
        // The user's row is locked before its versions and messages, as by those who change them.
        let Some(id) = &rejection.key else { return Ok(()) };
        let Some(mut user) = DB::lock(tx, id).await? else { return Ok(()) };
        let message_id = rejection.message_id.to_string();
        answered(tx, &message_id).await?;
        let refused = DB::refused(tx, &message_id).await?;
        let Some((_, Some(values))) = refused else { return Ok(()) };
        user.reason = Some(rejection.reason.clone());
        user.version = values.version;
        user.name = values.name;
        user.email = values.email;
        user.password_hash = values.password_hash;
        DB::save(tx, &user).await?;
        Ok(())
    }
}

/// Applies what the other service sends.
///
/// # Errors
/// Never, for this definition is of the allowed form.
pub fn consumer<DB: Store>(pool: Pool<DB>, sagas: &Sagas<DB>) -> syncline::Result<Consumer<DB>> {
    Consumer::builder("register", pool)
        .batch_handler(REPLY, sagas.replies())
        .handler("account.accepted", OnAccepted)
        .compensation("user.*", OnRefused)
        .build()
}

/// Sends what happens to users, and commands, to the other service, or only keeps it for the feed.
///
/// # Errors
/// As [`syncline::relay::RelayBuilder::start`].
pub async fn relay<DB: Store>(
    pool: Pool<DB>,
    publisher: Option<impl Publisher>,
) -> syncline::Result<RelayHandle> {
    let stream = TOPICS.iter().fold(Stream::new(STREAM), |stream, topic| stream.topic(*topic));
    let relay = Relay::builder(SOURCE, pool).stream(stream);
    let relay = match publisher {
        Some(publisher) => relay.route(Route::new("login", STREAM, publisher)),
        None => relay,
    };
    relay.start().await
}
