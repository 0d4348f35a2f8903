//! Polynomials as the IR carries them: real coefficients in the Chebyshev basis over an interval.

use crate::attr::{AsAttr, Attr, AttrError, Fields};

/// `sum_k coefficients[k] T_k(t)` with `t = (2x - low - high) / (high - low)`.
///
/// Where only coefficients of even index and the first differ from zero, as in a fitted ReLU, it is
/// evaluated as a polynomial in `u = 2 t^2 - 1` and a line: `T_2k(t) = T_k(u)`, half the work.
#[derive(Clone, Debug, PartialEq)]
pub struct Polynomial {
    coefficients: Vec<f64>,
    domain: [f64; 2],
    /// Whether it is evaluated in `u`.
    in_square: bool,
}

/// Clenshaw's recurrence for many values, in vectors as wide as the machine has. Products and sums
/// stay apart, so that all widths give the same bits.
struct Clenshaw<'a> {
    polynomial: &'a Polynomial,
    /// Coefficients of the recurrence, highest first, without the constant.
    terms: Vec<f64>,
    values: &'a mut [f64],
}

impl pulp::WithSimd for Clenshaw<'_> {
    type Output = ();

    // Loops over slices alone: closures and chains of iterators do not always become a part of the
    // caller, and are without its vectors then.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        /// Chains that do not wait for each other: a step takes a vector three operations of four
        /// cycles each, of which a core starts two at once, so that eight keep it busy.
        const CHAINS: usize = 8;
        let Clenshaw { polynomial, terms, values } = self;
        let [low, high] = polynomial.domain;
        let constant = simd.splat_f64s(polynomial.coefficient(0));
        let linear = simd.splat_f64s(polynomial.coefficient(1));
        let (one, two, zero) = (simd.splat_f64s(1.0), simd.splat_f64s(2.0), simd.splat_f64s(0.0));
        let (bottom, top, width) = (simd.splat_f64s(low), simd.splat_f64s(high), simd.splat_f64s(high - low));
        let whole = values.len() - values.len() % (CHAINS * S::F64_LANES);
        let (whole, rest) = values.split_at_mut(whole);
        let (vectors, _) = S::as_mut_simd_f64s(whole);
        let (blocks, _) = vectors.as_chunks_mut::<CHAINS>();
        for block in blocks {
            // The place in the domain, and twice the recurrence's argument.
            let (mut t, mut doubled) = ([zero; CHAINS], [zero; CHAINS]);
            for i in 0..CHAINS {
                let from_middle = simd.sub_f64s(simd.sub_f64s(simd.mul_f64s(two, block[i]), bottom), top);
                t[i] = simd.div_f64s(from_middle, width);
                let argument = match polynomial.in_square {
                    true => simd.sub_f64s(simd.mul_f64s(simd.mul_f64s(two, t[i]), t[i]), one),
                    false => t[i],
                };
                doubled[i] = simd.mul_f64s(two, argument);
            }
            let (mut b1, mut b2) = ([zero; CHAINS], [zero; CHAINS]);
            for c in &terms {
                let c = simd.splat_f64s(*c);
                for i in 0..CHAINS {
                    let next = simd.sub_f64s(simd.add_f64s(c, simd.mul_f64s(doubled[i], b1[i])), b2[i]);
                    (b1[i], b2[i]) = (next, b1[i]);
                }
            }
            let half = simd.splat_f64s(0.5);
            for i in 0..CHAINS {
                let product = simd.mul_f64s(simd.mul_f64s(half, doubled[i]), b1[i]);
                let sum = simd.sub_f64s(simd.add_f64s(constant, product), b2[i]);
                block[i] = match polynomial.in_square {
                    true => simd.add_f64s(sum, simd.mul_f64s(linear, t[i])),
                    false => sum,
                };
            }
        }
        for x in rest {
            *x = polynomial.eval(*x);
        }
    }
}

impl Polynomial {
    /// From Chebyshev coefficients over `[low, high]`. Trailing zeros are dropped; an empty list is
    /// the zero polynomial.
    ///
    /// # Errors
    /// If a number is not finite or `low >= high`.
    pub fn chebyshev(mut coefficients: Vec<f64>, domain: [f64; 2]) -> Result<Self, AttrError> {
        let [low, high] = domain;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(AttrError(format!("[{low}, {high}] is no domain")));
        }
        if let Some(bad) = coefficients.iter().find(|c| !c.is_finite()) {
            return Err(AttrError(format!("coefficient {bad} is not finite")));
        }
        while coefficients.last() == Some(&0.0) {
            coefficients.pop();
        }
        let in_square = coefficients.iter().skip(3).step_by(2).all(|&c| c == 0.0);
        Ok(Polynomial { coefficients, domain, in_square })
    }

    /// Chebyshev coefficients, lowest first, without trailing zeros.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// `[low, high]`: where the polynomial is meant to be evaluated.
    pub fn domain(&self) -> [f64; 2] {
        self.domain
    }

    /// Degree; 0 for constants and the zero polynomial.
    pub fn degree(&self) -> usize {
        self.coefficients.len().saturating_sub(1)
    }

    /// Whether only odd coefficients differ from zero.
    pub fn is_odd(&self) -> bool {
        self.coefficients.iter().step_by(2).all(|&c| c == 0.0)
    }

    /// Whether only even coefficients differ from zero.
    pub fn is_even(&self) -> bool {
        self.coefficients.iter().skip(1).step_by(2).all(|&c| c == 0.0)
    }

    /// Multiplicative depth of evaluating it on `[-1, 1]`: `ceil(log2(degree + 1))`.
    pub fn depth(&self) -> u32 {
        (self.degree() + 1).next_power_of_two().trailing_zeros()
    }

    /// The coefficient of `T_k`, 0 beyond the degree.
    fn coefficient(&self, k: usize) -> f64 {
        self.coefficients.get(k).copied().unwrap_or(0.0)
    }

    /// The coefficients of the recurrence, highest first, without the constant: of all `T_k(t)`, or
    /// of all `T_k(u)`.
    fn terms(&self) -> impl Iterator<Item = f64> {
        let step = if self.in_square { 2 } else { 1 };
        self.coefficients.iter().copied().step_by(step).skip(1).rev()
    }

    /// Value at `x` by Clenshaw's recurrence.
    pub fn eval(&self, x: f64) -> f64 {
        let [low, high] = self.domain;
        let t = (2.0 * x - low - high) / (high - low);
        let argument = if self.in_square { 2.0 * t * t - 1.0 } else { t };
        let (mut b1, mut b2) = (0.0, 0.0);
        for c in self.terms() {
            (b1, b2) = (c + 2.0 * argument * b1 - b2, b1);
        }
        let sum = self.coefficient(0) + argument * b1 - b2;
        if self.in_square { sum + self.coefficient(1) * t } else { sum }
    }

    /// [`Polynomial::eval`] of every value, in place; the same bits, many values at a time.
    pub fn eval_slots(&self, values: &mut [f64]) {
        let terms = self.terms().collect();
        pulp::Arch::new().dispatch(Clenshaw { polynomial: self, terms, values });
    }

    /// The polynomial times `factor`.
    pub fn scaled(&self, factor: f64) -> Result<Self, AttrError> {
        Polynomial::chebyshev(self.coefficients.iter().map(|c| c * factor).collect(), self.domain)
    }

    /// `polynomial + offset`.
    pub fn raised(&self, offset: f64) -> Self {
        let mut raised = self.clone();
        match raised.coefficients.first_mut() {
            Some(constant) => *constant += offset,
            None => raised.coefficients.push(offset),
        }
        raised
    }

    /// The same coefficients over another domain: `q(x) = p(affine map of x)`.
    pub fn over(&self, domain: [f64; 2]) -> Result<Self, AttrError> {
        Polynomial::chebyshev(self.coefficients.clone(), domain)
    }
}

impl AsAttr for Polynomial {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Record(vec![
            ("domain".into(), self.domain.to_attr()?),
            ("chebyshev".into(), self.coefficients.to_attr()?),
        ]))
    }

    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        let mut fields = Fields::of(attr)?;
        let domain = fields.take("domain")?;
        let coefficients = fields.take("chebyshev")?;
        fields.finish()?;
        Polynomial::chebyshev(coefficients, domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, whatever the vectors are: whole blocks, single vectors and what is left.
    #[test]
    fn many_values_are_those_of_one_by_one() {
        for (count, even_and_linear) in
            [(1, false), (2, false), (7, false), (40, false), (3, true), (41, true)]
        {
            let coefficient = |k: usize| ((k * 37 + 5) % 23) as f64 / 7.0 - 1.5;
            let there = |k: usize| !even_and_linear || k.is_multiple_of(2) || k == 1;
            let coefficients = (0..count).map(|k| if there(k) { coefficient(k) } else { 0.0 }).collect();
            let polynomial = Polynomial::chebyshev(coefficients, [-0.75, 2.0]).unwrap();
            for length in 0..71 {
                let values: Vec<f64> = (0..length).map(|i| (i * 29 % 71) as f64 / 23.0 - 0.9).collect();
                let mut found = values.clone();
                polynomial.eval_slots(&mut found);
                let expected: Vec<f64> = values.iter().map(|&x| polynomial.eval(x)).collect();
                assert_eq!(found, expected, "{count} coefficients, {length} values");
            }
        }
    }

    #[test]
    fn clenshaw_matches_the_definition() {
        let of = |coefficients: &[f64]| Polynomial::chebyshev(coefficients.to_vec(), [-3.0, 5.0]).unwrap();
        let p = of(&[0.5, -1.25, 0.0, 2.0, 0.75]);
        for p in [p.clone(), of(&[0.5, -1.25, 0.25, 0.0, 0.75]), of(&[2.0, 3.0]), of(&[])] {
            for i in 0..=40 {
                let x = -3.0 + 8.0 * f64::from(i) / 40.0;
                let angle = ((x - 1.0) / 4.0).acos();
                let terms = p.coefficients().iter().enumerate();
                let direct: f64 = terms.map(|(k, c)| c * (k as f64 * angle).cos()).sum();
                assert!((p.eval(x) - direct).abs() < 1e-12);
            }
        }
        assert_eq!((p.degree(), p.depth()), (4, 3));
        let points: Vec<f64> = (0..1000).map(|i| -3.0 + 8.0 * f64::from(i) / 999.0).collect();
        let mut values = points.clone();
        p.eval_slots(&mut values);
        assert!(points.iter().zip(values).all(|(&x, value)| p.eval(x) == value));
    }

    #[test]
    fn depth_counts_levels() {
        let depth = |n: usize| Polynomial::chebyshev(vec![1.0; n + 1], [-1.0, 1.0]).unwrap().depth();
        assert_eq!([0, 1, 2, 3, 7, 15, 27, 31, 63].map(depth), [0, 1, 2, 2, 3, 4, 5, 5, 6]);
    }
}
