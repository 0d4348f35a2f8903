//! Polynomials by weighted least squares, on samples and on a function over the whole domain.
//!
//! Samples are pairs (t, y) with t in [-1, 1]. They are gathered in [`Samples`], a histogram of
//! fixed size: fits of any degree are made from it without going over the data again, and sums do
//! not depend on who counted what. The function that is to be met everywhere, a little, is what
//! keeps a polynomial tame where no sample was seen.
//!
//! The normal equations in the Chebyshev basis need moments only, T_i T_j = (T_{i+j} + T_{|i-j|})
//! / 2. With part of the weight spread evenly over [-1, 1] they are well conditioned: the smallest
//! eigenvalue is that part's share over about the degree.

use super::{ApproximationError, chebyshev::clenshaw};

/// Bins of a histogram: a polynomial of degree 127 is all but linear within one.
const BINS: usize = 1 << 13;

/// Weighted pairs (t, y), by bins of t.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    bins: Vec<Bin>,
    outside: usize,
}

/// Sums over a bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bin {
    weight: f64,
    t: f64,
    y: f64,
}

impl Default for Samples {
    fn default() -> Samples {
        Samples { bins: vec![Bin::default(); BINS], outside: 0 }
    }
}

impl Samples {
    /// Counts a pair. One with t outside of [-1, 1], or not a number, only counts as
    /// [`Samples::outside`].
    pub fn add(&mut self, t: f64, y: f64, weight: f64) {
        if !(t.abs() <= 1.0 && y.is_finite()) {
            self.outside += 1;
            return;
        }
        let index = (((t + 1.0) * (BINS as f64 / 2.0)) as usize).min(BINS - 1);
        let bin = &mut self.bins[index];
        bin.weight += weight;
        bin.t += weight * t;
        bin.y += weight * y;
    }

    /// Adds all pairs of another histogram.
    pub fn merge(&mut self, other: &Samples) {
        for (bin, other) in self.bins.iter_mut().zip(&other.bins) {
            bin.weight += other.weight;
            bin.t += other.t;
            bin.y += other.y;
        }
        self.outside += other.outside;
    }

    /// Pairs that could not be used.
    pub fn outside(&self) -> usize {
        self.outside
    }

    /// The mean of (p(t) - y)^2, p the polynomial with these coefficients in the Chebyshev basis; 0
    /// without pairs.
    pub fn mean_square(&self, coefficients: &[f64]) -> f64 {
        let square = |bin: &Bin| {
            let off = clenshaw(coefficients, &(bin.t / bin.weight).clamp(-1.0, 1.0), ()) - bin.y / bin.weight;
            bin.weight * off * off
        };
        let sum: f64 = self.bins.iter().filter(|bin| bin.weight > 0.0).map(square).sum();
        if sum > 0.0 { sum / self.weight() } else { 0.0 }
    }

    /// The weight of all pairs.
    pub fn weight(&self) -> f64 {
        self.bins.iter().map(|bin| bin.weight).sum()
    }
}

/// Which coefficients may differ from zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// All up to the degree.
    Full,
    /// Those of even index, and the first: half the products.
    #[default]
    EvenAndLinear,
}

impl Form {
    fn indices(self, degree: usize) -> Vec<usize> {
        (0..=degree).filter(|k| self == Form::Full || k % 2 == 0 || *k == 1).collect()
    }
}

/// The coefficients that minimise the mean of (p(t) - y)^2 over the samples plus `tails` times the
/// mean of (p(t) - f(t))^2 over [-1, 1].
///
/// `tails` is positive. Without samples the second part alone counts.
pub fn fit_function(
    samples: &Samples,
    f: &dyn Fn(f64) -> f64,
    tails: f64,
    form: Form,
    degree: usize,
) -> Result<Vec<f64>, ApproximationError> {
    let total = samples.weight();
    let share = if total > 0.0 { 1.0 / total } else { 0.0 };
    // Means of T_k and of y T_k.
    let mut moments: Vec<f64> = (0..=2 * degree).map(|k| tails * mean_chebyshev(k)).collect();
    let mut right: Vec<f64> = mean_times(f, degree).into_iter().map(|mean| tails * mean).collect();
    for bin in samples.bins.iter().filter(|bin| bin.weight > 0.0) {
        let t = (bin.t / bin.weight).clamp(-1.0, 1.0);
        add_moments(&mut moments, &mut right, t, bin.weight * share, bin.y * share);
    }
    of_moments(&moments, &right, &form.indices(degree))
}

/// The coefficients, of these `indices` alone, that minimise the sum of `weight (p(t) - y)^2` over
/// `points` `(t, y, weight)`, with t in [-1, 1].
pub fn fit_points(points: &[(f64, f64, f64)], indices: &[usize]) -> Result<Vec<f64>, ApproximationError> {
    let degree = indices.iter().copied().max().unwrap_or(0);
    let (mut moments, mut right) = (vec![0.0; 2 * degree + 1], vec![0.0; degree + 1]);
    for &(t, y, weight) in points {
        add_moments(&mut moments, &mut right, t, weight, weight * y);
    }
    of_moments(&moments, &right, indices)
}

/// Adds `weight T_k(t)` to `moments`, and `weighted_y T_k(t)` to `right`, which is shorter.
fn add_moments(moments: &mut [f64], right: &mut [f64], t: f64, weight: f64, weighted_y: f64) {
    let (mut previous, mut current) = (t, 1.0);
    for k in 0..moments.len() {
        moments[k] += weight * current;
        if k < right.len() {
            right[k] += weighted_y * current;
        }
        (previous, current) = (current, 2.0 * t * current - previous);
    }
}

/// Solves the normal equations for the coefficients of these `indices`.
fn of_moments(moments: &[f64], right: &[f64], indices: &[usize]) -> Result<Vec<f64>, ApproximationError> {
    let matrix: Vec<Vec<f64>> = indices
        .iter()
        .map(|&i| indices.iter().map(|&j| (moments[i + j] + moments[i.abs_diff(j)]) / 2.0).collect())
        .collect();
    let of_indices: Vec<f64> = indices.iter().map(|&k| right[k]).collect();
    let solution = solve(matrix, of_indices).ok_or_else(|| {
        ApproximationError::NotRepresentable("the least-squares problem is singular".into())
    })?;
    let mut coefficients = vec![0.0; right.len()];
    indices.iter().zip(solution).for_each(|(&k, c)| coefficients[k] = c);
    Ok(coefficients)
}

/// The mean of T_k over [-1, 1].
fn mean_chebyshev(k: usize) -> f64 {
    if k % 2 == 1 { 0.0 } else { 1.0 / (1.0 - (k * k) as f64) }
}

/// Points of the sum that stands for an integral: of a line with corners it is right to 1e-8.
const POINTS: usize = 1 << 13;

/// The means of f T_k over [-1, 1], k from 0 to `degree`.
fn mean_times(f: &dyn Fn(f64) -> f64, degree: usize) -> Vec<f64> {
    // Half the integral of f(cos a) cos(k a) sin(a) over a from 0 to pi, by the midpoint rule: as
    // fine at the ends of [-1, 1] as T_k is there.
    let step = std::f64::consts::PI / POINTS as f64;
    let mut means = vec![0.0; degree + 1];
    for point in 0..POINTS {
        let (sine, t) = ((point as f64 + 0.5) * step).sin_cos();
        let value = f(t) * sine * step / 2.0;
        let (mut previous, mut current) = (t, 1.0);
        for mean in &mut means {
            *mean += value * current;
            (previous, current) = (current, 2.0 * t * current - previous);
        }
    }
    means
}

/// Solves a symmetric positive definite system by Cholesky's factorisation and one step of
/// refinement.
fn solve(matrix: Vec<Vec<f64>>, right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    let mut lower = matrix.clone();
    for i in 0..n {
        for j in 0..=i {
            let sum = lower[i][j] - (0..j).map(|k| lower[i][k] * lower[j][k]).sum::<f64>();
            lower[i][j] = if i > j {
                sum / lower[j][j]
            } else if sum > 0.0 {
                sum.sqrt()
            } else {
                return None;
            };
        }
    }
    let substitute = |mut x: Vec<f64>| {
        for i in 0..n {
            x[i] = (x[i] - (0..i).map(|k| lower[i][k] * x[k]).sum::<f64>()) / lower[i][i];
        }
        for i in (0..n).rev() {
            x[i] = (x[i] - (i + 1..n).map(|k| lower[k][i] * x[k]).sum::<f64>()) / lower[i][i];
        }
        x
    };
    let mut x = substitute(right.clone());
    let residual =
        (0..n).map(|i| right[i] - (0..n).map(|k| matrix[i][k] * x[k]).sum::<f64>()).collect::<Vec<f64>>();
    x.iter_mut().zip(substitute(residual)).for_each(|(x, change)| *x += change);
    x.iter().all(|x| x.is_finite()).then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_integrals() {
        let steps = 200_000;
        let mean = |f: &dyn Fn(f64) -> f64| {
            (0..steps).map(|i| f((f64::from(i) + 0.5) * 2.0 / f64::from(steps) - 1.0)).sum::<f64>()
                / f64::from(steps)
        };
        for k in 0..12 {
            let basis = |t: f64| (k as f64 * t.acos()).cos();
            assert!((mean(&basis) - mean_chebyshev(k)).abs() < 1e-8, "{k}");
            for f in [|t: f64| t, |t: f64| t.max(0.0), |t: f64| t.clamp(-0.3, 0.1), |t: f64| t * t] {
                assert!((mean(&|t| f(t) * basis(t)) - mean_times(&f, 12)[k]).abs() < 5e-8, "{k}");
            }
        }
    }

    /// Samples that lie on a polynomial, with tails that hardly count.
    #[test]
    fn a_polynomial_is_found_again() {
        let expected = [0.25, 0.5, 0.125, 0.0, -0.0625, 0.0, 0.03];
        let mut samples = Samples::default();
        for i in 0..=20_000 {
            // The ends of bins, so that a bin's mean is the mean of equal points.
            let t = f64::from(i) / 10_000.0 - 1.0;
            samples.add(t, clenshaw(&expected, &t, ()), 1.0);
        }
        for form in [Form::Full, Form::EvenAndLinear] {
            let found = fit_function(&samples, &|t| t.max(0.0), 1e-9, form, 6).unwrap();
            for (k, c) in found.iter().enumerate() {
                assert!((c - expected[k]).abs() < 1e-6, "{form:?}, coefficient {k}: {c}");
            }
        }
    }

    #[test]
    fn without_samples_the_function_is_fitted() {
        let relu = |t: f64| t.max(0.0);
        let functions: [(&dyn Fn(f64) -> f64, Form); 4] = [
            (&relu, Form::Full),
            (&relu, Form::EvenAndLinear),
            (&|t| t.max(0.2 * t), Form::EvenAndLinear),
            (&|t| t.clamp(0.0, 0.4), Form::Full),
        ];
        for (index, (f, form)) in functions.into_iter().enumerate() {
            let found = fit_function(&Samples::default(), f, 1e-3, form, 30).unwrap();
            let worst = (0..=1000).fold(0.0f64, |worst, i| {
                let t = f64::from(i) / 500.0 - 1.0;
                worst.max((clenshaw(&found, &t, ()) - f(t)).abs())
            });
            // The best error of a corner is 0.14 / 30.
            assert!(worst < 0.02, "{index}, {form:?}: {worst}");
            assert!(form == Form::Full || found.iter().skip(3).step_by(2).all(|&c| c == 0.0));
        }
    }

    #[test]
    fn counting_in_parts_is_counting() {
        let pairs: Vec<(f64, f64)> =
            (0..999).map(|i| (f64::from(i) / 512.0 - 0.97, f64::from(i % 7))).collect();
        let count = |pairs: &[(f64, f64)]| {
            let mut samples = Samples::default();
            pairs.iter().for_each(|&(t, y)| samples.add(t, y, 1.0));
            samples
        };
        let mut parts = count(&pairs[..500]);
        parts.merge(&count(&pairs[500..]));
        // Sums of few terms with short fractions are exact.
        assert_eq!(parts, count(&pairs));
        let mut strange = Samples::default();
        [(1.5, 0.0), (f64::NAN, 0.0), (0.0, f64::INFINITY)]
            .into_iter()
            .for_each(|(t, y)| strange.add(t, y, 1.0));
        assert_eq!((strange.outside(), strange.weight()), (3, 0.0));
    }
}
