//! Fitted activations for a whole network: channels equalised, ranges measured, polynomials chosen;
//! or all of it taken from a file.

use fhec_ir::{entity::Value, func::Func, nn::Nn, tensor::Tensor};

use super::{
    activations::Activations,
    agreement::{Agreement, Outputs},
    calibrate::{self, Ranges, Source, calibrate},
    choose_degrees::{Choice, Choices, choose_degrees, uniform_depth},
    equalize_channels::{
        ChannelBounds, ChannelFactors, Tail, bounds_after, channel_bounds, channel_factors, equalize_channels,
    },
    fit_activations::{self, Fits, fitted_activations},
    sample_images::SampleImages,
    scaling::{Scaling, scaling},
};
use crate::{
    error::PassError,
    options::AGREEMENT,
    report::{Passed, Report},
};

const PASS: &str = "fit-activations";

/// With fewer images to judge by, the report says what they cannot show.
const FEW: usize = 200;

/// Whether and how activations with a corner are fitted.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Fitting {
    /// They are not.
    #[default]
    Off,
    /// To sample images, one depth for all.
    Depth(u32),
    /// To sample images, at the least depth at which this share of images (0 to 1) keeps its class.
    Agreement(f64),
    /// They were.
    Known(Activations),
}

impl Fitting {
    /// The share of images, from 0 to 1, that is to keep its class.
    pub fn target(&self) -> f64 {
        match self {
            Fitting::Agreement(target) => *target,
            _ => AGREEMENT / 100.0,
        }
    }
}

/// The share of images that leave the bounds, of those that may change their class; and the least
/// such share of all images that few samples tell anything of.
const LEAVING: f64 = 0.1;
const LEAST_LEAVING: f64 = 1e-5;

/// Options of [`fit_network`].
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where polynomials come from.
    pub fitting: Fitting,
    /// How they are fitted.
    pub fit: fit_activations::Options,
    /// No channel is multiplied by more than the inverse of this to fill its range.
    pub least_factor: f64,
    /// How bounds are taken from images, at most so many of which may leave them; a margin for
    /// calibration does not matter to what is fitted.
    pub tail: Tail,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            fitting: Fitting::Off,
            fit: fit_activations::Options::default(),
            least_factor: 1.0 / 16.0,
            tail: Tail::default(),
        }
    }
}

/// Polynomials of all activations.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// By the activation's result.
    pub fits: Fits,
    /// The same as data.
    pub activations: Activations,
}

/// A network that is ready for [`approximate`](mod@super::approximate).
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The network with equalised channels; values are numbered as before.
    pub func: Func<Nn>,
    /// Of its values.
    pub ranges: Ranges,
    /// Of its values.
    pub factors: Scaling,
    /// What channels of its values were divided by before that.
    pub channels: ChannelFactors,
    /// For its activations.
    pub fitted: Fitted,
    /// What else may take their place: [`Choices::others`].
    pub others: Vec<Fitted>,
    /// What was done, pass by pass.
    pub reports: Vec<Report>,
}

/// What comes of [`fit_network`].
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Activations have fits.
    Fitted(Box<Prepared>),
    /// Nothing is to be fitted, or there are no images to fit to.
    Nothing,
    /// No fit holds; the report says why. Polynomials that are good on whole intervals are left.
    GivenUp(Report),
}

/// What bounds are multiplied with, one after the other, until the values of an approximated
/// network stay within them.
const WIDER: [f64; 3] = [1.0, 1.5, 3.0];

/// Fits all activations of `func`, or takes those that are known.
pub fn fit_network(
    func: &Func<Nn>,
    source: &Source<'_>,
    calibration: &calibrate::Options,
    options: &Options,
) -> Result<Outcome, PassError> {
    let fitted = |prepared| Outcome::Fitted(Box::new(prepared));
    match (&options.fitting, source) {
        (Fitting::Off, _) | (Fitting::Depth(_), Source::Table { .. } | Source::Intervals(_)) => {
            Ok(Outcome::Nothing)
        }
        (Fitting::Agreement(_), Source::Table { .. } | Source::Intervals(_)) => {
            let reason = "agreement is measured on sample images; give some".to_string();
            Err(PassError::Option { option: "agreement", reason })
        }
        (Fitting::Known(activations), _) => known(func, source, calibration, activations).map(fitted),
        (_, Source::Images(images)) => {
            let changing = 1.0 - options.fitting.target();
            let leaving = (LEAVING * changing).clamp(LEAST_LEAVING, options.tail.leaving);
            let bounds = channel_bounds(func, images, Tail { leaving, ..options.tail })?;
            for wider in WIDER {
                match fit_within(func, images, calibration, options, &bounds, wider) {
                    Err(PassError::LeavesDomain { value, count }) => {
                        tracing::debug!(value, count, wider, "values leave the domains of fits");
                    }
                    other => return other.map(fitted),
                }
            }
            let mut report = Report::new(PASS);
            report.note(format!(
                "no fit keeps the values of {} sample images within its domain; activations are minimax polynomials on the whole ranges instead",
                images.len()
            ));
            Ok(Outcome::GivenUp(report))
        }
    }
}

/// Fits on domains that are `wider` times what the images ask for, which is `bounds`.
///
/// # Errors
/// [`PassError::LeavesDomain`] if values leave them at every degree.
fn fit_within(
    func: &Func<Nn>,
    images: &[Vec<Tensor>],
    calibration: &calibrate::Options,
    options: &Options,
    bounds: &ChannelBounds,
    wider: f64,
) -> Result<Prepared, PassError> {
    let mut bounds = bounds.clone();
    for bounds in &mut bounds {
        bounds.whole *= wider;
        bounds.channels.iter_mut().for_each(|bound| *bound *= wider);
    }
    let channels = channel_factors(func, &bounds, options.least_factor);
    let Passed { func, report: equalized, .. } = equalize_channels(func, &channels)?;
    let (mut ranges, calibrated) = calibrate(&func, &Source::Images(images), calibration)?;
    for (index, bound) in bounds_after(&bounds, &channels).into_iter().enumerate() {
        bound.into_iter().for_each(|bound| ranges.set_bound(Value::new(index), bound));
    }
    let factors = scaling(&func, &ranges, &fitted_activations(&func));
    let samples = SampleImages::new(&func, images)?;
    let Choices { best: choice, others } = match options.fitting {
        Fitting::Agreement(target) => choose_degrees(&func, &samples, &factors, target, &options.fit)?,
        Fitting::Depth(depth) => {
            let best = uniform_depth(&func, &samples, &factors, depth, &options.fit)?;
            Choices { best, others: Vec::new() }
        }
        Fitting::Off | Fitting::Known(_) => unreachable!("the caller looks at these"),
    };
    let mut report = Report::new(PASS);
    if wider > 1.0 {
        report.note(format!("domains are {wider} times as wide as sample images ask for"));
    }
    for depth in &choice.depths {
        report.count(&format!("depth {depth}"), 1);
    }
    report.note(in_words(choice.fitted_images, &choice.agreement, Outputs::of(&func)));
    if let Fitting::Agreement(target) = options.fitting
        && !choice.agreement.reaches(target)
    {
        report.note(format!("{:.2} % were asked for; no depth that is tried reaches that", target * 100.0));
    }
    let target = options.fitting.target();
    let fitted = |choice: Choice| {
        let activations = Activations::new(&func, &channels, &factors, &choice, target);
        Fitted { fits: choice.fits, activations }
    };
    let (fitted, others) = (fitted(choice), others.into_iter().map(fitted).collect());
    let reports = vec![equalized, calibrated, report];
    Ok(Prepared { func, ranges, factors, channels, fitted, others, reports })
}

fn in_words(fitted: usize, agreement: &Agreement, outputs: Outputs) -> String {
    let Agreement {
        images, agreeing, diverged, largest_difference, mean_difference, expected_changes, ..
    } = agreement;
    let mut words = format!("activations with a corner are polynomials fitted to {fitted} images");
    let few = match images {
        0 => String::new(),
        1..FEW => format!("; a change on less than one image in {images} cannot be seen with so few"),
        _ => String::new(),
    };
    if *images > 0 && outputs == Outputs::Values {
        words += &format!(
            "; on {images} others {agreeing} have all outputs right to 1/128 of the largest, which differ by {largest_difference:.3} at most, {mean_difference:.4} on average{few}"
        );
    } else if *images > 0 {
        words += &format!(
            "; on {images} others {agreeing} keep their class ({:.2} %), outputs differ by {largest_difference:.3} at most, {mean_difference:.4} on average; of images unlike these {:.2} % are expected to change their class{few}",
            agreement.share() * 100.0,
            expected_changes * 100.0
        );
    }
    if *diverged > 0 {
        words += &format!(", and {diverged} leave the polynomials' domains: use a wider margin");
    }
    words
}

fn known(
    func: &Func<Nn>,
    source: &Source<'_>,
    calibration: &calibrate::Options,
    activations: &Activations,
) -> Result<Prepared, PassError> {
    let channels = activations.channel_factors(func)?;
    let Passed { func, report: equalized, .. } = equalize_channels(func, &channels)?;
    let mut known = activations.ranges(calibration.margin);
    let (ranges, calibrated) = match source {
        Source::Images(_) => {
            let reason = "known polynomials have their own ranges; images would give others".to_string();
            return Err(PassError::Option { option: "calibration", reason });
        }
        Source::Table { ranges, input } => {
            // Ranges of operands in the table are those before equalisation.
            for (name, range) in *ranges {
                known.entry(name.clone()).or_insert(*range);
            }
            calibrate(&func, &Source::Table { ranges: &known, input: *input }, calibration)?
        }
        Source::Intervals(input) => {
            calibrate(&func, &Source::Table { ranges: &known, input: *input }, calibration)?
        }
    };
    let factors = scaling(&func, &ranges, &fitted_activations(&func));
    let fits = activations.fits(&func)?;
    let mut report = Report::new(PASS);
    for fit in fits.values() {
        report.count(&format!("depth {}", fit.polynomial.depth()), 1);
    }
    let Activations { fitted_images, judged_images, agreeing_images, .. } = activations;
    report.note(format!(
        "activations with a corner are polynomials from a file, fitted to {fitted_images} images; on {judged_images} others {agreeing_images} kept their class"
    ));
    let reports = vec![equalized, calibrated, report];
    let fitted = Fitted { fits, activations: activations.clone() };
    Ok(Prepared { func, ranges, factors, channels, fitted, others: Vec::new(), reports })
}
