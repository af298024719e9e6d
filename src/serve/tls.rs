//! HTTPS by rustls, from two PEM files that may be renewed while the server runs.

use crate::settings::{Settings, WrongSetting};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The server's certificate, and the files it came from.
pub(super) struct Tls {
    pub(super) config: ServerConfig,
    current: Arc<Current>,
    files: Files,
}

/// What a handshake gets: the certificate that was read last.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Reads the server's certificate; `None` when the settings name none.
pub(super) fn read(settings: &Settings) -> Result<Option<Tls>, WrongSetting> {
    let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else {
        return Ok(None);
    };
    let files = Files { certificate: certificate.clone(), key: key.clone() };
    let current = Arc::new(Current(RwLock::new(Arc::new(files.read()?))));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("tls_certificate", certificate, &error))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Current>::clone(&current));
    Ok(Some(Tls { config, current, files }))
}

impl Tls {
    /// Takes over renewed files, for ever. New connections get the new certificate, those that are
    /// open go on. A pair that does not serve is named in the log, once, and the old one stays: a
    /// certificate that is written before its key becomes a pair a moment later.
    pub(super) async fn follow(self) {
        let mut seen = self.files.stamp();
        loop {
            tokio::time::sleep(LOOK).await;
            let stamp = self.files.stamp();
            if stamp == seen {
                continue;
            }
            seen = stamp;
            match self.files.read() {
                Ok(renewed) => {
                    *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
                    tracing::info!("the renewed certificate is taken over");
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the renewed certificate does not serve, so the old one stays"
                    );
                }
            }
        }
    }
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn read(&self) -> Result<CertifiedKey, WrongSetting> {
        let Self { certificate, key } = self;
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| wrong("tls_certificate", certificate, &error))?;
        if chain.is_empty() {
            return Err(wrong("tls_certificate", certificate, &"it holds no certificate"));
        }
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("tls_key", key, &error))?;
        CertifiedKey::from_der(chain, secret, &aws_lc_rs::default_provider())
            .map_err(|error| wrong("tls_key", key, &format!("it does not go with the certificate: {error}")))
    }

    /// What changes when a file is written or replaced, a link to another one included.
    fn stamp(&self) -> [Option<(u64, u64, SystemTime)>; 2] {
        use std::os::unix::fs::MetadataExt;
        [&self.certificate, &self.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.ino(), found.len(), found.modified().ok()?))
        })
    }
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
        read(&settings).map(|tls| tls.is_some()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_certificate_and_its_key_are_taken() {
        assert_eq!(from("server-certificate.pem", "server-key.pem"), Ok(true));
        let without = Settings::load(None, [], &[]).unwrap();
        assert!(read(&without).unwrap().is_none());
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
