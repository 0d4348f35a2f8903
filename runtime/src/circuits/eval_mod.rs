//! Modular reduction: the sine by a cosine, double angles and an optional arcsine.
//!
//! `t` in `[-1, 1]` holds `(I + m D_0 / q_0 - 1/4) / width`. The cosine polynomial, times `a`,
//! gives `a cos(2 pi width t / 2^r)`; each doubling `c -> 2 c^2 - a^2` squares the factor; after
//! `r` of them stands `a^(2^r) sin(2 pi (I + m D_0 / q_0))`. With `a = A^(1/2^r)` the wanted factor
//! `A` ([`BootstrapParams::sine_factor`]) costs nothing.

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::params::Params;
use fhec_ir::polynomial::Polynomial;
use fhec_ir::polynomial_shape::PolynomialShape;
use fhec_ir::scale::{ExactScale, Level, Scale};
use num_bigint::BigInt;

use crate::ckks::Evaluator;
use crate::ckks::eval::combine::Combination;
use crate::error::EvalError;
use crate::rlwe::Ciphertext;

/// The polynomials of a modular reduction, ready to be evaluated.
#[derive(Clone, Debug)]
pub struct EvalMod {
    cosine: PolynomialShape,
    /// `a^2, a^4, ...`: what each doubling subtracts.
    squares: Vec<f64>,
    arcsine: Option<PolynomialShape>,
    input_level: Level,
    output_level: Level,
}

impl EvalMod {
    /// The reduction of `bootstrap`, a valid one for `params`, for results at level `to`.
    pub fn new(bootstrap: &BootstrapParams, params: &Params, to: Level) -> Self {
        let factor = bootstrap.sine_factor_to(params, to);
        let scaled = |polynomial: &Polynomial, factor: f64| {
            let scaled = polynomial.scaled(factor).expect("a finite polynomial times a finite factor");
            PolynomialShape::new(&scaled)
        };
        let doublings = bootstrap.double_angles;
        let (amplitude, arcsine) = match &bootstrap.arcsine {
            Some(arcsine) => (1.0, Some(scaled(arcsine, factor))),
            None => (factor.powf(0.5f64.powi(doublings as i32)), None),
        };
        let squares = (0..doublings).map(|step| amplitude.powi(2 << step)).collect();
        EvalMod {
            cosine: scaled(&bootstrap.cosine, amplitude),
            squares,
            arcsine,
            input_level: bootstrap.sine_input_level(),
            output_level: bootstrap.sine_output_level(),
        }
    }

    /// Level of the argument.
    pub fn input_level(&self) -> Level {
        self.input_level
    }

    /// What is computed, in the clear: the message that the ciphertext of the result holds when it
    /// is read at the scale of [`BootstrapParams::sine_scale`]; of the reduction for results at the
    /// highest level.
    pub fn clear(&self, bootstrap: &BootstrapParams, params: &Params, t: f64) -> f64 {
        let factor = bootstrap.sine_factor(params);
        let doublings = bootstrap.double_angles;
        let amplitude = if self.arcsine.is_some() { 1.0 } else { factor.powf(0.5f64.powi(doublings as i32)) };
        let start = amplitude * bootstrap.cosine.eval(t);
        let sine = self.squares.iter().fold(start, |c, square| 2.0 * c * c - square);
        bootstrap.arcsine.as_ref().map_or(sine, |arcsine| factor * arcsine.eval(sine))
    }
}

impl Evaluator<'_> {
    /// The reduction of a canonical ciphertext at its level. The result is canonical at the
    /// application's scale, if its level is the one that the reduction was made for or, by its
    /// primes, is about to be called so.
    pub fn eval_mod(&self, t: &Ciphertext, eval_mod: &EvalMod) -> Result<Ciphertext, EvalError> {
        if t.level() != eval_mod.input_level {
            let (left, right) = (t.level(), eval_mod.input_level);
            return Err(EvalError::LevelMismatch { op: "modular reduction", left, right });
        }
        let mut c = self.polynomial(t, &eval_mod.cosine)?;
        for &square in &eval_mod.squares {
            c = self.double_angle(&c, square)?;
        }
        let result = match &eval_mod.arcsine {
            Some(arcsine) => self.polynomial(&c, arcsine)?,
            // The last doubling crossed into the application's segment: from here on its scale
            // counts.
            None => c,
        };
        debug_assert_eq!(result.level(), eval_mod.output_level);
        Ok(result)
    }

    /// `2 c^2 - square`, one level down. The name of the result's scale is that of its level, its
    /// value `D^2 / q`.
    fn double_angle(&self, c: &Ciphertext, square: f64) -> Result<Ciphertext, EvalError> {
        let level = c.level();
        let scale: &ExactScale = self.context().params().canonical_scale(level);
        let constant = self.scaled_integer(-square, &scale.mul(scale))?;
        let product = self.square_integers(c)?;
        let doubled = self.combine(
            level,
            Scale::squared(level),
            &Combination { sources: vec![(&product, BigInt::from(2))], constant },
        )?;
        self.relinearize_rescale(&doubled)
    }
}
