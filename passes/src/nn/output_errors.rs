//! How far the outputs of an approximated network are from those of the exact one.
//!
//! [`agreement`](super::agreement) says how often a class is kept, which says nothing of pictures,
//! maps and single numbers. Here the energy of every output is compared with that of its error, as
//! the client gets it: what is left to the client is done on both sides. An error as large as the
//! output is no answer, and such a program is refused ([`Judgement::check`]).
//!
//! This is of approximations alone. What the noise of encryption adds, and what it makes of values
//! near the ends of their ranges, shows when the program itself is run on slots with modelled
//! noise, as compiles with sample images do at last. A prediction of that noise is worth little
//! here: it bounds what many steep polynomials in a row make of it, and was wrong by 28 dB for a
//! face detector.
//!
//! A number that is added to all classes changes none of them, so of a list of classes what differs
//! between the classes is compared. One image that goes wrong there is what the agreement tells of:
//! the row has the median image. Of other outputs all images count together, as in `fhec simulate`.

use fhec_ir::{
    entity::Value,
    fact::{OUTPUT_ENDINGS, OUTPUT_FACTOR},
    func::Func,
    interp,
    nn::Nn,
    plan::OutputRow,
    program::Ending,
    tensor::{Tensor, is_class_list},
};
use rayon::prelude::*;

use super::{agreement::class, normalize_ranges::stored_inputs, sample_images::is_fitted_to};
use crate::error::PassError;

/// Images that are compared at most: ratios of energies are known from few.
const MAX_IMAGES: usize = 64;

/// Energies of one output on one image.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Energies {
    signal: f64,
    error: f64,
    largest_error: f64,
    /// Whether all are numbers, and the largest is at the same place.
    keeps_class: bool,
}

impl Energies {
    fn of(exact: &[f64], found: &[f64], is_class_list: bool) -> Energies {
        let error: Vec<f64> = exact.iter().zip(found).map(|(exact, found)| found - exact).collect();
        let larger = |most: f64, e: &f64| if e.is_nan() { f64::MAX } else { most.max(e.abs()) };
        let energy = |numbers: &[f64]| {
            let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
            let middle = if is_class_list { mean } else { 0.0 };
            numbers.iter().map(|x| (x - middle) * (x - middle)).sum()
        };
        let largest_error = error.iter().fold(0.0, larger);
        let keeps_class = class(exact) == class(found) && error.iter().all(|e| !e.is_nan());
        Energies { signal: energy(exact), error: energy(&error), largest_error, keeps_class }
    }

    fn sum(all: &[Energies]) -> Energies {
        let sum = |of: fn(&Energies) -> f64| all.iter().map(of).sum();
        let largest = all.iter().map(|energies| energies.largest_error);
        Energies {
            signal: sum(|energies| energies.signal),
            error: sum(|energies| energies.error),
            largest_error: largest.fold(0.0, f64::max),
            keeps_class: all.iter().all(|energies| energies.keeps_class),
        }
    }

    /// In decibels; `None` where there is no signal or no error. An error that is no number is
    /// larger than all of them.
    fn decibels(&self) -> Option<f64> {
        if self.error.is_nan() || self.signal.is_nan() {
            return Some(-OutputRow::MOST_DB);
        }
        let decibels = 10.0 * (self.signal / self.error).log10();
        let there = self.signal > 0.0 && self.error > 0.0;
        there.then(|| decibels.clamp(-OutputRow::MOST_DB, OutputRow::MOST_DB))
    }
}

/// One output on all images that were compared.
#[derive(Clone, Debug)]
struct Output {
    name: String,
    is_class_list: bool,
    images: Vec<Energies>,
}

/// The outputs of an approximated network beside those of the exact one.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    outputs: Vec<Output>,
    /// Images that activations may have been fitted to, beside those that were compared.
    others: usize,
}

impl Judgement {
    /// Of answers as a client gets them: the outputs' names and whether they are lists of classes,
    /// and for every image what each output is to be and what it is.
    pub fn of_answers(outputs: &[(String, bool)], images: &[Vec<[Vec<f64>; 2]>]) -> Judgement {
        let output = |(index, (name, is_class_list)): (usize, &(String, bool))| {
            let of_image = |image: &Vec<[Vec<f64>; 2]>| {
                image.get(index).map(|[exact, found]| Energies::of(exact, found, *is_class_list))
            };
            let images = images.iter().filter_map(of_image).collect();
            Output { name: name.clone(), is_class_list: *is_class_list, images }
        };
        Judgement { outputs: outputs.iter().enumerate().map(output).collect(), others: 0 }
    }

    /// Runs both networks on those of `images` that nothing is fitted to (on all, where that leaves
    /// none). `func` is on stored values ([`normalize_ranges`](mod@super::normalize_ranges)),
    /// `reference` has exact activations; both leave the same to the client of `network`, whose
    /// outputs have the names.
    ///
    /// # Errors
    /// [`PassError::Calibration`] if one cannot be run, [`PassError::Malformed`] if `func` lacks
    /// the facts of stored values.
    pub fn of(
        network: &Func<Nn>,
        reference: &Func<Nn>,
        func: &Func<Nn>,
        images: &[Vec<Tensor>],
    ) -> Result<Judgement, PassError> {
        let malformed = |error: fhec_ir::attr::AttrError| PassError::malformed("judge-outputs")(error.0);
        let factor = func.fact(OUTPUT_FACTOR).map_err(malformed)?;
        let endings = func.fact(OUTPUT_ENDINGS).map_err(malformed)?.unwrap_or_default();
        let ending = |output: usize| endings.get(output).copied().unwrap_or_default();
        let held_out = images.iter().enumerate().filter(|(index, _)| !is_fitted_to(*index));
        let mut judged: Vec<&Vec<Tensor>> = held_out.map(|(_, image)| image).take(MAX_IMAGES).collect();
        if judged.is_empty() {
            judged = images.iter().collect();
        }
        let one = |image: &&Vec<Tensor>| -> Result<Vec<Energies>, PassError> {
            let exact = interp::nn::run(reference, image)?;
            let found = interp::nn::run(func, &stored_inputs(func, image).map_err(malformed)?)?;
            let pairs = exact.iter().zip(&found).enumerate();
            let pair = |(output, (exact, found)): (usize, (&Tensor, &Tensor))| {
                let is_class_list = is_class_list(exact.shape());
                energies(exact.data(), found.data(), factor, ending(output), is_class_list)
            };
            Ok(pairs.map(pair).collect())
        };
        let energies = judged.par_iter().map(one).collect::<Result<Vec<_>, _>>()?;
        let output = |(index, (&named, &value)): (usize, (&Value, &Value))| {
            let shape = &reference.ty(value).shape;
            Output {
                name: network.value_name(named).map_or(named.to_string(), str::to_string),
                is_class_list: is_class_list(shape),
                images: energies.iter().filter_map(|image| image.get(index).copied()).collect(),
            }
        };
        let outputs = network.outputs().iter().zip(reference.outputs()).enumerate().map(output).collect();
        Ok(Judgement { outputs, others: images.len() - judged.len() })
    }

    /// A row per output for the plan.
    pub fn rows(&self) -> Vec<OutputRow> {
        let row = |output: &Output| {
            let images = &output.images;
            let all = Energies::sum(images);
            OutputRow {
                name: output.name.clone(),
                classes: output.is_class_list,
                judged_images: images.len(),
                signal_to_error_db: if output.is_class_list { median(images) } else { all.decibels() },
                largest_error: all.largest_error.min(f64::MAX),
                ..OutputRow::default()
            }
        };
        self.outputs.iter().map(row).collect()
    }

    /// Whether approximations alone keep every output within what a compile aims at; a list of
    /// classes, from being lost: what is coarse there is judged by the agreement.
    pub fn is_good(&self) -> bool {
        let least = |row: &OutputRow| if row.classes { 0.0 } else { OutputRow::GOOD_DB };
        self.rows().iter().all(|row| row.signal_to_error_db.is_none_or(|decibels| decibels >= least(row)))
    }

    /// The share of images that keep their class, from 0 to 1, of the list of classes that keeps
    /// the fewest; 1 where there is none.
    pub fn kept_classes(&self) -> f64 {
        let lists = self.outputs.iter().filter(|output| output.is_class_list && !output.images.is_empty());
        let share = |output: &Output| {
            let kept = output.images.iter().filter(|energies| energies.keeps_class).count();
            kept as f64 / output.images.len() as f64
        };
        lists.map(share).fold(1.0, f64::min)
    }

    /// Whether at least this share of images keeps its class; a single one that changes tells
    /// nothing.
    pub fn keeps_classes(&self, least: f64) -> bool {
        let one = |images: usize| 1.0 - 1.5 / images as f64;
        let images = self.outputs.iter().map(|output| output.images.len()).min().unwrap_or(0);
        self.kept_classes() >= if images > 0 { least.min(one(images)) } else { 0.0 }
    }

    /// The ratio of the worst output.
    pub fn worst_decibels(&self) -> f64 {
        let rows = self.rows();
        rows.iter().filter_map(|row| row.signal_to_error_db).fold(OutputRow::MOST_DB, f64::min)
    }

    /// Refuses outputs whose error is larger than they are.
    ///
    /// # Errors
    /// [`PassError::OutputLost`].
    pub fn check(&self) -> Result<(), PassError> {
        let Some(lost) = self.rows().into_iter().find(OutputRow::is_lost) else { return Ok(()) };
        Err(PassError::OutputLost {
            output: lost.name,
            decibels: lost.signal_to_error_db.unwrap_or_default(),
            judged: lost.judged_images,
            remedy: format!(
                "give more inputs to --calibration (beside these there are {} to fit to), more levels per activation \
                 (--relu-depth 9), or wider ranges (--margin 3)",
                self.others
            ),
        })
    }
}

/// The median of the images' ratios.
fn median(images: &[Energies]) -> Option<f64> {
    let mut ratios: Vec<f64> = images.iter().filter_map(Energies::decibels).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// Of an output as the network has it, and as it is found: stored, divided by `factor`.
fn energies(exact: &[f32], found: &[f32], factor: f64, ending: Ending, is_class_list: bool) -> Energies {
    let finished = |stored: &[f32], factor: f64| {
        ending.finish(&stored.iter().map(|&x| f64::from(x) * factor).collect::<Vec<f64>>())
    };
    Energies::of(&finished(exact, 1.0), &finished(found, factor), is_class_list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(is_class_list: bool, pairs: &[(&[f32], &[f32])]) -> Judgement {
        let of =
            |(exact, found): &(&[f32], &[f32])| energies(exact, found, 2.0, Ending::Nothing, is_class_list);
        let images = pairs.iter().map(of).collect();
        let output = Output { name: "y".into(), is_class_list, images };
        Judgement { outputs: vec![output], others: 3 }
    }

    #[test]
    fn numbers_are_judged_by_energy_over_all_images() {
        // Stored numbers are half of what they stand for.
        let judgement = output(false, &[(&[3.0, 4.0], &[1.5, 2.5]), (&[0.0, 0.0], &[0.0, 0.5])]);
        let [row] = &judgement.rows()[..] else { panic!("one output") };
        assert_eq!((row.name.as_str(), row.judged_images, row.classes), ("y", 2, false));
        assert_eq!((row.signal_to_error_db, row.largest_error), (Some(10.0 * 12.5f64.log10()), 1.0));
    }

    #[test]
    fn classes_are_judged_by_what_is_between_them() {
        // The same added to all classes changes nothing; one image of three goes wrong.
        let right = (&[10.0, 12.0][..], &[6.0, 7.0][..]);
        let wrong = (&[10.0, 12.0][..], &[6.0, 5.0][..]);
        let coarse = (&[10.0, 12.0][..], &[6.0, 6.75][..]);
        let judgement = output(true, &[right, coarse, wrong]);
        assert_eq!(judgement.rows()[0].signal_to_error_db, Some(10.0 * 16f64.log10()));
        assert_eq!(judgement.kept_classes(), 2.0 / 3.0);
        assert!(judgement.keeps_classes(0.9) && judgement.keeps_classes(0.0));
        judgement.check().unwrap();
        let lost = output(true, &[wrong, coarse, wrong]);
        assert!(
            !lost.keeps_classes(0.9) && lost.keeps_classes(0.3) && Judgement::default().keeps_classes(1.0)
        );
        assert!(matches!(lost.check(), Err(PassError::OutputLost { judged: 3, .. })));
    }

    #[test]
    fn what_is_lost_is_refused_with_what_would_help() {
        let refused = |judgement: &Judgement| match judgement.check() {
            Err(PassError::OutputLost { remedy, decibels, .. }) => (remedy, decibels),
            other => panic!("{other:?}"),
        };
        let good = output(false, &[(&[3.0, 4.0], &[1.5, 2.0])]);
        assert_eq!(good.rows()[0].signal_to_error_db, None);
        good.check().unwrap();
        let bad = output(false, &[(&[3.0, 4.0], &[-1.5, -2.0])]);
        let (remedy, decibels) = refused(&bad);
        assert!(remedy.contains("--calibration") && remedy.contains("there are 3"), "{remedy}");
        assert!((decibels + 10.0 * 4f64.log10()).abs() < 1e-9);
        // What is no number is worse than any; nothing can be lost of what is 0.
        let broken = output(false, &[(&[3.0, 4.0], &[f32::NAN, 2.0])]);
        assert_eq!(refused(&broken).1, -OutputRow::MOST_DB);
        assert_eq!(output(true, &[(&[3.0, 4.0], &[f32::NAN, 2.0])]).kept_classes(), 0.0);
        assert_eq!((broken.kept_classes(), Judgement::default().kept_classes()), (1.0, 1.0));
        output(false, &[(&[0.0, 0.0], &[0.1, 0.0])]).check().unwrap();
    }
}
