//! Signatures of Standard Webhooks, version 1: HMAC-SHA256.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What the specification asks of a secret, in bytes.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that webhooks are signed with.
pub(super) struct SigningSecret(Hmac<Sha256>);

impl SigningSecret {
    /// Reads `whsec_` and the base64 of 24 to 64 bytes. The error does not repeat it.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "it is not `whsec_` and the base64 of 24 to 64 bytes";
        let text = text.strip_prefix("whsec_").ok_or(EXPECTED)?;
        let key = BASE64_STANDARD.decode(text).map_err(|_| EXPECTED)?;
        if !BYTES.contains(&key.len()) {
            return Err(EXPECTED);
        }
        Ok(Self(Hmac::new_from_slice(&key).expect("a key of any length")))
    }

    /// `v1,` and the base64 of the signature; `timestamp` in seconds since 1970.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::conformance::{skip, specs};
    use serde_json::Value;

    #[test]
    fn a_signature_is_that_of_the_published_vectors() {
        let Some(specs) = specs() else {
            return skip("a_signature_is_that_of_the_published_vectors");
        };
        let text = std::fs::read_to_string(specs.join("svix/vectors.json")).expect("vectors");
        let vectors: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        assert!(!vectors.is_empty());
        vectors.iter().for_each(check_vector);
    }

    #[test]
    fn a_signature_is_that_of_our_own_vectors() {
        let vectors: Vec<Value> =
            serde_json::from_str(include_str!("../../../../fixtures/vendors/webhook/signatures.json"))
                .expect("JSON");
        assert!(!vectors.is_empty());
        vectors.iter().for_each(check_vector);
    }

    fn check_vector(vector: &Value) {
        let text = |key: &str| vector[key].as_str().unwrap_or_else(|| panic!("`{key}` of {vector}"));
        let secret = SigningSecret::read(text("secret")).expect("a secret");
        let timestamp = text("timestamp").parse().expect("seconds");
        let signature = secret.sign(text("msg_id"), timestamp, text("payload").as_bytes());
        assert_eq!(signature, text("signature"), "{vector}");
    }

    #[test]
    fn a_secret_of_another_form_is_refused_and_not_repeated() {
        for text in
            ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8G", "whsec_not base64 at all!", "whsec_"]
        {
            let problem = SigningSecret::read(text).err().expect(text);
            assert_eq!(problem, "it is not `whsec_` and the base64 of 24 to 64 bytes");
        }
        assert!(SigningSecret::read(&format!("whsec_{}", BASE64_STANDARD.encode([7; 65]))).is_err());
        assert!(SigningSecret::read(&format!("whsec_{}", BASE64_STANDARD.encode([7; 64]))).is_ok());
    }
}
