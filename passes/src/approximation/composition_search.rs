//! The degrees of the cheapest composition for a precision (2020/834, Algorithms 4 and 5, and
//! 2105.10879).
//!
//! u(m, n) is the widest interval +-[1 - t, 1 + t] that m key switches at depth n can bring to
//! within the target of +-1: u(0, 0) is the target, and u(m, n) the largest E_d^-1(u(m - key
//! switches(d), n - depth(d))) over degrees d, the first stage being the one chosen last. E_d, the
//! minimax error of degree d as a function of t, is tabulated in the coordinate log2(t / (1 - t)),
//! in which it is smooth, and interpolated.
//!
//! The dynamic program proposes, in order of depth, then key switches; what it proposes is checked
//! with the composition itself, so interpolation decides nothing but the order of checks.

use fhec_ir::{polynomial::Polynomial, polynomial_shape::PolynomialShape};
use rayon::prelude::*;

use super::{
    ApproximationError,
    composite::{Composite, relu, sign_error},
};

/// What evaluating a polynomial takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Levels.
    pub depth: usize,
    /// Relinearisations: the key switches, which outweigh everything else.
    pub key_switches: usize,
}

/// The cost of an odd polynomial of `degree`, as it is evaluated under encryption.
pub fn odd_cost(degree: usize) -> Cost {
    let coefficients = (0..=degree).map(|k| if k % 2 == 1 { 1.0 } else { 0.0 }).collect();
    let odd = Polynomial::chebyshev(coefficients, [-1.0, 1.0]).expect("ones and zeros are finite");
    let shape = PolynomialShape::new(&odd);
    Cost { depth: shape.depth as usize, key_switches: shape.counts().relinearizations }
}

/// Odd degrees up to 31 that no other beats: those for which every higher degree is deeper or
/// dearer.
fn worthwhile_degrees() -> Vec<(usize, Cost)> {
    let mut degrees: Vec<(usize, Cost)> = Vec::new();
    for degree in (3..=31).rev().step_by(2) {
        let cost = odd_cost(degree);
        let beaten = |other: &Cost| other.depth <= cost.depth && other.key_switches <= cost.key_switches;
        if !degrees.iter().any(|(_, other)| beaten(other)) {
            degrees.push((degree, cost));
        }
    }
    degrees.reverse();
    degrees
}

/// Largest number of key switches considered.
const MAX_KEY_SWITCHES: usize = 48;
/// Distance of the table's points in the coordinate.
const STEP: f64 = 0.5;

/// log2(t / (1 - t)).
fn coordinate(t: f64) -> f64 {
    (t / (1.0 - t)).log2()
}

/// E_d and its inverse, in coordinates.
struct SignErrors {
    /// Coordinate of the first point.
    first: f64,
    /// Degrees with their costs.
    degrees: Vec<(usize, Cost)>,
    /// Per degree and point the coordinate of the error.
    errors: Vec<Vec<f64>>,
}

impl SignErrors {
    /// Points from `first` to at least `last`.
    fn tabulate(first: f64, last: f64) -> Result<SignErrors, ApproximationError> {
        let points = ((last - first) / STEP).ceil() as usize + 1;
        let one = |degree: usize, point: usize| {
            let ratio = (first + STEP * point as f64).exp2();
            // Errors below 2^-50 are rounding; no program can tell them apart.
            Ok(coordinate(sign_error(ratio / (1.0 + ratio), degree)?.max(2f64.powi(-50))))
        };
        let degrees = worthwhile_degrees();
        let errors = degrees
            .par_iter()
            .map(|&(degree, _)| (0..points).map(|point| one(degree, point)).collect())
            .collect::<Result<_, _>>()?;
        Ok(SignErrors { first, degrees, errors })
    }

    /// The largest t (as a coordinate, at most the table's last) for which degree number `index`
    /// leaves at most `error`.
    fn inverse(&self, index: usize, error: f64) -> Option<f64> {
        let errors = &self.errors[index];
        let above = errors.iter().position(|e| *e > error).unwrap_or(errors.len());
        let below = above.checked_sub(1)?;
        let fraction = match errors.get(above) {
            Some(next) => (error - errors[below]) / (next - errors[below]),
            None => 0.0,
        };
        Some(self.first + STEP * (below as f64 + fraction))
    }
}

/// The cheapest composition whose ReLU is within 2^-alpha on [-1, 1], with its degrees: least depth
/// first, then fewest key switches.
///
/// `noise` is the error that each stage's result may carry beyond its own (see
/// [`super::composite::sign`]). `max_depth` bounds the depth of sign (the product with x comes on
/// top).
pub fn cheapest_relu(
    alpha: f64,
    noise: f64,
    max_depth: usize,
) -> Result<(Vec<usize>, Composite), ApproximationError> {
    let none = ApproximationError::NoComposition { alpha, max_depth };
    if !(1.0..=30.0).contains(&alpha) {
        return Err(none);
    }
    // |1 - s| / 2 <= 2^-alpha outside the transition; inside, the error is between e / 17 and e / 8, so that e
    // is at most 2^(4.25 - alpha) and at least a good deal of 2^(3 - alpha).
    let target = coordinate((1.0 - alpha).exp2().min(0.49));
    let start = |exponent: f64| {
        let e = (exponent - alpha).exp2().min(0.9);
        coordinate((1.0 - e) / (1.0 + e))
    };
    let (widest, needed) = (start(2.75), start(4.25));
    let table = SignErrors::tabulate(target - 8.0, widest)?;
    let reach = Reach::compute(&table, target, noise, max_depth);
    for depth in 1..=max_depth {
        for switches in 1..=MAX_KEY_SWITCHES {
            let Some(degrees) = reach.degrees(switches, depth, needed) else { continue };
            let composite = match relu(&degrees, noise) {
                Ok(composite) => composite,
                Err(ApproximationError::CompositionDiverges { .. }) => continue,
                Err(other) => return Err(other),
            };
            if composite.relu_error <= (-alpha).exp2() {
                return Ok((degrees, composite));
            }
        }
    }
    Err(none)
}

/// u(m, n) with the degree that attains it.
struct Reach {
    /// `[depth][key switches]`, with the degree that attains it and its cost.
    best: Vec<Vec<Option<(f64, usize, Cost)>>>,
}

impl Reach {
    fn compute(table: &SignErrors, target: f64, noise: f64, max_depth: usize) -> Reach {
        let mut best: Vec<Vec<Option<(f64, usize, Cost)>>> =
            vec![vec![None; MAX_KEY_SWITCHES + 1]; max_depth + 1];
        best[0][0] = Some((target, 0, Cost { depth: 0, key_switches: 0 }));
        for depth in 1..=max_depth {
            for switches in 1..=MAX_KEY_SWITCHES {
                for (index, &(degree, cost)) in table.degrees.iter().enumerate() {
                    let (Some(n), Some(m)) =
                        (depth.checked_sub(cost.depth), switches.checked_sub(cost.key_switches))
                    else {
                        continue;
                    };
                    let Some((after, ..)) = best[n][m] else { continue };
                    // The stages after start from this stage's error and the noise.
                    let t = 1.0 / (1.0 + (-after).exp2());
                    let room = if n == 0 { t } else { t - noise };
                    if room <= 0.0 {
                        continue;
                    }
                    let Some(reached) = table.inverse(index, coordinate(room)) else { continue };
                    if best[depth][switches].is_none_or(|(other, ..)| reached > other) {
                        best[depth][switches] = Some((reached, degree, cost));
                    }
                }
            }
        }
        Reach { best }
    }

    /// The degrees in order of evaluation, if so many key switches at `depth` reach `needed`.
    fn degrees(&self, mut switches: usize, mut depth: usize, needed: f64) -> Option<Vec<usize>> {
        self.best[depth][switches].filter(|(reached, ..)| *reached >= needed)?;
        let mut degrees = Vec::new();
        while depth > 0 {
            let (_, degree, cost) = self.best[depth][switches]?;
            degrees.push(degree);
            depth -= cost.depth;
            switches -= cost.key_switches;
        }
        Some(degrees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_degrees_that_nothing_beats_are_tried() {
        let degrees = worthwhile_degrees();
        for &(degree, cost) in &degrees {
            assert_eq!(cost.depth, (degree as f64 + 1.0).log2().ceil() as usize);
        }
        for pair in degrees.windows(2) {
            assert!(pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1, "{degrees:?}");
        }
        for degree in [3, 7, 15, 31] {
            assert!(degrees.iter().any(|(d, _)| *d == degree), "{degrees:?}");
        }
    }

    #[test]
    fn the_table_interpolates_the_error_and_inverts_it() {
        let table = SignErrors::tabulate(-10.0, 8.0).unwrap();
        for (index, (&(degree, _), t)) in table.degrees.iter().zip([0.3, 0.6, 0.8, 0.9, 0.95]).enumerate() {
            let error = sign_error(t, degree).unwrap();
            let back = table.inverse(index, coordinate(error)).unwrap();
            assert!((back - coordinate(t)).abs() < 0.03, "degree {degree}: {back} for {}", coordinate(t));
        }
    }

    /// (alpha, degrees) of the published compositions: what is found costs no more.
    #[test]
    fn searches_find_the_published_costs() {
        let published: [(f64, &[usize]); 8] = [
            (4.9, &[7]),
            (8.0, &[7, 15]),
            (9.0, &[15, 15]),
            (10.0, &[7, 7, 13]),
            (11.0, &[7, 7, 27]),
            (12.0, &[7, 15, 27]),
            (13.0, &[15, 15, 27]),
            (14.0, &[15, 27, 29]),
        ];
        let cost = |degrees: &[usize]| {
            degrees.iter().map(|&d| odd_cost(d)).fold((0, 0), |(n, m), c| (n + c.depth, m + c.key_switches))
        };
        for (alpha, degrees) in published {
            let (found, composite) = cheapest_relu(alpha, 0.0, 20).unwrap();
            assert!(composite.relu_error <= (-alpha).exp2());
            assert!(cost(&found) <= cost(degrees), "2^-{alpha}: {found:?} costs {:?}", cost(&found));
        }
    }

    #[test]
    fn what_no_composition_reaches_is_refused() {
        assert_eq!(
            cheapest_relu(13.0, 0.0, 8).unwrap_err(),
            ApproximationError::NoComposition { alpha: 13.0, max_depth: 8 }
        );
        assert!(cheapest_relu(f64::NAN, 0.0, 20).is_err());
    }
}
