//! What a demo service is told at its start.

use std::{fmt, net::SocketAddr, str::FromStr};

use clap::{Args, ValueEnum};
use syncline::transport::http_push::Secret;

/// How dear a password hash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HashCost {
    /// As argon2's authors recommend.
    Default,
    /// For demos and tests only.
    Low,
}

/// A webhook secret, `whsec_` and base64.
#[derive(Clone)]
pub struct SecretArg(pub(crate) Secret);

impl fmt::Debug for SecretArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretArg(..)")
    }
}

impl FromStr for SecretArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Secret::parse(text).map(Self).map_err(|error| error.to_string())
    }
}

/// The settings of a demo service; each flag can be given as an environment variable.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "LISTEN")]
    pub listen: Option<SocketAddr>,
    /// This service's database, `sqlite://FILE` or `postgres://...`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// The other service's push endpoint.
    #[arg(long, env = "PEER_URL", hide_env_values = true)]
    pub peer_url: String,
    /// Signs what this service pushes.
    #[arg(long, env = "SECRET_OUT", hide_env_values = true)]
    pub secret_out: SecretArg,
    /// What the other service signs with.
    #[arg(long, env = "SECRET_IN", hide_env_values = true)]
    pub secret_in: SecretArg,
    /// How dear a password hash is.
    #[arg(long, env = "HASH_COST", default_value = "default")]
    pub hash_cost: HashCost,
}
