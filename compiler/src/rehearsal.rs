//! A compile's last look: the program itself, on slots with modelled noise, beside the plain
//! network. What passes judge is polynomials in the clear; that noise and their ranges get along
//! shows only here.

use std::sync::Arc;

use fhec_ir::plan::{Agreement, OutputRow, Plan};
use fhec_ir::program::{Ending, Program};
use fhec_ir::tensor::Tensor;
use fhec_passes::compile::MANY_OPS;
use fhec_passes::nn::agreement::{Outputs, compare};
use fhec_passes::nn::output_errors::Judgement;
use fhec_passes::nn::sample_images::is_fitted_to;
use rayon::prelude::*;

use crate::error::RehearsalError;
use crate::program::reference_outputs;
use crate::simulator::Simulator;

/// Images that a program of many ops is run on: one whose answers are lost loses them on the first.
const FEW: usize = 3;
/// Images that others are run on.
const SOME: usize = 16;
/// Images that noise is measured with: a mean over these is known to some 25 %.
const MEASURED: usize = 10;

/// What a rehearsal has shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rehearsal {
    /// The rows of the program's plan with what was found.
    pub outputs: Vec<OutputRow>,
    /// Likewise its agreement.
    pub agreement: Option<Agreement>,
}

impl Rehearsal {
    /// What the plan says where nothing is rehearsed.
    fn unchanged(plan: &Plan) -> Self {
        Rehearsal { outputs: plan.outputs.clone(), agreement: plan.agreement }
    }
}

/// Runs the program on some of `images` that nothing was fitted to with [`Simulator`]; there is
/// nothing to see where there are no images, or the plan has no rows.
///
/// # Errors
/// [`RehearsalError`] if one cannot be run.
pub fn rehearse(program: &Arc<Program>, images: &[Vec<Tensor>]) -> Result<Rehearsal, RehearsalError> {
    let (interface, plan) = (&program.interface, &program.plan);
    let mut rehearsal = Rehearsal::unchanged(plan);
    let classes = interface.output().is_class_list();
    let few = !classes || plan.ops.len() > MANY_OPS;
    let rehearsed = held_out(images, if few { FEW } else { SOME });
    if rehearsed.is_empty() || rehearsal.outputs.len() != interface.outputs.len() {
        return Ok(rehearsal);
    }
    let simulator = Simulator::new(program, false);
    let batch = interface.batch.images;
    let run = |(seed, images): (usize, &[&[f32]])| {
        let answer = simulator.answer(&images.concat(), seed as u64)?;
        let one = |(index, image): (usize, &&[f32])| {
            let exact = reference_outputs(program, image)?;
            let pair = |(exact, found): (Vec<f64>, &Vec<f64>)| {
                let each = found.len() / batch;
                [exact, found[index * each..][..each].to_vec()]
            };
            Ok(exact.into_iter().zip(&answer.outputs).map(pair).collect())
        };
        images.iter().enumerate().map(one).collect::<Result<Vec<Vec<[Vec<f64>; 2]>>, RehearsalError>>()
    };
    let compared = rehearsed.par_chunks(batch).enumerate().map(run).collect::<Result<Vec<_>, _>>()?.concat();
    let outputs = interface.outputs.iter().map(|port| (port.name.clone(), port.is_class_list()));
    let judgement = Judgement::of_answers(&outputs.collect::<Vec<_>>(), &compared);
    for (row, simulated) in rehearsal.outputs.iter_mut().zip(judgement.rows()) {
        row.simulated_db = simulated.signal_to_error_db;
        row.simulated_images = simulated.judged_images;
    }
    if let Some(agreement) = rehearsal.agreement.as_mut().filter(|_| classes) {
        let side = |side: usize| -> Vec<Vec<f32>> {
            let numbers = |image: &Vec<[Vec<f64>; 2]>| image[0][side].iter().map(|&x| x as f32).collect();
            compared.iter().map(numbers).collect()
        };
        let found = compare(&side(0), &side(1), Outputs::Classes);
        agreement.simulated_images = found.images;
        agreement.simulated_agreeing = found.agreeing;
    }
    Ok(rehearsal)
}

/// What noise moves the difference of the two largest numbers of a class list by, on average over
/// some of `images` that nothing was fitted to: in the network's units, before a softmax that is
/// left to the client. `None` where there are no images, or the program has many ops, or cannot be
/// run.
pub fn moved_by_noise(program: &Arc<Program>, images: &[Vec<Tensor>]) -> Option<f64> {
    let batch = program.interface.batch.images;
    let measured = held_out(images, MEASURED.next_multiple_of(batch));
    if program.schedule.ops().len() > MANY_OPS || measured.is_empty() {
        return None;
    }
    let mut program = Arc::clone(program);
    Arc::make_mut(&mut program).interface.outputs.first_mut()?.ending = Ending::Nothing;
    let (exact, noisy) = (Simulator::new(&program, true), Simulator::new(&program, false));
    let run = |(seed, images): (usize, &[&[f32]])| {
        let answer = |simulator: &Simulator| simulator.logits(&images.concat(), seed as u64).ok();
        let (exact, noisy) = (answer(&exact)?, answer(&noisy)?);
        let each = exact.len() / batch;
        let pairs = exact.chunks_exact(each).zip(noisy.chunks_exact(each)).take(images.len());
        Some(pairs.map(|(exact, noisy)| moved(exact, noisy)).sum::<f64>())
    };
    let sums: Option<Vec<f64>> = measured.par_chunks(batch).enumerate().map(run).collect();
    Some(sums?.iter().sum::<f64>() / measured.len() as f64).filter(|moved| moved.is_finite())
}

/// By how much the difference of the two largest of `exact` differs in `found`.
fn moved(exact: &[f64], found: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..exact.len()).collect();
    order.sort_by(|&a, &b| exact[b].total_cmp(&exact[a]));
    let [first, second, ..] = order[..] else { return 0.0 };
    ((found[first] - found[second]) - (exact[first] - exact[second])).abs()
}

/// At most `most` of the images that nothing was fitted to, or of all where that leaves none.
fn held_out(images: &[Vec<Tensor>], most: usize) -> Vec<&[f32]> {
    let kept = images.iter().enumerate().filter(|(index, _)| !is_fitted_to(*index));
    let kept: Vec<&[f32]> = kept.filter_map(|(_, image)| Some(image.first()?.data())).take(most).collect();
    match kept.is_empty() {
        true => images.iter().filter_map(|image| Some(image.first()?.data())).take(most).collect(),
        false => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_the_difference_of_the_two_largest() {
        assert_eq!(moved(&[1.0, 5.0, 3.0], &[9.0, 5.5, 3.0]), 0.5);
        assert_eq!(moved(&[1.0, 5.0, 3.0], &[1.0, 4.0, 3.5]), 1.5);
        assert_eq!(moved(&[1.0], &[2.0]), 0.0);
    }
}
