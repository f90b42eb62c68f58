//! What comes from the other service, and what goes back.

use async_trait::async_trait;
use sqlx::{Pool, Transaction};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Message, Relay, RelayHandle, Route, Stream, Verdict,
    consumer::REJECTED, enqueue, erasure::Erase, saga::wire::REPLY, transport::Publisher,
};

use crate::{
    account::{Accepted, Account, Deleted},
    provision::ProvisionLogin,
    store::Store,
};

/// This service, as the source of its messages.
pub const SOURCE: &str = "/demo/login";
/// The stream that it sends.
pub const STREAM: &str = "accounts";
/// The topics of that stream.
pub const TOPICS: &[&str] = &["account.*", REJECTED, REPLY];
/// The other service, and the stream that it sends.
pub const PEER: (&str, &str) = ("/demo/register", "users");
/// The other service's command to let a user log in.
pub const PROVISION: &str = "login.provision";
/// How many shards that stream has.
pub const SHARDS: i32 = 1;

/// Takes a changed user over, unless another one has the address.
struct OnChanged;

#[async_trait]
impl<DB: Store> Handler<DB> for OnChanged {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let account: Account = message.decode()?;
        if DB::version(tx, &account.user_id).await?.is_none() {
            return Ok(Verdict::Reject("the user is not known here".to_owned()));
        }
        match DB::owner(tx, &account.email).await? {
            Some(owner) if owner != account.user_id => {
                // A reason names nobody: it goes into messages, states and logs.
                return Ok(Verdict::Reject("the e-mail address is in use".to_owned()));
            }
            _ => DB::put(tx, &account).await?,
        }
        let accepted = Accepted { user_id: &account.user_id, message_id: message.id.to_string() };
        let told = Message::json("account.accepted", &accepted)?.key(&account.user_id);
        // The relay polls while it knows of a message whose commit it was not told of.
        let _ = enqueue(tx, &told).await?;
        Ok(Verdict::Done)
    }
}

/// Removes a user who was deleted, with all that was told of the user or answered.
struct OnDeleted;

#[async_trait]
impl<DB: Store> Handler<DB> for OnDeleted {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let Deleted { user_id, sagas } = message.decode()?;
        let erase = sagas.into_iter().fold(Erase::new().key(&*user_id), Erase::saga);
        // Held messages first: one that is being tried may write the account, and is waited for.
        erase.before(message).run(tx).await?;
        DB::remove(tx, &user_id).await?;
        Ok(Verdict::Done)
    }
}

/// Applies what the other service sends.
///
/// # Errors
/// Never, for this definition is of the allowed form.
pub fn consumer<DB: Store>(pool: Pool<DB>) -> syncline::Result<Consumer<DB>> {
    Consumer::builder("login", pool)
        .participant(PROVISION, ProvisionLogin)
        .handler("user.updated", OnChanged)
        .handler("user.deleted", OnDeleted)
        .build()
}

/// Sends acceptances, rejections and the answers to commands back to the other service, or only keeps them for the feed.
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
        Some(publisher) => relay.route(Route::new("register", STREAM, publisher)),
        None => relay,
    };
    relay.start().await
}
