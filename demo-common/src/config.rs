//! What a demo service is told at its start.

use std::{convert::Infallible, fmt, net::SocketAddr, str::FromStr};

use anyhow::Context;
use clap::{Args, ValueEnum};
use syncline::transport::{http_feed::Token, http_push::Secret};

use crate::{Network, Proxies, ProxyHeader};

/// How dear a password hash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HashCost {
    /// As argon2's authors recommend.
    Default,
    /// For demos and tests only.
    Low,
}

/// A webhook secret, `whsec_` and base64. It is parsed where it is used: the parser of arguments
/// would print a malformed one.
#[derive(Clone)]
pub struct SecretArg(String);

impl SecretArg {
    pub(crate) fn parse(&self, name: &'static str) -> anyhow::Result<Secret> {
        Secret::parse(&self.0).context(name)
    }
}

impl fmt::Debug for SecretArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretArg(..)")
    }
}

impl FromStr for SecretArg {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// The token of a feed's reader; parsed where it is used, for the same reason.
#[derive(Clone)]
pub struct TokenArg(String);

impl TokenArg {
    pub(crate) fn parse(&self, name: &'static str) -> anyhow::Result<Token> {
        Token::parse(&self.0).context(name)
    }
}

impl fmt::Debug for TokenArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenArg(..)")
    }
}

impl FromStr for TokenArg {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// The settings of a demo service; each flag can be given as an environment variable.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "LISTEN")]
    pub listen: Option<SocketAddr>,
    /// This service's database, `sqlite://FILE`, `postgres://...` or `mysql://...`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// The other service's push endpoint. Without it nothing is pushed: the other one pulls.
    #[arg(long, env = "PEER_URL", hide_env_values = true, requires = "secret_out")]
    pub peer_url: Option<String>,
    /// Signs what this service pushes.
    #[arg(long, env = "SECRET_OUT", hide_env_values = true)]
    pub secret_out: Option<SecretArg>,
    /// The other service's feed. With it this service pulls, and takes no pushes.
    #[arg(long, env = "PEER_FEED", hide_env_values = true, requires = "peer_token")]
    pub peer_feed: Option<String>,
    /// What the other service's feed lets this one in for.
    #[arg(long, env = "PEER_TOKEN", hide_env_values = true)]
    pub peer_token: Option<TokenArg>,
    /// What the other service signs its pushes with.
    #[arg(long, env = "SECRET_IN", hide_env_values = true, required_unless_present = "peer_feed")]
    pub secret_in: Option<SecretArg>,
    /// What this service's own feed lets the other one in for; without it there is no feed.
    #[arg(long, env = "FEED_TOKEN", hide_env_values = true)]
    pub feed_token: Option<TokenArg>,
    /// How dear a password hash is; both services should agree, or the time that a login takes
    /// tells whether the user exists.
    #[arg(long, env = "HASH_COST", default_value = "default")]
    pub hash_cost: HashCost,
    /// Addresses and networks of proxies that are believed when they say whose request they pass on,
    /// comma-separated. Without it nobody is, and limits count the address that connects.
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,
    /// The header in which they say it; a proxy must overwrite or extend it.
    #[arg(long, env = "PROXY_HEADER", default_value = "x-forwarded-for")]
    pub proxy_header: ProxyHeader,
}

impl Config {
    /// Which proxies are believed.
    pub fn proxies(&self) -> Proxies {
        Proxies::new(&self.trusted_proxies, self.proxy_header)
    }
}
