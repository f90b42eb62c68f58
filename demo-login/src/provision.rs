//! This service's part in the saga of a registration: it gives a user a login, and takes it back.

use async_trait::async_trait;
use demo_common::email_key;
use serde_json::{Value, json};
use sqlx::Transaction;
use syncline::{
    Envelope, HandlerError,
    saga::{Outcome, SagaHandler},
};

use crate::{account::Account, store::Store};

/// Lets a new user log in, unless a rule of this service is against it.
#[derive(Debug, Clone, Copy)]
pub struct ProvisionLogin;

#[async_trait]
impl<DB: Store> SagaHandler<DB> for ProvisionLogin {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        let account: Account = command.decode()?;
        let email = email_key(&account.email);
        let domain = email.rsplit('@').next().unwrap_or_default();
        if DB::blocked(tx, domain).await? {
            return Ok(Outcome::Refuse(format!("addresses of {domain} get no login")));
        }
        if DB::owner(tx, &account.email).await?.is_some() {
            // A reason names nobody: it goes into messages, states and logs.
            return Ok(Outcome::Refuse("the e-mail address is in use".to_owned()));
        }
        if DB::version(tx, &account.user_id).await?.is_some() {
            return Ok(Outcome::Refuse(format!("{:?} has a login already", account.user_id)));
        }
        DB::put(tx, &account).await?;
        Ok(Outcome::Done(json!(account.user_id)))
    }

    /// A user who registers cannot be changed or deleted meanwhile: the account is the one made.
    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        _command: &Envelope,
        applied: &Value,
    ) -> Result<(), HandlerError> {
        let user_id = applied.as_str().ok_or("what was provisioned is no user_id")?;
        Ok(DB::remove(tx, user_id).await?)
    }
}
