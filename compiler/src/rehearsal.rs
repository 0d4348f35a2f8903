//! A compile's last look: the program itself, on slots with modelled noise, beside the plain
//! network. What passes judge is polynomials in the clear; that noise and their ranges get along
//! shows only here.

use std::sync::Arc;

use fhec_ir::plan::OutputRow;
use fhec_ir::program::Program;
use fhec_ir::tensor::Tensor;
use fhec_passes::nn::fit_network::is_fitted_to;
use fhec_passes::nn::output_errors::Judgement;

use crate::error::RehearsalError;
use crate::program::reference_outputs;
use crate::simulator::Simulator;

/// Images that are run: a program whose answers are lost loses them on the first.
const IMAGES: usize = 3;

/// The rows of the program's plan with what [`Simulator`] answers on a few of `images` that nothing
/// was fitted to; as they are where there are no images, or the plan has no rows.
///
/// # Errors
/// [`RehearsalError`] if one cannot be run.
pub fn rehearse(program: &Arc<Program>, images: &[Vec<Tensor>]) -> Result<Vec<OutputRow>, RehearsalError> {
    let interface = &program.interface;
    let mut rows = program.plan.outputs.clone();
    let held_out = images.iter().enumerate().filter(|(index, _)| !is_fitted_to(*index));
    let mut rehearsed: Vec<&[f32]> = held_out.filter_map(|(_, image)| Some(image.first()?.data())).collect();
    if rehearsed.is_empty() {
        rehearsed = images.iter().filter_map(|image| Some(image.first()?.data())).collect();
    }
    rehearsed.truncate(IMAGES);
    if rehearsed.is_empty() || rows.len() != interface.outputs.len() {
        return Ok(rows);
    }
    let simulator = Simulator::new(program, false);
    let batch = interface.batch.images;
    let mut compared = Vec::new();
    for (seed, images) in rehearsed.chunks(batch).enumerate() {
        let answer = simulator.answer(&images.concat(), seed as u64)?;
        for (index, image) in images.iter().enumerate() {
            let exact = reference_outputs(program, image)?;
            let pair = |(exact, found): (Vec<f64>, &Vec<f64>)| {
                let each = found.len() / batch;
                [exact, found[index * each..][..each].to_vec()]
            };
            compared.push(exact.into_iter().zip(&answer.outputs).map(pair).collect());
        }
    }
    let outputs = interface.outputs.iter().map(|port| (port.name.clone(), port.is_class_list()));
    let judgement = Judgement::of_answers(&outputs.collect::<Vec<_>>(), &compared);
    for (row, simulated) in rows.iter_mut().zip(judgement.rows()) {
        row.simulated_db = simulated.signal_to_error_db;
        row.simulated_images = simulated.judged_images;
    }
    Ok(rows)
}
