//! The HTTP client of publishers and subscribers: bounded, and going nowhere but where it is sent.

use std::time::Duration;

use reqwest::{Client, Url, redirect};

use super::{TargetError, tls};
use crate::logs;

const USER_AGENT: &str = concat!("syncline/", env!("CARGO_PKG_VERSION"));
/// Shorter than the 30 seconds after which [`serve`](super::serve) closes an idle connection.
const IDLE: Duration = Duration::from_secs(20);

/// Reads a target's URL: `http` or `https`, without a user name or password.
pub(in crate::transport) fn target(url: &str) -> Result<Url, TargetError> {
    let url: Url = url.trim().parse().map_err(|error| TargetError::Url(format!("{error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TargetError::Scheme(url.scheme().chars().take(20).collect()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::Credentials);
    }
    Ok(url)
}

/// A client for `url`. Everything that a feature of reqwest could switch on elsewhere in the
/// program is switched off here: proxies, redirects, decompression, other versions of HTTP.
pub(in crate::transport) fn client(url: &Url, connect: Duration) -> Result<Client, TargetError> {
    Client::builder()
        .tls_backend_preconfigured(tls::config(url.scheme() == "https")?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .referer(false)
        .http1_only()
        .tcp_nodelay(true)
        .tcp_keepalive(IDLE)
        .pool_idle_timeout(IDLE)
        .connect_timeout(connect)
        .user_agent(USER_AGENT)
        .build()
        .map_err(|error| TargetError::Client(explain(error)))
}

/// A target's name for logs and errors: no user, no password, no query, no fragment.
pub(in crate::transport) fn name(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The error and its causes, without the URL, whose query may be secret.
pub(in crate::transport) fn explain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    logs::cut(&text, 300)
}
