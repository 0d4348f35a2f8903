//! Bundles of ciphertexts as bytes: magic, their number, then length and bytes of each.

use std::io::{self, Write};

use fhec_ir::ckks::CiphertextType;
use fhec_runtime::FormatError;
use fhec_runtime::ring::Context;
use fhec_runtime::rlwe::{Ciphertext, SeededCiphertext};
use thiserror::Error;

const BUNDLE_MAGIC: &[u8; 4] = b"FHEB";
/// Magic and number of ciphertexts.
const BUNDLE_HEADER: u64 = 12;
/// The length before each ciphertext.
const BUNDLE_LENGTH: u64 = 8;

/// Why bytes are no bundle of ciphertexts of a program.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum BundleError {
    #[error("this is no ciphertext file of fhec")]
    Magic,
    #[error("the ciphertext file is truncated")]
    Truncated,
    #[error("the ciphertext file has trailing bytes")]
    Trailing,
    #[error("the program works on {expected} ciphertexts here, the file has {found}")]
    Count { expected: u64, found: u64 },
    #[error(transparent)]
    Ciphertext(#[from] FormatError),
}

/// A bundle of ciphertexts as bytes.
pub fn ciphertexts_to_bytes(context: &Context, bundle: &[Ciphertext]) -> Vec<u8> {
    in_memory(bundle, |ciphertext| ciphertext.to_bytes(context))
}

/// The same of fresh ciphertexts whose uniform halves are seeds: half as many bytes.
pub fn seeded_ciphertexts_to_bytes(context: &Context, bundle: &[SeededCiphertext]) -> Vec<u8> {
    in_memory(bundle, |ciphertext| ciphertext.to_bytes(context))
}

fn in_memory<C>(bundle: &[C], to_bytes: impl Fn(&C) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_bundle(&mut bytes, bundle, to_bytes).expect("a vector takes all bytes");
    bytes
}

pub(crate) fn put_bundle<C>(
    writer: &mut dyn Write,
    bundle: &[C],
    to_bytes: impl Fn(&C) -> Vec<u8>,
) -> io::Result<()> {
    writer.write_all(BUNDLE_MAGIC)?;
    writer.write_all(&(bundle.len() as u64).to_le_bytes())?;
    bundle.iter().try_for_each(|ciphertext| {
        let bytes = to_bytes(ciphertext);
        writer.write_all(&(bytes.len() as u64).to_le_bytes())?;
        writer.write_all(&bytes)
    })
}

/// Reads a bundle, of which the program says that it is of type `ty`; whoever has received `bytes`
/// has limited them ([`most_bundle_bytes`]).
pub fn ciphertexts_from_bytes(
    bytes: &[u8],
    context: &Context,
    ty: &CiphertextType,
) -> Result<Vec<Ciphertext>, BundleError> {
    parse_bundle(bytes, context, std::slice::from_ref(ty), Ciphertext::from_bytes)
}

/// The same of an answer, whose outputs are of these types one after the other: fresh ciphertexts,
/// whose uniform halves are seeds, are refused.
pub fn answer_from_bytes(
    bytes: &[u8],
    context: &Context,
    types: &[CiphertextType],
) -> Result<Vec<Ciphertext>, BundleError> {
    parse_bundle(bytes, context, types, Ciphertext::from_full_bytes)
}

/// Most bytes that a bundle of ciphertexts of these types has.
pub fn most_bundle_bytes(context: &Context, types: &[CiphertextType]) -> u64 {
    let most = |ty: &CiphertextType| {
        let each = Ciphertext::max_bytes(context, ty) as u64 + BUNDLE_LENGTH;
        (ty.vectors as u64).saturating_mul(each)
    };
    types.iter().map(most).fold(BUNDLE_HEADER, u64::saturating_add)
}

/// Reads one ciphertext.
pub(crate) type FromBytes = fn(&Context, &[u8]) -> Result<Ciphertext, FormatError>;

pub(crate) fn parse_bundle(
    bytes: &[u8],
    context: &Context,
    types: &[CiphertextType],
    from_bytes: FromBytes,
) -> Result<Vec<Ciphertext>, BundleError> {
    let rest = bytes.strip_prefix(BUNDLE_MAGIC).ok_or(BundleError::Magic)?;
    let (count, mut rest) = rest.split_first_chunk().ok_or(BundleError::Truncated)?;
    let expected: u64 = types.iter().map(|ty| ty.vectors as u64).sum();
    let found = u64::from_le_bytes(*count);
    if found != expected {
        return Err(BundleError::Count { expected, found });
    }
    let mut bundle = Vec::new();
    for _ in 0..found {
        let (length, tail) = rest.split_first_chunk().ok_or(BundleError::Truncated)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| BundleError::Truncated)?;
        let (ciphertext, tail) = tail.split_at_checked(length).ok_or(BundleError::Truncated)?;
        bundle.push(from_bytes(context, ciphertext)?);
        rest = tail;
    }
    if rest.is_empty() { Ok(bundle) } else { Err(BundleError::Trailing) }
}
