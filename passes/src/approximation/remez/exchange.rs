//! Steps 2 to 4 of the exchange; see [`super`].

use fhec_ir::polynomial::Polynomial;

use super::{Parity, Problem, argument, terms};
use crate::approximation::{
    ApproximationError,
    chebyshev::{Nodes, clenshaw, polynomial},
    real::Real,
};

/// Peaks may differ by this fraction of the largest when an exchange stops.
const TOLERANCE: f64 = 1e-8;
const MAX_ITERATIONS: usize = 100;
/// Grid points between neighbouring reference points.
const GRID: usize = 12;

/// Whether an exchange came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// All peaks are level.
    Level,
    /// The error is at the unit of the arithmetic: peaks are noise.
    Floor,
    /// Neither.
    No,
}

/// Where an exchange ended.
pub struct Outcome<T> {
    /// Where the error peaks.
    pub reference: Vec<f64>,
    /// The last solution of step 2.
    pub solution: Levelled<T>,
    /// Largest |error| found.
    pub error: f64,
    /// (largest - smallest) / largest peak of the reference.
    spread: f64,
    iterations: usize,
    /// Whether it came to rest.
    pub settled: Settled,
}

/// The polynomial of step 2: w(x) sum_j c_j T_j(v), v the map of u(x) onto [-1, 1].
pub struct Levelled<T> {
    coefficients: Vec<T>,
}

/// The exchange for one problem in one arithmetic.
pub struct Exchange<'a, T: Real> {
    problem: &'a Problem<'a>,
    precision: T::Precision,
    nodes: Nodes<T>,
    /// v = (u - centre) / radius.
    centre: T,
    radius: T,
}

impl<'a, T: Real> Exchange<'a, T> {
    /// Prepares the nodes and the map of u onto [-1, 1].
    pub fn new(problem: &'a Problem<'a>, precision: T::Precision) -> Exchange<'a, T> {
        let (low, high) = problem.hull();
        let end = |x: f64| argument(problem.parity, &T::number(x, precision));
        let two = T::number(2.0, precision);
        Exchange {
            problem,
            precision,
            nodes: Nodes::new(terms(problem.parity, problem.degree), precision),
            centre: (end(high) + &end(low)) / &two,
            radius: (end(high) - &end(low)) / &two,
        }
    }

    /// v(x) in [-1, 1].
    fn argument(&self, x: &T) -> T {
        (argument(self.problem.parity, x) - &self.centre) / &self.radius
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
        let value = self.evaluate(solution, &T::number(x, self.precision));
        (value - &T::of(self.problem.target, x, self.precision)).to_f64()
    }

    /// Step 2.
    pub fn solve(&self, reference: &[f64]) -> Result<Levelled<T>, ApproximationError> {
        let precision = self.precision;
        let x: Vec<T> = reference.iter().map(|&x| T::number(x, precision)).collect();
        let v: Vec<T> = x.iter().map(|x| self.argument(x)).collect();
        let f: Vec<T> = reference.iter().map(|&x| T::of(self.problem.target, x, precision)).collect();
        if let Some(i) = f.iter().position(|f| !f.to_f64().is_finite()) {
            return Err(ApproximationError::NotFinite { x: reference[i] });
        }
        // Differences are doubled: [-1, 1] has capacity 1/2, so that the products stay near 1.
        let one = T::number(1.0, precision);
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
        let (mut numerator, mut denominator) = (T::number(0.0, precision), T::number(0.0, precision));
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
    pub fn run(&self, mut reference: Vec<f64>) -> Result<Outcome<T>, ApproximationError> {
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
                // No alternation is left: what remains of the error is rounding, or rounding has
                // taken over.
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
    pub fn settle(&self, reference: Vec<f64>) -> Result<Outcome<T>, ApproximationError> {
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

    /// The peak next to an end of an interval: the end itself, unless the error rises from there
    /// first.
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

    /// Moves the middle of three points to the vertex of the parabola through them, a few times
    /// over.
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
    pub fn series(&self, solution: &Levelled<T>) -> Result<Polynomial, ApproximationError> {
        let (low, high) = self.problem.hull();
        if self.problem.parity == Parity::General {
            return polynomial(solution.coefficients.iter().map(T::to_f64).collect(), [low, high]);
        }
        let nodes = Nodes::<T>::new(self.problem.degree + 1, self.precision);
        let end = T::number(high, self.precision);
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

/// The interpolant through (v_i, values_i) at `z`, lambda_i = 1 / prod_{j != i} (v_i - v_j) up to a
/// common factor.
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

/// Step 4: `count` peaks of alternating sign with large magnitudes; `None` if there are not as
/// many.
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
        // The lowest neighbours; at an end, its outer member alone keeps the alternation and costs
        // less.
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
