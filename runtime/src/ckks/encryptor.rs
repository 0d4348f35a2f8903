//! Encryption under the public or the secret key.

use std::sync::Arc;

use fhec_ir::scale::Scale;
use zeroize::Zeroize;

use super::plaintext::{Form, Plaintext};
use crate::error::EvalError;
use crate::kernels;
use crate::names::PlaintextScale;
use crate::ring::sampling::{gaussian, ternary};
use crate::ring::{Context, Domain, Poly, Seed, Work};
use crate::rlwe::ciphertext::SeededCiphertext;
use crate::rlwe::public::encrypt_zero;
use crate::rlwe::secret::small_poly;
use crate::rlwe::{Ciphertext, KeyId, PublicKey, SecretKey};

enum Key {
    Public(Arc<PublicKey>),
    Secret(Arc<SecretKey>),
}

/// Encrypts plaintexts under one key. Each encryption uses a fresh child of the encryptor's seed.
pub struct Encryptor {
    context: Arc<Context>,
    key: Key,
    seed: Seed,
    count: u64,
}

impl Encryptor {
    /// Encrypts under a public key: error of standard deviation about `3.2 sqrt(4 N / 3)` per
    /// coefficient.
    pub fn new(context: &Arc<Context>, key: &Arc<PublicKey>, seed: Seed) -> Self {
        Encryptor { context: Arc::clone(context), key: Key::Public(Arc::clone(key)), seed, count: 0 }
    }

    /// Encrypts under the secret key: error of standard deviation 3.2 per coefficient, and half the
    /// bytes with [`Self::encrypt_seeded`].
    pub fn with_secret_key(context: &Arc<Context>, key: &Arc<SecretKey>, seed: Seed) -> Self {
        Encryptor { context: Arc::clone(context), key: Key::Secret(Arc::clone(key)), seed, count: 0 }
    }

    /// Encrypts a plaintext of plain residues at its level.
    pub fn encrypt(&mut self, plaintext: &Plaintext) -> Result<Ciphertext, EvalError> {
        let (scale, poly) = check(plaintext)?;
        let seed = self.next_seed();
        let (context, basis) = (&*self.context, poly.basis());
        let (id, polys) = match &self.key {
            Key::Secret(key) => {
                let (mut body, uniform) =
                    encrypt_zero(context, key, basis, &seed.child("uniform", 0).bytes(), &seed);
                body.add_assign(context, poly);
                (key.id(), vec![body, uniform])
            }
            Key::Public(key) => {
                let degree = context.ring_degree();
                let [mut mask, mut error0, mut error1] = [(); 3].map(|()| vec![0i8; degree]);
                ternary(&mut mask, &mut seed.child("mask", 0).rng());
                gaussian(&mut error0, &mut seed.child("error", 0).rng());
                gaussian(&mut error1, &mut seed.child("error", 1).rng());
                let mut mask_poly = small_poly(context, basis, &mask);
                let mut c0 = small_poly(context, basis, &error0);
                let mut c1 = small_poly(context, basis, &error1);
                let outputs = [c0.data_mut(), c1.data_mut()];
                context.each_limb(Work::Heavy, outputs, |limb, [c0, c1]| {
                    let modulus = context.modulus(basis.chain_prime(limb));
                    let (isa, u) = (context.isa(), mask_poly.limb(limb));
                    kernels::mul_add_assign(isa, c0, u, key.body().limb_in(basis, limb), modulus);
                    kernels::mul_add_assign(isa, c1, u, key.uniform().limb_in(basis, limb), modulus);
                    kernels::add_assign(isa, c0, poly.limb(limb), modulus);
                });
                [mask, error0, error1].iter_mut().for_each(Zeroize::zeroize);
                mask_poly.data_mut().zeroize();
                (key.id(), vec![c0, c1])
            }
        };
        Ok(Ciphertext::new(polys, plaintext.level, scale, plaintext.slots, id))
    }

    /// Encrypts under the secret key, keeping the uniform half as a seed. Expanded, it is the
    /// ciphertext that [`Self::encrypt`] would have made in its place, bit by bit.
    ///
    /// *Errors*: [`EvalError::PlaintextForm`] also with a public key, whose ciphertexts have no
    /// uniform half.
    pub fn encrypt_seeded(&mut self, plaintext: &Plaintext) -> Result<SeededCiphertext, EvalError> {
        let (scale, poly) = check(plaintext)?;
        let Key::Secret(key) = &self.key else {
            return Err(EvalError::PlaintextForm { op: "encrypt seeded", expected: "and a secret key" });
        };
        let key = Arc::clone(key);
        let seed = self.next_seed();
        let uniform_seed = seed.child("uniform", 0).bytes();
        let (mut body, _) = encrypt_zero(&self.context, &key, poly.basis(), &uniform_seed, &seed);
        body.add_assign(&self.context, poly);
        let (level, slots) = (plaintext.level, plaintext.slots);
        Ok(SeededCiphertext { body, seed: uniform_seed, level, scale, slots, key: key.id() })
    }

    fn next_seed(&mut self) -> Seed {
        self.count += 1;
        self.seed.child(&format!("encryption under {:?}", self.key_id().0), self.count)
    }

    fn key_id(&self) -> KeyId {
        match &self.key {
            Key::Public(key) => key.id(),
            Key::Secret(key) => key.id(),
        }
    }
}

fn check(plaintext: &Plaintext) -> Result<(Scale, &Poly), EvalError> {
    match plaintext.scale {
        PlaintextScale::Named(scale)
            if plaintext.form == Form::Residues && plaintext.poly.basis().special == 0 =>
        {
            debug_assert_eq!(plaintext.poly.domain(), Domain::Evaluation);
            Ok((scale, &plaintext.poly))
        }
        _ => Err(EvalError::PlaintextForm {
            op: "encrypt",
            expected: "of plain residues over the chain, at a named scale",
        }),
    }
}
