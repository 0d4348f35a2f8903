//! Ciphertexts and keys as bytes.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | `FHEC` |
//! | 1, 1 | kind of object, format version |
//! | 2, 8 | length of the header, of the body; little-endian |
//! | | header: a protocol buffer: parameter fingerprint, key, level, scale, slots |
//! | | body: residues, each prime's in as many bits as the prime has, little-endian |
//! | 32 | BLAKE3 of everything before |
//!
//! Uniform halves of keys and fresh ciphertexts are seeds in the header. Sizes follow from the
//! parameters, never from the header alone: a wrong length is found before anything is allocated, a
//! foreign fingerprint, a damaged byte and a residue out of range before the object exists.

pub(crate) mod frame;
pub(crate) mod packing;

use fhec_ir::ckks::CiphertextType;
use fhec_ir::scale::{Level, Scale};
use zeroize::{Zeroize, Zeroizing};

use self::frame::{Header, Kind, check_length, damaged, level, open, seal};
use self::packing::{pack, packed_len, primes, unpack, unpack_polys};
use super::ciphertext::{Ciphertext, SeededCiphertext};
use super::public::PublicKey;
use super::secret::SecretKey;
use super::switching_key::SwitchingKey;
use crate::error::FormatError;
use crate::kernels::Buffer;
use crate::names::KeyId;
use crate::names::SwitchingKeyKind;
use crate::ring::Context;

fn ciphertext_header(
    context: &Context,
    key: KeyId,
    level: Level,
    scale: Scale,
    slots: usize,
    polys: usize,
) -> Header {
    Header {
        level: level.into(),
        scale_level: scale.level.into(),
        scale_power: scale.power.into(),
        slots: slots as u64,
        polys: polys as u32,
        ..Header::new(context, key)
    }
}

impl Ciphertext {
    /// The ciphertext as bytes; see the module.
    pub fn to_bytes(&self, context: &Context) -> Vec<u8> {
        let header =
            ciphertext_header(context, self.key(), self.level(), self.scale(), self.slots(), self.size());
        let primes = primes(context, context.basis(self.level()), 1);
        let body: Vec<Vec<u8>> =
            self.polys().iter().map(|poly| pack(context, &primes, poly.data())).collect();
        seal(Kind::Ciphertext, &header, &body.concat())
    }

    /// Most bytes that [`Ciphertext::to_bytes`] makes of one of this type.
    pub fn max_bytes(context: &Context, ty: &CiphertextType) -> usize {
        let body = usize::from(ty.size) * packed_len(context, &primes(context, context.basis(ty.level), 1));
        frame::MAX_OVERHEAD + body
    }

    /// Reads a ciphertext; one whose uniform half is a seed ([`SeededCiphertext`]) is expanded.
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, FormatError> {
        Self::read(context, bytes, true)
    }

    /// Reads a ciphertext that has been computed: an answer. No evaluation leaves a uniform half
    /// known by its seed.
    ///
    /// # Errors
    /// [`FormatError::Seeded`] for one with such a half, before it is expanded.
    pub fn from_full_bytes(context: &Context, bytes: &[u8]) -> Result<Self, FormatError> {
        Self::read(context, bytes, false)
    }

    fn read(context: &Context, bytes: &[u8], seeds: bool) -> Result<Self, FormatError> {
        let kind = Kind::Ciphertext;
        let (header, body) = open(context, kind, bytes)?;
        let (key, level_found) = (header.key(kind)?, header.level(context, kind)?);
        let scale_level = level(context, kind, header.scale_level)?;
        let scale = match header.scale_power {
            1 => Scale::canonical(scale_level),
            2 => Scale::squared(scale_level),
            _ => return Err(damaged(kind, "its scale is no power 1 or 2 of a canonical one")),
        };
        let slots = usize::try_from(header.slots).unwrap_or(0);
        if !slots.is_power_of_two() || slots > context.params().slots() {
            return Err(damaged(kind, "its number of slots is no power of two up to N/2"));
        }
        let count = header.polys as usize;
        let seeded = !header.uniform_seed.is_empty();
        if seeded && !seeds {
            return Err(FormatError::Seeded { object: kind.name() });
        }
        if !(if seeded { 1..=1 } else { 2..=3 }).contains(&count) {
            let reason =
                if seeded { "it has a seed and not one polynomial" } else { "its size is neither 2 nor 3" };
            return Err(damaged(kind, reason));
        }
        let mut polys = unpack_polys(context, kind, context.basis(level_found), count, body)?;
        if !seeded {
            return Ok(Ciphertext::new(polys, level_found, scale, slots, key));
        }
        let (seed, body) = (header.uniform_seed(kind)?, polys.remove(0));
        Ok(SeededCiphertext { body, seed, level: level_found, scale, slots, key }.expand(context))
    }
}

impl SeededCiphertext {
    /// The ciphertext as bytes, half as many as after expansion. [`Ciphertext::from_bytes`] reads
    /// and expands it.
    pub fn to_bytes(&self, context: &Context) -> Vec<u8> {
        let header = ciphertext_header(context, self.key, self.level, self.scale, self.slots, 1);
        let header = Header { uniform_seed: self.seed.to_vec(), ..header };
        let primes = primes(context, context.basis(self.level), 1);
        seal(Kind::Ciphertext, &header, &pack(context, &primes, self.body.data()))
    }
}

impl PublicKey {
    /// The key as bytes; the uniform half as a seed.
    pub fn to_bytes(&self, context: &Context) -> Vec<u8> {
        let header = Header { uniform_seed: self.uniform_seed().to_vec(), ..Header::new(context, self.id()) };
        let primes = primes(context, self.body().basis(), 1);
        seal(Kind::PublicKey, &header, &pack(context, &primes, self.body().data()))
    }

    /// Reads a public key.
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, FormatError> {
        let kind = Kind::PublicKey;
        let (header, body) = open(context, kind, bytes)?;
        let (key, seed) = (header.key(kind)?, header.uniform_seed(kind)?);
        let basis = context.key_basis(context.params().top_level()).with_special(0);
        let mut polys = unpack_polys(context, kind, basis, 1, body)?;
        Ok(PublicKey::from_body(context, key, seed, polys.remove(0)))
    }
}

/// Prime of every limb of a switching key's half: every digit of a limb before the next limb.
fn switching_key_primes(context: &Context, level: Level) -> Vec<usize> {
    let digits = context.params().digits(level).len();
    let limbs = primes(context, context.key_basis(level), 1);
    limbs.into_iter().flat_map(|prime| std::iter::repeat_n(prime, digits)).collect()
}

impl SwitchingKey {
    /// The key as bytes: one half, in Montgomery form; the uniform half as a seed.
    pub fn to_bytes(&self, context: &Context) -> Vec<u8> {
        let element = match self.kind() {
            SwitchingKeyKind::Relinearization => 0,
            SwitchingKeyKind::Galois { element } => element,
        };
        let header = Header {
            level: self.level().into(),
            uniform_seed: self.uniform_seed().to_vec(),
            element,
            ..Header::new(context, self.id())
        };
        let primes = switching_key_primes(context, self.level());
        seal(Kind::SwitchingKey, &header, &pack(context, &primes, &self.body(context.isa())))
    }

    /// Most bytes that the body of a key can have with these parameters.
    pub(crate) fn max_body_len(context: &Context) -> usize {
        packed_len(context, &switching_key_primes(context, context.params().top_level()))
    }

    /// Reads an evaluation key and expands its uniform half.
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, FormatError> {
        let kind = Kind::SwitchingKey;
        let (header, packed) = open(context, kind, bytes)?;
        let (key, seed) = (header.key(kind)?, header.uniform_seed(kind)?);
        let level = header.level(context, kind)?;
        let key_kind = match header.element {
            0 => SwitchingKeyKind::Relinearization,
            element if element % 2 == 1 && element < 2 * context.ring_degree() as u64 => {
                SwitchingKeyKind::Galois { element }
            }
            _ => return Err(damaged(kind, "its Galois element is not odd and below 2N")),
        };
        let primes = switching_key_primes(context, level);
        check_length(kind, packed_len(context, &primes), packed.len())?;
        let mut body = Buffer::zeroed(primes.len() * context.ring_degree());
        unpack(context, kind, &primes, packed, &mut body)?;
        Ok(SwitchingKey::from_body(context, key_kind, key, level, seed, &body))
    }
}

impl SecretKey {
    /// The key as bytes, wiped when dropped: two bits per coefficient. To be kept where only its
    /// owner can read.
    pub fn to_bytes(&self, context: &Context) -> Zeroizing<Vec<u8>> {
        let mut body: Vec<u8> = self
            .coefficients()
            .chunks_exact(4)
            .map(|four| four.iter().rev().fold(0, |byte, &x| byte << 2 | (x + 1) as u8))
            .collect();
        let bytes = Zeroizing::new(seal(Kind::SecretKey, &Header::new(context, self.id()), &body));
        body.zeroize();
        bytes
    }

    /// Reads a secret key.
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, FormatError> {
        let kind = Kind::SecretKey;
        let (header, body) = open(context, kind, bytes)?;
        let key = header.key(kind)?;
        check_length(kind, context.ring_degree() / 4, body.len())?;
        let coefficients: Zeroizing<Vec<i8>> = Zeroizing::new(
            body.iter().flat_map(|&byte| (0..4).map(move |i| (byte >> (2 * i) & 3) as i8 - 1)).collect(),
        );
        if coefficients.contains(&2) {
            return Err(FormatError::Residue { object: kind.name(), prime: 3 });
        }
        Ok(SecretKey::from_coefficients(context, key, coefficients.to_vec()))
    }
}

#[cfg(test)]
mod tests;
