//! The client: the only place where a secret key is used.

use std::sync::Arc;

use fhec_ir::artifact::Artifact;
use fhec_ir::interp::Bundle;
use fhec_ir::layout::Layout;
use fhec_ir::scale::Level;
use fhec_runtime::ckks::{Decryptor, Encoder, Encoding, Encryptor};
use fhec_runtime::exec::ProgramKeys;
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::{Ciphertext, PublicKey, SecretKey};
use zeroize::Zeroize;

use super::RoleError;

/// A decrypted answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// One number per output of the network, image after image for programs of a batch.
    pub logits: Vec<f64>,
    /// Largest imaginary part in any slot. Programs compute on real slots, so it is noise: about as large as the error
    /// of the logits before they are scaled, and huge when an evaluation has gone wrong.
    pub imaginary_residue: f64,
    /// Largest distance of any slot from what the logits say it holds: spare slots hold 0, and where the answer repeats all
    /// copies are equal. Noise, and huge when an evaluation has gone wrong anywhere: a value that leaves its range
    /// overflows in all coefficients of its ciphertext, and so in all slots.
    pub spare_residue: f64,
    /// Whether the evaluation has gone wrong for certain: slots that are not finite, larger than what an intact
    /// ciphertext of this level can hold, far from real, or different where they must agree.
    pub overflow: bool,
}

/// Above this an imaginary part is no noise: programs keep values within about 1 and errors below 2^-10.
const MAX_IMAGINARY_RESIDUE: f64 = 1.0 / 64.0;
/// Above this spare slots and copies are not what they should be: as for imaginary parts.
const MAX_SPARE_RESIDUE: f64 = 1.0 / 64.0;

/// Holder of a secret key for one program.
pub struct Client<'a> {
    artifact: &'a Artifact,
    context: Arc<Context>,
    encoder: Encoder,
    secret: Arc<SecretKey>,
}

impl<'a> Client<'a> {
    /// A client with the secret key `secret`.
    pub fn new(artifact: &'a Artifact, context: &Arc<Context>, secret: SecretKey) -> Self {
        let (encoder, secret) = (Encoder::new(context), Arc::new(secret));
        Client { artifact, context: Arc::clone(context), encoder, secret }
    }

    /// A client with a new secret key from the system's randomness.
    pub fn generate(artifact: &'a Artifact, context: &Arc<Context>) -> Result<Self, RoleError> {
        let secret = SecretKey::generate(context, &Seed::random()?);
        Ok(Client::new(artifact, context, secret))
    }

    /// The secret key, to be stored where only its owner reads.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// A public key: whoever has it can encrypt.
    pub fn public_key(&self) -> Result<PublicKey, RoleError> {
        Ok(PublicKey::generate(&self.context, &self.secret, &Seed::random()?))
    }

    /// The keys that the server needs for the program and its bootstraps, each up to the level it is used at.
    pub fn evaluation_keys(&self) -> Result<ProgramKeys, RoleError> {
        let program = &self.artifact.program;
        Ok(ProgramKeys::generate(&self.context, &self.secret, &Seed::random()?, program)?)
    }

    /// Encrypts an image: preprocessed, `[c][y][x]`. For programs of a batch as many as it has or fewer, one after the other.
    pub fn encrypt(&self, image: &[f32]) -> Result<Vec<Ciphertext>, RoleError> {
        self.encrypt_from(Seed::random()?, image)
    }

    fn encrypt_from(&self, seed: Seed, image: &[f32]) -> Result<Vec<Ciphertext>, RoleError> {
        let mut encryptor = Encryptor::with_secret_key(&self.context, &self.secret, seed);
        encrypt_with(self.artifact, &self.encoder, image, |plaintext| encryptor.encrypt(plaintext))
    }

    /// [`Client::encrypt`] with randomness that follows from the secret key, the program and the image, as nonces do in RFC 6979: the same
    /// image gives the same ciphertexts, another one, or another program, others. `program` is the hash of the artifact. For an evaluation
    /// that is to go on with what it has computed of them.
    pub fn encrypt_again(&self, program: &[u8; 32], image: &[f32]) -> Result<Vec<Ciphertext>, RoleError> {
        let mut hasher = blake3::Hasher::new_derive_key(
            "fhec 2026 encryption of an image whose evaluation may be resumed",
        );
        hasher.update(program).update(&self.secret.to_bytes(&self.context));
        image.iter().for_each(|x| {
            hasher.update(&x.to_le_bytes());
        });
        let seed = Seed::from_bytes(hasher.finalize().into());
        hasher.zeroize();
        self.encrypt_from(seed, image)
    }

    /// What the slots of any value of the program hold, real parts. A look into a run, for its owner.
    pub fn decrypt_slots(&self, bundle: &[Ciphertext]) -> Result<Bundle, RoleError> {
        let decryptor = Decryptor::new(&self.context, &self.secret);
        let slots = |ciphertext| {
            let message = self.encoder.decode_complex(&decryptor.decrypt(ciphertext)?)?;
            Ok(message.iter().map(|slot| slot.re).collect())
        };
        bundle.iter().map(slots).collect()
    }

    /// Decrypts the answer.
    pub fn decrypt(&self, answer: &[Ciphertext]) -> Result<Answer, RoleError> {
        let layout = output_layout(self.artifact)?;
        let factor = output_factor(self.artifact)?;
        let (vectors, level) = output_type(self.artifact)?;
        check_bundle("an answer", answer, vectors, layout.slots, level)?;
        let decryptor = Decryptor::new(&self.context, &self.secret);
        let mut slots = Vec::with_capacity(vectors);
        let mut imaginary_residue = 0f64;
        let mut largest = 0f64;
        for ciphertext in answer {
            let message = self.encoder.decode_complex(&decryptor.decrypt(ciphertext)?)?;
            for slot in &message {
                imaginary_residue = imaginary_residue.max(slot.im.abs());
                largest = largest.max(slot.re.abs());
            }
            slots.push(message.iter().map(|slot| slot.re).collect());
        }
        let batch = self.artifact.batch()?;
        let stored = batch.unpack(&layout, &slots)?;
        let logits = stored.iter().map(|slot| slot * factor).collect();
        // `max` above drops NaN, so a sum is asked as well.
        let finite = slots.iter().flatten().sum::<f64>().is_finite();
        let params = self.context.params();
        // Slots of random residues are about sqrt(N/12) q / D: an intact message stays below q / 2 D.
        let capacity = (params.log_q(level) - params.canonical_scale(level).log2() - 1.0).exp2();
        let spare_residue = spare_residue(&slots, &batch.repacked(&layout, &slots)?);
        let overflow = !finite
            || largest > capacity
            || imaginary_residue > MAX_IMAGINARY_RESIDUE
            || spare_residue > MAX_SPARE_RESIDUE;
        Ok(Answer { logits, imaginary_residue, spare_residue, overflow })
    }
}

/// Largest distance of `slots` from what they hold if nothing but the answer is in them: zero in spare slots, the same in all copies.
fn spare_residue(slots: &[Vec<f64>], expected: &[Vec<f64>]) -> f64 {
    let pairs = slots.iter().flatten().zip(expected.iter().flatten());
    pairs.fold(0.0, |worst, (found, expected)| worst.max((found - expected).abs()))
}

/// Encrypts an image with a public key alone.
pub fn encrypt_with_public_key(
    artifact: &Artifact,
    context: &Arc<Context>,
    key: &Arc<PublicKey>,
    image: &[f32],
) -> Result<Vec<Ciphertext>, RoleError> {
    let mut encryptor = Encryptor::new(context, key, Seed::random()?);
    encrypt_with(artifact, &Encoder::new(context), image, |plaintext| encryptor.encrypt(plaintext))
}

fn encrypt_with(
    artifact: &Artifact,
    encoder: &Encoder,
    image: &[f32],
    mut encrypt: impl FnMut(&fhec_runtime::ckks::Plaintext) -> Result<Ciphertext, fhec_runtime::EvalError>,
) -> Result<Vec<Ciphertext>, RoleError> {
    let slots = input_slots(artifact, image)?;
    let &[input] = artifact.program.inputs() else {
        return Err(RoleError::Program { what: "input", reason: "there is not exactly one".into() });
    };
    let encoding = Encoding::message(artifact.program.ty(input).level);
    let encrypted = slots.into_iter().map(|slots| encrypt(&encoder.encode(&slots, encoding)?));
    Ok(encrypted.collect::<Result<_, _>>()?)
}

/// The slots of the program's input that hold `image`, or the images of a batch one after the other.
pub(crate) fn input_slots(artifact: &Artifact, image: &[f32]) -> Result<Bundle, RoleError> {
    let (layout, batch) = (input_layout(artifact)?, artifact.batch()?);
    let (expected, found) = (batch.elements_per_image(&layout)?, image.len());
    if found == 0 || !found.is_multiple_of(expected) || found > expected * batch.images {
        return Err(match batch.images {
            1 => RoleError::ImageSize { expected, found },
            images => RoleError::BatchSize { images, expected, found },
        });
    }
    let elements: Vec<f64> = image.iter().map(|&x| f64::from(x)).collect();
    Ok(batch.pack(&layout, &elements)?)
}

/// Where the image goes.
fn input_layout(artifact: &Artifact) -> Result<Layout, RoleError> {
    single("input", artifact.input_layouts()?)
}

/// Where the answer is.
pub(crate) fn output_layout(artifact: &Artifact) -> Result<Layout, RoleError> {
    single("output", artifact.output_layouts()?)
}

/// What stored outputs are multiplied with.
pub(crate) fn output_factor(artifact: &Artifact) -> Result<f64, RoleError> {
    let factor = artifact.program.meta("output_factor");
    factor.map_err(|e| RoleError::Program { what: "output factor", reason: e.to_string() })
}

fn single(what: &'static str, layouts: Vec<Layout>) -> Result<Layout, RoleError> {
    let [layout] = <[Layout; 1]>::try_from(layouts)
        .map_err(|layouts| RoleError::Program { what, reason: format!("there are {}", layouts.len()) })?;
    Ok(layout)
}

fn output_type(artifact: &Artifact) -> Result<(usize, Level), RoleError> {
    match artifact.program.outputs() {
        &[output] => {
            let ty = artifact.program.ty(output);
            Ok((ty.vectors, ty.level))
        }
        outputs => Err(RoleError::Program { what: "output", reason: format!("there are {}", outputs.len()) }),
    }
}

/// Whether `bundle` can be what the program says at this place.
pub(super) fn check_bundle(
    what: &'static str,
    bundle: &[Ciphertext],
    vectors: usize,
    slots: usize,
    level: Level,
) -> Result<(), RoleError> {
    if bundle.len() != vectors {
        return Err(RoleError::CiphertextCount { expected: vectors, found: bundle.len() });
    }
    match bundle.iter().find(|ciphertext| ciphertext.level() != level || ciphertext.slots() != slots) {
        Some(other) => Err(RoleError::CiphertextKind {
            what,
            expected: level,
            expected_slots: slots,
            found: other.level(),
            found_slots: other.slots(),
        }),
        None => Ok(()),
    }
}
