//! Other fits beside the ones that an agreement asks for.
//!
//! What a depth is worth is known only when its program is made: levels that save no bootstrap save
//! little. So programs are made for finer and coarser fits, too. The fastest of those that keep the
//! agreement is taken, of those as fast the one that agrees most. The others are shown: a plan that
//! costs half as much and loses one image in a thousand may be what somebody wants.

use std::time::Instant;

use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::plan::FitRow;
use rayon::prelude::*;

use super::MANY_OPS;
use super::attempt::{Attempt, Attempts};
use crate::error::PassError;
use crate::nn::activations::Activations;
use crate::nn::agreement::ClassChanges;
use crate::pipeline::nn::Alternative;
use crate::pipeline::{After, NnResult};
use crate::search::{SAME_TIME, Scheduled, bootstraps, deviation_of_logits};

/// Times that parameters are looked for again at most.
const ROUNDS: usize = 2;

/// Factors are alike from here on.
const ALIKE: f64 = 0.75;

/// Coarser fits that are looked at.
const COARSER: usize = 3;

/// The best of `attempt` and its alternatives, `target` (0 to 1) of whose images are to keep their
/// class, and a row for each that is worth a look. Noise is what [`Attempts::noise`] says of the
/// programs of `attempt` and of what is taken, whose parameters are looked for again if it is more
/// than was predicted. `after` is shown the passes of every program that is made for these fits,
/// and of the one that is taken if it has others.
///
/// # Errors
/// Those of the search.
pub(super) fn best_of(
    attempts: &Attempts<'_>,
    attempt: Attempt,
    target: f64,
    after: &mut After<'_>,
) -> Result<(Attempt, Vec<FitRow>), PassError> {
    let Some(fitted) = attempt.result.activations.clone().filter(|fitted| fitted.class_changes.is_some())
    else {
        return Ok((attempt, Vec::new()));
    };
    let Some(own) = row(&attempt.scheduled, &fitted, 1.0) else { return Ok((attempt, Vec::new())) };
    let Attempt { mut result, mut judgement, scheduled, note } = attempt;
    let first = Settled { scheduled, factor: 1.0, row: own };
    let mut settled = first.settle(attempts, &result.func, &fitted, target, after)?;
    let factor = settled.factor;
    let mut tried = vec![(settled.row.clone(), None)];
    if settled.scheduled.program.ops().len() <= MANY_OPS {
        tried.extend(others(attempts, &result, factor));
    }
    let chosen = loop {
        let chosen = best(&tried.iter().map(|(row, _)| row).collect::<Vec<_>>(), target);
        let Some(index) = tried[chosen].1 else { break chosen };
        // What its noise is taken to be is that of another program so far.
        let Alternative { func, activations } = &result.others[index];
        let scheduled = attempts.searched(func, Some(activations), factor, after)?;
        let other = Settled { scheduled, factor, row: tried[chosen].0.clone() };
        let other = other.settle(attempts, func, activations, target, after)?;
        tried[chosen].0 = other.row.clone();
        if other.row.agreement >= target {
            let Alternative { func, activations } = result.others.swap_remove(index);
            judgement = attempts.judged(&result.reference, &func)?;
            attempts.check(&judgement)?;
            settled = other;
            (result.func, result.activations) = (func, Some(activations));
            break chosen;
        }
    };
    tried[chosen].0.chosen = true;
    let rows = worth_a_look(tried.into_iter().map(|(row, _)| row).collect());
    Ok((Attempt { result, judgement, scheduled: settled.scheduled, note }, rows))
}

/// A program and how many times as large its noise is taken to be as is predicted.
struct Settled {
    scheduled: Scheduled,
    factor: f64,
    /// What is said of it.
    row: FitRow,
}

impl Settled {
    /// Measures the noise, and looks for other parameters where it takes too much from `target`.
    fn settle(
        mut self,
        attempts: &Attempts<'_>,
        func: &Func<Nn>,
        fitted: &Activations,
        target: f64,
        after: &mut After<'_>,
    ) -> Result<Settled, PassError> {
        self.factor = noise_factor(attempts, &self.scheduled).unwrap_or(self.factor);
        self.row = row(&self.scheduled, fitted, self.factor).unwrap_or(self.row);
        // How much more noise there is than predicted differs from program to program.
        for _ in 0..ROUNDS {
            if self.row.agreement >= target {
                break;
            }
            let scheduled = attempts.searched(func, Some(fitted), self.factor, after)?;
            let factor = noise_factor(attempts, &scheduled).unwrap_or(self.factor);
            // It may not help to know.
            let better = |row: &FitRow| row.agreement > self.row.agreement;
            let Some(row) = row(&scheduled, fitted, factor).filter(better) else { break };
            let known = factor > ALIKE * self.factor;
            self = Settled { scheduled, factor, row };
            if known {
                break;
            }
        }
        Ok(self)
    }
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
fn others(attempts: &Attempts<'_>, result: &NnResult, factor: f64) -> Vec<(FitRow, Option<usize>)> {
    let Some(own) = result.activations.as_ref() else { return Vec::new() };
    let levels: u32 = own.depths().sum();
    let is_coarser = |other: &Activations| other.depths().sum::<u32>() < levels;
    let mut coarser = 0;
    let looked_at = result.others.iter().enumerate().filter(|(_, other)| {
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
