//! Series in the Chebyshev basis.

use fhec_ir::polynomial::Polynomial;

use super::{ApproximationError, real::Real};

/// A polynomial from Chebyshev coefficients on `domain`.
pub fn polynomial(coefficients: Vec<f64>, domain: [f64; 2]) -> Result<Polynomial, ApproximationError> {
    Polynomial::chebyshev(coefficients, domain)
        .map_err(|e| ApproximationError::NotRepresentable(e.to_string()))
}

/// The interpolant of `f` at the `degree + 1` Chebyshev nodes of `domain`.
pub fn interpolant(
    f: impl Fn(f64) -> f64,
    domain: [f64; 2],
    degree: usize,
) -> Result<Polynomial, ApproximationError> {
    let nodes = Nodes::<f64>::new(degree + 1, ());
    let values: Vec<f64> = nodes.points().map(|t| f(from_unit(*t, domain))).collect();
    polynomial(nodes.interpolate(&values), domain)
}

/// sum_k a_k x^k, for use on `domain`.
pub fn from_monomial(coefficients: &[f64], domain: [f64; 2]) -> Result<Polynomial, ApproximationError> {
    // Horner's rule on series: x = middle + radius * T_1(t).
    let (radius, middle) = ((domain[1] - domain[0]) / 2.0, (domain[0] + domain[1]) / 2.0);
    let mut series = vec![0.0; coefficients.len().max(1)];
    for &a in coefficients.iter().rev() {
        let previous = series.clone();
        let at = |k: usize| previous.get(k).copied().unwrap_or(0.0);
        for k in 0..series.len() {
            // T_1 T_k = (T_{k+1} + T_{|k-1|}) / 2; T_0 contributes all of itself to T_1.
            let below = match k {
                0 => 0.0,
                1 => at(0),
                _ => at(k - 1) / 2.0,
            };
            series[k] = middle * at(k) + radius * (below + at(k + 1) / 2.0);
        }
        series[0] += a;
    }
    polynomial(series, domain)
}

/// The coefficients a_k of sum_k a_k x^k. Digits are lost with the degree: about 1.3 bits per
/// degree on [-1, 1].
pub fn to_monomial(series: &Polynomial) -> Vec<f64> {
    // Clenshaw's rule on polynomials in x: t = (x - middle) / radius.
    let [low, high] = series.domain();
    let (radius, middle) = ((high - low) / 2.0, (low + high) / 2.0);
    let length = series.coefficients().len().max(1);
    let times_t = |p: &[f64], factor: f64| -> Vec<f64> {
        (0..length)
            .map(|k| factor * ((if k > 0 { p[k - 1] } else { 0.0 }) - middle * p[k]) / radius)
            .collect()
    };
    let (mut next, mut after) = (vec![0.0; length], vec![0.0; length]);
    for (k, &c) in series.coefficients().iter().enumerate().rev() {
        let mut current = times_t(&next, if k == 0 { 1.0 } else { 2.0 });
        current.iter_mut().zip(&after).for_each(|(a, b)| *a -= b);
        current[0] += c;
        after = std::mem::replace(&mut next, current);
    }
    next
}

/// Drops the highest terms as long as what they contribute on the domain stays within `tolerance`
/// in all.
pub fn truncated(series: &Polynomial, tolerance: f64) -> Polynomial {
    let mut coefficients = series.coefficients().to_vec();
    let mut dropped = 0.0;
    while let Some(last) = coefficients.pop() {
        dropped += last.abs();
        if dropped > tolerance {
            coefficients.push(last);
            break;
        }
    }
    Polynomial::chebyshev(coefficients, series.domain()).expect("part of a valid polynomial")
}

/// Maps `domain` onto [-1, 1].
pub fn to_unit(x: f64, domain: [f64; 2]) -> f64 {
    ((x - domain[0]) - (domain[1] - x)) / (domain[1] - domain[0])
}

/// Maps [-1, 1] onto `domain`.
pub fn from_unit(t: f64, domain: [f64; 2]) -> f64 {
    (domain[0] * (1.0 - t) + domain[1] * (1.0 + t)) / 2.0
}

/// sum_k c_k T_k(t).
pub fn clenshaw<T: Real>(coefficients: &[T], t: &T, precision: T::Precision) -> T {
    let zero = T::number(0.0, precision);
    let twice = t.clone() + t;
    let (mut next, mut after) = (zero.clone(), zero);
    for c in coefficients.iter().skip(1).rev() {
        let current = twice.clone() * &next - &after + c;
        after = std::mem::replace(&mut next, current);
    }
    match coefficients.first() {
        Some(c) => next * t - &after + c,
        None => next,
    }
}

/// The zeros of T_count, and the cosines that interpolation at them needs.
pub struct Nodes<T: Real> {
    /// cos(pi j / (2 count)) for j = 0, ..., 2 count.
    cosines: Vec<T>,
    count: usize,
    precision: T::Precision,
}

impl<T: Real> Nodes<T> {
    /// The nodes of T_count; `count` is at least 1.
    pub fn new(count: usize, precision: T::Precision) -> Nodes<T> {
        let quarter: Vec<T> = (0..=count).map(|j| T::cos_pi(j, 2 * count, precision)).collect();
        let mirrored = quarter[..count].iter().rev().map(|c| -c.clone());
        let cosines = quarter.iter().cloned().chain(mirrored).collect();
        Nodes { cosines, count, precision }
    }

    /// The nodes in descending order: cos(pi (2i + 1) / (2 count)).
    pub fn points(&self) -> impl Iterator<Item = &T> {
        (0..self.count).map(|i| &self.cosines[2 * i + 1])
    }

    /// Coefficients of the polynomial of degree `count - 1` that takes `values` at the nodes.
    pub fn interpolate(&self, values: &[T]) -> Vec<T> {
        assert_eq!(values.len(), self.count, "one value per node");
        // c_k = (2 / count) sum_i v_i cos(pi k (2i + 1) / (2 count)), half of it for k = 0.
        let turn = 4 * self.count;
        let cosine = |j: usize| &self.cosines[(j % turn).min(turn - j % turn)];
        let size = T::number(self.count as f64, self.precision);
        (0..self.count)
            .map(|k| {
                let mut sum = T::number(0.0, self.precision);
                for (i, v) in values.iter().enumerate() {
                    sum = sum + &(v.clone() * cosine(k * (2 * i + 1)));
                }
                let mean = sum / &size;
                if k == 0 { mean } else { mean.clone() + &mean }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approximation::big::Big;

    #[test]
    fn clenshaw_agrees_with_the_cosine_definition() {
        let coefficients = [0.5, -1.25, 2.0, 0.75, -0.5, 3.0];
        for i in 0..=20 {
            let t: f64 = -1.0 + 0.1 * f64::from(i);
            let angle = t.clamp(-1.0, 1.0).acos();
            let expected: f64 =
                coefficients.iter().enumerate().map(|(k, c)| c * (k as f64 * angle).cos()).sum();
            assert!((clenshaw(&coefficients, &t, ()) - expected).abs() < 1e-13);
        }
    }

    #[test]
    fn interpolation_returns_the_polynomial_it_sampled() {
        let series = polynomial(vec![1.0, -2.0, 0.0, 0.5, 0.25], [-3.0, 5.0]).unwrap();
        let again = interpolant(|x| series.eval(x), series.domain(), 6).unwrap();
        for (k, c) in again.coefficients().iter().enumerate() {
            let expected = series.coefficients().get(k).copied().unwrap_or(0.0);
            assert!((c - expected).abs() < 1e-14, "coefficient {k}: {c}");
        }
    }

    #[test]
    fn long_interpolation_is_exact_to_its_length() {
        let bits = 256;
        let coefficients: Vec<Big> = (0..24).map(|k| Big::new(1.0 / f64::from(k + 1), bits)).collect();
        let nodes = Nodes::<Big>::new(24, bits);
        let values: Vec<Big> = nodes.points().map(|t| clenshaw(&coefficients, t, bits)).collect();
        for (c, expected) in nodes.interpolate(&values).into_iter().zip(&coefficients) {
            assert!((c - expected).to_f64().abs() < 2f64.powi(-245));
        }
    }

    #[test]
    fn changes_of_basis_are_inverse() {
        let monomial = [0.5, -1.0, 0.25, 2.0, -0.125];
        let series = from_monomial(&monomial, [-2.0, 3.0]).unwrap();
        for x in [-2.0, -0.5, 0.0, 1.0, 3.0] {
            let expected = monomial.iter().rev().fold(0.0, |sum, a| sum * x + a);
            assert!((series.eval(x) - expected).abs() < 1e-12);
        }
        for (a, b) in to_monomial(&series).iter().zip(&monomial) {
            assert!((a - b).abs() < 1e-13);
        }
        // T_5 = 16 x^5 - 20 x^3 + 5 x
        let t5 = polynomial(vec![0.0, 0.0, 0.0, 0.0, 0.0, 1.0], [-1.0, 1.0]).unwrap();
        assert_eq!(to_monomial(&t5), [0.0, 5.0, 0.0, -20.0, 0.0, 16.0]);
    }

    #[test]
    fn truncation_stays_within_its_tolerance() {
        let series = polynomial(vec![1.0, 0.5, 1e-3, 4e-4, 5e-4], [-1.0, 1.0]).unwrap();
        let short = truncated(&series, 1e-3);
        assert_eq!(short.degree(), 2);
        for i in 0..=100 {
            let x = -1.0 + 0.02 * f64::from(i);
            assert!((short.eval(x) - series.eval(x)).abs() <= 1e-3);
        }
    }
}
