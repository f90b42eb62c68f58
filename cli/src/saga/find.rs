//! Which instance an operator means.

use std::{convert::Infallible, str::FromStr};

use sqlx::Pool;
use syncline::{Storage, saga::operate};
use uuid::Uuid;

use crate::failure::Failure;

/// The most candidates that an error names.
const SHOWN: u32 = 10;

/// An instance by its id, the beginning of its id, or the business key that it was started with.
#[derive(Debug, Clone)]
pub(crate) struct Named(String);

impl FromStr for Named {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl Named {
    /// The id of the one instance that is meant; an error with all candidates when it may be several.
    pub(crate) async fn find<DB: Storage>(&self, pool: &Pool<DB>) -> Result<Uuid, Failure> {
        let name = &self.0;
        let mut found = operate::find(pool, name, SHOWN + 1).await?;
        match &*found {
            [one] => return Ok(one.id),
            [] => {
                return Err(Failure::not_found(match Uuid::try_parse(name) {
                    Ok(id) => format!("there is no saga {id}: see `syncline saga list`"),
                    Err(_) => format!(
                        "there is no saga whose id begins with {name:?}, or whose key that is: see \
                         `syncline saga list`"
                    ),
                }));
            }
            _ => {}
        }
        let more = found.len() > SHOWN as usize;
        found.truncate(SHOWN as usize);
        let mut candidates: Vec<String> = found
            .iter()
            .map(|one| {
                format!(
                    "{} ({}@{}, key {:?}, {})",
                    one.id, one.saga, one.version, one.key, one.status
                )
            })
            .collect();
        candidates.extend(more.then(|| "and more".to_owned()));
        Err(Failure::usage(format!(
            "{name:?} may mean several sagas, give the id of one: {}",
            candidates.join(", ")
        )))
    }
}
