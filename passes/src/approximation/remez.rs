//! Minimax polynomials by exchange (Remez), with parity, on one interval or on several.
//!
//! A problem asks for p in span {w(x) u(x)^j : j < terms} with the least largest |p - f| on a union
//! of intervals: w = 1, u = x for a general polynomial, w = x, u = x^2 for an odd one and w = 1, u
//! = x^2 for an even one, where the intervals then lie on x >= 0. Each is a Haar system, so the
//! best p is the one whose error takes its largest value with alternating signs at `terms + 1`
//! points, the *reference* (on x > 0 for odd problems), and the classical exchange converges to it:
//!
//! 1. start from points that are dense where errors will oscillate fast;
//! 2. find the p whose error is exactly +E, -E, +E, ... on the reference. In barycentric form this
//!    takes no linear solver: E = sum(l_i f_i / w_i) / sum(l_i (-1)^i / w_i), with l_i = 1 /
//!    prod(u_i - u_j), and p interpolates;
//! 3. find all peaks of the error, on a grid between reference points, refined by parabolas;
//! 4. keep one peak per run of equal sign, then remove the least valuable ones in
//!    alternation-keeping steps until `terms + 1` remain, and repeat until all remaining peaks are
//!    equally high.
//!
//! On several intervals step 4 is that of Lee, Lee, Lee, Kim, Kim, No, *High-precision
//! bootstrapping of RNS-CKKS homomorphic encryption using optimal minimax polynomial approximation
//! and inverse sine function* (2020/552).

use fhec_ir::polynomial::Polynomial;

use super::{
    ApproximationError,
    big::Big,
    chebyshev::from_unit,
    real::{Real, Target},
};
use exchange::{Exchange, Settled};

mod exchange;

pub use fhec_ir::nn::activation::Parity;

/// Number of coefficients of a polynomial of this parity.
fn terms(parity: Parity, degree: usize) -> usize {
    match parity {
        Parity::General => degree + 1,
        Parity::Odd => degree.div_ceil(2),
        Parity::Even => degree / 2 + 1,
    }
}

/// What a polynomial of this parity is one in: `x` or its square.
fn argument<T: Real>(parity: Parity, x: &T) -> T {
    match parity {
        Parity::General => x.clone(),
        Parity::Odd | Parity::Even => x.clone() * x,
    }
}

/// What to approximate, where, by what.
#[derive(Clone)]
pub struct Problem<'a> {
    /// The function.
    pub target: &'a dyn Target,
    /// Ascending, disjoint, each of positive length; for odd and even problems they lie in x >= 0
    /// and stand for their mirror images too.
    pub intervals: Vec<(f64, f64)>,
    /// Symmetry of function and polynomial.
    pub parity: Parity,
    /// Highest power; odd for [`Parity::Odd`], even for [`Parity::Even`].
    pub degree: usize,
}

/// A best approximation.
#[derive(Clone, Debug)]
pub struct Minimax {
    /// The polynomial: on the hull of the intervals, which is symmetric for odd and even problems.
    pub series: Polynomial,
    /// The largest |p - f| on the intervals (before the coefficients are rounded to `f64`).
    pub error: f64,
    /// Where the error peaks, ascending.
    pub reference: Vec<f64>,
}

/// Mantissa bits of the final solution before what extrapolation costs is added.
const BASE_BITS: usize = 192;

/// The best approximation, its coefficients computed in long arithmetic.
pub fn minimax(problem: &Problem<'_>) -> Result<Minimax, ApproximationError> {
    problem.check()?;
    let short = Exchange::<f64>::new(problem, ()).run(problem.first_reference())?;
    let long = Exchange::<Big>::new(problem, problem.bits());
    let settled = match short.settled {
        Settled::Level => Some((short.reference, short.error)),
        Settled::Floor | Settled::No => {
            let middle = Exchange::<Big>::new(problem, BASE_BITS);
            // Where doubles end at their unit, their peaks are near; long numbers are dear.
            let near = match short.settled {
                Settled::Floor => Some(middle.run(short.reference)?),
                Settled::Level | Settled::No => None,
            };
            let near = near.filter(|near| near.settled == Settled::Level);
            let middle = near.map_or_else(|| middle.run(problem.first_reference()), Ok)?;
            (middle.settled == Settled::Level).then_some((middle.reference, middle.error))
        }
    };
    let (reference, solution, error) = match settled {
        // Only the linear problem is left: peaks found in less precision are good to second order.
        Some((reference, error)) => {
            let solution = long.solve(&reference)?;
            (reference, solution, error)
        }
        None => {
            let outcome = long.settle(problem.first_reference())?;
            (outcome.reference, outcome.solution, outcome.error)
        }
    };
    Ok(Minimax { series: long.series(&solution)?, error, reference })
}

/// The least error alone, in `f64`: good to a relative 1e-8 down to about 1e-7, and to an absolute
/// 1e-15 below.
pub fn minimax_error(problem: &Problem<'_>) -> Result<f64, ApproximationError> {
    problem.check()?;
    let short = Exchange::<f64>::new(problem, ()).run(problem.first_reference())?;
    if short.settled != Settled::No || short.error < 1e-7 {
        return Ok(short.error);
    }
    Ok(Exchange::<Big>::new(problem, problem.bits()).settle(problem.first_reference())?.error)
}

impl Problem<'_> {
    /// From the lowest to the highest point.
    fn hull(&self) -> (f64, f64) {
        (self.intervals[0].0, self.intervals[self.intervals.len() - 1].1)
    }

    fn check(&self) -> Result<(), ApproximationError> {
        let invalid = |(low, high), reason| Err(ApproximationError::InvalidInterval { low, high, reason });
        let mut previous = f64::NEG_INFINITY;
        if self.intervals.is_empty() {
            return invalid((f64::NAN, f64::NAN), "there is no interval");
        }
        for &(low, high) in &self.intervals {
            if !(low.is_finite() && high.is_finite() && low < high) {
                return invalid((low, high), "ends must be finite and ascending");
            }
            if low <= previous {
                return invalid((low, high), "intervals must be ascending and disjoint");
            }
            if self.parity != Parity::General && low < 0.0 {
                return invalid((low, high), "odd and even problems are posed on x >= 0");
            }
            previous = high;
        }
        let parity = match self.parity {
            Parity::Odd if self.degree.is_multiple_of(2) => "odd",
            Parity::Even if !self.degree.is_multiple_of(2) => "even",
            _ => return Ok(()),
        };
        Err(ApproximationError::ParityMismatch { degree: self.degree, parity })
    }

    /// Bits that keep the coefficients exact to more than `f64`: the polynomial is known on its
    /// intervals, and its coefficients say what it does on the whole symmetric hull. Extrapolating
    /// by `terms - 1` degrees of u to u = 0 multiplies errors by rho^(terms - 1), rho the parameter
    /// of the Bernstein ellipse through 0; gaps between intervals cost about as much each.
    fn bits(&self) -> usize {
        let (low, high) = self.hull();
        let mut growth = self.intervals.len() as f64 * 16.0;
        if self.parity != Parity::General && low > 0.0 {
            let z = (high * high + low * low) / (high * high - low * low);
            let rho = z + (z * z - 1.0).sqrt();
            growth += terms(self.parity, self.degree) as f64 * rho.log2();
        }
        (BASE_BITS + growth as usize).next_multiple_of(64)
    }

    /// Step 1.
    fn first_reference(&self) -> Vec<f64> {
        let count = terms(self.parity, self.degree) + 1;
        let pi = std::f64::consts::PI;
        if let &[(low, high)] = &self.intervals[..] {
            // The extrema of a Chebyshev polynomial in u, whose density is that of the peaks in the
            // limit of high degree: the equilibrium measure of the interval and, for parities, its
            // mirror image.
            let (bottom, top) = (argument(self.parity, &low), argument(self.parity, &high));
            let last = (count - 1) as f64;
            return (0..count)
                .map(|i| match self.parity {
                    Parity::General => from_unit(-(pi * i as f64 / last).cos(), [low, high]),
                    // Odd polynomials vanish at 0: the alternation is that of T_{2 terms + 1} on x
                    // > 0.
                    Parity::Odd if low == 0.0 => high * (pi / 2.0 * (i + 1) as f64 / count as f64).sin(),
                    _ => from_unit(-(pi * i as f64 / last).cos(), [bottom, top]).sqrt(),
                })
                .map(|x| x.clamp(low, high))
                .collect();
        }
        // Several intervals: the same number in each, the rest to the middle ones, where
        // polynomials have the hardest time.
        let intervals = self.intervals.len();
        let (each, rest) = (count / intervals, count % intervals);
        let first_extra = (intervals - rest) / 2;
        let mut reference = Vec::with_capacity(count);
        for (index, &(low, high)) in self.intervals.iter().enumerate() {
            let extra = usize::from((first_extra..first_extra + rest).contains(&index));
            let here = each + extra;
            for i in 0..here {
                let angle = pi * (2 * i + 1) as f64 / (2 * here) as f64;
                reference.push(low + (high - low) * (1.0 - angle.cos()) / 2.0);
            }
        }
        reference
    }
}

/// f(t) sampled as a series may be checked with: the largest |series - f| on a fine grid of each
/// interval.
pub fn largest_error(
    series: &Polynomial,
    target: &dyn Target,
    intervals: &[(f64, f64)],
    samples: usize,
) -> f64 {
    let mut largest = 0.0f64;
    for &(low, high) in intervals {
        for i in 0..=samples {
            // Dense at both ends, as the peaks are.
            let t = -(std::f64::consts::PI * i as f64 / samples as f64).cos();
            let x = from_unit(t, [low, high]);
            largest = largest.max((series.eval(x) - target.value(x)).abs());
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The constant 1: the positive half of sign.
    struct One;

    impl Target for One {
        fn value(&self, _: f64) -> f64 {
            1.0
        }
        fn precise(&self, _: f64, bits: usize) -> Big {
            Big::new(1.0, bits)
        }
    }

    struct Exponential;

    impl Target for Exponential {
        fn value(&self, x: f64) -> f64 {
            x.exp()
        }
        fn precise(&self, x: f64, bits: usize) -> Big {
            Big::new(x, bits).exp()
        }
    }

    /// cos(2 pi x).
    struct Wave;

    impl Target for Wave {
        fn value(&self, x: f64) -> f64 {
            (std::f64::consts::TAU * x).cos()
        }
        fn precise(&self, x: f64, bits: usize) -> Big {
            (Big::pi(bits) * &Big::new(2.0 * x, bits)).cos()
        }
    }

    /// x^5 on [-1, 1]: the best approximation of lower degree leaves T_5 / 16.
    struct Fifth;

    impl Target for Fifth {
        fn value(&self, x: f64) -> f64 {
            x.powi(5)
        }
        fn precise(&self, x: f64, bits: usize) -> Big {
            let x = Big::new(x, bits);
            let square = x.clone() * &x;
            square.clone() * &square * &x
        }
    }

    fn general<'a>(target: &'a dyn Target, intervals: &[(f64, f64)], degree: usize) -> Problem<'a> {
        Problem { target, intervals: intervals.to_vec(), parity: Parity::General, degree }
    }

    #[test]
    fn a_power_leaves_the_chebyshev_polynomial() {
        let best = minimax(&general(&Fifth, &[(-1.0, 1.0)], 4)).unwrap();
        assert!((best.error - 1.0 / 16.0).abs() < 1e-12, "{}", best.error);
        // x^5 - T_5 / 16 = (20 x^3 - 5 x) / 16 = (5 T_3 + 10 T_1) / 16
        for (c, expected) in best.series.coefficients().iter().zip([0.0, 0.625, 0.0, 0.3125, 0.0]) {
            assert!((c - expected).abs() < 1e-12, "{:?}", best.series);
        }
        let odd = Problem { parity: Parity::Odd, degree: 3, ..general(&Fifth, &[(0.0, 1.0)], 3) };
        let odd = minimax(&odd).unwrap();
        assert!((odd.error - 1.0 / 16.0).abs() < 1e-12 && odd.series.domain() == [-1.0, 1.0]);
        assert!((odd.series.coefficients()[1] - 0.625).abs() < 1e-12);
    }

    #[test]
    fn degree_one_odd_sign_is_known_in_closed_form() {
        // On +-[a, b] the best c x has c = 2 / (a + b) and error (b - a) / (b + a).
        let (low, high) = (0.25, 1.5);
        let problem = Problem { parity: Parity::Odd, degree: 1, ..general(&One, &[(low, high)], 1) };
        let best = minimax(&problem).unwrap();
        assert!((best.error - (high - low) / (high + low)).abs() < 1e-14);
        assert!((best.series.coefficients()[1] / high - 2.0 / (low + high)).abs() < 1e-14);
        assert_eq!(best.series.coefficients()[0], 0.0);
    }

    #[test]
    fn errors_alternate_and_are_level() {
        for (low, degree) in [(0.5, 7), (1e-3, 15), (0.9, 5), (2f64.powi(-12), 31)] {
            let problem = Problem { parity: Parity::Odd, degree, ..general(&One, &[(low, 1.0)], degree) };
            let best = minimax(&problem).unwrap();
            assert_eq!(best.reference.len(), degree.div_ceil(2) + 1);
            let mut sign = 0.0;
            for &x in &best.reference {
                let error = best.series.eval(x) - 1.0;
                assert!((error.abs() - best.error).abs() < 1e-7 * best.error + 1e-14, "{low} {degree}");
                assert!(error * sign <= 0.0, "signs alternate");
                sign = error.signum();
            }
            let largest = largest_error(&best.series, &One, &[(low, 1.0)], 5000);
            assert!(largest <= best.error * (1.0 + 1e-7) + 1e-14);
        }
    }

    #[test]
    fn errors_below_the_unit_of_f64_are_found_in_long_arithmetic() {
        // The best approximation of exp on [-1, 1] has error about 1 / (2^n (n + 1)!).
        let degree = 22;
        let best = minimax(&general(&Exponential, &[(-1.0, 1.0)], degree)).unwrap();
        let estimate = (1..=degree + 1).fold(0.5f64.powi(degree as i32), |e, k| e / k as f64);
        assert!((best.error / estimate - 1.0).abs() < 0.05, "{:e} against {estimate:e}", best.error);
        let narrow = Problem { parity: Parity::Odd, degree: 31, ..general(&One, &[(0.999, 1.001)], 31) };
        let best = minimax(&narrow).unwrap();
        assert!(best.error < 1e-40, "{:e}", best.error);
        assert!((best.series.eval(1.0) - 1.0).abs() < 1e-13);
    }

    #[test]
    fn several_intervals_need_less_degree_than_their_hull() {
        let width = 1.0 / 256.0;
        let intervals: Vec<_> =
            (-3..=3).map(|i| (f64::from(i) / 4.0 - width, f64::from(i) / 4.0 + width)).collect();
        let separate = minimax(&general(&Wave, &intervals, 15)).unwrap();
        let together = minimax(&general(&Wave, &[(intervals[0].0, intervals[6].1)], 15)).unwrap();
        let measured = largest_error(&separate.series, &Wave, &intervals, 400);
        assert!((measured / separate.error - 1.0).abs() < 1e-2, "{measured:e} against {:e}", separate.error);
        assert!(separate.error < together.error / 30.0, "{:e} against {:e}", separate.error, together.error);
        assert_eq!(separate.reference.len(), 17);
    }

    #[test]
    fn unusable_problems_are_refused() {
        let interval = |low, high| general(&One, &[(low, high)], 3);
        for problem in
            [interval(1.0, 1.0), interval(2.0, 1.0), interval(0.0, f64::NAN), general(&One, &[], 3)]
        {
            assert!(matches!(minimax(&problem), Err(ApproximationError::InvalidInterval { .. })));
        }
        let overlapping = general(&One, &[(0.0, 1.0), (0.5, 2.0)], 3);
        assert!(matches!(minimax(&overlapping), Err(ApproximationError::InvalidInterval { low: 0.5, .. })));
        let even = Problem { parity: Parity::Odd, ..general(&One, &[(0.5, 1.0)], 4) };
        assert_eq!(
            minimax(&even).unwrap_err(),
            ApproximationError::ParityMismatch { degree: 4, parity: "odd" }
        );
        assert!(matches!(
            minimax(&general(&Exponential, &[(0.0, 1000.0)], 3)),
            Err(ApproximationError::NotFinite { .. })
        ));
    }
}
