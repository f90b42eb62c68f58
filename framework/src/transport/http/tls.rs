//! What a client trusts. The configuration is its own, so that the program need not install
//! a process-wide provider of cryptography, and so that `http` works without certificates.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use rustls_platform_verifier::BuilderVerifierExt;

use super::TargetError;

/// The program's provider if it installed one, else ring; the system's certificates for
/// `https`, none for `http`.
pub(super) fn config(https: bool) -> Result<ClientConfig, TargetError> {
    let provider = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let failed = |error: rustls::Error| TargetError::Client(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    Ok(match https {
        true => builder.with_platform_verifier().map_err(failed)?.with_no_client_auth(),
        false => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
    })
}
