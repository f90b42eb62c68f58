//! The one way in which a service looks at passwords: whatever asks, the same limits hold.

use std::{sync::LazyLock, time::Instant};

use axum::http::{HeaderMap, StatusCode, header};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use syncline::logs::LogLimit;

use crate::{Client, HashCost, Hashed, Passwords, Problem, names::id_form, single, tries::Tries};

/// Of tries that were refused: anybody can bring many about.
static REFUSED: LazyLock<LogLimit> = LazyLock::new(LogLimit::default);
/// The longest credentials that are looked at, in characters of base64.
const LONGEST: usize = 8 * 1024;
/// The longest id that they may begin with, in bytes.
const LONGEST_ID: usize = 1024;

/// Hashes passwords, and verifies them within limits.
#[derive(Clone)]
pub struct Guard {
    passwords: Passwords,
    tries: Tries,
}

impl Guard {
    /// With the cost that the configuration names.
    ///
    /// # Errors
    /// As [`Passwords::new`].
    pub fn new(cost: HashCost) -> anyhow::Result<Self> {
        Ok(Self { passwords: Passwords::new(cost)?, tries: Tries::default() })
    }

    /// Hashes `password` with a new salt.
    ///
    /// # Errors
    /// When the work could not be done.
    pub async fn hash(&self, password: String) -> anyhow::Result<Hashed> {
        self.passwords.hash(password).await
    }

    /// Lets a try for `user` (in the [form](id_form) that is stored) begin, when it is its turn.
    ///
    /// # Errors
    /// 429 when there were too many failed ones.
    pub async fn admit(&self, user: &str, client: Client) -> Result<(), Problem> {
        self.allowed(user, client)?;
        match self.tries.turn(user, client, Instant::now()) {
            Ok(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Err(seconds) => Err(refused(user, client, seconds)),
        }
    }

    /// Whether `password` is the one of `hashed`, in a try that was [admitted](Self::admit); for an
    /// unknown user (`None`) the same work is done, and the answer is no.
    ///
    /// # Errors
    /// 429, and when the work could not be done.
    pub async fn verify(
        &self,
        user: &str,
        client: Client,
        password: String,
        hashed: Option<Hashed>,
    ) -> Result<bool, Problem> {
        // Looked at again once it is this try's turn, and counted before the next one's: tries that
        // are sent all at once are limited, too.
        let turn = self.passwords.turn().await?;
        self.allowed(user, client)?;
        let (turn, good) = self.passwords.verify_in(turn, password, hashed).await?;
        match good {
            true => self.tries.passed(user, client),
            false => self.tries.failed(user, client),
        }
        drop(turn);
        Ok(good)
    }

    fn allowed(&self, user: &str, client: Client) -> Result<(), Problem> {
        match self.tries.barred(user, client) {
            Some(seconds) => Err(refused(user, client, seconds)),
            None => Ok(()),
        }
    }
}

fn refused(user: &str, client: Client, seconds: u64) -> Problem {
    if let Some(left_out) = REFUSED.admit("tries") {
        let address = client.address();
        tracing::warn!(user, %address, left_out, "too many failed tries of a password");
    }
    let detail = "too many failed tries: wait for as long as retry-after says";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds)
}

/// A user's id and password, as `authorization: Basic` gives them (RFC 7617, in UTF-8).
pub struct Credentials(String);

impl Credentials {
    /// Reads them.
    ///
    /// # Errors
    /// 401 when there are none, or they cannot be read; 400 when there are two.
    pub fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = single(headers, &header::AUTHORIZATION)? else {
            let detail =
                "say whose change it is: authorization: Basic, with the user_id and the password";
            return Err(Problem::unauthorized(detail));
        };
        let text = value.to_str().ok().filter(|text| text.len() <= LONGEST);
        let text = text.and_then(|text| text.split_once(' '));
        let text = text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        let bytes = text.and_then(|(_, text)| BASE64.decode(text.trim()).ok());
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let unreadable = || {
            let detail = "authorization must be Basic, and the base64 of user_id, a colon and the \
                          password in UTF-8";
            Problem::unauthorized(detail)
        };
        text.filter(|text| text.contains(':')).map(Self).ok_or_else(unreadable)
    }

    /// The password, if these are `id`'s. An id may have colons, too.
    ///
    /// # Errors
    /// 403 when they are another user's.
    pub fn password_of(&self, id: &str) -> Result<String, Problem> {
        let form = id_form(id);
        let colons = self.0.match_indices(':').map(|(at, _)| at);
        let mut colons = colons.take_while(|at| *at <= LONGEST_ID);
        match colons.find(|at| id_form(&self.0[..*at]) == form) {
            Some(at) => Ok(self.0[at + 1..].to_owned()),
            None => {
                let detail =
                    "these are another user's credentials: only the user itself may do this";
                Err(Problem::new(StatusCode::FORBIDDEN, detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(values: &[&str]) -> Result<Credentials, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_str(value).expect("a header");
            headers.append(header::AUTHORIZATION, value);
        }
        Credentials::read(&headers)
    }

    #[test]
    fn credentials_are_one_user_s_and_of_nobody_else() {
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text));
        let of = |text: &str, id: &str| read(&[&basic(text)]).expect("readable").password_of(id);
        assert_eq!(of("ann:pass:word", "ann").expect("hers"), "pass:word");
        assert_eq!(of("id:6:password", "id:6").expect("an id with a colon"), "password");
        assert_eq!(of("Zoe\u{301}:password", "Zo\u{e9}").expect("one name"), "password");
        for other in ["an", "anna", "ANN", "", "ann:pass:word"] {
            let problem = of("ann:pass:word", other).expect_err("another one's");
            assert_eq!(problem.status(), StatusCode::FORBIDDEN);
        }
        let bearer = "Bearer abc".to_owned();
        for wrong in [basic("no colon"), bearer, "Basic".to_owned(), "Basic %%%".to_owned()] {
            let status = read(&[&wrong]).err().map(|problem| problem.status());
            assert_eq!(status, Some(StatusCode::UNAUTHORIZED), "{wrong}");
        }
        assert_eq!(read(&[]).err().map(|problem| problem.status()), Some(StatusCode::UNAUTHORIZED));
        let two = read(&[&basic("ann:one"), &basic("ben:two")]);
        assert_eq!(two.err().map(|problem| problem.status()), Some(StatusCode::BAD_REQUEST));
    }
}
