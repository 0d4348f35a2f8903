//! Signatures of receipts: Ed25519 (RFC 8032), keys as PEM files, as `openssl genpkey` makes them.

use std::fmt;
use std::path::{Path, PathBuf};

use fhec_roles::files::{self, FileError};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

/// Larger files hold no key.
const MAX_KEY_BYTES: u64 = 1 << 14;
/// What stands before the 32 bytes of an Ed25519 key in a file of it (RFC 8410).
const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// Why a file is no key for receipts.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum KeyError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} holds no Ed25519 private key (PEM, PKCS #8): `openssl genpkey -algorithm ed25519 -out FILE` makes one", .0.display())]
    Private(PathBuf),
    #[error("{} holds no Ed25519 public key (PEM): `openssl pkey -in PRIVATE -pubout -out FILE` writes one", .0.display())]
    Public(PathBuf),
}

/// Bytes as hexadecimal digits.
fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of `2 N` lower-case hexadecimal digits.
fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    let plain = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * N || !digits.iter().all(plain) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A signature of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Signature {
    /// The public key that it is by, 64 hexadecimal digits. Whoever checks it has the key from
    /// elsewhere.
    pub key: String,
    /// The signature, 128 hexadecimal digits.
    pub ed25519: String,
}

/// A private key that signs receipts.
pub struct SigningKey(Ed25519KeyPair);

impl fmt::Debug for SigningKey {
    /// The public half alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public()).finish()
    }
}

impl SigningKey {
    /// Reads a private key: PKCS #8 as PEM.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let pem = files::read(path, MAX_KEY_BYTES)?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).ok();
        // Keys of `openssl` are PKCS #8 of version 1, without the public half.
        let pair =
            key.and_then(|key| Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der()).ok());
        pair.map(SigningKey).ok_or_else(|| KeyError::Private(path.to_owned()))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    pub(super) fn sign(&self, message: &[u8]) -> Signature {
        Signature { key: self.public().to_string(), ed25519: digits(self.0.sign(message).as_ref()) }
    }
}

/// A public key that receipts are checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digits(&self.0))
    }
}

impl PublicKey {
    /// Reads a public key: SubjectPublicKeyInfo as PEM.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let pem = files::read(path, MAX_KEY_BYTES)?;
        let info = SubjectPublicKeyInfoDer::from_pem_slice(&pem).ok();
        let key = info.as_ref().and_then(|info| info.as_ref().strip_prefix(&PREFIX)?.try_into().ok());
        key.map(PublicKey).ok_or_else(|| KeyError::Public(path.to_owned()))
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let Some(bytes) = bytes::<SIGNATURE_BYTES>(&signature.ed25519) else { return false };
        signature.key == self.to_string()
            && UnparsedPublicKey::new(&ED25519, self.0).verify(message, &bytes).is_ok()
    }
}
