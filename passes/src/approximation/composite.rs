//! sign(x) as a composition of odd minimax polynomials, and the ReLU it gives.
//!
//! p_k(... p_1(x)): each p_i is the minimax approximation of sign on the interval +-[1 - t, 1 + t]
//! that the errors of the stages before leave, the first on +-[e, 1]. Sources: Lee, Lee, No, Kim,
//! *Minimax approximation of sign function by composite polynomial for homomorphic comparison*
//! (2020/834), and Lee et al., *Precise approximation of convolutional neural networks for
//! homomorphically encrypted data* (2105.10879).
//!
//! On |x| < e the composition is anything between -1 and 1, which costs ReLU(x) = x (1 + s(x)) / 2
//! no more than about e / 2; a smaller e leaves more error elsewhere. [`relu`] finds the best e.

use fhec_ir::polynomial::Polynomial;

use super::{
    ApproximationError,
    big::Big,
    chebyshev::polynomial,
    real::Target,
    remez::{Parity, Problem, minimax, minimax_error},
};

/// A composition that approximates sign on [-1, -transition] and [transition, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    /// The stages in order of evaluation. Each takes [-1, 1] to [-1, 1] (what the interval has
    /// beyond 1 is divided out of the stage before); the last one approximates sign itself.
    pub stages: Vec<Polynomial>,
    /// The e of +-[e, 1].
    pub transition: f64,
    /// The largest |s(x) - sign(x)| for e <= |x| <= 1, without noise.
    pub sign_error: f64,
    /// The largest |x (1 + s(x)) / 2 - max(x, 0)| for |x| <= 1.
    pub relu_error: f64,
}

impl Composite {
    /// s(x).
    pub fn evaluate(&self, x: f64) -> f64 {
        self.stages.iter().fold(x, |x, stage| stage.eval(x))
    }

    /// Levels that evaluating it takes.
    pub fn depth(&self) -> u32 {
        self.stages.iter().map(Polynomial::depth).sum()
    }

    /// x (1 + s(x)) / 2.
    pub fn evaluate_relu(&self, x: f64) -> f64 {
        x * (1.0 + self.evaluate(x)) / 2.0
    }

    /// The stages of `constant + factor * s(x)`: `(0.5, 0.5)` makes ReLU(x) one product, that of x
    /// and the result.
    ///
    /// # Errors
    /// If the numbers leave the range of `f64`.
    pub fn affine(&self, constant: f64, factor: f64) -> Result<Vec<Polynomial>, ApproximationError> {
        let mut stages = self.stages.clone();
        if let Some(last) = stages.pop() {
            let mut coefficients: Vec<f64> = last.coefficients().iter().map(|c| c * factor).collect();
            if let Some(c) = coefficients.first_mut() {
                *c += constant;
            }
            stages.push(polynomial(coefficients, last.domain())?);
        }
        Ok(stages)
    }
}

/// The constant that sign is on x > 0.
struct One;

impl Target for One {
    fn value(&self, _: f64) -> f64 {
        1.0
    }

    fn precise(&self, _: f64, bits: usize) -> Big {
        Big::new(1.0, bits)
    }
}

fn problem(low: f64, high: f64, degree: usize) -> Problem<'static> {
    Problem { target: &One, intervals: vec![(low, high)], parity: Parity::Odd, degree }
}

/// The least error of an odd polynomial of `degree` as sign on +-[1 - t, 1 + t], 0 < t < 1: E_d(t)
/// of 2020/834.
pub fn sign_error(t: f64, degree: usize) -> Result<f64, ApproximationError> {
    minimax_error(&problem(1.0 - t, 1.0 + t, degree))
}

/// The errors left by each stage, for `transition` e and every stage's result off by up to `noise`.
fn stage_errors(degrees: &[usize], transition: f64, noise: f64) -> Result<Vec<f64>, ApproximationError> {
    let mut t = (1.0 - transition) / (1.0 + transition);
    let mut errors = Vec::with_capacity(degrees.len());
    for (stage, &degree) in degrees.iter().enumerate() {
        let error = sign_error(t, degree)?;
        check_stage(stage, degree, error + noise)?;
        errors.push(error);
        t = (error + noise).max(SMALLEST_RADIUS);
    }
    Ok(errors)
}

/// A stage that leaves less is told that it leaves this much: far below any precision of a program,
/// and wide enough that the next interval is one.
const SMALLEST_RADIUS: f64 = 1e-12;

fn check_stage(stage: usize, degree: usize, error: f64) -> Result<(), ApproximationError> {
    if error < 1.0 { Ok(()) } else { Err(ApproximationError::CompositionDiverges { stage, degree, error }) }
}

/// The composition of the given odd degrees for a given transition.
///
/// Every stage but the first takes arguments that are off by up to `noise` (absolute; 2^-15 to
/// 2^-12 is what encryption adds).
pub fn sign(degrees: &[usize], transition: f64, noise: f64) -> Result<Composite, ApproximationError> {
    if !(transition > 0.0 && transition < 1.0) || degrees.is_empty() {
        return Err(ApproximationError::InvalidInterval {
            low: transition,
            high: 1.0,
            reason: "a composition needs a degree and a transition between 0 and 1",
        });
    }
    let (mut low, mut high) = (transition, 1.0);
    let mut stages: Vec<Polynomial> = Vec::with_capacity(degrees.len());
    let mut error = 1.0;
    for (stage, &degree) in degrees.iter().enumerate() {
        let best = minimax(&problem(low, high, degree))?;
        error = best.error;
        check_stage(stage, degree, error + noise)?;
        if let Some(previous) = stages.pop() {
            let coefficients = previous.coefficients().iter().map(|c| c / high).collect();
            stages.push(polynomial(coefficients, [-1.0, 1.0])?);
        }
        stages.push(polynomial(best.series.coefficients().to_vec(), [-1.0, 1.0])?);
        let radius = (error + noise).max(SMALLEST_RADIUS);
        (low, high) = (1.0 - radius, 1.0 + radius);
    }
    let mut composite = Composite { stages, transition, sign_error: error, relu_error: 0.0 };
    composite.relu_error = (error / 2.0).max(inner_error(|x| composite.evaluate(x), transition));
    Ok(composite)
}

/// The composition of the given odd degrees whose ReLU has the least largest error on [-1, 1].
///
/// That is the one whose ReLU is off by as much somewhere in |x| < e as it is at |x| = 1: the
/// former grows with e (it is nearly proportional to e), the latter shrinks.
pub fn relu(degrees: &[usize], noise: f64) -> Result<Composite, ApproximationError> {
    // Inner error over e; it varies slowly with e, so that a few rounds settle it.
    let mut slope = 0.06;
    for _ in 0..MAX_ROUNDS {
        let transition = balanced_transition(degrees, noise, slope)?;
        let composite = sign(degrees, transition, noise)?;
        let found = inner_error(|x| composite.evaluate(x), transition) / transition;
        if (found / slope - 1.0).abs() < 1e-3 {
            return Ok(composite);
        }
        slope = found;
    }
    sign(degrees, balanced_transition(degrees, noise, slope)?, noise)
}

const MAX_ROUNDS: usize = 8;

/// The e at which half the error of sign outside equals `slope` times e, by bisection on log2 e.
fn balanced_transition(degrees: &[usize], noise: f64, slope: f64) -> Result<f64, ApproximationError> {
    let (mut low, mut high) = (-40.0f64, -0.01f64);
    while high - low > 1e-3 {
        let middle = (low + high) / 2.0;
        let outer = match stage_errors(degrees, middle.exp2(), noise) {
            Ok(errors) => errors[errors.len() - 1] / 2.0,
            Err(ApproximationError::CompositionDiverges { .. }) => 1.0,
            Err(other) => return Err(other),
        };
        if outer < slope * middle.exp2() { high = middle } else { low = middle }
    }
    Ok(((low + high) / 2.0).exp2())
}

/// The largest x |1 - s(x)| / 2 for 0 <= x <= e: a grid, then golden sections around the largest
/// value.
fn inner_error(s: impl Fn(f64) -> f64, transition: f64) -> f64 {
    const SAMPLES: usize = 512;
    let error = |x: f64| x * (1.0 - s(x)).abs() / 2.0;
    let step = transition / SAMPLES as f64;
    let largest = (1..=SAMPLES)
        .max_by(|&i, &j| error(step * i as f64).total_cmp(&error(step * j as f64)))
        .expect("the grid has points");
    let (mut low, mut high) = (step * (largest - 1) as f64, (step * (largest + 1) as f64).min(transition));
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    for _ in 0..40 {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if error(left) > error(right) { high = right } else { low = left }
    }
    error((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Degrees, -log2 of a transition, and -log2 of the largest error of ReLU there: figures
    /// computed elsewhere, with transitions rounded to a twentieth.
    const PUBLISHED: [(&[usize], f64, f64); 13] = [
        (&[7], 1.8, 4.99),
        (&[15], 2.4, 5.80),
        (&[27], 2.75, 6.38),
        (&[5, 5], 2.6, 6.12),
        (&[7, 7], 3.6, 6.90),
        (&[7, 15], 4.2, 7.92),
        (&[15, 15], 5.3, 9.01),
        (&[15, 27], 5.7, 9.60),
        (&[7, 7, 13], 6.0, 9.94),
        (&[7, 7, 27], 7.0, 11.00),
        (&[7, 15, 27], 8.0, 12.04),
        (&[15, 15, 27], 9.0, 13.08),
        (&[15, 27, 29], 10.0, 13.99),
    ];

    /// The largest ReLU error on a grid that is dense around the transition and near 1.
    fn measured(composite: &Composite) -> f64 {
        let error = |x: f64| (composite.evaluate_relu(x) - x.max(0.0)).abs();
        let logarithmic =
            (0..=20_000).map(|i| composite.transition * 2f64.powf(f64::from(i) / 1000.0 - 10.0));
        let linear = (0..=20_000).map(|i| 1.0 - f64::from(i) * 1e-5);
        logarithmic.chain(linear).filter(|x| *x <= 1.0).flat_map(|x| [x, -x]).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn relu_is_as_precise_as_published() {
        for (degrees, transition, bits) in PUBLISHED {
            let there = sign(degrees, (-transition).exp2(), 0.0).unwrap();
            // Known to a hundredth, at a transition known to a twentieth or a tenth.
            let off = -there.relu_error.log2() - bits;
            assert!(off.abs() <= 0.06, "{degrees:?}: off by {off} bits");
            let best = relu(degrees, 0.0).unwrap();
            assert!(best.relu_error <= there.relu_error * 1.001, "{degrees:?}: the best is not worse");
            assert!(-best.relu_error.log2() < bits + 0.25, "{degrees:?}: nor much better");
            for composite in [there, best] {
                let ratio = measured(&composite) / composite.relu_error;
                assert!((0.99..1.0001).contains(&ratio), "{degrees:?}: {ratio}");
            }
        }
    }

    #[test]
    fn stages_are_odd_and_stay_in_their_domain() {
        let noise = 2f64.powi(-13);
        let composite = relu(&[7, 15, 27], noise).unwrap();
        for stage in &composite.stages {
            assert!(stage.is_odd() && stage.domain() == [-1.0, 1.0]);
        }
        for i in 0..=2000 {
            let mut x = f64::from(i) / 1000.0 - 1.0;
            for stage in &composite.stages[..2] {
                // What comes in may be off by the noise and still is in [-1, 1].
                x = stage.eval(x);
                assert!(x.abs() + noise / 2.0 <= 1.0);
            }
        }
        let half = composite.affine(0.5, 0.5).unwrap();
        let step = half.iter().fold(0.75, |x, p| p.eval(x));
        assert!((0.75 * step - 0.75).abs() <= composite.relu_error);
    }

    #[test]
    fn compositions_that_cannot_work_are_refused() {
        let (none, wide): (&[usize], _) = (&[], 2f64.powi(-20));
        assert!(matches!(sign(none, 0.1, 0.0), Err(ApproximationError::InvalidInterval { .. })));
        assert!(matches!(sign(&[3], 1.0, 0.0), Err(ApproximationError::InvalidInterval { .. })));
        assert!(matches!(sign(&[4], 0.1, 0.0), Err(ApproximationError::ParityMismatch { degree: 4, .. })));
        assert!(matches!(
            sign(&[3, 3], wide, 2f64.powi(-12)),
            Err(ApproximationError::CompositionDiverges { stage: 0, degree: 3, .. })
        ));
    }
}
