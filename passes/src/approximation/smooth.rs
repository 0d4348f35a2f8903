//! Smooth activations as minimax Chebyshev polynomials on a bounded domain.
//!
//! On a symmetric domain the function is split into what is known exactly (a constant, x/2) and a part that is
//! odd or even, and only that part is approximated: the polynomial then has the symmetry too, and fewer products.

use fhec_ir::{nn::activation, polynomial::Polynomial};

use super::{
    ApproximationError,
    big::Big,
    chebyshev::{interpolant, polynomial},
    real::{Real, Target},
    remez::{Parity, Problem, minimax},
};

/// An activation that has as many derivatives as one likes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smooth {
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// tanh x.
    Tanh,
    /// x / (1 + e^-x).
    Silu,
    /// x (1 + erf(x / sqrt 2)) / 2.
    Gelu,
    /// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.
    GeluTanh,
    /// e^x.
    Exp,
}

/// A polynomial and how far it is from the function.
#[derive(Clone, Debug, PartialEq)]
pub struct SmoothFit {
    /// On the domain asked for.
    pub polynomial: Polynomial,
    /// The largest |polynomial(x) - f(x)| on it.
    pub error: f64,
}

impl Smooth {
    /// f(x).
    pub fn value(self, x: f64) -> f64 {
        match self {
            Smooth::Sigmoid => activation::sigmoid(x),
            Smooth::Tanh => x.tanh(),
            Smooth::Silu => activation::silu(x),
            Smooth::Gelu => activation::gelu(x),
            Smooth::GeluTanh => activation::gelu_tanh(x),
            Smooth::Exp => x.exp(),
        }
    }

    /// f = constant + slope * x + a part of this parity, on symmetric domains.
    fn split(self) -> (f64, f64, Parity) {
        match self {
            Smooth::Sigmoid => (0.5, 0.0, Parity::Odd),
            Smooth::Tanh => (0.0, 0.0, Parity::Odd),
            Smooth::Silu | Smooth::Gelu | Smooth::GeluTanh => (0.0, 0.5, Parity::Even),
            Smooth::Exp => (0.0, 0.0, Parity::General),
        }
    }
}

/// What is left of a function after its exact part is taken off.
struct Rest {
    function: Smooth,
    split: bool,
}

impl Target for Rest {
    fn value(&self, x: f64) -> f64 {
        let (constant, slope, _) =
            if self.split { self.function.split() } else { (0.0, 0.0, Parity::General) };
        self.function.value(x) - constant - slope * x
    }

    fn precise(&self, x: f64, bits: usize) -> Big {
        let number = |value: f64| Big::new(value, bits);
        let half = number(0.5);
        let x_big = number(x);
        let rest = match self.function {
            Smooth::Exp => return x_big.exp(),
            Smooth::Tanh => return x_big.tanh(),
            Smooth::Sigmoid => number(x / 2.0).tanh() * &half,
            Smooth::Silu => number(x / 2.0).tanh() * &half * &x_big,
            Smooth::GeluTanh => {
                let cube = x_big.clone() * &x_big * &x_big * &number(0.044715);
                let argument = (x_big.clone() + &cube) * &(number(2.0) / &Big::pi(bits)).sqrt();
                argument.tanh() * &half * &x_big
            }
            Smooth::Gelu => erf_big(&(x_big.clone() / &number(2.0).sqrt())) * &half * &x_big,
        };
        let (constant, slope, _) = self.function.split();
        if self.split { rest } else { rest + &number(constant) + &(number(slope) * &x_big) }
    }
}

/// The largest degree that [`fit_to_error`] tries.
pub const MAX_DEGREE: usize = 255;

/// The best polynomial of at most `degree` on `domain`.
pub fn fit(function: Smooth, domain: [f64; 2], degree: usize) -> Result<SmoothFit, ApproximationError> {
    let [low, high] = domain;
    let (constant, slope, parity) = function.split();
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
pub fn fit_to_error(function: Smooth, domain: [f64; 2], error: f64) -> Result<SmoothFit, ApproximationError> {
    let long = interpolant(|x| function.value(x), domain, MAX_DEGREE)?;
    let magnitudes: Vec<f64> = long.coefficients().iter().map(|c| c.abs()).collect();
    // Any polynomial of degree n misses f by at least (pi / 4) |c_k| for each k > n, so lower degrees need no try.
    let lower = magnitudes.iter().rposition(|c| c * std::f64::consts::FRAC_PI_4 > error).unwrap_or(0);
    let mut last = f64::INFINITY;
    for degree in lower.max(1)..=MAX_DEGREE {
        let fit = fit(function, domain, degree)?;
        if fit.error <= error {
            return Ok(fit);
        }
        last = fit.error;
    }
    Err(ApproximationError::ErrorUnreachable { degree: MAX_DEGREE, reached: last, wanted: error })
}

/// erf in long arithmetic: e^(-x^2) times a series of positive terms, so nothing cancels.
fn erf_big(x: &Big) -> Big {
    let bits = x.bits();
    let square = x.clone() * x;
    let twice = square.clone() + &square;
    let (mut term, mut sum) = (x.clone(), x.clone());
    let mut k = 1.0;
    while !term.is_zero() && term.to_f64().abs() > sum.to_f64().abs() * Big::unit(bits) {
        term = term * &twice / &Big::new(2.0 * k + 1.0, bits);
        sum = sum + &term;
        k += 1.0;
    }
    let two_over_root_pi = Big::new(2.0, bits) / &Big::pi(bits).sqrt();
    sum * &(-square).exp() * &two_over_root_pi
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Smooth; 6] =
        [Smooth::Sigmoid, Smooth::Tanh, Smooth::Silu, Smooth::Gelu, Smooth::GeluTanh, Smooth::Exp];

    fn measured(function: Smooth, polynomial: &Polynomial) -> f64 {
        let [low, high] = polynomial.domain();
        (0..=20_000).fold(0.0f64, |m, i| {
            let x = low + (high - low) * f64::from(i) / 20_000.0;
            m.max((polynomial.eval(x) - function.value(x)).abs())
        })
    }

    #[test]
    fn erf_has_its_tabulated_values() {
        for (x, value) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.5, 0.999_593_047_982_555),
        ] {
            assert!((erf_big(&Big::new(x, 192)).to_f64() - value).abs() < 2e-16);
        }
    }

    #[test]
    fn errors_are_as_reported() {
        for function in ALL {
            for domain in [[-4.0, 4.0], [-1.0, 6.0]] {
                for degree in [3, 8, 15] {
                    let fit = fit(function, domain, degree).unwrap();
                    assert!(fit.polynomial.degree() <= degree && fit.polynomial.domain() == domain);
                    // Evaluation in f64 is off by some units of the largest value, at most e^6.
                    let measured = measured(function, &fit.polynomial);
                    let (below, above) = (0.999 * fit.error, (1.0 + 1e-6) * fit.error);
                    assert!(
                        measured >= below - 1e-12 && measured <= above + 1e-12,
                        "{function:?} {domain:?} {degree}: {measured:e}, reported {:e}",
                        fit.error
                    );
                }
            }
        }
    }

    #[test]
    fn both_arithmetics_agree() {
        for function in ALL {
            for split in [false, true] {
                let target = Rest { function, split };
                for x in [-5.5, -1.0, -0.125, 0.5, 3.0] {
                    let difference = target.precise(x, 128).to_f64() - target.value(x);
                    assert!(
                        difference.abs() < 1e-15 * x.exp().max(8.0),
                        "{function:?} {split} {x}: {difference:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn symmetric_domains_keep_the_symmetry() {
        let odd = fit(Smooth::Tanh, [-3.0, 3.0], 9).unwrap().polynomial;
        assert!(odd.is_odd());
        let silu = fit(Smooth::Silu, [-6.0, 6.0], 10).unwrap().polynomial;
        assert!(silu.coefficients().iter().skip(3).step_by(2).all(|c| *c == 0.0));
        assert_eq!(silu.coefficients()[1], 3.0);
    }

    #[test]
    fn the_least_degree_is_found() {
        for function in ALL {
            let domain = [-5.0, 5.0];
            let found = fit_to_error(function, domain, 1e-4).unwrap();
            assert!(found.error <= 1e-4);
            let degree = found.polynomial.degree();
            assert!(fit(function, domain, degree - 1).unwrap().error > 1e-4, "{function:?} {degree}");
        }
        let exact = fit_to_error(Smooth::Exp, [-1.0, 1.0], 1e-13).unwrap();
        assert!(exact.polynomial.degree() < 16);
    }

    /// Minimax errors by an exchange of all alternating extremes in 40 digits, on the function itself: no part that is known exactly
    /// is taken off, no symmetry used.
    #[test]
    fn errors_are_those_of_best_approximation() {
        let table = [
            (Smooth::Sigmoid, [-5.0, 5.0], 5, 0.011_790_844_449_897_9),
            (Smooth::Sigmoid, [-8.0, 8.0], 15, 0.000_878_885_146_148_088),
            (Smooth::Sigmoid, [-1.0, 6.0], 8, 0.000_122_267_609_859_464),
            (Smooth::Tanh, [-1.0, 1.0], 5, 0.000_385_219_436_584_558),
            (Smooth::Tanh, [-3.0, 3.0], 9, 0.005_441_605_671_888_59),
            (Smooth::Tanh, [-2.0, 5.0], 7, 0.018_829_249_621_395_6),
            (Smooth::Exp, [-1.0, 1.0], 1, 0.278_801_585_795_502),
            (Smooth::Exp, [-1.0, 1.0], 3, 0.005_528_370_108_687_59),
            (Smooth::Exp, [-1.0, 1.0], 6, 3.210_877_103_361_15e-6),
            (Smooth::Exp, [-4.0, 2.0], 7, 0.000_614_839_307_128_038),
            (Smooth::Gelu, [-3.0, 3.0], 6, 0.009_225_336_933_834_82),
            (Smooth::Gelu, [-4.0, 4.0], 12, 0.000_719_402_088_163_107),
            (Smooth::Gelu, [-1.0, 6.0], 8, 0.003_664_064_003_481_23),
            (Smooth::GeluTanh, [-4.0, 4.0], 12, 0.000_753_392_252_108_157),
            (Smooth::Silu, [-6.0, 6.0], 10, 0.005_173_282_021_208_05),
            (Smooth::Silu, [-2.0, 4.0], 5, 0.004_683_590_639_000_55),
        ];
        for (function, domain, degree, best) in table {
            let found = fit(function, domain, degree).unwrap().error;
            // The exchange stops when the largest error is this near to the least that any polynomial has.
            assert!(
                (found / best - 1.0).abs() < 1e-5,
                "{function:?} {domain:?} {degree}: {found:e}, {best:e}"
            );
        }
    }

    /// Chebyshev's criterion, which no other polynomial satisfies: the error attains its maximum with alternating signs at two
    /// more points than the degree.
    #[test]
    fn errors_alternate_as_often_as_those_of_best_approximation() {
        for function in ALL {
            for (domain, degree) in [([-4.0, 4.0], 7), ([-4.0, 4.0], 12), ([-1.0, 6.0], 6), ([-5.0, 2.0], 9)]
            {
                let fit = fit(function, domain, degree).unwrap();
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
                assert!(alternations >= least, "{function:?} {domain:?} {degree}: {alternations} of {least}");
            }
        }
    }
}
