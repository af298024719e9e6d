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

#[cfg(test)]
mod tests {
    use super::*;

    fn from(certificate: &str, key: &str) -> Result<bool, String> {
        let fixture = |name: &str| format!("{}/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"));
        let flags = [("tls_certificate", fixture(certificate)), ("tls_key", fixture(key))];
        let settings = Settings::load(None, [], &flags).unwrap();
        config(&settings).map(|config| config.is_some()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_certificate_and_its_key_are_taken() {
        assert_eq!(from("server-certificate.pem", "server-key.pem"), Ok(true));
        let without = Settings::load(None, [], &[]).unwrap();
        assert!(config(&without).unwrap().is_none());
    }

    #[test]
    fn files_that_do_not_serve_are_named_with_the_reason() {
        for (certificate, key, setting, reason) in [
            ("missing.pem", "server-key.pem", "`tls_certificate`", "missing.pem"),
            ("server-key.pem", "server-key.pem", "`tls_certificate`", "no certificate"),
            ("server-certificate.pem", "missing.pem", "`tls_key`", "missing.pem"),
            ("server-certificate.pem", "server-certificate.pem", "`tls_key`", "server-certificate.pem"),
            ("server-certificate.pem", "other-key.pem", "`tls_key`", "does not go with the certificate"),
        ] {
            let message = from(certificate, key).unwrap_err();
            assert!(message.contains(setting) && message.contains(reason), "{message}");
        }
    }
}
