//! A client of both services, which tries again while one of them is away.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

/// How long a client goes on trying.
const PATIENCE: Duration = Duration::from_secs(60);

/// A user of the story.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct User {
    pub(crate) user_id: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) password: String,
    /// A name that nobody else has; the id if none is said.
    pub(crate) display_name: Option<String>,
}

impl User {
    /// A further user, number `n`.
    pub(crate) fn extra(what: &str, n: usize) -> Self {
        Self {
            user_id: format!("{what}-{n}"),
            name: format!("{what} {n}"),
            email: format!("{what}-{n}@example.org"),
            password: format!("the password of {what} {n}"),
            display_name: None,
        }
    }
}

/// Both services, as their clients see them.
pub(crate) struct Api {
    pub(crate) http: Client,
    pub(crate) a: String,
    pub(crate) b: String,
    /// Requests that had to be sent again.
    pub(crate) again: AtomicUsize,
}

impl Api {
    /// Registers at A; a service that is away is tried again with the same request.
    pub(crate) async fn register(&self, user: &User) -> anyhow::Result<()> {
        let User { user_id, name, email, password, display_name } = user;
        let display_name = display_name.as_ref().unwrap_or(user_id);
        let body = json!({
            "user_id": user_id,
            "user": {
                "name": name, "email": email, "password": password, "display_name": display_name,
            },
        });
        let answer =
            self.retry(|| self.http.post(format!("{}/register", self.a)).json(&body)).await?;
        match answer.status() {
            StatusCode::ACCEPTED | StatusCode::OK => {
                let text = answer.text().await?;
                if text.contains("argon2") || text.contains(password.as_str()) {
                    bail!("the answer to {user_id}'s registration shows the password");
                }
                Ok(())
            }
            status => bail!("registering {user_id}: {status}: {}", answer.text().await?),
        }
    }

    /// A's view of a user; none when there is none.
    pub(crate) async fn show(&self, user_id: &str) -> anyhow::Result<Option<Value>> {
        let url = self.user_url(user_id)?;
        let answer = self.retry(|| self.http.get(url.clone())).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => Ok(Some(answer.json::<Value>().await?["user"].take())),
            status => bail!("showing {user_id}: {status}"),
        }
    }

    /// Changes a user at A, who shows the password.
    pub(crate) async fn change(
        &self,
        user_id: &str,
        password: &str,
        change: Value,
    ) -> anyhow::Result<()> {
        let url = self.user_url(user_id)?;
        let request =
            || self.http.patch(url.clone()).basic_auth(user_id, Some(password)).json(&change);
        let answer = self.retry(request).await?;
        answer.error_for_status().map(drop).context("changing a user")
    }

    /// Deletes a user at A, who shows the password.
    pub(crate) async fn delete(&self, user_id: &str, password: &str) -> anyhow::Result<()> {
        let request = self.http.delete(self.user_url(user_id)?);
        let answer = request.basic_auth(user_id, Some(password)).send().await?;
        answer.error_for_status().map(drop).context("deleting a user")
    }

    /// The answers to somebody who wants to change and to delete a user: without a password, with a
    /// wrong one, and with one's own.
    pub(crate) async fn strangers(
        &self,
        user_id: &str,
        stranger: &User,
    ) -> anyhow::Result<Vec<StatusCode>> {
        let url = self.user_url(user_id)?;
        let (change, own) = (json!({ "password": "a stranger's" }), stranger.password.as_str());
        let shown = [None, Some((user_id, "not the password")), Some((&stranger.user_id, own))];
        let mut answers = Vec::new();
        for credentials in shown {
            let as_shown = |request: RequestBuilder| match credentials {
                Some((id, password)) => request.basic_auth(id, Some(password)),
                None => request,
            };
            let patch = || as_shown(self.http.patch(url.clone()).json(&change));
            answers.push(self.retry(patch).await?.status());
            let delete = || as_shown(self.http.delete(url.clone()));
            answers.push(self.retry(delete).await?.status());
        }
        Ok(answers)
    }

    /// Logs in at B: the user as B knows it, or none for a refusal.
    pub(crate) async fn login(&self, id: &str, password: &str) -> anyhow::Result<Option<Value>> {
        let body = json!({ "user_id": id, "password": password });
        let answer = self.retry(|| self.http.post(format!("{}/login", self.b)).json(&body)).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED => Ok(None),
            StatusCode::OK => Ok(Some(answer.json::<Value>().await?["user"].take())),
            status => bail!("logging {id} in: {status}: {}", answer.text().await?),
        }
    }

    fn user_url(&self, user_id: &str) -> anyhow::Result<reqwest::Url> {
        let mut url = reqwest::Url::parse(&self.a)?;
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("the service's URL has no path"))?
            .extend(["users", user_id]);
        Ok(url)
    }

    async fn retry(&self, request: impl Fn() -> RequestBuilder) -> anyhow::Result<Response> {
        let began = Instant::now();
        loop {
            let error = match request().send().await {
                Ok(answer) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => {
                    return Ok(answer);
                }
                Ok(answer) => anyhow::anyhow!("{}", answer.status()),
                Err(error) => error.into(),
            };
            if began.elapsed() > PATIENCE {
                return Err(error.context(format!("no answer for {PATIENCE:?}")));
            }
            self.again.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
