//! Passwords as argon2 hashes, worked out on threads of their own and a few at a time.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::phc::PasswordHash,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::HashCost;

/// A hash as a PHC string. It is shown to nobody: its `Debug` is empty.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hashed(pub String);

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashed(..)")
    }
}

/// Hashes and verifies.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    /// Each hash takes memory and a core for a while.
    at_once: Arc<Semaphore>,
    /// The hash of no password, for users who do not exist.
    nobody: Arc<Hashed>,
}

impl Passwords {
    /// With the cost that the configuration names.
    ///
    /// # Errors
    /// When the parameters are not argon2's, or no random salt can be had.
    pub fn new(cost: HashCost) -> anyhow::Result<Self> {
        let params = match cost {
            HashCost::Default => Params::default(),
            HashCost::Low => {
                tracing::warn!("HASH_COST=low: passwords are hashed cheaply, for demos only");
                Params::new(Params::MIN_M_COST * 8, 1, 1, None)
                    .map_err(|error| anyhow::anyhow!("argon2: {error}"))?
            }
        };
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = Arc::new(hash(&argon2, "the password of nobody")?);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { argon2, at_once: Arc::new(Semaphore::new(cores)), nobody })
    }

    /// Waits for a free core.
    ///
    /// # Errors
    /// None that is known.
    pub async fn turn(&self) -> anyhow::Result<Turn> {
        Ok(Turn { _permit: Arc::clone(&self.at_once).acquire_owned().await? })
    }

    /// Hashes `password` with a new salt.
    ///
    /// # Errors
    /// When the work could not be done.
    pub async fn hash(&self, password: String) -> anyhow::Result<Hashed> {
        let argon2 = self.argon2.clone();
        let turn = self.turn().await?;
        turn.work(move || hash(&argon2, &password)).await?.1
    }

    /// Whether `password` is the one of `hashed`; for an unknown user (`None`) the same work
    /// is done, and the answer is no.
    ///
    /// # Errors
    /// When the work could not be done.
    pub async fn verify(&self, password: String, hashed: Option<Hashed>) -> anyhow::Result<bool> {
        let turn = self.turn().await?;
        Ok(self.verify_in(turn, password, hashed).await?.1)
    }

    /// As [`Self::verify`], in a turn that was waited for before and is given back after.
    ///
    /// # Errors
    /// When the work could not be done.
    pub async fn verify_in(
        &self,
        turn: Turn,
        password: String,
        hashed: Option<Hashed>,
    ) -> anyhow::Result<(Turn, bool)> {
        let (argon2, nobody) = (self.argon2.clone(), Arc::clone(&self.nobody));
        turn.work(move || {
            let known = hashed.is_some();
            let hashed = hashed.as_ref().unwrap_or(&nobody);
            let good = PasswordHash::new(&hashed.0)
                .is_ok_and(|hash| argon2.verify_password(password.as_bytes(), &hash).is_ok());
            known && good
        })
        .await
    }
}

/// The right to hash or verify one password now.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    /// The turn goes with the work: a client who hangs up does not make room for another one.
    async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<(Self, T)> {
        Ok(tokio::task::spawn_blocking(move || (self, work())).await?)
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> anyhow::Result<Hashed> {
    let hash: PasswordHash = argon2
        .hash_password(password.as_bytes())
        .map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
    Ok(Hashed(hash.to_string()))
}
