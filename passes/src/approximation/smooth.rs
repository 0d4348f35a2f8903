//! Smooth parts of activations as minimax Chebyshev polynomials on a bounded domain.
//!
//! On a symmetric domain the function is split into what is known exactly (a constant, x/2) and a
//! part that is odd or even, and only that part is approximated: the polynomial then has the
//! symmetry too, and fewer products.

use fhec_ir::nn::activation::{Activation, Form, Parity, Smooth};
use fhec_ir::polynomial::Polynomial;

use super::{
    ApproximationError,
    big::Big,
    chebyshev::{interpolant, polynomial},
    real::Target,
    remez::{Problem, minimax},
};

/// A polynomial and how far it is from the function.
#[derive(Clone, Debug, PartialEq)]
pub struct SmoothFit {
    /// On the domain asked for.
    pub polynomial: Polynomial,
    /// The largest |polynomial(x) - f(x)| on it.
    pub error: f64,
}

/// What is approximated: an activation less its rectifier, if it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct SmoothPart {
    activation: Activation,
    form: Smooth,
}

impl SmoothPart {
    /// Of `activation`; `None` if it is made of lines alone.
    pub fn of(activation: &Activation) -> Option<Self> {
        match activation.form() {
            Form::Smooth(form) => Some(SmoothPart { activation: *activation, form }),
            Form::Rectifier { .. } | Form::Clamp(_) | Form::Gate(_) => None,
        }
    }

    /// f(x).
    pub fn value(&self, x: f64) -> f64 {
        self.form.value(&self.activation, x)
    }

    /// What the rectifier max(x, 0) is multiplied with in the activation.
    pub fn rectifier(&self) -> f64 {
        self.form.rectifier
    }
}

/// What is left of a function after its exact part is taken off, if it is.
struct Rest<'a> {
    function: &'a SmoothPart,
    split: bool,
}

impl Target for Rest<'_> {
    fn value(&self, x: f64) -> f64 {
        let Smooth { constant, slope, .. } = &self.function.form;
        let (constant, slope) = if self.split { (*constant, *slope) } else { (0.0, 0.0) };
        self.function.value(x) - constant - slope * x
    }

    fn precise(&self, x: f64, bits: usize) -> Big {
        let Smooth { constant, slope, rest, .. } = &self.function.form;
        let rest: Big = rest.at(x, bits);
        if self.split {
            return rest;
        }
        rest + &Big::new(*constant, bits) + &(Big::new(*slope, bits) * &Big::new(x, bits))
    }
}

/// The largest degree that [`fit_to_error`] tries.
pub const MAX_DEGREE: usize = 255;

/// The best polynomial of at most `degree` on `domain`.
pub fn fit(function: &SmoothPart, domain: [f64; 2], degree: usize) -> Result<SmoothFit, ApproximationError> {
    let [low, high] = domain;
    let Smooth { constant, slope, parity, .. } = function.form;
    let symmetric = low == -high && parity != Parity::General;
    // The highest degree of the right parity; the exact part needs no more than x.
    let matched = match parity {
        Parity::Odd => (degree + degree % 2).saturating_sub(1).max(1),
        _ => degree - degree % 2,
    };
    let target = Rest { function, split: symmetric };
    let problem = if symmetric && degree >= 1 {
        Problem { target: &target, intervals: vec![(0.0, high)], parity, degree: matched }
    } else {
        let target = &target;
        Problem { target, intervals: vec![(low, high)], parity: Parity::General, degree }
    };
    if !(low.is_finite() && high.is_finite() && low < high) {
        let reason = "ends must be finite and ascending";
        return Err(ApproximationError::InvalidInterval { low, high, reason });
    }
    let best = minimax(&problem)?;
    let mut coefficients = best.series.coefficients().to_vec();
    if problem.parity != Parity::General {
        coefficients.resize(coefficients.len().max(2), 0.0);
        coefficients[0] += constant;
        coefficients[1] += slope * high;
    }
    Ok(SmoothFit { polynomial: polynomial(coefficients, domain)?, error: best.error })
}

/// The best polynomial of the least degree whose error is at most `error`.
pub fn fit_to_error(
    function: &SmoothPart,
    domain: [f64; 2],
    error: f64,
) -> Result<SmoothFit, ApproximationError> {
    let long = interpolant(|x| function.value(x), domain, MAX_DEGREE)?;
    let magnitudes: Vec<f64> = long.coefficients().iter().map(|c| c.abs()).collect();
    // Any polynomial of degree n misses f by at least (pi / 4) |c_k| for each k > n, so lower
    // degrees need no try.
    let lower = magnitudes.iter().rposition(|c| c * std::f64::consts::FRAC_PI_4 > error).unwrap_or(0);
    // Errors do not grow with the degree. The least one is near the bound where all derivatives
    // exist, and far from it where they do not: steps double until one is enough, then halve.
    let (mut short, mut step) = (lower.max(1) - 1, 1);
    let (mut enough, mut best) = loop {
        let degree = (short + step).min(MAX_DEGREE);
        let found = fit(function, domain, degree)?;
        if found.error <= error {
            break (degree, found);
        }
        if degree == MAX_DEGREE {
            return Err(ApproximationError::ErrorUnreachable { degree, reached: found.error, wanted: error });
        }
        (short, step) = (degree, 2 * step);
    };
    while enough - short > 1 {
        let degree = usize::midpoint(short, enough);
        let found = fit(function, domain, degree)?;
        if found.error <= error {
            (enough, best) = (degree, found);
        } else {
            short = degree;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use fhec_ir::nn::activation::{Function, TABLE};

    use super::*;
    use crate::approximation::real::Real;

    const SIGMOID: Activation = Activation::SIGMOID;
    const TANH: Activation = Activation::TANH;
    const SILU: Activation = Activation::SILU;
    const GELU: Activation = Activation::gelu(false);
    const GELU_TANH: Activation = Activation::gelu(true);
    const EXP: Activation = Activation::EXP;

    fn part(activation: Activation) -> SmoothPart {
        SmoothPart::of(&activation).unwrap()
    }

    /// Every row of the table that has a smooth part, with the parameters of ONNX.
    fn all() -> Vec<SmoothPart> {
        let defaults = |function: &&'static Function| {
            let parameters: Vec<f64> = function.parameters.iter().map(|p| p.default).collect();
            let activation = Activation::new(function, &parameters).unwrap();
            // Where it is defined, if it is not everywhere.
            activation.around([1.0, 21.0]).unwrap_or(activation)
        };
        TABLE.iter().filter_map(|function| SmoothPart::of(&defaults(function))).collect()
    }

    fn measured(function: &SmoothPart, polynomial: &Polynomial) -> f64 {
        let [low, high] = polynomial.domain();
        (0..=20_000).fold(0.0f64, |m, i| {
            let x = low + (high - low) * f64::from(i) / 20_000.0;
            m.max((polynomial.eval(x) - function.value(x)).abs())
        })
    }

    #[test]
    fn errors_are_as_reported() {
        for function in all() {
            for domain in [[-4.0, 4.0], [-1.0, 6.0]] {
                for degree in [3, 8, 15] {
                    let fit = fit(&function, domain, degree).unwrap();
                    assert!(fit.polynomial.degree() <= degree && fit.polynomial.domain() == domain);
                    // Evaluation in f64 is off by some units of the largest value, at most e^6.
                    let measured = measured(&function, &fit.polynomial);
                    let (below, above) = (0.999 * fit.error, (1.0 + 1e-6) * fit.error);
                    assert!(
                        measured >= below - 1e-12 && measured <= above + 1e-12,
                        "{} {domain:?} {degree}: {measured:e}, reported {:e}",
                        function.activation,
                        fit.error
                    );
                }
            }
        }
    }

    #[test]
    fn both_arithmetics_agree() {
        for function in all() {
            for split in [false, true] {
                let target = Rest { function: &function, split };
                for x in [-5.5, -1.0, -0.125, 0.5, 3.0] {
                    let difference = target.precise(x, 128).to_f64() - target.value(x);
                    assert!(
                        difference.abs() < 1e-15 * x.exp().max(8.0),
                        "{} {split} {x}: {difference:e}",
                        function.activation
                    );
                }
            }
        }
    }

    #[test]
    fn symmetric_domains_keep_the_symmetry() {
        let odd = fit(&part(TANH), [-3.0, 3.0], 9).unwrap().polynomial;
        assert!(odd.is_odd());
        let silu = fit(&part(SILU), [-6.0, 6.0], 10).unwrap().polynomial;
        assert!(silu.coefficients().iter().skip(3).step_by(2).all(|c| *c == 0.0));
        assert_eq!(silu.coefficients()[1], 3.0);
    }

    #[test]
    fn the_least_degree_is_found() {
        // Errors of functions without a second derivative shrink with the square of the degree, no
        // faster.
        let analytic = [SIGMOID, TANH, SILU, GELU, GELU_TANH, EXP].map(|function| (part(function), 1e-4));
        let others = all().into_iter().map(|function| (function, 4e-3));
        for (function, error) in analytic.into_iter().chain(others) {
            let domain = [-5.0, 5.0];
            let found = fit_to_error(&function, domain, error).unwrap();
            assert!(found.error <= error);
            let degree = found.polynomial.degree();
            let below = fit(&function, domain, degree - 1).unwrap().error;
            assert!(below > error, "{} {degree}: {below:e}", function.activation);
        }
        let exact = fit_to_error(&part(EXP), [-1.0, 1.0], 1e-13).unwrap();
        assert!(exact.polynomial.degree() < 16);
    }

    /// Minimax errors by an exchange of all alternating extremes in 40 digits, on the function
    /// itself: no part that is known exactly is taken off, no symmetry used.
    #[test]
    fn errors_are_those_of_best_approximation() {
        let table = [
            (SIGMOID, [-5.0, 5.0], 5, 0.011_790_844_449_897_9),
            (SIGMOID, [-8.0, 8.0], 15, 0.000_878_885_146_148_088),
            (SIGMOID, [-1.0, 6.0], 8, 0.000_122_267_609_859_464),
            (TANH, [-1.0, 1.0], 5, 0.000_385_219_436_584_558),
            (TANH, [-3.0, 3.0], 9, 0.005_441_605_671_888_59),
            (TANH, [-2.0, 5.0], 7, 0.018_829_249_621_395_6),
            (EXP, [-1.0, 1.0], 1, 0.278_801_585_795_502),
            (EXP, [-1.0, 1.0], 3, 0.005_528_370_108_687_59),
            (EXP, [-1.0, 1.0], 6, 3.210_877_103_361_15e-6),
            (EXP, [-4.0, 2.0], 7, 0.000_614_839_307_128_038),
            (GELU, [-3.0, 3.0], 6, 0.009_225_336_933_834_82),
            (GELU, [-4.0, 4.0], 12, 0.000_719_402_088_163_107),
            (GELU, [-1.0, 6.0], 8, 0.003_664_064_003_481_23),
            (GELU_TANH, [-4.0, 4.0], 12, 0.000_753_392_252_108_157),
            (SILU, [-6.0, 6.0], 10, 0.005_173_282_021_208_05),
            (SILU, [-2.0, 4.0], 5, 0.004_683_590_639_000_55),
        ];
        for (function, domain, degree, best) in table {
            let found = fit(&part(function), domain, degree).unwrap().error;
            // The exchange stops when the largest error is this near to the least that any
            // polynomial has.
            assert!((found / best - 1.0).abs() < 1e-5, "{function} {domain:?} {degree}: {found:e}, {best:e}");
        }
    }

    /// Chebyshev's criterion, which no other polynomial satisfies: the error attains its maximum
    /// with alternating signs at two more points than the degree.
    #[test]
    fn errors_alternate_as_often_as_those_of_best_approximation() {
        for function in all() {
            for (domain, degree) in [([-4.0, 4.0], 7), ([-4.0, 4.0], 12), ([-1.0, 6.0], 6), ([-5.0, 2.0], 9)]
            {
                let fit = fit(&function, domain, degree).unwrap();
                let [low, high] = domain;
                let points = 40_000;
                let (mut alternations, mut last) = (0, 0.0);
                for i in 0..=points {
                    // Denser towards the ends, where extremes are.
                    let t = -(std::f64::consts::PI * f64::from(i) / f64::from(points)).cos();
                    let x = (low + high) / 2.0 + (high - low) / 2.0 * t;
                    let error = fit.polynomial.eval(x) - function.value(x);
                    if error.abs() > (1.0 - 1e-4) * fit.error && error.signum() != last {
                        (alternations, last) = (alternations + 1, error.signum());
                    }
                }
                let least = fit.polynomial.degree() + 2;
                let name = function.activation;
                assert!(alternations >= least, "{name} {domain:?} {degree}: {alternations} of {least}");
            }
        }
    }
}
