//! Polynomials for messages that a bootstrap has bent by a sine.
//!
//! Of a polynomial `f` one for `f(arcsin)`, by least squares with the terms that `f` has. The odd
//! part, `x / 2` for a ReLU, gets a cubic term, one product more. A fitted rectifier changes at
//! most by half of what the fit itself is off, in the mean over its messages, and by a sixteenth of
//! its largest value anywhere; any other polynomial by a 2,048th anywhere.

use std::f64::consts::PI;

use fhec_ir::bootstrap::SineCurve;
use fhec_ir::polynomial::Polynomial;

use super::least_squares::fit_points;

/// How much a polynomial may change by undoing a sine beside its largest value.
const TOLERANCE: f64 = 1.0 / 2048.0;

/// A value that is meant to be zero.
const ZERO: f64 = 1e-9;

/// Points that a polynomial is made of and compared at, for each of its wiggles: with fewer it is
/// right at the points and steep between them.
const POINTS_PER_WIGGLE: usize = 4;

/// The polynomial that is to a bent message what `polynomial`, over `[-1, 1]`, is to the message;
/// none of the same depth if there is none that is near enough.
pub fn undo_sine(polynomial: &Polynomial, curve: SineCurve) -> Option<Polynomial> {
    let depth = polynomial.depth();
    if polynomial.degree() == 0 || polynomial.domain() != [-1.0, 1.0] {
        return None;
    }
    let spread = Spread::of(polynomial);
    let nodes = nodes(polynomial);
    let points: Vec<_> = nodes
        .iter()
        .map(|&s| {
            // Messages end at 1, bent ones a little below: what is beyond is kept where it was.
            let message = curve.invert(s).clamp(-1.0, 1.0);
            // As many points as a node of Chebyshev's stands for.
            (s, polynomial.eval(message), spread.density(message) * (1.0 - s * s).sqrt())
        })
        .collect();
    let mut bent = fit_points(&points, &indices(polynomial)).ok()?;
    if polynomial.eval(0.0).abs() < ZERO {
        // Slots that hold zero are to keep it.
        bent[0] -= Polynomial::chebyshev(bent.clone(), [-1.0, 1.0]).ok()?.eval(0.0);
    }
    let bent = Polynomial::chebyshev(bent, [-1.0, 1.0]).ok()?;
    let change = |x: f64| (bent.eval(curve.apply(x)) - polynomial.eval(x)).abs();
    // Where a wiggle that was made at the nodes is largest is between them.
    let between = nodes.windows(2).map(|pair| pair[0].midpoint(pair[1]));
    let looked_at: Vec<f64> = nodes.iter().copied().chain(between).chain([-1.0, 0.0, 1.0]).collect();
    let most = |of: &dyn Fn(f64) -> f64| looked_at.iter().map(|&x| of(x)).fold(0.0, f64::max);
    let largest = most(&|x| polynomial.eval(x).abs());
    let near = match spread {
        Spread::Bell => {
            let mean = |f: &dyn Fn(f64) -> f64| spread.mean(nodes.len(), f);
            let own = mean(&|x| distance_from_rectifier(polynomial, x).powi(2)).sqrt();
            let changed = mean(&|x| change(x).powi(2)).sqrt();
            changed <= (own / 2.0).max(TOLERANCE * largest) && most(&change) <= largest / 16.0
        }
        Spread::Even => most(&change) <= TOLERANCE * largest,
    };
    (bent.depth() <= depth && near).then_some(bent)
}

/// Chebyshev's nodes, as many as the polynomial needs.
fn nodes(polynomial: &Polynomial) -> Vec<f64> {
    let count = POINTS_PER_WIGGLE * (polynomial.degree() + 1).next_power_of_two().max(128);
    (0..count).map(|i| (PI * (2 * i + 1) as f64 / (2 * count) as f64).cos()).collect()
}

/// Coefficients that may differ from zero: those of `polynomial` and, if it has odd ones, the cubic
/// one, as far as the depth allows.
fn indices(polynomial: &Polynomial) -> Vec<usize> {
    let coefficients = polynomial.coefficients();
    let is_there = |k: usize| coefficients.get(k).is_some_and(|&c| c != 0.0);
    let odd = (1..coefficients.len()).step_by(2).any(is_there);
    let most = (1usize << polynomial.depth()) - 1;
    (0..=polynomial.degree().max(3).min(most)).filter(|&k| k == 0 || is_there(k) || k == 3 && odd).collect()
}

/// Where the messages of a polynomial are.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// Bell-shaped around 0: those of fitted rectifiers, the half of the operand and an even
    /// polynomial, which are themselves off by a hundredth near the ends.
    Bell,
    /// Anywhere: steps of a composed sign have theirs near the ends.
    Even,
}

impl Spread {
    fn of(polynomial: &Polynomial) -> Self {
        let odd = polynomial.coefficients().iter().skip(3).step_by(2).any(|&c| c != 0.0);
        let coefficient = |k: usize| polynomial.coefficients().get(k).copied().unwrap_or(0.0);
        if !odd && coefficient(1) != 0.0 && coefficient(2) != 0.0 { Spread::Bell } else { Spread::Even }
    }

    /// Beside the largest.
    fn density(self, message: f64) -> f64 {
        match self {
            // Ranges have a margin, and 0.3 leaves a thousandth beyond it; near the ends, where
            // next to none are, the polynomial is held all the same.
            Spread::Bell => (-message * message / (2.0 * 0.3 * 0.3)).exp() + 1e-2,
            Spread::Even => 1.0,
        }
    }

    /// The mean of `f` over messages, at so many of them.
    fn mean(self, count: usize, f: &dyn Fn(f64) -> f64) -> f64 {
        let points = (0..=count).map(|i| 2.0 * i as f64 / count as f64 - 1.0);
        let (mut sum, mut weights) = (0.0, 0.0);
        for x in points {
            let weight = self.density(x);
            (sum, weights) = (sum + weight * f(x), weights + weight);
        }
        sum / weights
    }
}

/// How far `polynomial` is from the rectifier that it is a fit of, `a x + b |x|`, at `x`: `a` is
/// its linear coefficient, and `b` what its values half-way to the ends say.
fn distance_from_rectifier(polynomial: &Polynomial, x: f64) -> f64 {
    let linear = polynomial.coefficients().get(1).copied().unwrap_or(0.0);
    let even = polynomial.eval(0.5).midpoint(polynomial.eval(-0.5));
    polynomial.eval(x) - linear * x - 2.0 * even * x.abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approximation::chebyshev::interpolant;
    use crate::approximation::least_squares::{Form, Samples, fit_function};

    /// A ReLU fitted to values of a deviation of a quarter.
    fn fitted(degree: usize) -> Polynomial {
        let mut samples = Samples::default();
        for i in -4000..=4000 {
            let t = f64::from(i) / 4000.0;
            samples.add(t, t.max(0.0), (-t * t * 8.0).exp());
        }
        let fit = fit_function(&samples, &|t| t.max(0.0), 1e-3, Form::EvenAndLinear, degree).unwrap();
        Polynomial::chebyshev(fit, [-1.0, 1.0]).unwrap()
    }

    /// Of messages that are bell-shaped: the root of the mean squared distance from `f`.
    fn distance(of: impl Fn(f64) -> f64, f: impl Fn(f64) -> f64) -> f64 {
        let points = || (-1000..=1000).map(|i| f64::from(i) / 1000.0);
        let weight = |x: f64| (-x * x * 8.0).exp();
        let squares: f64 = points().map(|x| weight(x) * (of(x) - f(x)).powi(2)).sum();
        (squares / points().map(weight).sum::<f64>()).sqrt()
    }

    /// The error of a fitted ReLU hardly changes when it undoes a sine, and one more product at
    /// most is needed.
    #[test]
    fn fitted_rectifiers_undo_sines() {
        // Few coefficients follow a little only.
        let degrees = [
            (14, &[5, 9][..]),
            (30, &[5, 9]),
            (62, &[4, 5, 9]),
            (126, &[4, 5, 9]),
            (254, &[5, 9]),
            (510, &[5, 9]),
        ];
        for (degree, log_ratios) in degrees {
            let fit = fitted(degree);
            let relu = |x: f64| x.max(0.0);
            let own = distance(|x| fit.eval(x), relu);
            for &log_ratio in log_ratios {
                let curve = SineCurve::new(f64::from(1 << log_ratio)).unwrap();
                let Some(bent) = undo_sine(&fit, curve) else {
                    panic!("degree {degree}, ratio 2^{log_ratio}")
                };
                assert_eq!((bent.depth(), bent.degree()), (fit.depth(), fit.degree()));
                let error = distance(|x| bent.eval(curve.apply(x)), relu);
                eprintln!(
                    "degree {degree}, ratio 2^{log_ratio}: 2^{:.2}, was 2^{:.2}",
                    error.log2(),
                    own.log2()
                );
                assert!(error < 1.05 * own + 1e-6, "degree {degree}, ratio 2^{log_ratio}");
                // It stays tame where no message is, and is no steeper than the fit.
                assert!((-100..=100).all(|i| bent.eval(f64::from(i) / 100.0).abs() < 1.25));
                let slope = |p: &Polynomial, x: f64| (p.eval(x + 1e-7) - p.eval(x - 1e-7)) / 2e-7;
                let steepest = |p: &Polynomial| {
                    let points = (-3000..=3000).map(|i| f64::from(i) / 3100.0);
                    points.map(|x| slope(p, x).abs()).fold(0.0, f64::max)
                };
                let (own_slope, slope) = (steepest(&fit), steepest(&bent));
                assert!(
                    slope < 3.0 * own_slope,
                    "degree {degree}, ratio 2^{log_ratio}: {slope}, was {own_slope}"
                );
                let odd = bent.coefficients().iter().skip(5).step_by(2).all(|&c| c == 0.0);
                assert!(odd && bent.coefficients()[3] != 0.0);
            }
        }
    }

    /// What is not fitted must be right everywhere, or is left.
    #[test]
    fn other_polynomials_undo_sines_where_they_can() {
        let curve = SineCurve::new(32.0).unwrap();
        let square = Polynomial::chebyshev(vec![0.5, 0.0, 0.5], [-1.0, 1.0]).unwrap();
        assert_eq!(undo_sine(&square, curve), None);
        let line = Polynomial::chebyshev(vec![0.0, 1.0], [-1.0, 1.0]).unwrap();
        assert_eq!(undo_sine(&line, curve), None);
        let sigmoid = interpolant(|x| 1.0 / (1.0 + (-4.0 * x).exp()), [-1.0, 1.0], 15);
        let sigmoid = sigmoid.unwrap();
        let bent = undo_sine(&sigmoid, curve).unwrap();
        let at = |i: i32| f64::from(i) / 100.0;
        let worst = (-100..=100).map(|i| (bent.eval(curve.apply(at(i))) - sigmoid.eval(at(i))).abs());
        assert!(worst.fold(0.0, f64::max) < TOLERANCE);
    }
}
