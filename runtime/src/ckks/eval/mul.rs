//! Products, relinearisation.

use fhec_ir::scale::{ExactScale, Scale};
use num_bigint::{BigInt, BigUint, Sign};
use num_traits::{Signed, ToPrimitive};

use super::{Evaluator, check_keys, check_levels, check_scale, check_size};
use crate::ckks::plaintext::{Form, Plaintext};
use crate::error::EvalError;
use crate::kernels;
use crate::names::PlaintextScale;
use crate::ring::basis_extension::Tail;
use crate::ring::{Context, Poly, Work};
use crate::rlwe::{Ciphertext, Decomposition, SwitchingKeyKind};

impl Evaluator<'_> {
    /// `a b`, slot by slot. *Level*: equal. *Scale*: equal and canonical (power 1), squared by the
    /// product. *Size*: 2 and 2, gives 3.
    pub fn mul(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.check_segment("mul", a)?;
        self.mul_integers(a, b)
    }

    /// [`Self::mul`] also at the step to another segment, where `D_level^2` is not what the name of
    /// the result's scale stands for: for circuits that carry exact scales themselves.
    pub(crate) fn mul_integers(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EvalError> {
        let scale = check_product("mul", a, b)?;
        let context = self.context;
        let ([a0, a1], [b0, b1]) = (pair(a), pair(b));
        let basis = a0.basis();
        let mut polys = [(); 3].map(|()| Poly::arbitrary(context, a0.basis(), a0.domain()));
        let outputs = polys.each_mut().map(Poly::data_mut);
        context.each_limb(Work::Light, outputs, |limb, [c0, c1, c2]| {
            let (isa, modulus) = (context.isa(), context.modulus(basis.chain_prime(limb)));
            let [a0, a1, b0, b1] = [a0, a1, b0, b1].map(|poly| poly.limb(limb));
            kernels::mul_into(isa, c0, a0, b0, modulus);
            kernels::mul_into(isa, c1, a0, b1, modulus);
            kernels::mul_add_assign(isa, c1, a1, b0, modulus);
            kernels::mul_into(isa, c2, a1, b1, modulus);
        });
        Ok(Ciphertext::new(polys.into(), a.level(), scale, a.slots().max(b.slots()), a.key()))
    }

    /// `a^2`, slot by slot; as [`Self::mul`], a little faster.
    pub fn square(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.check_segment("square", a)?;
        self.square_integers(a)
    }

    /// [`Self::square`] also at the step to another segment; as [`Self::mul_integers`].
    pub(crate) fn square_integers(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        let scale = check_product("square", a, a)?;
        let context = self.context;
        let [a0, a1] = pair(a);
        let basis = a0.basis();
        let mut polys = [(); 3].map(|()| Poly::arbitrary(context, a0.basis(), a0.domain()));
        let outputs = polys.each_mut().map(Poly::data_mut);
        context.each_limb(Work::Light, outputs, |limb, [c0, c1, c2]| {
            let (isa, modulus) = (context.isa(), context.modulus(basis.chain_prime(limb)));
            let (a0, a1) = (a0.limb(limb), a1.limb(limb));
            kernels::add_into(isa, c0, a0, a0, modulus);
            kernels::mul_into(isa, c1, c0, a1, modulus);
            kernels::mul_into(isa, c0, a0, a0, modulus);
            kernels::mul_into(isa, c2, a1, a1, modulus);
        });
        Ok(Ciphertext::new(polys.into(), a.level(), scale, a.slots(), a.key()))
    }

    /// Size 3 back to size 2. *Cost*: one key switch.
    pub fn relinearize(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        let polys = self.relinearized("relinearize", a)?;
        let context = self.context;
        let (c0, c1) = (&a.polys()[0], &a.polys()[1]);
        let [u0, u1] = &polys;
        let tails = [c0, c1].map(|add| Tail { add: Some(add), permute: None });
        let polys = context.divide_round([u0, u1], c0.basis(), tails);
        Ok(Ciphertext::new(polys.into(), a.level(), a.scale(), a.slots(), a.key()))
    }

    /// `rescale(relinearize(a))` with one division by `P q` instead of two: fewer transforms, less
    /// rounding.
    pub fn relinearize_rescale(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        let (level, scale) = self.rescaled("relinearize_rescale", a)?;
        let mut polys = self.relinearized("relinearize_rescale", a)?;
        let context = self.context;
        for (u, c) in polys.iter_mut().zip(a.polys()) {
            add_special_multiple(context, u, c);
        }
        let [u0, u1] = &polys;
        let kept = context.basis_at(u0.basis(), a.level(), level);
        let polys = context.divide_round([u0, u1], kept, [Tail::default(); 2]);
        Ok(Ciphertext::new(polys.into(), level, scale, a.slots(), a.key()))
    }

    /// `P c_2 s^2` as a pair over the extended basis.
    fn relinearized(&self, op: &'static str, a: &Ciphertext) -> Result<[Poly; 2], EvalError> {
        check_size(op, 3, a)?;
        check_keys(op, a.key(), self.keys.id())?;
        let key = self.keys.get(op, SwitchingKeyKind::Relinearization, a.level())?;
        Ok(Decomposition::new(self.context, &a.polys()[2], a.level()).key_switch(self.context, key))
    }

    /// `a b` for a plaintext at the level of `a` or above. *Scale*: [`PlaintextScale::product`].
    pub fn mul_plain(&self, a: &Ciphertext, b: &Plaintext) -> Result<Ciphertext, EvalError> {
        let scale = self.check_plain_factor("mul_plain", a, b)?;
        let context = self.context;
        let polys = a.polys().iter().map(|x| {
            let mut product = Poly::arbitrary(context, x.basis(), x.domain());
            context.each_limb(Work::Light, [product.data_mut()], |limb, [out]| {
                let basis = x.basis();
                let (isa, modulus) = (context.isa(), context.modulus(basis.chain_prime(limb)));
                let factor = b.poly.limb_in(basis, limb);
                match b.form {
                    Form::Montgomery => {
                        kernels::mul_montgomery_into(isa, out, x.limb(limb), factor, modulus);
                    }
                    Form::Residues => kernels::mul_into(isa, out, x.limb(limb), factor, modulus),
                }
            });
            product
        });
        Ok(Ciphertext::new(polys.collect(), a.level(), scale, a.slots().max(b.slots), a.key()))
    }

    /// `constant a` in every slot, at scale `D^2` of a canonical value: as a product with a
    /// plaintext, without one.
    pub fn mul_scalar(&self, a: &Ciphertext, constant: f64) -> Result<Ciphertext, EvalError> {
        check_canonical("mul_scalar", a.scale())?;
        self.mul_scalar_to(a, constant, Scale::squared(a.scale().level))
    }

    /// `constant a` in every slot, carried from its scale to scale `to`: multiplies by the integer
    /// next to `constant to / scale(a)`.
    pub fn mul_scalar_to(&self, a: &Ciphertext, constant: f64, to: Scale) -> Result<Ciphertext, EvalError> {
        let mut product = a.clone();
        let ratio = PlaintextScale::Ratio { from: a.scale(), to }.exact(self.context.params());
        let integer = scaled_integer(constant, &ratio)?;
        self.check_constant(&integer, a.level())?;
        self.mul_big_integer_assign(&mut product, &integer);
        product.set_scale(to);
        Ok(product)
    }

    pub(super) fn mul_big_integer_assign(&self, a: &mut Ciphertext, integer: &BigInt) {
        let residues = constant_residues(self.context, integer);
        for poly in a.polys_mut() {
            poly.mul_scalar_assign(self.context, |prime| residues[prime]);
        }
    }

    /// `i a` in every slot, `i` the imaginary unit: exact, at the same scale and level.
    pub fn mul_imaginary_unit_assign(&self, a: &mut Ciphertext) {
        let context = self.context;
        let half = context.ring_degree() as u64 / 2;
        for poly in a.polys_mut() {
            let basis = poly.basis();
            // X^(N/2) is i at zeta^(5^j), for every j, and -i at the conjugate points.
            context.each_limb(Work::Heavy, [poly.data_mut()], |limb, [x]| {
                let prime = basis.chain_prime(limb);
                let modulus = context.modulus(prime);
                let unit = modulus.pow(context.transform(prime).root(), half);
                let log_n = context.params().log_n();
                let mut monomial = context.scratch(1);
                for (index, value) in monomial.iter_mut().enumerate() {
                    // psi^(e N/2): e is 1 modulo 4 at the points of slots.
                    let positive = kernels::evaluation_exponent(log_n, index) % 4 == 1;
                    *value = if positive { unit } else { modulus.neg(unit) };
                }
                kernels::mul_assign(context.isa(), x, &monomial, modulus);
            });
        }
    }

    /// A product of canonical values rescales to a canonical one, except at the step to another
    /// segment.
    fn check_segment(&self, op: &'static str, a: &Ciphertext) -> Result<(), EvalError> {
        let level = a.scale().level;
        if self.context.params().continues(level) {
            Ok(())
        } else {
            Err(EvalError::SegmentStep { op, level })
        }
    }

    pub(super) fn check_plain_factor(
        &self,
        op: &'static str,
        a: &Ciphertext,
        b: &Plaintext,
    ) -> Result<Scale, EvalError> {
        self.check_nested(op, b.level, a.level())?;
        let mismatch = EvalError::PlaintextScaleMismatch { op, ciphertext: a.scale(), plaintext: b.scale };
        b.scale.product(a.scale(), self.context.params()).ok_or(mismatch)
    }
}

fn check_product(op: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<Scale, EvalError> {
    check_size(op, 2, a)?;
    check_size(op, 2, b)?;
    check_keys(op, a.key(), b.key())?;
    check_levels(op, a.level(), b.level())?;
    check_canonical(op, a.scale())?;
    check_scale(op, a.scale(), b.scale())?;
    Ok(Scale::squared(a.scale().level))
}

fn pair(a: &Ciphertext) -> [&Poly; 2] {
    [&a.polys()[0], &a.polys()[1]]
}

/// `u += P c` over the chain primes; `P c` is zero modulo the special ones.
pub(super) fn add_special_multiple(context: &Context, u: &mut Poly, c: &Poly) {
    let (chain, basis) = (c.limbs(), u.basis());
    debug_assert!(basis.contains(c.basis()) && basis.chain == chain);
    let data = &mut u.data_mut()[..chain * context.ring_degree()];
    context.each_limb(Work::Light, [data], |limb, [x]| {
        let (isa, prime) = (context.isa(), basis.chain_prime(limb));
        let modulus = context.modulus(prime);
        let mut multiple = context.scratch(1);
        multiple.copy_from_slice(c.limb(limb));
        let product = context.special_product(prime, basis.special);
        kernels::mul_scalar_assign(isa, &mut multiple, product, modulus);
        kernels::add_assign(isa, x, &multiple, modulus);
    });
}

fn check_canonical(op: &'static str, scale: Scale) -> Result<(), EvalError> {
    check_scale(op, Scale::canonical(scale.level), scale)
}

/// The integer nearest to `constant * scale`.
pub(super) fn scaled_integer(constant: f64, scale: &ExactScale) -> Result<BigInt, EvalError> {
    if !constant.is_finite() {
        return Err(EvalError::NotFinite { slot: 0, value: constant });
    }
    // constant = mantissa 2^exponent exactly.
    let bits = constant.abs().to_bits();
    let (field, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    let (mantissa, exponent) =
        if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
    let mantissa = BigUint::from(mantissa) << exponent.max(0);
    let divisor = ExactScale::power_of_two(exponent.min(0).unsigned_abs());
    let integer = BigInt::from(scale.mul_ratio(&mantissa, &divisor).round());
    Ok(if constant.is_sign_negative() { -integer } else { integer })
}

/// Residues of an integer modulo every prime of the context.
pub(super) fn constant_residues(context: &Context, integer: &BigInt) -> Vec<u64> {
    let residue = |m: &kernels::Modulus| {
        let size = (integer.abs() % m.value()).to_u64().unwrap_or_default();
        if integer.sign() == Sign::Minus { m.neg(size) } else { size }
    };
    context.moduli().iter().map(residue).collect()
}
