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
//! Uniform halves of keys and fresh ciphertexts are seeds in the header. Sizes follow from the parameters, never from the
//! header alone: a wrong length is found before anything is allocated, a foreign fingerprint, a damaged byte and a residue
//! out of range before the object exists.

use std::io::{self, Read, Write};

use fhec_ir::scale::{Level, Scale};
use prost::Message;
use rayon::prelude::*;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::ciphertext::{Ciphertext, SeededCiphertext};
use super::keys::{EvaluationKeys, KeyKind};
use super::public::PublicKey;
use super::secret::{KeyId, SecretKey};
use super::switching_key::SwitchingKey;
use crate::error::FormatError;
use crate::kernels::Buffer;
use crate::ring::{Basis, Context, Domain, Poly};

const MAGIC: &[u8; 4] = b"FHEC";
const VERSION: u8 = 1;
const PREFIX: usize = 16;
const CHECKSUM: usize = 32;

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ciphertext = 1,
    PublicKey = 2,
    SwitchingKey = 3,
    SecretKey = 4,
    EvaluationKeys = 5,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Ciphertext => "ciphertext",
            Kind::PublicKey => "public key",
            Kind::SwitchingKey => "evaluation key",
            Kind::SecretKey => "secret key",
            Kind::EvaluationKeys => "set of evaluation keys",
        }
    }
}

/// The header of every object; fields that a kind does not use are zero.
#[derive(Clone, PartialEq, Message)]
struct Header {
    /// Of the parameters.
    #[prost(bytes = "vec", tag = "1")]
    fingerprint: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(uint32, tag = "3")]
    level: u32,
    #[prost(uint32, tag = "4")]
    scale_level: u32,
    #[prost(uint32, tag = "5")]
    scale_power: u32,
    #[prost(uint64, tag = "6")]
    slots: u64,
    /// Number of polynomials in the body.
    #[prost(uint32, tag = "7")]
    polys: u32,
    /// Of the uniform half, if that is not in the body.
    #[prost(bytes = "vec", tag = "8")]
    uniform_seed: Vec<u8>,
    /// Galois element of a switching key; zero for relinearisation.
    #[prost(uint64, tag = "9")]
    element: u64,
    /// Number of keys that follow a set's header.
    #[prost(uint32, tag = "10")]
    count: u32,
}

/// Why a stream of keys could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The reader failed.
    #[error("reading evaluation keys: {0}")]
    Io(#[from] io::Error),
    /// The bytes were refused.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl Header {
    fn new(context: &Context, key: KeyId) -> Self {
        let fingerprint = context.params().fingerprint().to_vec();
        Header { fingerprint, key: key.0.to_vec(), ..Header::default() }
    }

    fn key(&self, kind: Kind) -> Result<KeyId, FormatError> {
        let key =
            self.key[..].try_into().map_err(|_| damaged(kind, "the key's name is not 16 bytes long"))?;
        Ok(KeyId(key))
    }

    fn level(&self, context: &Context, kind: Kind) -> Result<Level, FormatError> {
        level(context, kind, self.level)
    }

    fn uniform_seed(&self, kind: Kind) -> Result<[u8; 32], FormatError> {
        self.uniform_seed[..].try_into().map_err(|_| damaged(kind, "the seed is not 32 bytes long"))
    }
}

fn damaged(kind: Kind, reason: &str) -> FormatError {
    FormatError::Header { object: kind.name(), reason: reason.to_owned() }
}

fn level(context: &Context, kind: Kind, found: u32) -> Result<Level, FormatError> {
    let top = context.params().top_level();
    let found = Level::try_from(found).ok().filter(|&level| level <= top);
    found.ok_or_else(|| damaged(kind, "its level is above the top level"))
}

/// Prefix, header, body, checksum.
fn seal(kind: Kind, header: &Header, body: &[u8]) -> Vec<u8> {
    let header = header.encode_to_vec();
    let mut bytes = Vec::with_capacity(PREFIX + header.len() + body.len() + CHECKSUM);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[kind as u8, VERSION]);
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(body);
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

/// Length of the header and of the body.
fn read_prefix(kind: Kind, bytes: &[u8]) -> Result<(usize, usize), FormatError> {
    let object = kind.name();
    let Some(prefix) = bytes.first_chunk::<PREFIX>().filter(|p| p[..4] == MAGIC[..] && p[4] == kind as u8)
    else {
        return Err(FormatError::Magic { expected: object });
    };
    if prefix[5] != VERSION {
        let (found, supported) = (u32::from(prefix[5]), u32::from(VERSION));
        return Err(FormatError::Version { object, found, supported });
    }
    let header = usize::from(u16::from_le_bytes([prefix[6], prefix[7]]));
    let mut body = [0; 8];
    body.copy_from_slice(&prefix[8..]);
    Ok((header, usize::try_from(u64::from_le_bytes(body)).unwrap_or(usize::MAX)))
}

/// Checks prefix, length, checksum and fingerprint; returns header and body.
fn open<'b>(context: &Context, kind: Kind, bytes: &'b [u8]) -> Result<(Header, &'b [u8]), FormatError> {
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
    let fingerprint = context.params().fingerprint();
    if header.fingerprint[..] != fingerprint[..] {
        let hex = |bytes: &[u8]| bytes.iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
        let (expected, found) = (hex(&fingerprint), hex(&header.fingerprint));
        return Err(FormatError::Fingerprint { object, expected, found });
    }
    Ok((header, body))
}

fn check_length(kind: Kind, expected: usize, found: usize) -> Result<(), FormatError> {
    if expected == found { Ok(()) } else { Err(FormatError::Length { object: kind.name(), expected, found }) }
}

/// Bytes of the packed limbs of these primes.
fn packed_len(context: &Context, primes: &[usize]) -> usize {
    primes.iter().map(|&prime| context.ring_degree() / 8 * context.modulus(prime).bits() as usize).sum()
}

/// Prime of every limb of `copies` polynomials over `basis`.
fn primes(context: &Context, basis: Basis, copies: usize) -> Vec<usize> {
    (0..copies).flat_map(|_| (0..context.limbs(basis)).map(|limb| context.prime(basis, limb))).collect()
}

/// Packs limbs, `[limb][coefficient]` with the given primes.
fn pack(context: &Context, primes: &[usize], words: &[u64]) -> Vec<u8> {
    let limbs: Vec<Vec<u8>> = primes
        .par_iter()
        .zip(words.par_chunks_exact(context.ring_degree()))
        .map(|(&prime, words)| {
            let bits = context.modulus(prime).bits();
            let mut out = Vec::with_capacity(packed_len(context, &[prime]));
            let (mut buffer, mut held) = (0u128, 0);
            for &word in words {
                buffer |= u128::from(word) << held;
                held += bits;
                while held >= 32 {
                    out.extend_from_slice(&(buffer as u32).to_le_bytes());
                    buffer >>= 32;
                    held -= 32;
                }
            }
            // N is a multiple of 8: what is left are whole bytes.
            out.extend_from_slice(&buffer.to_le_bytes()[..held as usize / 8]);
            out
        })
        .collect();
    limbs.concat()
}

/// Unpacks what [`pack`] made into `words`, refusing residues out of range. The length has been checked.
fn unpack(
    context: &Context,
    kind: Kind,
    primes: &[usize],
    bytes: &[u8],
    words: &mut [u64],
) -> Result<(), FormatError> {
    let mut rest = bytes;
    let limbs: Vec<(usize, &[u8])> = primes
        .iter()
        .map(|&prime| {
            let (limb, tail) = rest.split_at(packed_len(context, &[prime]));
            rest = tail;
            (prime, limb)
        })
        .collect();
    limbs.into_par_iter().zip(words.par_chunks_exact_mut(context.ring_degree())).try_for_each(
        |((prime, bytes), words)| {
            let (q, bits) = (context.modulus(prime).value(), context.modulus(prime).bits());
            let (mut buffer, mut held, mut next) = (0u128, 0, bytes.iter());
            for word in words {
                while held < bits {
                    buffer |= u128::from(*next.next().expect("the length was checked")) << held;
                    held += 8;
                }
                *word = buffer as u64 & (u64::MAX >> (64 - bits));
                buffer >>= bits;
                held -= bits;
                if *word >= q {
                    return Err(FormatError::Residue { object: kind.name(), prime: q });
                }
            }
            Ok(())
        },
    )
}

fn unpack_polys(
    context: &Context,
    kind: Kind,
    basis: Basis,
    count: usize,
    body: &[u8],
) -> Result<Vec<Poly>, FormatError> {
    let primes = primes(context, basis, 1);
    let len = packed_len(context, &primes);
    check_length(kind, len * count, body.len())?;
    body.chunks_exact(len)
        .map(|bytes| {
            let mut poly = Poly::zero(context, basis, Domain::Evaluation);
            unpack(context, kind, &primes, bytes, poly.data_mut())?;
            Ok(poly)
        })
        .collect()
}

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

    /// Reads a ciphertext, seeded ones included.
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, FormatError> {
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
        if !(if seeded { 1..=1 } else { 2..=3 }).contains(&count) {
            return Err(damaged(kind, "its size is neither 2 nor 3"));
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
    /// The ciphertext as bytes, half as many as after expansion. Read it with [`Ciphertext::from_bytes`].
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
        let basis = context.basis(context.params().top_level());
        let mut polys = unpack_polys(context, kind, basis, 1, body)?;
        Ok(PublicKey::from_body(context, key, seed, polys.remove(0)))
    }
}

/// Prime of every limb of a switching key's half: every digit of a limb before the next limb.
fn switching_key_primes(context: &Context, level: Level) -> Vec<usize> {
    let digits = context.params().digits(level).len();
    let limbs = primes(context, context.extended_basis(level), 1);
    limbs.into_iter().flat_map(|prime| std::iter::repeat_n(prime, digits)).collect()
}

impl SwitchingKey {
    /// The key as bytes: one half, in Montgomery form; the uniform half as a seed.
    pub fn to_bytes(&self, context: &Context) -> Vec<u8> {
        let element = match self.kind() {
            KeyKind::Relinearization => 0,
            KeyKind::Galois { element } => element,
        };
        let header = Header {
            level: self.level().into(),
            uniform_seed: self.uniform_seed().to_vec(),
            element,
            ..Header::new(context, self.id())
        };
        let primes = switching_key_primes(context, self.level());
        seal(Kind::SwitchingKey, &header, &pack(context, &primes, self.body()))
    }

    /// Reads an evaluation key and expands its uniform half.
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, FormatError> {
        let kind = Kind::SwitchingKey;
        let (header, packed) = open(context, kind, bytes)?;
        let (key, seed) = (header.key(kind)?, header.uniform_seed(kind)?);
        let level = header.level(context, kind)?;
        let key_kind = match header.element {
            0 => KeyKind::Relinearization,
            element if element % 2 == 1 && element < 2 * context.ring_degree() as u64 => {
                KeyKind::Galois { element }
            }
            _ => return Err(damaged(kind, "its Galois element is not odd and below 2N")),
        };
        let primes = switching_key_primes(context, level);
        check_length(kind, packed_len(context, &primes), packed.len())?;
        let mut body = Buffer::zeroed(primes.len() * context.ring_degree());
        unpack(context, kind, &primes, packed, &mut body)?;
        Ok(SwitchingKey::from_body(context, key_kind, key, level, seed, body))
    }
}

impl EvaluationKeys {
    /// Writes all keys one after the other; never more than one of them as bytes in memory.
    pub fn write(&self, context: &Context, writer: &mut impl Write) -> io::Result<()> {
        let header = Header { count: self.iter().count() as u32, ..Header::new(context, self.id()) };
        writer.write_all(&seal(Kind::EvaluationKeys, &header, &[]))?;
        self.iter().try_for_each(|key| writer.write_all(&key.to_bytes(context)))
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(context: &Context, reader: &mut impl Read) -> Result<Self, ReadError> {
        let top = switching_key_primes(context, context.params().top_level());
        let limit = packed_len(context, &top);
        let bytes = read_record(Kind::EvaluationKeys, 0, reader)?;
        let (header, _) = open(context, Kind::EvaluationKeys, &bytes)?;
        let id = header.key(Kind::EvaluationKeys)?;
        let mut keys = EvaluationKeys::new(id);
        for _ in 0..header.count {
            let key = SwitchingKey::from_bytes(context, &read_record(Kind::SwitchingKey, limit, reader)?)?;
            let foreign = || damaged(Kind::EvaluationKeys, "it contains a key of another secret key");
            keys.insert(key).map_err(|_| foreign())?;
        }
        Ok(keys)
    }
}

/// Reads one object whose body has at most `limit` bytes.
fn read_record(kind: Kind, limit: usize, reader: &mut impl Read) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; PREFIX];
    reader.read_exact(&mut bytes)?;
    let (header, body) = read_prefix(kind, &bytes)?;
    if body > limit {
        let (expected, found) = (limit, body);
        return Err(FormatError::Length { object: kind.name(), expected, found }.into());
    }
    bytes.resize(PREFIX + header + body + CHECKSUM, 0);
    reader.read_exact(&mut bytes[PREFIX..])?;
    Ok(bytes)
}

impl SecretKey {
    /// The key as bytes, wiped when dropped: two bits per coefficient. To be kept where only its owner can read.
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
mod tests {
    use super::*;
    use crate::ckks::{Encoder, Encoding, Encryptor};
    use crate::ring::Seed;
    use crate::testing::{Fixture, literal, mixed_literal, random_slots};

    fn fixtures() -> Vec<Fixture> {
        vec![Fixture::new(literal(12, 4, 2, 45), &[1]), Fixture::new(mixed_literal(11), &[1])]
    }

    #[test]
    fn everything_comes_back() {
        for f in fixtures() {
            let (context, eval) = (&f.context, f.evaluator());
            let z = random_slots(context.params().slots() / 4, 1);
            let a = f.encrypt(&z, 2);
            let square = eval.mul(&a, &a).unwrap();
            for c in [&a, &square, &eval.mod_drop(&a, 1).unwrap()] {
                assert_eq!(Ciphertext::from_bytes(context, &c.to_bytes(context)).unwrap(), *c);
            }
            let plaintext = Encoder::new(context).encode_complex(&z, Encoding::message(2)).unwrap();
            let mut encryptor = Encryptor::with_secret_key(context, &f.secret, Seed::from_bytes([1; 32]));
            let seeded = encryptor.encrypt_seeded(&plaintext).unwrap();
            let bytes = seeded.to_bytes(context);
            assert!(bytes.len() < a.to_bytes(context).len() / 2 + 200);
            assert_eq!(Ciphertext::from_bytes(context, &bytes).unwrap(), seeded.expand(context));
            let secret = SecretKey::from_bytes(context, &f.secret.to_bytes(context)).unwrap();
            assert_eq!((secret.id(), secret.poly()), (f.secret.id(), f.secret.poly()));
            let public = PublicKey::generate(context, &f.secret, &Seed::from_bytes([2; 32]));
            let again = PublicKey::from_bytes(context, &public.to_bytes(context)).unwrap();
            assert_eq!((again.body(), again.uniform()), (public.body(), public.uniform()));
            let mut bytes = Vec::new();
            f.keys.write(context, &mut bytes).unwrap();
            let keys = EvaluationKeys::read(context, &mut &bytes[..]).unwrap();
            assert_eq!(keys.iter().count(), 3);
            let with_keys = crate::ckks::Evaluator::new(context, &keys);
            assert_eq!(with_keys.rotate(&a, 1).unwrap(), eval.rotate(&a, 1).unwrap());
            assert_eq!(with_keys.relinearize(&square).unwrap(), eval.relinearize(&square).unwrap());
        }
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let f = &fixtures()[0];
        let context = &f.context;
        let z = random_slots(16, 1);
        let bytes = f.encrypt(&z, 1).to_bytes(context);
        let read = |bytes: &[u8]| Ciphertext::from_bytes(context, bytes);
        for len in [0, 3, 15, 16, 40, bytes.len() / 2, bytes.len() - 1] {
            let cut = read(&bytes[..len]).unwrap_err();
            assert!(matches!(cut, FormatError::Magic { .. } | FormatError::Length { .. }), "{len}: {cut}");
        }
        let mut long = bytes.clone();
        long.push(0);
        assert!(matches!(read(&long), Err(FormatError::Length { .. })));
        for position in (0..bytes.len()).step_by(97).chain(0..120) {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << (position % 8);
            assert!(read(&flipped).is_err(), "byte {position}");
        }
        assert!(matches!(read(&f.secret.to_bytes(context)), Err(FormatError::Magic { .. })));
        let mut newer = bytes.clone();
        newer[5] = 9;
        assert!(matches!(read(&newer), Err(FormatError::Version { found: 9, .. })));
        // A length field that claims everything allocates nothing.
        let mut huge = bytes.clone();
        huge[8..16].fill(0xff);
        assert!(matches!(read(&huge), Err(FormatError::Length { .. })));
        assert!(matches!(
            EvaluationKeys::read(context, &mut &huge[..]),
            Err(ReadError::Format(FormatError::Magic { .. }))
        ));
    }

    #[test]
    fn well_formed_nonsense_is_refused() {
        let f = &fixtures()[0];
        let context = &f.context;
        let a = f.encrypt(&random_slots(16, 1), 1);
        let primes = primes(context, context.basis(1), 1);
        let good = ciphertext_header(context, a.key(), 1, a.scale(), 16, 2);
        let body = [pack(context, &primes, a.polys()[0].data()), pack(context, &primes, a.polys()[1].data())]
            .concat();
        let read = |header: &Header, body: &[u8]| {
            Ciphertext::from_bytes(context, &seal(Kind::Ciphertext, header, body)).map(|_| ())
        };
        assert_eq!(read(&good, &body), Ok(()));
        let foreign = Fixture::new(literal(12, 3, 2, 45), &[]).context;
        let other = Header { fingerprint: foreign.params().fingerprint().to_vec(), ..good.clone() };
        assert!(matches!(read(&other, &body), Err(FormatError::Fingerprint { .. })));
        assert!(matches!(read(&Header { level: 2, ..good.clone() }, &body), Err(FormatError::Length { .. })));
        for bad in [
            Header { level: 70_000, ..good.clone() },
            Header { scale_level: 9, ..good.clone() },
            Header { scale_power: 3, ..good.clone() },
            Header { slots: 12, ..good.clone() },
            Header { slots: 1 << 40, ..good.clone() },
            Header { polys: 4_000_000_000, ..good.clone() },
            Header { key: vec![1], ..good.clone() },
        ] {
            assert!(matches!(read(&bad, &body), Err(FormatError::Header { .. })), "{bad:?}");
        }
        // The largest word of the first prime's bit length is not below the prime.
        let mut residue = body.clone();
        residue[..8].fill(0xff);
        let prime = context.modulus(0).value();
        assert_eq!(read(&good, &residue), Err(FormatError::Residue { object: "ciphertext", prime }));
        let key = Header { element: 4, uniform_seed: vec![0; 32], ..Header::new(context, a.key()) };
        assert!(matches!(
            SwitchingKey::from_bytes(context, &seal(Kind::SwitchingKey, &key, &[])),
            Err(FormatError::Header { .. })
        ));
        let secret =
            seal(Kind::SecretKey, &Header::new(context, a.key()), &vec![0xff; context.ring_degree() / 4]);
        assert!(matches!(SecretKey::from_bytes(context, &secret), Err(FormatError::Residue { .. })));
    }

    #[test]
    fn debug_output_shows_no_secrets() {
        let f = &fixtures()[0];
        let text = format!("{:?} {:?} {:?}", f.secret, f.keys, f.context);
        assert!(text.len() < 2000, "{text}");
        let coefficients = format!("{:?}", &f.secret.coefficients()[..8]);
        assert!(!text.contains(&coefficients));
    }
}
