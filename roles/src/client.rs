//! The client: the only place where a secret key is used.

use std::sync::Arc;

use fhec_ir::ckks::CiphertextType;
use fhec_ir::func::StageType;
use fhec_ir::interp::Bundle;
use fhec_ir::program::Interface;
use fhec_runtime::ckks::{Decryptor, Encoder, Encoding, Encryptor, Plaintext};
use fhec_runtime::exec::{KeyRecords, ProgramKeys};
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::{Ciphertext, PublicKey, SecretKey, SeededCiphertext};
use zeroize::Zeroize;

use super::RoleError;

/// A decrypted answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Per output of the network its numbers, image after image for programs of a batch.
    pub outputs: Vec<Vec<f64>>,
    /// Largest imaginary part in any slot. Programs compute on real slots, so it is noise: about as
    /// large as the error of the logits before they are scaled, and huge when an evaluation has
    /// gone wrong.
    pub imaginary_residue: f64,
    /// Largest distance of any slot from what the program and the logits say it holds: spare slots
    /// hold one number, and where the answer repeats all copies are equal. Noise, and huge when an
    /// evaluation has gone wrong anywhere: a value that leaves its range overflows in all
    /// coefficients of its ciphertext, and so in all slots.
    pub spare_residue: f64,
    /// Whether the evaluation has gone wrong for certain: slots that are not finite, larger than
    /// what an intact ciphertext of this level can hold, far from real, or different where they
    /// must agree.
    pub overflow: bool,
}

impl Answer {
    /// The numbers of the first output.
    pub fn logits(&self) -> &[f64] {
        self.outputs.first().map_or(&[], Vec::as_slice)
    }
}

/// Above this a residue may be no noise: programs keep values within about 1 and most of them keep
/// errors below 2^-10.
const LEAST_REFUSED: f64 = 1.0 / 64.0;
/// Above this a residue is no noise, whatever error was predicted: the prediction is a number in a
/// file, and an answer so far off is of no use.
const MOST_ACCEPTED: f64 = 1.0 / 4.0;
/// Residues above as many standard deviations of the predicted error are no noise. The largest of
/// 2^16 slots is at 4.5 of them; predictions are right within a factor of 2.
const REFUSED_DEVIATIONS: f64 = 16.0;

/// Holder of a secret key for one program, of which it knows the interface and no more.
#[derive(Debug)]
pub struct Client {
    interface: Arc<Interface>,
    context: Arc<Context>,
    encoder: Encoder,
    secret: Arc<SecretKey>,
}

impl Client {
    /// A client with the secret key `secret`; `context` is that of the program
    /// ([`super::context`]).
    pub fn new(
        interface: &Arc<Interface>,
        context: &Arc<Context>,
        secret: impl Into<Arc<SecretKey>>,
    ) -> Self {
        let secret = secret.into();
        let (interface, context) = (Arc::clone(interface), Arc::clone(context));
        Client { interface, encoder: Encoder::new(&context), context, secret }
    }

    /// A client with a new secret key from the system's randomness.
    pub fn generate(interface: &Arc<Interface>, context: &Arc<Context>) -> Result<Self, RoleError> {
        let secret = SecretKey::generate(context, &Seed::random()?);
        Ok(Client::new(interface, context, secret))
    }

    /// The secret key, to be stored where only its owner reads.
    pub fn secret(&self) -> &Arc<SecretKey> {
        &self.secret
    }

    /// What the client knows of the program.
    pub fn interface(&self) -> &Arc<Interface> {
        &self.interface
    }

    /// A public key: whoever has it can encrypt.
    pub fn public_key(&self) -> Result<PublicKey, RoleError> {
        Ok(PublicKey::generate(&self.context, &self.secret, &Seed::random()?))
    }

    /// The keys that the server needs for the program and its bootstraps, each up to the level it
    /// is used at.
    pub fn evaluation_keys(&self) -> Result<ProgramKeys, RoleError> {
        let needed = &self.interface.keys;
        Ok(ProgramKeys::generate_needed(&self.context, &self.secret, &Seed::random()?, needed)?)
    }

    /// Which records the file of [`Client::evaluation_keys`] has, to be made one by one.
    pub fn key_records(&self) -> Result<KeyRecords, RoleError> {
        Ok(KeyRecords::new(&self.context, &self.interface.keys)?)
    }

    /// Record number `index` of them; `None` behind the last one.
    pub fn key_record(&self, records: &KeyRecords, index: usize) -> Result<Option<Vec<u8>>, RoleError> {
        Ok(records.record(&self.context, &self.secret, &Seed::random()?, index)?)
    }

    /// Encrypts an image: preprocessed, `[c][y][x]`. For programs of a batch as many as it has or
    /// fewer, one after the other.
    pub fn encrypt(&self, image: &[f32]) -> Result<Vec<Ciphertext>, RoleError> {
        self.encrypt_from(Seed::random()?, &encode(&self.interface, &self.encoder, image)?)
    }

    /// [`Client::encrypt`] for a file: half as many bytes, because the uniform half of each
    /// ciphertext is a seed.
    pub fn encrypt_seeded(&self, image: &[f32]) -> Result<Vec<SeededCiphertext>, RoleError> {
        let image = encode(&self.interface, &self.encoder, image)?;
        let mut encryptor = Encryptor::with_secret_key(&self.context, &self.secret, Seed::random()?);
        Ok(image.iter().map(|plaintext| encryptor.encrypt_seeded(plaintext)).collect::<Result<_, _>>()?)
    }

    fn encrypt_from(&self, seed: Seed, image: &[Plaintext]) -> Result<Vec<Ciphertext>, RoleError> {
        let mut encryptor = Encryptor::with_secret_key(&self.context, &self.secret, seed);
        Ok(image.iter().map(|plaintext| encryptor.encrypt(plaintext)).collect::<Result<_, _>>()?)
    }

    /// [`Client::encrypt`] with randomness that follows from the secret key, the program and the
    /// encoded image, as nonces do in RFC 6979: the same image gives the same ciphertexts, another
    /// one, or another program, others. For an evaluation that is to go on with what it has
    /// computed of them.
    ///
    /// It is the encoded image that counts: the same randomness for two plaintexts would give their
    /// difference away, and an image may be encoded otherwise by another version.
    pub fn encrypt_again(&self, image: &[f32]) -> Result<Vec<Ciphertext>, RoleError> {
        let mut hasher = blake3::Hasher::new_derive_key(
            "fhec 2026 encryption of an image whose evaluation may be resumed",
        );
        hasher.update(&self.interface.program.0).update(&self.secret.to_bytes(&self.context));
        let image = encode(&self.interface, &self.encoder, image)?;
        for residue in image.iter().flat_map(|plaintext| plaintext.poly().data()) {
            hasher.update(&residue.to_le_bytes());
        }
        let seed = Seed::from_bytes(hasher.finalize().into());
        hasher.zeroize();
        self.encrypt_from(seed, &image)
    }

    /// What the slots of any value of the program hold, real parts. A look into a run, for its
    /// owner.
    pub fn decrypt_slots(&self, bundle: &[Ciphertext]) -> Result<Bundle, RoleError> {
        let decryptor = Decryptor::new(&self.context, &self.secret);
        let slots = |ciphertext| {
            let message = self.encoder.decode_complex(&decryptor.decrypt(ciphertext)?)?;
            Ok(message.iter().map(|slot| slot.re).collect())
        };
        bundle.iter().map(slots).collect()
    }

    /// Decrypts the answer: the ciphertexts of all outputs, one after the other.
    pub fn decrypt(&self, answer: &[Ciphertext]) -> Result<Answer, RoleError> {
        let Interface { outputs, batch, .. } = &*self.interface;
        let bundles = split_answer(answer, &self.interface.answer_types())?;
        let decryptor = Decryptor::new(&self.context, &self.secret);
        let mut decrypted = Answer {
            outputs: Vec::with_capacity(outputs.len()),
            imaginary_residue: 0.0,
            spare_residue: 0.0,
            overflow: false,
        };
        for (output, bundle) in outputs.iter().zip(bundles) {
            let mut slots = Vec::with_capacity(bundle.len());
            let (mut imaginary, mut largest) = (0f64, 0f64);
            for ciphertext in bundle {
                let message = self.encoder.decode_complex(&decryptor.decrypt(ciphertext)?)?;
                for slot in &message {
                    imaginary = imaginary.max(slot.im.abs());
                    largest = largest.max(slot.re.abs());
                }
                slots.push(message.iter().map(|slot| slot.re).collect());
            }
            decrypted.outputs.push(self.interface.unpack(output, &slots)?);
            // `max` above drops NaN, so a sum is asked as well.
            let finite = slots.iter().flatten().sum::<f64>().is_finite();
            let (params, level) = (self.context.params(), output.ty.level);
            // Slots of random residues are about sqrt(N/12) q / D: an intact message stays below q
            // / 2 D.
            let capacity = (params.log_q(level) - params.canonical_scale(level).log2() - 1.0).exp2();
            let expected = batch.repacked(&output.layout, &slots, output.spare)?;
            let spare = spare_residue(&slots, &expected);
            let refused = refused_residue(output.log2_error);
            decrypted.overflow |= !finite || largest > capacity || imaginary > refused || spare > refused;
            decrypted.imaginary_residue = decrypted.imaginary_residue.max(imaginary);
            decrypted.spare_residue = decrypted.spare_residue.max(spare);
        }
        Ok(decrypted)
    }
}

/// The ciphertexts of each output.
fn split_answer<'a>(
    answer: &'a [Ciphertext],
    types: &[CiphertextType],
) -> Result<Vec<&'a [Ciphertext]>, RoleError> {
    let expected = types.iter().map(|ty| ty.vectors).sum();
    if answer.len() != expected {
        return Err(RoleError::CiphertextCount { what: "an answer", expected, found: answer.len() });
    }
    let mut rest = answer;
    let mut bundles = Vec::with_capacity(types.len());
    for ty in types {
        let (bundle, others) = rest.split_at(ty.vectors);
        check_bundle("an answer", bundle, ty)?;
        bundles.push(bundle);
        rest = others;
    }
    Ok(bundles)
}

/// The residue from which on an answer is refused, for a program of this predicted error.
fn refused_residue(log2_error: f64) -> f64 {
    (REFUSED_DEVIATIONS * log2_error.exp2()).clamp(LEAST_REFUSED, MOST_ACCEPTED)
}

/// Largest distance of `slots` from what they hold if nothing but the answer is in them.
fn spare_residue(slots: &[Vec<f64>], expected: &[Vec<f64>]) -> f64 {
    let pairs = slots.iter().flatten().zip(expected.iter().flatten());
    pairs.fold(0.0, |worst, (found, expected)| worst.max((found - expected).abs()))
}

/// Encrypts an image with a public key alone.
pub fn encrypt_with_public_key(
    interface: &Interface,
    context: &Arc<Context>,
    key: &Arc<PublicKey>,
    image: &[f32],
) -> Result<Vec<Ciphertext>, RoleError> {
    let mut encryptor = Encryptor::new(context, key, Seed::random()?);
    let image = encode(interface, &Encoder::new(context), image)?;
    Ok(image.iter().map(|plaintext| encryptor.encrypt(plaintext)).collect::<Result<_, _>>()?)
}

/// The plaintexts that hold an image, or those of a batch.
fn encode(interface: &Interface, encoder: &Encoder, image: &[f32]) -> Result<Vec<Plaintext>, RoleError> {
    let encoding = Encoding::message(interface.input.ty.level);
    let slots = interface.pack(image)?;
    Ok(slots.into_iter().map(|slots| encoder.encode(&slots, encoding)).collect::<Result<_, _>>()?)
}

/// Errs unless `bundle` is what the program has at this place, as a whole: the number of
/// ciphertexts, and of each the level, scale, size and slots. The sender writes all of them; a
/// scale that is not the program's makes noise look like zero.
pub(super) fn check_bundle(
    what: &'static str,
    bundle: &[Ciphertext],
    ty: &CiphertextType,
) -> Result<(), RoleError> {
    if bundle.len() != ty.vectors {
        return Err(RoleError::CiphertextCount { what, expected: ty.vectors, found: bundle.len() });
    }
    for (index, ciphertext) in bundle.iter().enumerate() {
        let found = ciphertext.bundle_type(ty.vectors);
        if found != *ty {
            let (expected, found) = (ty.print(), found.print());
            return Err(RoleError::CiphertextKind { what, index, expected, found });
        }
    }
    Ok(())
}
