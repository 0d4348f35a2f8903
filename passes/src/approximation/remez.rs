//! Minimax polynomials by exchange (Remez), with parity, on one interval or on several.
//!
//! A problem asks for p in span {w(x) u(x)^j : j < terms} with the least largest |p - f| on a union of
//! intervals: w = 1, u = x for a general polynomial, w = x, u = x^2 for an odd one and w = 1, u = x^2 for
//! an even one, where the intervals then lie on x >= 0. Each is a Haar system, so the best p is the one whose error takes its largest
//! value with alternating signs at `terms + 1` points, the *reference* (on x > 0 for odd problems), and
//! the classical exchange converges to it:
//!
//! 1. start from points that are dense where errors will oscillate fast;
//! 2. find the p whose error is exactly +E, -E, +E, ... on the reference. In barycentric form this takes
//!    no linear solver: E = sum(l_i f_i / w_i) / sum(l_i (-1)^i / w_i), with l_i = 1 / prod(u_i - u_j), and p interpolates;
//! 3. find all peaks of the error, on a grid between reference points, refined by parabolas;
//! 4. keep one peak per run of equal sign, then remove the least valuable ones in alternation-keeping
//!    steps until `terms + 1` remain, and repeat until all remaining peaks are equally high.
//!
//! On several intervals step 4 is that of Lee, Lee, Lee, Kim, Kim, No, *High-precision bootstrapping of
//! RNS-CKKS homomorphic encryption using optimal minimax polynomial approximation and inverse sine
//! function* (2020/552).

use fhec_ir::polynomial::Polynomial;

use super::{
    ApproximationError,
    big::Big,
    chebyshev::{Nodes, clenshaw, from_unit, polynomial},
    real::{Real, Target},
};

/// The symmetry a polynomial is restricted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parity {
    /// All powers.
    General,
    /// Odd powers only; the intervals lie in x >= 0 and stand for their mirror images too.
    Odd,
    /// Even powers only; the intervals lie in x >= 0 and stand for their mirror images too.
    Even,
}

impl Parity {
    /// Number of coefficients of a polynomial of this parity.
    fn terms(self, degree: usize) -> usize {
        match self {
            Parity::General => degree + 1,
            Parity::Odd => degree.div_ceil(2),
            Parity::Even => degree / 2 + 1,
        }
    }

    /// u(x).
    fn argument<T: Real>(self, x: &T) -> T {
        match self {
            Parity::General => x.clone(),
            Parity::Odd | Parity::Even => x.clone() * x,
        }
    }
}

/// What to approximate, where, by what.
#[derive(Clone)]
pub struct Problem<'a> {
    /// The function.
    pub target: &'a dyn Target,
    /// Ascending, disjoint, each of positive length.
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

/// Peaks may differ by this fraction of the largest when an exchange stops.
const TOLERANCE: f64 = 1e-8;
const MAX_ITERATIONS: usize = 100;
/// Grid points between neighbouring reference points.
const GRID: usize = 12;
/// Mantissa bits of the final solution before what extrapolation costs is added.
const BASE_BITS: usize = 192;

/// The best approximation, its coefficients computed in long arithmetic.
pub fn minimax(problem: &Problem<'_>) -> Result<Minimax, ApproximationError> {
    problem.check()?;
    let short = Exchange::<f64>::new(problem, ()).run(problem.first_reference())?;
    let long = Exchange::<Big>::new(problem, problem.bits());
    let (reference, solution, error) = if short.settled == Settled::Level {
        // Only the linear problem is left: peaks found in f64 are good to second order.
        let solution = long.solve(&short.reference)?;
        (short.reference, solution, short.error)
    } else {
        let outcome = long.settle(problem.first_reference())?;
        (outcome.reference, outcome.solution, outcome.error)
    };
    Ok(Minimax { series: long.series(&solution)?, error, reference })
}

/// The least error alone, in `f64`: good to a relative 1e-8 down to about 1e-7, and to an absolute 1e-15 below.
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
    /// intervals, and its coefficients say what it does on the whole symmetric hull. Extrapolating by
    /// `terms - 1` degrees of u to u = 0 multiplies errors by rho^(terms - 1), rho the parameter of the
    /// Bernstein ellipse through 0; gaps between intervals cost about as much each.
    fn bits(&self) -> usize {
        let (low, high) = self.hull();
        let mut growth = self.intervals.len() as f64 * 16.0;
        if self.parity != Parity::General && low > 0.0 {
            let z = (high * high + low * low) / (high * high - low * low);
            let rho = z + (z * z - 1.0).sqrt();
            growth += self.parity.terms(self.degree) as f64 * rho.log2();
        }
        (BASE_BITS + growth as usize).next_multiple_of(64)
    }

    /// Step 1.
    fn first_reference(&self) -> Vec<f64> {
        let count = self.parity.terms(self.degree) + 1;
        let pi = std::f64::consts::PI;
        if let &[(low, high)] = &self.intervals[..] {
            // The extrema of a Chebyshev polynomial in u, whose density is that of the peaks in the limit
            // of high degree: the equilibrium measure of the interval and, for parities, its mirror image.
            let (bottom, top) = (self.parity.argument(&low), self.parity.argument(&high));
            let last = (count - 1) as f64;
            return (0..count)
                .map(|i| match self.parity {
                    Parity::General => from_unit(-(pi * i as f64 / last).cos(), [low, high]),
                    // Odd polynomials vanish at 0: the alternation is that of T_{2 terms + 1} on x > 0.
                    Parity::Odd if low == 0.0 => high * (pi / 2.0 * (i + 1) as f64 / count as f64).sin(),
                    _ => from_unit(-(pi * i as f64 / last).cos(), [bottom, top]).sqrt(),
                })
                .map(|x| x.clamp(low, high))
                .collect();
        }
        // Several intervals: the same number in each, the rest to the middle ones, where polynomials
        // have the hardest time.
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

/// Whether an exchange came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// All peaks are level.
    Level,
    /// The error is at the unit of the arithmetic: peaks are noise.
    Floor,
    /// Neither.
    No,
}

struct Outcome<T> {
    reference: Vec<f64>,
    solution: Levelled<T>,
    /// Largest |error| found.
    error: f64,
    /// (largest - smallest) / largest peak of the reference.
    spread: f64,
    iterations: usize,
    settled: Settled,
}

/// The polynomial of step 2: w(x) sum_j c_j T_j(v), v the map of u(x) onto [-1, 1].
struct Levelled<T> {
    coefficients: Vec<T>,
}

struct Exchange<'a, T: Real> {
    problem: &'a Problem<'a>,
    precision: T::Precision,
    nodes: Nodes<T>,
    /// v = (u - centre) / radius.
    centre: T,
    radius: T,
}

impl<'a, T: Real> Exchange<'a, T> {
    fn new(problem: &'a Problem<'a>, precision: T::Precision) -> Exchange<'a, T> {
        let (low, high) = problem.hull();
        let end = |x: f64| problem.parity.argument(&T::new(x, precision));
        let two = T::new(2.0, precision);
        Exchange {
            problem,
            precision,
            nodes: Nodes::new(problem.parity.terms(problem.degree), precision),
            centre: (end(high) + &end(low)) / &two,
            radius: (end(high) - &end(low)) / &two,
        }
    }

    /// v(x) in [-1, 1].
    fn argument(&self, x: &T) -> T {
        (self.problem.parity.argument(x) - &self.centre) / &self.radius
    }

    fn weighted(&self, value: T, x: &T) -> T {
        if self.problem.parity == Parity::Odd { value * x } else { value }
    }

    fn unweighted(&self, value: T, x: &T) -> T {
        if self.problem.parity == Parity::Odd { value / x } else { value }
    }

    fn evaluate(&self, solution: &Levelled<T>, x: &T) -> T {
        self.weighted(clenshaw(&solution.coefficients, &self.argument(x), self.precision), x)
    }

    /// p(x) - f(x).
    fn error(&self, solution: &Levelled<T>, x: f64) -> f64 {
        let value = self.evaluate(solution, &T::new(x, self.precision));
        (value - &T::of(self.problem.target, x, self.precision)).to_f64()
    }

    /// Step 2.
    fn solve(&self, reference: &[f64]) -> Result<Levelled<T>, ApproximationError> {
        let precision = self.precision;
        let x: Vec<T> = reference.iter().map(|&x| T::new(x, precision)).collect();
        let v: Vec<T> = x.iter().map(|x| self.argument(x)).collect();
        let f: Vec<T> = reference.iter().map(|&x| T::of(self.problem.target, x, precision)).collect();
        if let Some(i) = f.iter().position(|f| !f.to_f64().is_finite()) {
            return Err(ApproximationError::NotFinite { x: reference[i] });
        }
        // Differences are doubled: [-1, 1] has capacity 1/2, so that the products stay near 1.
        let one = T::new(1.0, precision);
        let lambda: Vec<T> = (0..v.len())
            .map(|i| {
                let mut product = one.clone();
                for j in (0..v.len()).filter(|&j| j != i) {
                    let difference = v[i].clone() - &v[j];
                    product = product * &(difference.clone() + &difference);
                }
                one.clone() / &product
            })
            .collect();
        let (mut numerator, mut denominator) = (T::new(0.0, precision), T::new(0.0, precision));
        for i in 0..v.len() {
            let weight = self.unweighted(lambda[i].clone(), &x[i]);
            numerator = numerator + &(weight.clone() * &f[i]);
            denominator = denominator + &if i % 2 == 0 { weight } else { -weight };
        }
        let level = numerator / &denominator;
        let values: Vec<T> = (0..v.len())
            .map(|i| {
                let signed = if i % 2 == 0 { level.clone() } else { -level.clone() };
                self.unweighted(f[i].clone() - &signed, &x[i])
            })
            .collect();
        let at_nodes: Vec<T> =
            self.nodes.points().map(|node| barycentric(node, &v, &values, &lambda)).collect();
        Ok(Levelled { coefficients: self.nodes.interpolate(&at_nodes) })
    }

    /// Steps 2 to 4 until they settle.
    fn run(&self, mut reference: Vec<f64>) -> Result<Outcome<T>, ApproximationError> {
        let mut iterations = 0;
        loop {
            iterations += 1;
            let solution = self.solve(&reference)?;
            let peaks = self.peaks(&solution, &reference);
            let error = peaks.iter().fold(0.0f64, |m, p| m.max(p.1.abs()));
            let scale = reference.iter().fold(0.0f64, |m, &x| m.max(self.problem.target.value(x).abs()));
            let noise = T::unit(self.precision) * scale * 8.0 * reference.len() as f64;
            let chosen = if error > noise { alternation(peaks, reference.len()) } else { None };
            let Some(chosen) = chosen else {
                // No alternation is left: what remains of the error is rounding, or rounding has taken over.
                let settled = if error <= 1e3 * noise { Settled::Floor } else { Settled::No };
                return Ok(Outcome { reference, solution, error, spread: 1.0, iterations, settled });
            };
            let smallest = chosen.iter().fold(f64::INFINITY, |m, p| m.min(p.1.abs()));
            let spread = (error - smallest) / error;
            let settled = match () {
                () if spread <= TOLERANCE => Settled::Level,
                () if error <= 1e3 * noise && spread < 0.5 => Settled::Floor,
                () => Settled::No,
            };
            if settled != Settled::No || iterations == MAX_ITERATIONS {
                return Ok(Outcome { reference, solution, error, spread, iterations, settled });
            }
            reference = chosen.into_iter().map(|p| p.0).collect();
        }
    }

    /// [`run`](Self::run), which must come to rest.
    fn settle(&self, reference: Vec<f64>) -> Result<Outcome<T>, ApproximationError> {
        let outcome = self.run(reference)?;
        if outcome.settled != Settled::No {
            return Ok(outcome);
        }
        let (low, high) = self.problem.hull();
        Err(ApproximationError::NotConverged {
            degree: self.problem.degree,
            low,
            high,
            iterations: outcome.iterations,
            spread: outcome.spread,
        })
    }

    /// Step 3: all local extrema of the error, ends of intervals included, as (x, error).
    fn peaks(&self, solution: &Levelled<T>, reference: &[f64]) -> Vec<(f64, f64)> {
        let mut peaks = Vec::new();
        for &(low, high) in &self.problem.intervals {
            let mut stops = vec![low];
            stops.extend(reference.iter().copied().filter(|&x| low < x && x < high));
            stops.push(high);
            let mut samples = vec![(low, self.error(solution, low))];
            for gap in stops.windows(2) {
                for i in 1..=GRID {
                    let x =
                        if i == GRID { gap[1] } else { gap[0] + (gap[1] - gap[0]) * i as f64 / GRID as f64 };
                    if x > samples[samples.len() - 1].0 {
                        samples.push((x, self.error(solution, x)));
                    }
                }
            }
            for i in 0..samples.len() {
                let magnitude = samples[i].1.abs();
                let higher = |j: Option<usize>| {
                    j.and_then(|j| samples.get(j)).is_some_and(|s| s.1 * samples[i].1.signum() > magnitude)
                };
                if magnitude == 0.0 || higher(i.checked_sub(1)) || higher(Some(i + 1)) {
                    continue;
                }
                peaks.push(match i {
                    0 => self.refine_end(solution, samples[0], samples[1]),
                    i if i + 1 == samples.len() => self.refine_end(solution, samples[i], samples[i - 1]),
                    i => self.refine(solution, [samples[i - 1], samples[i], samples[i + 1]]),
                });
            }
        }
        peaks
    }

    /// The peak next to an end of an interval: the end itself, unless the error rises from there first.
    fn refine_end(&self, solution: &Levelled<T>, end: (f64, f64), inner: (f64, f64)) -> (f64, f64) {
        let sample = |x: f64| (x, self.error(solution, x));
        let middle = sample((end.0 + inner.0) / 2.0);
        let x = vertex(end, middle, inner);
        if !(x > end.0.min(inner.0) && x < end.0.max(inner.0)) {
            return end;
        }
        let found = sample(x);
        if found.1 * end.1.signum() <= end.1.abs() {
            return end;
        }
        if end.0 < inner.0 {
            self.refine(solution, [end, found, inner])
        } else {
            self.refine(solution, [inner, found, end])
        }
    }

    /// Moves the middle of three points to the vertex of the parabola through them, a few times over.
    fn refine(&self, solution: &Levelled<T>, mut points: [(f64, f64); 3]) -> (f64, f64) {
        let sign = points[1].1.signum();
        for _ in 0..4 {
            let [(a, _), (b, fb), (c, _)] = points;
            let x = vertex(points[0], points[1], points[2]);
            if !(a < x && x < c) || x == b {
                break;
            }
            let value = self.error(solution, x);
            let (better, other) =
                if value * sign > fb * sign { ((x, value), (b, fb)) } else { ((b, fb), (x, value)) };
            points = if other.0 < better.0 { [other, better, points[2]] } else { [points[0], better, other] };
        }
        points[1]
    }

    /// The polynomial in the Chebyshev basis of its (symmetric) domain.
    fn series(&self, solution: &Levelled<T>) -> Result<Polynomial, ApproximationError> {
        let (low, high) = self.problem.hull();
        if self.problem.parity == Parity::General {
            return polynomial(solution.coefficients.iter().map(T::to_f64).collect(), [low, high]);
        }
        let nodes = Nodes::<T>::new(self.problem.degree + 1, self.precision);
        let end = T::new(high, self.precision);
        let values: Vec<T> = nodes.points().map(|t| self.evaluate(solution, &(t.clone() * &end))).collect();
        let vanishing = usize::from(self.problem.parity == Parity::Even);
        let coefficients = nodes.interpolate(&values).into_iter().enumerate();
        let coefficients = coefficients.map(|(k, c)| if k % 2 == vanishing { 0.0 } else { c.to_f64() });
        polynomial(coefficients.collect(), [-high, high])
    }
}

/// Where the parabola through three points has its vertex; not a number if they lie on a line.
fn vertex((a, fa): (f64, f64), (b, fb): (f64, f64), (c, fc): (f64, f64)) -> f64 {
    let (left, right) = ((b - a) * (fb - fc), (b - c) * (fb - fa));
    b - ((b - a) * left - (b - c) * right) / (2.0 * (left - right))
}

/// The interpolant through (v_i, values_i) at `z`, lambda_i = 1 / prod_{j != i} (v_i - v_j) up to a common factor.
fn barycentric<T: Real>(z: &T, v: &[T], values: &[T], lambda: &[T]) -> T {
    let (mut numerator, mut denominator): (Option<T>, Option<T>) = (None, None);
    for i in 0..v.len() {
        let distance = z.clone() - &v[i];
        if distance.is_zero() {
            return values[i].clone();
        }
        let weight = lambda[i].clone() / &distance;
        let term = weight.clone() * &values[i];
        numerator = Some(numerator.map_or_else(|| term.clone(), |n| n + &term));
        denominator = Some(denominator.map_or_else(|| weight.clone(), |d| d + &weight));
    }
    match (numerator, denominator) {
        (Some(numerator), Some(denominator)) => numerator / &denominator,
        _ => unreachable!("a reference has at least two points"),
    }
}

/// Step 4: `count` peaks of alternating sign with large magnitudes; `None` if there are not as many.
fn alternation(peaks: Vec<(f64, f64)>, count: usize) -> Option<Vec<(f64, f64)>> {
    // One peak, the highest, per run of equal sign.
    let mut kept: Vec<(f64, f64)> = Vec::with_capacity(peaks.len());
    for peak in peaks {
        match kept.last_mut() {
            Some(last) if (last.1 > 0.0) == (peak.1 > 0.0) => {
                if peak.1.abs() > last.1.abs() {
                    *last = peak;
                }
            }
            _ => kept.push(peak),
        }
    }
    let height = |kept: &[(f64, f64)], i: usize| kept[i].1.abs();
    while kept.len() > count {
        let last = kept.len() - 1;
        if kept.len() == count + 1 {
            kept.remove(if height(&kept, 0) < height(&kept, last) { 0 } else { last });
            continue;
        }
        // The lowest neighbours; at an end, its outer member alone keeps the alternation and costs less.
        let pair = (0..last)
            .min_by(|&i, &j| {
                let sum = |i: usize| height(&kept, i) + height(&kept, i + 1);
                sum(i).total_cmp(&sum(j))
            })
            .expect("more than two peaks are left");
        let pair_sum = height(&kept, pair) + height(&kept, pair + 1);
        if kept.len() == count + 2 {
            if height(&kept, 0) + height(&kept, last) <= pair_sum {
                kept.remove(last);
                kept.remove(0);
            } else {
                kept.drain(pair..pair + 2);
            }
        } else if pair == 0 {
            kept.remove(0);
        } else if pair + 1 == last {
            kept.remove(last);
        } else {
            kept.drain(pair..pair + 2);
        }
    }
    (kept.len() == count).then_some(kept)
}

/// f(t) sampled as a series may be checked with: the largest |series - f| on a fine grid of each interval.
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
