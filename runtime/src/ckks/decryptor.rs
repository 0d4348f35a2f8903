//! Decryption.

use std::sync::Arc;

use super::plaintext::{Form, Plaintext};
use crate::error::EvalError;
use crate::kernels;
use crate::names::PlaintextScale;
use crate::ring::{Context, Domain, Poly, Work};
use crate::rlwe::{Ciphertext, SecretKey};

/// Decrypts ciphertexts of one secret key.
#[derive(Clone, Debug)]
pub struct Decryptor {
    context: Arc<Context>,
    key: Arc<SecretKey>,
}

impl Decryptor {
    /// Decrypts with `key`.
    pub fn new(context: &Arc<Context>, key: &Arc<SecretKey>) -> Self {
        Decryptor { context: Arc::clone(context), key: Arc::clone(key) }
    }

    /// `c_0 + c_1 s + c_2 s^2 + ...`: the message and the error, to be decoded.
    pub fn decrypt(&self, ciphertext: &Ciphertext) -> Result<Plaintext, EvalError> {
        if ciphertext.key() != self.key.id() {
            return Err(EvalError::KeyMismatch {
                op: "decrypt",
                left: ciphertext.key(),
                right: self.key.id(),
            });
        }
        let context = &self.context;
        let basis = context.basis(ciphertext.level());
        let mut poly = Poly::zero(context, basis, Domain::Evaluation);
        context.each_limb(Work::Light, [poly.data_mut()], |limb, [x]| {
            let (isa, modulus) = (context.isa(), context.modulus(basis.chain_prime(limb)));
            for c in ciphertext.polys().iter().rev() {
                // Horner's rule in s.
                kernels::mul_assign(isa, x, self.key.poly().limb_in(basis, limb), modulus);
                kernels::add_assign(isa, x, c.limb(limb), modulus);
            }
        });
        Ok(Plaintext {
            poly,
            form: Form::Residues,
            level: ciphertext.level(),
            scale: PlaintextScale::Named(ciphertext.scale()),
            slots: ciphertext.slots(),
        })
    }
}
