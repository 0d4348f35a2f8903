//! Simulated answers on a data set: each compared with the plain network's, and all of them summed
//! up.

use std::collections::BTreeMap;

use fhec_runtime::exec::Overflow;
use rayon::prelude::*;
use serde::Serialize;

use crate::blame::{Blame, Blamer, Cause};
use crate::data::Dataset;
use crate::error::RehearsalError;
use crate::program::{argmax, reference_logits};
use crate::simulator::Simulator;
use fhec_ir::program::Program;

/// Networks of many classes are judged by these many best ones, too.
pub const TOP: usize = 5;

/// With no more classes than these, what is among the [`TOP`] best says little.
const FEW_CLASSES: usize = 10;

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The true class, where the file has it.
    pub label: Option<u32>,
    /// Simulated.
    pub logits: Vec<f64>,
    /// Of the plain network.
    pub reference: Vec<f64>,
    /// Operands outside the range of what was done to them.
    pub overflows: Vec<Overflow>,
    /// What flips the class, where it was looked for.
    pub blame: Option<Blame>,
}

impl Outcome {
    /// Simulated class.
    pub fn class(&self) -> usize {
        argmax(&self.logits)
    }

    /// Class of the plain network.
    pub fn reference_class(&self) -> usize {
        argmax(&self.reference)
    }

    /// Whether the classes differ.
    pub fn differs(&self) -> bool {
        self.class() != self.reference_class()
    }

    /// Whether `class` is among the [`TOP`] largest of `logits`, equal ones in its favour.
    fn is_top(logits: &[f64], class: usize) -> bool {
        let own = logits.get(class).copied();
        own.is_some_and(|own| logits.iter().filter(|&&logit| logit > own).count() < TOP)
    }

    /// By how much the plain network's largest logit exceeds the next.
    pub fn reference_margin(&self) -> f64 {
        let class = self.reference_class();
        let others = self.reference.iter().enumerate().filter(|(index, _)| *index != class);
        self.reference[class] - others.map(|(_, logit)| *logit).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// Runs the first `count` images of `dataset`; a run that starts with image i has the noise of seed
/// `seed + i`. `done` is told of every image.
pub fn simulate(
    program: &Program,
    simulator: &Simulator,
    dataset: &Dataset,
    count: usize,
    seed: u64,
    done: &(dyn Fn() + Sync),
) -> Result<Vec<Outcome>, RehearsalError> {
    let images = program.interface.batch.images;
    let run = |first: usize| {
        let indices = first..count.min(first + images);
        let inputs =
            indices.clone().into_par_iter().map(|index| dataset.input(index, &program.interface.preprocess));
        let inputs: Vec<Vec<f32>> = inputs.collect::<Result<_, _>>()?;
        let answer = simulator.answer(&inputs.concat(), seed.wrapping_add(first as u64))?;
        let outputs = answer.logits().len() / images;
        let logits: Vec<&[f64]> = answer.logits().chunks_exact(outputs).collect();
        let one = |(index, image): (usize, &Vec<f32>)| {
            let reference = reference_logits(program, image)?;
            done();
            let label = dataset.labels().map(|labels| labels[first + index]);
            // A run has overflows, whichever of its images they are of.
            let overflows = if index == 0 { answer.overflows.clone() } else { Vec::new() };
            Ok(Outcome { label, logits: logits[index].to_vec(), reference, overflows, blame: None })
        };
        inputs.par_iter().enumerate().map(one).collect::<Result<Vec<Outcome>, RehearsalError>>()
    };
    let firsts: Vec<usize> = (0..count).step_by(images).collect();
    let runs = firsts.into_par_iter().map(run).collect::<Result<Vec<Vec<Outcome>>, RehearsalError>>()?;
    Ok(runs.into_iter().flatten().collect())
}

/// Finds what flips the class, for the first `most` of the outcomes that differ. `done` is told of
/// every one.
pub fn blame(
    program: &Program,
    blamer: &Blamer<'_>,
    dataset: &Dataset,
    seed: u64,
    outcomes: &mut [Outcome],
    most: usize,
    done: &(dyn Fn() + Sync),
) -> Result<(), RehearsalError> {
    let mut differing: Vec<(usize, &mut Outcome)> =
        outcomes.iter_mut().enumerate().filter(|(_, outcome)| outcome.differs()).take(most).collect();
    differing.par_iter_mut().try_for_each(|(index, outcome)| {
        let image = dataset.input(*index, &program.interface.preprocess)?;
        let seed = seed.wrapping_add(*index as u64);
        outcome.blame = blamer.blame(&image, seed, outcome.reference_class())?;
        done();
        Ok(())
    })
}

/// What `fhec simulate --json` prints. Shares are between 0 and 1, intervals hold the true share
/// with 95 % confidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Images simulated.
    pub images: usize,
    /// Whether the first output is a list of classes. Where it is none, its largest number means
    /// nothing: agreement and accuracies are unknown, and no image is said to differ.
    pub classes: bool,
    /// Share whose class is that of the plain network.
    pub agreement: Option<f64>,
    /// Of the agreement.
    pub agreement_interval: Option<[f64; 2]>,
    /// Energy of the plain network's first outputs over that of the differences, in decibels;
    /// `None` where there is no difference, or no number.
    pub signal_to_error_db: Option<f64>,
    /// Share whose class is true, if there are labels.
    pub accuracy: Option<f64>,
    /// Of the accuracy.
    pub accuracy_interval: Option<[f64; 2]>,
    /// The same for the plain network.
    pub reference_accuracy: Option<f64>,
    /// Of that.
    pub reference_accuracy_interval: Option<[f64; 2]>,
    /// Share whose plain class is among the five largest logits; of lists of more than ten classes.
    pub top5_agreement: Option<f64>,
    /// Of that.
    pub top5_agreement_interval: Option<[f64; 2]>,
    /// Share whose true class is among the five largest logits, likewise.
    pub top5_accuracy: Option<f64>,
    /// Of that.
    pub top5_accuracy_interval: Option<[f64; 2]>,
    /// The same for the plain network.
    pub reference_top5_accuracy: Option<f64>,
    /// Of that.
    pub reference_top5_accuracy_interval: Option<[f64; 2]>,
    /// Images with an output that is no number: values left their ranges ([`Self::overflows`])
    /// several times over. Under encryption these are reduced modulo q, to any number. Differences
    /// leave such images out.
    pub lost_images: usize,
    /// Largest difference of any logit from the plain network's.
    pub max_logit_difference: f64,
    /// Mean difference.
    pub mean_logit_difference: f64,
    /// Indices of images whose class differs from the plain network's.
    pub disagreeing: Vec<usize>,
    /// How often which class became which, by class of the plain network.
    pub confusion: Vec<Confusion>,
    /// The images that differ.
    pub differing: Vec<Differing>,
    /// Layers that flip classes, in the order of the program.
    pub blame: Vec<BlamedLayer>,
    /// Operands outside the range of what was done to them, in program order.
    pub overflows: Vec<OverflowRow>,
    /// Seconds for all of it.
    pub seconds: f64,
}

/// A pair of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Of the plain network.
    pub reference_class: usize,
    /// Simulated.
    pub class: usize,
    /// How many images.
    pub images: usize,
}

/// An image whose class differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Differing {
    /// In the file.
    pub index: usize,
    /// True class, if known.
    pub label: Option<u32>,
    /// Of the plain network.
    pub reference_class: usize,
    /// Simulated.
    pub class: usize,
    /// By how much the plain network's largest logit exceeds the next.
    pub reference_margin: f64,
    /// What flips it; `null` where it was not looked for.
    pub cause: Option<Cause>,
    /// Where.
    pub layer: Option<String>,
}

/// A layer that flips classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlamedLayer {
    /// Its name in the model file.
    pub layer: String,
    /// Images that its approximation flips.
    pub approximation: usize,
    /// Images that its noise flips.
    pub noise: usize,
}

/// An op whose operand was outside `[-1, 1]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverflowRow {
    /// Index of the op.
    pub op: usize,
    /// Its mnemonic.
    pub kind: String,
    /// Its layer's name in the model file.
    pub layer: String,
    /// Images with such an operand.
    pub images: usize,
    /// Slots over all images.
    pub slots: usize,
    /// The largest absolute value.
    pub largest: f64,
}

/// Sums up `outcomes` of `program`.
pub fn summarise(program: &Program, outcomes: &[Outcome], seconds: f64) -> Summary {
    let count = outcomes.len();
    let classes = program.interface.output().is_class_list();
    let disagreeing: Vec<usize> = (0..count).filter(|&index| classes && outcomes[index].differs()).collect();
    let agreeing = classes.then(|| count - disagreeing.len());
    let labelled = classes && outcomes.iter().all(|outcome| outcome.label.is_some());
    let right = |class: fn(&Outcome) -> usize| {
        let right = |outcome: &&Outcome| outcome.label.map(|label| label as usize) == Some(class(outcome));
        labelled.then(|| outcomes.iter().filter(right).count())
    };
    let share = |part: usize| part as f64 / count.max(1) as f64;
    let (accurate, reference_accurate) = (right(Outcome::class), right(Outcome::reference_class));
    let many = classes && outcomes.iter().all(|outcome| outcome.logits.len() > FEW_CLASSES);
    let top = |is_top: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|&outcome| is_top(outcome)).count();
    let top_agreeing = many.then(|| top(&|image| Outcome::is_top(&image.logits, image.reference_class())));
    let is_true = |logits: &[f64], label: Option<u32>| {
        label.is_some_and(|label| Outcome::is_top(logits, label as usize))
    };
    let top_accurate = (many && labelled).then(|| top(&|image| is_true(&image.logits, image.label)));
    let reference_top_accurate =
        (many && labelled).then(|| top(&|image| is_true(&image.reference, image.label)));
    let is_lost = |outcome: &&Outcome| outcome.logits.iter().any(|x| !x.is_finite());
    let numbers = || outcomes.iter().filter(|outcome| !is_lost(outcome));
    let differences =
        || numbers().flat_map(|o| o.logits.iter().zip(&o.reference).map(|(a, b)| (a - b).abs()));
    let energy = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let signal = energy(&mut numbers().flat_map(|outcome| outcome.reference.iter().copied()));
    let decibels = 10.0 * (signal / energy(&mut differences())).log10();
    Summary {
        images: count,
        classes,
        agreement: agreeing.map(share),
        agreement_interval: agreeing.map(|part| wilson(part, count)),
        signal_to_error_db: Some(decibels).filter(|decibels| decibels.is_finite()),
        accuracy: accurate.map(share),
        accuracy_interval: accurate.map(|part| wilson(part, count)),
        reference_accuracy: reference_accurate.map(share),
        reference_accuracy_interval: reference_accurate.map(|part| wilson(part, count)),
        top5_agreement: top_agreeing.map(share),
        top5_agreement_interval: top_agreeing.map(|part| wilson(part, count)),
        top5_accuracy: top_accurate.map(share),
        top5_accuracy_interval: top_accurate.map(|part| wilson(part, count)),
        reference_top5_accuracy: reference_top_accurate.map(share),
        reference_top5_accuracy_interval: reference_top_accurate.map(|part| wilson(part, count)),
        lost_images: outcomes.iter().filter(is_lost).count(),
        max_logit_difference: differences().fold(0.0, f64::max),
        mean_logit_difference: differences().sum::<f64>() / differences().count().max(1) as f64,
        confusion: if classes { confusion(outcomes) } else { Vec::new() },
        differing: disagreeing.iter().map(|&index| differing(index, &outcomes[index])).collect(),
        blame: blamed(program, outcomes),
        overflows: overflows(program, outcomes),
        disagreeing,
        seconds,
    }
}

/// The 95 % confidence interval of a share of which `part` of `count` were seen: E. B. Wilson,
/// Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
pub fn wilson(part: usize, count: usize) -> [f64; 2] {
    /// 97.5 % of a normal distribution are below this.
    const Z: f64 = 1.959_963_984_540_054;
    if count == 0 {
        return [0.0, 1.0];
    }
    let (n, share) = (count as f64, part as f64 / count as f64);
    let denominator = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / denominator;
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / denominator;
    // Exactly 0 and 1 where nothing or everything was seen, whatever rounding makes of it.
    let low = if part == 0 { 0.0 } else { centre - half };
    let high = if part == count { 1.0 } else { centre + half };
    [low, high]
}

fn confusion(outcomes: &[Outcome]) -> Vec<Confusion> {
    let mut pairs: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for outcome in outcomes {
        *pairs.entry((outcome.reference_class(), outcome.class())).or_default() += 1;
    }
    let row = |((reference_class, class), images)| Confusion { reference_class, class, images };
    pairs.into_iter().map(row).collect()
}

fn differing(index: usize, outcome: &Outcome) -> Differing {
    Differing {
        index,
        label: outcome.label,
        reference_class: outcome.reference_class(),
        class: outcome.class(),
        reference_margin: outcome.reference_margin(),
        cause: outcome.blame.as_ref().map(|blame| blame.cause),
        layer: outcome.blame.as_ref().map(|blame| blame.layer.clone()),
    }
}

fn blamed(program: &Program, outcomes: &[Outcome]) -> Vec<BlamedLayer> {
    let mut counts: BTreeMap<(usize, &str), [usize; 2]> = BTreeMap::new();
    let layers = &program.plan.layers;
    for Blame { cause, layer } in outcomes.iter().filter_map(|outcome| outcome.blame.as_ref()) {
        let place = layers.iter().position(|row| row.name == *layer).unwrap_or(layers.len());
        counts.entry((place, layer)).or_default()[usize::from(*cause == Cause::Noise)] += 1;
    }
    let row = |((_, layer), [approximation, noise]): ((usize, &str), [usize; 2])| BlamedLayer {
        layer: layer.to_string(),
        approximation,
        noise,
    };
    counts.into_iter().map(row).collect()
}

fn overflows(program: &Program, outcomes: &[Outcome]) -> Vec<OverflowRow> {
    let mut rows: BTreeMap<usize, OverflowRow> = BTreeMap::new();
    for overflow in outcomes.iter().flat_map(|outcome| &outcome.overflows) {
        let row = rows.entry(overflow.op).or_insert_with(|| {
            let op = program.plan.ops.get(overflow.op);
            let layer = op.and_then(|op| program.plan.layers.get(op.layer));
            OverflowRow {
                op: overflow.op,
                kind: op.map(|op| op.op.clone()).unwrap_or_default(),
                layer: layer.map(|layer| layer.name.clone()).unwrap_or_default(),
                images: 0,
                slots: 0,
                largest: 0.0,
            }
        });
        row.images += 1;
        row.slots += overflow.slots;
        if overflow.largest > row.largest {
            row.largest = overflow.largest;
        }
    }
    rows.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        // Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        for (part, count, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let [found_low, found_high] = wilson(part, count);
            assert!((found_low - low).abs() < 5e-5 && (found_high - high).abs() < 5e-5, "{part} of {count}");
        }
        assert_eq!(wilson(20, 20)[1], 1.0);
        assert!((wilson(20, 20)[0] - (1.0 - 0.1611)).abs() < 5e-5);
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
    }

    #[test]
    fn the_five_best_count_classes_that_are_as_good() {
        let logits = [1.0, 9.0, 8.0, 7.0, 7.0, 7.0, 2.0];
        let best: Vec<usize> = (0..8).filter(|&class| Outcome::is_top(&logits, class)).collect();
        assert_eq!(best, [1, 2, 3, 4, 5]);
        assert!(!Outcome::is_top(&[f64::NAN; 3], 3));
    }

    #[test]
    fn margins_are_to_the_next_best() {
        let outcome = Outcome {
            label: Some(1),
            logits: vec![0.0, 3.0, 2.0],
            reference: vec![1.5, -1.0, 4.0],
            overflows: Vec::new(),
            blame: None,
        };
        assert_eq!((outcome.class(), outcome.reference_class()), (1, 2));
        assert_eq!(outcome.reference_margin(), 2.5);
        assert!(outcome.differs());
    }
}
