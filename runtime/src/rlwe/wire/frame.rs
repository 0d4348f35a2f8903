//! What every object has in common as bytes: prefix, header, checksum.

use fhec_ir::scale::Level;
use prost::Message;

use crate::error::FormatError;
use crate::ring::Context;
use crate::rlwe::KeyId;

pub(crate) const MAGIC: &[u8; 4] = b"FHEC";
pub(crate) const PREFIX: usize = 16;
pub(crate) const CHECKSUM: usize = 32;

/// Most bytes around a body: prefix, the longest header that a prefix can announce, checksum.
pub(crate) const MAX_OVERHEAD: usize = PREFIX + u16::MAX as usize + CHECKSUM;

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ciphertext = 1,
    PublicKey = 2,
    SwitchingKey = 3,
    SecretKey = 4,
    ProgramKeys = 5,
    EncapsulationKeys = 6,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Ciphertext => "ciphertext",
            Kind::PublicKey => "public key",
            Kind::SwitchingKey => "evaluation key",
            Kind::SecretKey => "secret key",
            Kind::ProgramKeys => "set of evaluation keys",
            Kind::EncapsulationKeys => "pair of encapsulation keys",
        }
    }

    /// Version of the format.
    const fn version(self) -> u8 {
        match self {
            // 1 had no encapsulation keys.
            Kind::ProgramKeys => 2,
            // 1 had one key back from the ephemeral secret.
            Kind::EncapsulationKeys => 2,
            _ => 1,
        }
    }
}

/// The header of every object; fields that a kind does not use are zero.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Header {
    /// Of the parameters.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) fingerprint: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) key: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(crate) level: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) scale_level: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) scale_power: u32,
    #[prost(uint64, tag = "6")]
    pub(crate) slots: u64,
    /// Number of polynomials in the body.
    #[prost(uint32, tag = "7")]
    pub(crate) polys: u32,
    /// Of the uniform half, if that is not in the body.
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) uniform_seed: Vec<u8>,
    /// Galois element of a switching key; zero for relinearisation.
    #[prost(uint64, tag = "9")]
    pub(crate) element: u64,
    /// Number of switching keys that follow a set's header.
    #[prost(uint32, tag = "10")]
    pub(crate) count: u32,
    /// Hamming weight of the ephemeral secret of encapsulation keys.
    #[prost(uint32, tag = "11")]
    pub(crate) ephemeral_weight: u32,
    /// Of the uniform half of the key to the ephemeral secret.
    #[prost(bytes = "vec", tag = "12")]
    pub(crate) ephemeral_seed: Vec<u8>,
    /// Whether encapsulation keys follow the switching keys of a set.
    #[prost(bool, tag = "13")]
    pub(crate) encapsulation: bool,
    /// Steps to the left of the keys from the ephemeral secret, ascending.
    #[prost(uint32, repeated, tag = "14")]
    pub(crate) rotations: Vec<u32>,
    /// Number of special primes of the keys from the ephemeral secret.
    #[prost(uint32, tag = "15")]
    pub(crate) special: u32,
}

impl Header {
    pub(crate) fn new(context: &Context, key: KeyId) -> Self {
        let fingerprint = context.fingerprint().to_vec();
        Header { fingerprint, key: key.0.to_vec(), ..Header::default() }
    }

    pub(crate) fn key(&self, kind: Kind) -> Result<KeyId, FormatError> {
        let key =
            self.key[..].try_into().map_err(|_| damaged(kind, "the key's name is not 16 bytes long"))?;
        Ok(KeyId(key))
    }

    pub(crate) fn level(&self, context: &Context, kind: Kind) -> Result<Level, FormatError> {
        level(context, kind, self.level)
    }

    pub(crate) fn uniform_seed(&self, kind: Kind) -> Result<[u8; 32], FormatError> {
        seed(kind, &self.uniform_seed)
    }
}

pub(crate) fn seed(kind: Kind, found: &[u8]) -> Result<[u8; 32], FormatError> {
    found.try_into().map_err(|_| damaged(kind, "the seed is not 32 bytes long"))
}

pub(crate) fn damaged(kind: Kind, reason: &str) -> FormatError {
    FormatError::Header { object: kind.name(), reason: reason.to_owned() }
}

pub(crate) fn level(context: &Context, kind: Kind, found: u32) -> Result<Level, FormatError> {
    let top = context.params().top_level();
    let found = Level::try_from(found).ok().filter(|&level| level <= top);
    found.ok_or_else(|| damaged(kind, "its level is above the top level"))
}

/// Prefix, header, body, checksum.
pub(crate) fn seal(kind: Kind, header: &Header, body: &[u8]) -> Vec<u8> {
    let header = header.encode_to_vec();
    let mut bytes = Vec::with_capacity(PREFIX + header.len() + body.len() + CHECKSUM);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[kind as u8, kind.version()]);
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(body);
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

/// Length of the header and of the body.
pub(crate) fn read_prefix(kind: Kind, bytes: &[u8]) -> Result<(usize, usize), FormatError> {
    let object = kind.name();
    let Some(prefix) = bytes.first_chunk::<PREFIX>().filter(|p| p[..4] == MAGIC[..] && p[4] == kind as u8)
    else {
        return Err(FormatError::Magic { expected: object });
    };
    if prefix[5] != kind.version() {
        let (found, supported) = (u32::from(prefix[5]), u32::from(kind.version()));
        return Err(FormatError::Version { object, found, supported });
    }
    let header = usize::from(u16::from_le_bytes([prefix[6], prefix[7]]));
    let mut body = [0; 8];
    body.copy_from_slice(&prefix[8..]);
    Ok((header, usize::try_from(u64::from_le_bytes(body)).unwrap_or(usize::MAX)))
}

/// Checks prefix, length, checksum and fingerprint; returns header and body.
pub(crate) fn open<'b>(
    context: &Context,
    kind: Kind,
    bytes: &'b [u8],
) -> Result<(Header, &'b [u8]), FormatError> {
    let object = kind.name();
    let (header_len, body_len) = read_prefix(kind, bytes)?;
    let expected = body_len.saturating_add(PREFIX + header_len + CHECKSUM);
    check_length(kind, expected, bytes.len())?;
    let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    if blake3::hash(content).as_bytes()[..] != checksum[..] {
        return Err(FormatError::Checksum { object });
    }
    let (header, body) = content[PREFIX..].split_at(header_len);
    let header = Header::decode(header).map_err(|error| damaged(kind, &error.to_string()))?;
    let fingerprint = context.fingerprint();
    if header.fingerprint[..] != fingerprint[..] {
        let hex = |bytes: &[u8]| bytes.iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
        let (expected, found) = (hex(fingerprint), hex(&header.fingerprint));
        return Err(FormatError::Fingerprint { object, expected, found });
    }
    Ok((header, body))
}

pub(crate) fn check_length(kind: Kind, expected: usize, found: usize) -> Result<(), FormatError> {
    if expected == found { Ok(()) } else { Err(FormatError::Length { object: kind.name(), expected, found }) }
}
