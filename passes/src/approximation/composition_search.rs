//! The degrees of the cheapest composition for a precision (2020/834, Algorithms 4 and 5, and 2105.10879).
//!
//! u(m, n) is the widest interval +-[1 - t, 1 + t] that m products at depth n can bring to within the
//! target of +-1: u(0, 0) is the target, and u(m, n) the largest E_d^-1(u(m - products(d), n - depth(d)))
//! over degrees d, the first stage being the one chosen last. E_d, the minimax error of degree d as a function
//! of t, is tabulated in the coordinate log2(t / (1 - t)), in which it is smooth, and interpolated.
//!
//! The dynamic program proposes, in order of depth, then products; what it proposes is checked with the
//! composition itself, so interpolation decides nothing but the order of checks.

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
    /// Products of two ciphertexts.
    pub products: usize,
}

/// Odd polynomials by baby steps and giant steps in the Chebyshev basis: (highest degree, products).
///
/// Source: table of 2105.10879 (as in its public implementation).
const ODD_PRODUCTS: [(usize, usize); 12] = [
    (3, 2),
    (5, 3),
    (7, 5),
    (9, 5),
    (11, 6),
    (13, 7),
    (19, 8),
    (23, 9),
    (27, 10),
    (29, 11),
    (31, 12),
    (63, 18),
];

/// The cost of an odd polynomial of `degree` (at most 63).
pub fn odd_cost(degree: usize) -> Cost {
    let products = ODD_PRODUCTS.iter().find(|(highest, _)| degree <= *highest).map_or(18, |(_, m)| *m);
    Cost { depth: (degree + 1).next_power_of_two().trailing_zeros() as usize, products }
}

/// Degrees worth trying: the highest for each (depth, products).
const DEGREES: [usize; 12] = [3, 5, 7, 9, 11, 13, 15, 19, 23, 27, 29, 31];
/// Largest number of products considered.
const MAX_PRODUCTS: usize = 48;
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
    /// Per degree of [`DEGREES`] and point the coordinate of the error.
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
        let errors = DEGREES
            .par_iter()
            .map(|&degree| (0..points).map(|point| one(degree, point)).collect())
            .collect::<Result<_, _>>()?;
        Ok(SignErrors { first, errors })
    }

    /// The largest t (as a coordinate, at most the table's last) for which degree number `index` leaves at most `error`.
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

/// The cheapest composition whose ReLU is within 2^-alpha on [-1, 1], with its degrees: least depth first,
/// then fewest products.
///
/// `noise` is the error that each stage's result may carry beyond its own (see [`super::composite::sign`]).
/// `max_depth` bounds the depth of sign (the product with x comes on top).
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
        for products in 1..=MAX_PRODUCTS {
            let Some(degrees) = reach.degrees(products, depth, needed) else { continue };
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
    /// `[depth][products]`.
    best: Vec<Vec<Option<(f64, usize)>>>,
}

impl Reach {
    fn compute(table: &SignErrors, target: f64, noise: f64, max_depth: usize) -> Reach {
        let mut best: Vec<Vec<Option<(f64, usize)>>> = vec![vec![None; MAX_PRODUCTS + 1]; max_depth + 1];
        best[0][0] = Some((target, 0));
        for depth in 1..=max_depth {
            for products in 1..=MAX_PRODUCTS {
                for (index, &degree) in DEGREES.iter().enumerate() {
                    let cost = odd_cost(degree);
                    let (Some(n), Some(m)) =
                        (depth.checked_sub(cost.depth), products.checked_sub(cost.products))
                    else {
                        continue;
                    };
                    let Some((after, _)) = best[n][m] else { continue };
                    // The stages after start from this stage's error and the noise.
                    let t = 1.0 / (1.0 + (-after).exp2());
                    let room = if n == 0 { t } else { t - noise };
                    if room <= 0.0 {
                        continue;
                    }
                    let Some(reached) = table.inverse(index, coordinate(room)) else { continue };
                    if best[depth][products].is_none_or(|(other, _)| reached > other) {
                        best[depth][products] = Some((reached, degree));
                    }
                }
            }
        }
        Reach { best }
    }

    /// The degrees in order of evaluation, if `products` at `depth` reach `needed`.
    fn degrees(&self, mut products: usize, mut depth: usize, needed: f64) -> Option<Vec<usize>> {
        self.best[depth][products].filter(|(reached, _)| *reached >= needed)?;
        let mut degrees = Vec::new();
        while depth > 0 {
            let (_, degree) = self.best[depth][products]?;
            degrees.push(degree);
            let cost = odd_cost(degree);
            depth -= cost.depth;
            products -= cost.products;
        }
        Some(degrees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_odd_baby_steps_and_giant_steps() {
        let cost = |d| (odd_cost(d).depth, odd_cost(d).products);
        assert_eq!(
            [3, 5, 7, 9, 11, 13, 15].map(cost),
            [(2, 2), (3, 3), (3, 5), (4, 5), (4, 6), (4, 7), (4, 8)]
        );
        assert_eq!([19, 23, 27, 29, 31].map(cost), [(5, 8), (5, 9), (5, 10), (5, 11), (5, 12)]);
    }

    #[test]
    fn the_table_interpolates_the_error_and_inverts_it() {
        let table = SignErrors::tabulate(-10.0, 8.0).unwrap();
        for (index, t) in [(0, 0.3), (2, 0.8), (6, 0.95), (9, 0.99)] {
            let error = sign_error(t, DEGREES[index]).unwrap();
            let back = table.inverse(index, coordinate(error)).unwrap();
            assert!(
                (back - coordinate(t)).abs() < 0.03,
                "degree {}: {back} against {}",
                DEGREES[index],
                coordinate(t)
            );
        }
    }

    /// (alpha, depth, products) of sign: the published sets for these precisions, with ours no dearer.
    #[test]
    fn searches_find_the_published_costs() {
        let published = [
            (4.9, 3, 5),
            (8.0, 7, 13),
            (9.0, 8, 16),
            (10.0, 10, 17),
            (11.0, 11, 20),
            (12.0, 12, 23),
            (13.0, 13, 26),
            (14.0, 14, 29),
        ];
        for (alpha, depth, products) in published {
            let (degrees, composite) = cheapest_relu(alpha, 0.0, 20).unwrap();
            let total = |f: fn(Cost) -> usize| degrees.iter().map(|&d| f(odd_cost(d))).sum::<usize>();
            assert!(composite.relu_error <= (-alpha).exp2());
            let found = (total(|c| c.depth), total(|c| c.products));
            assert!(found <= (depth, products), "2^-{alpha}: {degrees:?} costs {found:?}");
        }
        assert_eq!(cheapest_relu(13.0, 0.0, 20).unwrap().0, [15, 15, 27]);
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
