//! HTTPS by rustls, from two PEM files.

use crate::settings::{Settings, WrongSetting};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// The server's certificate; `None` when the settings name none.
pub(super) fn config(settings: &Settings) -> Result<Option<ServerConfig>, WrongSetting> {
    let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else {
        return Ok(None);
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| wrong("tls_certificate", certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong("tls_certificate", certificate, &"it holds no certificate"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("tls_key", key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| wrong("tls_key", key, &format!("it does not go with the certificate: {error}")))?;
    Ok(Some(config))
}

fn wrong(setting: &str, path: &Path, error: &dyn std::fmt::Display) -> WrongSetting {
    WrongSetting::new(format!("setting `{setting}` is `{}`: {error}", path.display()))
}
