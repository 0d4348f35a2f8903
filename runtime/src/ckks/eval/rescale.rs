//! Rescale, level changes.

use fhec_ir::scale::{ExactScale, Level, Scale};
use num_bigint::{BigInt, BigUint};
use num_traits::One;

use super::{Evaluator, check_scale};
use crate::error::EvalError;
use crate::ring::basis_extension::Tail;
use crate::ring::{Basis, Poly};
use crate::rlwe::Ciphertext;

impl Evaluator<'_> {
    /// Divides by the modulus of the level over that of the next one, rounding. *Scale*:
    /// `D_level^2`, gives the canonical one of the new level, exactly. *Level*: one less. *Error*:
    /// adds at most `(1 + |s|_1) / 2` per coefficient.
    pub fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        let (level, scale) = self.rescaled("rescale", a)?;
        let polys = self.divide(a.polys(), self.context.basis_at(a.polys()[0].basis(), a.level(), level));
        Ok(Ciphertext::new(polys, level, scale, a.slots(), a.key()))
    }

    /// Level and scale after a rescale.
    pub(super) fn rescaled(&self, op: &'static str, a: &Ciphertext) -> Result<(Level, Scale), EvalError> {
        let Some(level) = a.level().checked_sub(1) else {
            return Err(EvalError::LevelTooLow { op, needed: 1, found: 0 });
        };
        check_scale(op, Scale::squared(a.level()), a.scale())?;
        Ok((level, Scale::canonical(level)))
    }

    /// All polynomials divided and rounded, in as few parallel passes as their number allows.
    fn divide(&self, polys: &[Poly], kept: Basis) -> Vec<Poly> {
        match polys {
            [c0, c1] => self.context.divide_round([c0, c1], kept, [Tail::default(); 2]).into(),
            polys => {
                polys.iter().flat_map(|c| self.context.divide_round([c], kept, [Tail::default()])).collect()
            }
        }
    }

    /// The same message at the same scale, whose name stays, at a lower level: forgets primes where
    /// the ciphertext has all that it needs there. Else it is multiplied by the integer next to the
    /// quotient of the two moduli and divided by the quotient.
    ///
    /// *Error*: none, or that of a rescale and `Q_level / (2 Q_old)` relative, with the modulus
    /// `Q_old` of the lowest level above that nests in its own.
    pub fn mod_drop(&self, a: &Ciphertext, level: Level) -> Result<Ciphertext, EvalError> {
        check_drop("mod_drop", a, level)?;
        let params = self.context.params();
        let from = params.nested_above(a.level(), level);
        let nested = self.nested(a, from);
        if from == level {
            return Ok(nested);
        }
        self.divided_by_moduli(nested, level, a.scale(), &params.modulus_quotient(from, level))
    }

    /// Without the primes that `level` does not have, a level that nests in that of `a`.
    fn nested(&self, a: &Ciphertext, level: Level) -> Ciphertext {
        let basis = self.context.basis_at(a.polys()[0].basis(), a.level(), level);
        let polys = a.polys().iter().map(|poly| poly.restricted(self.context, basis)).collect();
        Ciphertext::new(polys, level, a.scale(), a.slots(), a.key())
    }

    /// Times the integer next to `factor`, divided by the modulus of its level over that of
    /// `level`.
    fn divided_by_moduli(
        &self,
        mut a: Ciphertext,
        level: Level,
        scale: Scale,
        factor: &ExactScale,
    ) -> Result<Ciphertext, EvalError> {
        self.mul_big_integer_assign(&mut a, &BigInt::from(factor.round()));
        let polys = self.divide(a.polys(), self.context.basis_at(a.polys()[0].basis(), a.level(), level));
        Ok(Ciphertext::new(polys, level, scale, a.slots(), a.key()))
    }

    /// A canonical value at a lower level, at the canonical scale of that level: drops to the
    /// lowest level above it that nests in its own, multiplies by the integer next to `D_level q /
    /// D_old` (`q`: what is divided by) and divides.
    ///
    /// *Error*: the constant's rounding, `D_old / (2 D_level q)` relative, and that of a rescale.
    pub fn level_drop(&self, a: &Ciphertext, level: Level) -> Result<Ciphertext, EvalError> {
        check_drop("level_drop", a, level)?;
        check_scale("level_drop", Scale::canonical(a.level()), a.scale())?;
        if level == a.level() {
            return Ok(a.clone());
        }
        let params = self.context.params();
        let from = params.nested_above(a.level(), level + 1);
        let scale = params.canonical_scale(level).mul(&params.modulus_quotient(from, level));
        let factor = scale.mul_ratio(&BigUint::one(), params.canonical_scale(a.level()));
        self.divided_by_moduli(self.nested(a, from), level, Scale::canonical(level), &factor)
    }
}

fn check_drop(op: &'static str, a: &Ciphertext, level: Level) -> Result<(), EvalError> {
    if level > a.level() {
        return Err(EvalError::LevelTooLow { op, needed: level, found: a.level() });
    }
    Ok(())
}
