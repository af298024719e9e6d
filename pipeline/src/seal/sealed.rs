//! The bytes of a sealed secret.

use super::key::{KeyId, MasterKey, wipe};
use super::{SealError, random};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use std::fmt;

/// A sealed secret, format 1:
///
/// | bytes | what they are |
/// |---|---|
/// | 1 | the format, 1 |
/// | 4 | the id of the master key |
/// | 24 | nonce of the data key |
/// | 48 | the data key, encrypted under the master key |
/// | 24 | nonce of the secret |
/// | 16 and more | the secret, encrypted under the data key |
///
/// Both parts are XChaCha20-Poly1305 with random nonces, and end in their 16 bytes of authentication.
/// The data key is bound to the format and the id of the master key, the secret to the format and its
/// context. The data key is used for one secret only, so the two parts cannot be combined anew.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

const FORMAT: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
const DATA_KEY: usize = 32;
/// Where the nonce of the data key begins.
const WRAP_AT: usize = 5;
/// Where the nonce of the secret begins.
const BODY_AT: usize = WRAP_AT + NONCE + DATA_KEY + TAG;
const LENGTH_MIN: usize = BODY_AT + NONCE + TAG;

const WRAP_DOMAIN: &[u8] = b"flowstate data key";
const BODY_DOMAIN: &[u8] = b"flowstate secret";

impl Sealed {
    /// Takes bytes that were stored.
    ///
    /// # Errors
    /// [`SealError::Newer`] for a format of a newer version, [`SealError::Damaged`] for bytes that are
    /// no sealed secret. Most damage shows only when it is opened.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SealError> {
        match bytes.first() {
            Some(&FORMAT) if bytes.len() >= LENGTH_MIN => Ok(Self(bytes)),
            Some(&format) if format > FORMAT => Err(SealError::Newer(format)),
            _ => Err(SealError::Damaged),
        }
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The master key that it needs.
    pub fn key_id(&self) -> KeyId {
        let [_, a, b, c, d, ..] = self.0[..] else { unreachable!("the length was checked") };
        KeyId([a, b, c, d])
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes, key {})", self.0.len(), self.key_id())
    }
}

pub(super) fn seal(master: &MasterKey, context: &str, plain: &[u8]) -> Result<Sealed, SealError> {
    let mut data_key = random::<DATA_KEY>().map_err(SealError::Randomness)?;
    let bytes = wrap(master, &data_key).and_then(|mut bytes| {
        bytes.extend(encrypt(&data_key, &body_data(context), plain)?);
        Ok(bytes)
    });
    wipe(&mut data_key);
    bytes.map(Sealed)
}

pub(super) fn open(master: &MasterKey, context: &str, sealed: &Sealed) -> Result<Vec<u8>, SealError> {
    let mut data_key = unwrap(master, sealed)?;
    let plain = decrypt(&data_key, &body_data(context), &sealed.0[BODY_AT..]);
    wipe(&mut data_key);
    plain.ok_or_else(|| SealError::DamagedOrMisplaced(context.to_owned()))
}

pub(super) fn rewrap(old: &MasterKey, new: &MasterKey, sealed: &Sealed) -> Result<Sealed, SealError> {
    let mut data_key = unwrap(old, sealed)?;
    let bytes = wrap(new, &data_key);
    wipe(&mut data_key);
    let mut bytes = bytes?;
    bytes.extend(&sealed.0[BODY_AT..]);
    Ok(Sealed(bytes))
}

/// Everything up to the nonce of the secret.
fn wrap(master: &MasterKey, data_key: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut bytes = vec![FORMAT];
    bytes.extend(master.id().0);
    bytes.extend(encrypt(master.bytes(), &wrap_data(master.id()), data_key)?);
    Ok(bytes)
}

fn unwrap(master: &MasterKey, sealed: &Sealed) -> Result<Vec<u8>, SealError> {
    decrypt(master.bytes(), &wrap_data(master.id()), &sealed.0[WRAP_AT..BODY_AT]).ok_or(SealError::Damaged)
}

/// What the data key is bound to.
fn wrap_data(id: KeyId) -> Vec<u8> {
    [WRAP_DOMAIN, &[FORMAT], &id.0].concat()
}

/// What the secret is bound to.
fn body_data(context: &str) -> Vec<u8> {
    [BODY_DOMAIN, &[FORMAT], context.as_bytes()].concat()
}

/// A new nonce, then the encrypted bytes and their authentication.
fn encrypt(key: &[u8; 32], bound_to: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let nonce = random::<NONCE>().map_err(SealError::Randomness)?;
    let encrypted = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: bound_to })
        .expect("a secret is far shorter than the cipher's limit of 256 GB");
    Ok([&nonce[..], &encrypted].concat())
}

/// `None` unless the bytes are what [`encrypt`] made with the same key and the same binding.
fn decrypt(key: &[u8], bound_to: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let (nonce, encrypted) = bytes.split_first_chunk::<NONCE>()?;
    let cipher = XChaCha20Poly1305::new_from_slice(key).ok()?;
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: encrypted, aad: bound_to }).ok()
}
