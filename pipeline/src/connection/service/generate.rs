//! What the server makes itself: ids and secrets to sign with.

use super::ConnectionError;
use crate::Micros;
use crate::seal::SealError;
use crate::vendor::Vendor;
use rand::TryRng;
use rand::rngs::SysRng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Random bytes of a secret; a multiple of three, so that base64 needs no padding.
const SECRET_BYTES: usize = 48;

/// `prefix` and a UUID of version 7 for the time `now`.
pub(super) fn id(prefix: &str, now: Micros) -> Result<Arc<str>, ConnectionError> {
    let mut random = [0; 10];
    SysRng.try_fill_bytes(&mut random).map_err(no_randomness)?;
    let millis = u64::try_from(now / 1_000).unwrap_or(0);
    let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    Ok(format!("{prefix}{}", uuid.simple()).into())
}

/// Makes the credentials that the vendor lets the server make and nobody entered, adds them, and
/// gives them.
pub(super) fn missing(
    vendor: &Vendor,
    credentials: &mut BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ConnectionError> {
    let mut made = BTreeMap::new();
    for field in vendor.credentials.iter().filter(|field| field.generated) {
        if credentials.get(&field.name).is_none_or(|text| text.trim().is_empty()) {
            let mut random = [0; SECRET_BYTES];
            SysRng.try_fill_bytes(&mut random).map_err(no_randomness)?;
            made.insert(field.name.clone(), format!("whsec_{}", base64(&random)));
        }
    }
    credentials.extend(made.clone());
    Ok(made)
}

fn no_randomness(error: impl std::error::Error + Send + Sync + 'static) -> ConnectionError {
    SealError::Randomness(std::io::Error::other(error)).into()
}

/// Base64 (RFC 4648, section 4) of a multiple of three bytes.
fn base64(bytes: &[u8; SECRET_BYTES]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks_exact(3).map(|group| u32::from_be_bytes([0, group[0], group[1], group[2]]));
    groups
        .flat_map(|group| [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(group >> shift) as usize & 63])))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_their_time_and_are_never_the_same() {
        let ids: std::collections::BTreeSet<_> =
            (0..100).map(|_| id("con_", 1_768_478_400_000_000).unwrap()).collect();
        assert_eq!(ids.len(), 100);
        for id in &ids {
            let uuid = uuid::Uuid::parse_str(id.strip_prefix("con_").unwrap()).unwrap();
            assert_eq!((uuid.get_version_num(), id.len()), (7, 36));
            assert_eq!(uuid.get_timestamp().unwrap().to_unix().0, 1_768_478_400);
        }
        assert!(id("con_", 1_000_000).unwrap() < id("con_", 2_000_000).unwrap(), "they sort by time");
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        let mut bytes = [0; SECRET_BYTES];
        bytes[..6].copy_from_slice(b"foobar");
        bytes[45..].copy_from_slice(&[0xfb, 0xff, 0xbf]);
        let text = base64(&bytes);
        assert!(text.starts_with("Zm9vYmFyAAAA") && text.ends_with("AAAA+/+/"), "{text}");
        assert_eq!(text.len(), 64);
    }
}
