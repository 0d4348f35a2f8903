//! Other fits beside the ones that an agreement asks for.
//!
//! What a depth is worth is known only when its program is made: levels that save no bootstrap save
//! little. So programs are made for finer and coarser fits, too. The fastest of those that keep the
//! agreement is taken, of those as fast the one that agrees most. The others are shown: a plan that
//! costs half as much and loses one image in a thousand may be what somebody wants.

use std::time::Instant;

use fhec_ir::plan::FitRow;
use rayon::prelude::*;

use super::MANY_OPS;
use super::attempt::{Attempt, Attempts};
use crate::error::PassError;
use crate::nn::activations::Activations;
use crate::nn::agreement::ClassChanges;
use crate::pipeline::After;
use crate::search::{SAME_TIME, Scheduled, bootstraps, deviation_of_logits};

/// Times that parameters are looked for again at most.
const ROUNDS: usize = 2;

/// Factors are alike from here on.
const ALIKE: f64 = 0.75;

/// Coarser fits that are looked at.
const COARSER: usize = 3;

/// The best of `attempt` and its alternatives, `target` (0 to 1) of whose images are to keep their
/// class, and a row for each that is worth a look. Noise is what [`Attempts::noise`] says of the
/// program of `attempt`, whose parameters are looked for again if it is more than was predicted.
/// `after` is shown the passes of every program that is made for these fits, and of the one that is
/// taken if it has others.
///
/// # Errors
/// Those of the search.
pub(super) fn best_of(
    attempts: &Attempts<'_>,
    mut attempt: Attempt,
    target: f64,
    after: &mut After<'_>,
) -> Result<(Attempt, Vec<FitRow>), PassError> {
    let Some(fitted) = attempt.result.activations.clone().filter(|fitted| fitted.class_changes.is_some())
    else {
        return Ok((attempt, Vec::new()));
    };
    let mut factor = noise_factor(attempts, &attempt.scheduled).unwrap_or(1.0);
    let Some(mut own) = row(&attempt.scheduled, &fitted, factor) else { return Ok((attempt, Vec::new())) };
    // How much more noise there is than predicted differs from program to program.
    for _ in 0..ROUNDS {
        if own.agreement >= target {
            break;
        }
        let scheduled = attempts.searched(&attempt.result.func, Some(&fitted), factor, after)?;
        let found = noise_factor(attempts, &scheduled).unwrap_or(factor);
        let Some(other) = row(&scheduled, &fitted, found) else { break };
        // It does not help to know.
        if other.agreement <= own.agreement {
            break;
        }
        let known = found > ALIKE * factor;
        (attempt.scheduled, own, factor) = (scheduled, other, found);
        if known {
            break;
        }
    }
    let mut tried = vec![(own, None)];
    if attempt.scheduled.program.ops().len() <= MANY_OPS {
        tried.extend(others(attempts, &attempt, factor));
    }
    let best = best(&tried.iter().map(|(row, _)| row).collect::<Vec<_>>(), target);
    if let Some(index) = tried[best].1 {
        let other = attempt.result.others.swap_remove(index);
        let judgement = attempts.judged(&attempt.result.reference, &other.func)?;
        attempts.check(&judgement)?;
        attempt.scheduled = attempts.searched(&other.func, Some(&other.activations), factor, after)?;
        attempt.judgement = judgement;
        attempt.result.func = other.func;
        attempt.result.activations = Some(other.activations);
    }
    tried[best].0.chosen = true;
    Ok((attempt, worth_a_look(tried.into_iter().map(|(row, _)| row).collect())))
}

/// How many times as large noise is as was predicted, within reason; `None` if nobody can say.
fn noise_factor(attempts: &Attempts<'_>, scheduled: &Scheduled) -> Option<f64> {
    let Scheduled { program, params, estimate, .. } = scheduled;
    let predicted = deviation_of_logits(program, estimate).filter(|deviation| *deviation > 0.0)?;
    let start = Instant::now();
    let found = ClassChanges::deviation_that_moves((attempts.noise?.0)(program, params)?);
    let seconds = start.elapsed().as_secs_f64();
    tracing::debug!(step = "measure-noise", seconds, predicted, found, "noise of logits simulated");
    Some((found / predicted).clamp(1.0 / 16.0, 16.0))
}

/// Rows of the other fits, with their places among them.
fn others(attempts: &Attempts<'_>, attempt: &Attempt, factor: f64) -> Vec<(FitRow, Option<usize>)> {
    let Some(own) = attempt.result.activations.as_ref() else { return Vec::new() };
    let levels: u32 = own.depths().sum();
    let is_coarser = |other: &Activations| other.depths().sum::<u32>() < levels;
    let mut coarser = 0;
    let looked_at = attempt.result.others.iter().enumerate().filter(|(_, other)| {
        coarser += usize::from(is_coarser(&other.activations));
        coarser <= COARSER
    });
    let looked_at: Vec<_> = looked_at.collect();
    let tried = looked_at.into_par_iter().map(|(index, other)| {
        // Not all of them have parameters; what was asked for has.
        let scheduled = attempts.searched(&other.func, Some(&other.activations), factor, &mut |_, _| ());
        Some((row(&scheduled.ok()?, &other.activations, factor)?, Some(index)))
    });
    let tried: Vec<Option<_>> = tried.collect();
    tried.into_iter().flatten().collect()
}

/// Where the best row is; the first is what was asked for.
fn best(rows: &[&FitRow], target: f64) -> usize {
    let seconds = |index: &usize| rows[*index].seconds;
    let keeping = || (0..rows.len()).filter(|&index| rows[index].agreement >= target);
    let Some(fastest) = keeping().map(|index| seconds(&index)).reduce(f64::min) else { return 0 };
    let fast = keeping().filter(|index| seconds(index) <= fastest * (1.0 + SAME_TIME));
    let order = |a: &usize, b: &usize| rows[*a].agreement.total_cmp(&rows[*b].agreement).then(b.cmp(a));
    fast.max_by(order).unwrap_or(0)
}

/// The chosen row and those that no other is faster and more exact than, the most exact first.
fn worth_a_look(mut rows: Vec<FitRow>) -> Vec<FitRow> {
    let beats = |a: &FitRow, b: &FitRow| a.seconds <= b.seconds && a.agreement >= b.agreement && a != b;
    let all = rows.clone();
    rows.retain(|row| row.chosen || !all.iter().any(|other| beats(other, row)));
    rows.sort_by(|a, b| b.agreement.total_cmp(&a.agreement).then(a.seconds.total_cmp(&b.seconds)));
    rows
}

/// What is said of fits and their program, whose noise is `factor` times what is predicted; `None`
/// where outputs are no logits.
fn row(scheduled: &Scheduled, fitted: &Activations, factor: f64) -> Option<FitRow> {
    let Scheduled { program, params, estimate, .. } = scheduled;
    Some(FitRow {
        levels: fitted.depths().sum(),
        least_depth: fitted.depths().min()?,
        most_depth: fitted.depths().max()?,
        agreement: 1.0 - fitted.class_changes?.with_noise(factor * deviation_of_logits(program, estimate)?),
        log_n: params.log_n(),
        log_qp: params.log_qp(),
        bootstraps: bootstraps(program),
        seconds: estimate.seconds,
        peak_bytes: estimate.peak_bytes,
        chosen: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seconds: f64, agreement: f64) -> FitRow {
        FitRow { seconds, agreement, ..FitRow::default() }
    }

    #[test]
    fn the_fastest_that_keeps_the_agreement_is_taken_and_of_equals_the_most_exact() {
        let taken = |rows: &[FitRow]| best(&rows.iter().collect::<Vec<_>>(), 0.995);
        assert_eq!(taken(&[row(7.0, 0.996), row(6.0, 0.997), row(4.0, 0.98)]), 1);
        assert_eq!(taken(&[row(7.0, 0.996), row(7.05, 0.998), row(7.5, 0.999)]), 1);
        assert_eq!(taken(&[row(7.0, 0.996), row(7.0, 0.996)]), 0);
        // Where none keeps it, it is what was made for it.
        assert_eq!(taken(&[row(7.0, 0.99), row(8.0, 0.993)]), 0);
    }

    #[test]
    fn rows_are_shown_that_have_something_for_them() {
        let chosen = FitRow { chosen: true, ..row(7.0, 0.9951) };
        let shown = worth_a_look(vec![
            chosen.clone(),
            row(6.95, 0.9953),
            row(4.0, 0.98),
            row(5.0, 0.97),
            row(9.0, 0.999),
        ]);
        assert_eq!(shown, [row(9.0, 0.999), row(6.95, 0.9953), chosen, row(4.0, 0.98)]);
    }
}
