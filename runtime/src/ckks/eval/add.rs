//! Sums and differences of ciphertexts, plaintexts, constants.

use fhec_ir::scale::Level;
use num_bigint::BigInt;

use super::{Evaluator, check_keys, check_levels, check_scale};
use crate::ckks::eval::mul::{constant_residues, scaled_integer};
use crate::ckks::plaintext::{Form, Plaintext};
use crate::error::EvalError;
use crate::kernels;
use crate::names::PlaintextScale;
use crate::ring::{Poly, Work};
use crate::rlwe::Ciphertext;

impl Evaluator<'_> {
    /// `a + b`. *Level, scale*: equal. *Size*: that of the larger.
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        check_sum("add", a, b)?;
        let context = self.context;
        let (large, small) = if a.size() >= b.size() { (a, b) } else { (b, a) };
        let mut polys = Vec::with_capacity(large.size());
        for (x, y) in large.polys().iter().zip(small.polys()) {
            let mut sum = Poly::arbitrary(context, x.basis(), x.domain());
            context.each_limb(Work::Light, [sum.data_mut()], |limb, [out]| {
                let modulus = context.modulus(x.basis().chain_prime(limb));
                kernels::add_into(context.isa(), out, x.limb(limb), y.limb(limb), modulus);
            });
            polys.push(sum);
        }
        polys.extend(large.polys()[small.size()..].iter().cloned());
        Ok(Ciphertext::new(polys, a.level(), a.scale(), a.slots().max(b.slots()), a.key()))
    }

    /// `a += b`. *Level, scale*: equal.
    pub fn add_assign(&self, a: &mut Ciphertext, b: &Ciphertext) -> Result<(), EvalError> {
        check_sum("add", a, b)?;
        let shared = a.size().min(b.size());
        for (x, y) in a.polys_mut().iter_mut().zip(b.polys()) {
            x.add_assign(self.context, y);
        }
        a.polys_mut().extend(b.polys()[shared..].iter().cloned());
        a.set_slots(a.slots().max(b.slots()));
        Ok(())
    }

    /// `a - b`. *Level, scale*: equal. *Size*: that of the larger.
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        let mut difference = a.clone();
        self.sub_assign(&mut difference, b)?;
        Ok(difference)
    }

    /// `a -= b`. *Level, scale*: equal.
    pub fn sub_assign(&self, a: &mut Ciphertext, b: &Ciphertext) -> Result<(), EvalError> {
        check_sum("sub", a, b)?;
        let shared = a.size().min(b.size());
        for (x, y) in a.polys_mut().iter_mut().zip(b.polys()) {
            x.sub_assign(self.context, y);
        }
        for y in &b.polys()[shared..] {
            let mut negated = y.clone();
            negated.neg_assign(self.context);
            a.polys_mut().push(negated);
        }
        a.set_slots(a.slots().max(b.slots()));
        Ok(())
    }

    /// `-a`.
    pub fn neg(&self, a: &Ciphertext) -> Ciphertext {
        let mut negated = a.clone();
        self.neg_assign(&mut negated);
        negated
    }

    /// `a = -a`.
    pub fn neg_assign(&self, a: &mut Ciphertext) {
        a.polys_mut().iter_mut().for_each(|poly| poly.neg_assign(self.context));
    }

    /// `a + b` for a plaintext of plain residues at the scale of `a`, at its level or above.
    pub fn add_plain(&self, a: &Ciphertext, b: &Plaintext) -> Result<Ciphertext, EvalError> {
        let mut sum = a.clone();
        self.add_plain_assign(&mut sum, b)?;
        Ok(sum)
    }

    /// `a += b` for a plaintext of plain residues at the scale of `a`, at its level or above.
    pub fn add_plain_assign(&self, a: &mut Ciphertext, b: &Plaintext) -> Result<(), EvalError> {
        self.check_plain_summand("add_plain", a, b)?;
        a.polys_mut()[0].add_assign(self.context, &b.poly);
        a.set_slots(a.slots().max(b.slots));
        Ok(())
    }

    /// `a += constant` in every slot; exact to half a unit of the scale.
    pub fn add_scalar_assign(&self, a: &mut Ciphertext, constant: f64) -> Result<(), EvalError> {
        let scale = self.context.params().scale(a.scale());
        let integer = scaled_integer(constant, &scale)?;
        self.check_constant(&integer, a.level())?;
        let context = self.context;
        let residues = constant_residues(context, &integer);
        // A constant polynomial has the same value at every point.
        let poly = &mut a.polys_mut()[0];
        let basis = poly.basis();
        context.each_limb(Work::Light, [poly.data_mut()], |limb, [x]| {
            let prime = basis.chain_prime(limb);
            kernels::add_scalar_assign(context.isa(), x, residues[prime], context.modulus(prime));
        });
        Ok(())
    }

    /// Refuses constants that wrap around the modulus of `level`.
    pub(super) fn check_constant(&self, integer: &BigInt, level: Level) -> Result<(), EvalError> {
        let (needed, available) = (integer.bits() as f64, self.context.params().log_q(level) - 1.0);
        if needed > available {
            return Err(EvalError::MessageTooLarge { needed, available, level });
        }
        Ok(())
    }
}

fn check_sum(op: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<(), EvalError> {
    check_keys(op, a.key(), b.key())?;
    check_levels(op, a.level(), b.level())?;
    check_scale(op, a.scale(), b.scale())
}

impl Evaluator<'_> {
    fn check_plain_summand(&self, op: &'static str, a: &Ciphertext, b: &Plaintext) -> Result<(), EvalError> {
        self.check_nested(op, b.level, a.level())?;
        if b.form != Form::Residues {
            return Err(EvalError::PlaintextForm { op, expected: "of plain residues" });
        }
        match b.scale {
            PlaintextScale::Named(scale) if scale == a.scale() => Ok(()),
            plaintext => Err(EvalError::PlaintextScaleMismatch { op, ciphertext: a.scale(), plaintext }),
        }
    }

    /// Errs unless an operand of level `from` has the primes of level `to`, which is not above it.
    pub(super) fn check_nested(&self, op: &'static str, from: Level, to: Level) -> Result<(), EvalError> {
        if from < to {
            return Err(EvalError::LevelTooLow { op, needed: to, found: from });
        }
        if !self.context.params().nests(from, to) {
            return Err(EvalError::NotNested { op, from, to });
        }
        Ok(())
    }
}
