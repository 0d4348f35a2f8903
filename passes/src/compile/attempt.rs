//! One try at a compile: the passes on networks, what they make of the outputs, and the search for
//! parameters.
//!
//! A polynomial that is fitted to a ReLU has the resolution of its degree over the whole range of
//! the operand. Where values of interest are a small part of that range (a denoiser's, whose
//! operands reach far below 0), no degree that is fitted is enough, and answers are lost. A
//! composition for sign is as deep as the logarithm of the ratio: where outputs come out poor with
//! fits that nobody asked for, compositions take their place. The same holds of fits to a few
//! images that do not stand for others: where other sample images often change their class.

use std::time::Instant;

use fhec_ir::func::Func;
use fhec_ir::nn::Nn;

use crate::error::PassError;
use crate::nn::activations::Activations;
use crate::nn::approximate::ReluMethod;
use crate::nn::calibrate::Source;
use crate::nn::fit_network::Fitting;
use crate::nn::output_errors::Judgement;
use crate::options::{CompileOptions, NoiseProbe, Relu};
use crate::pipeline::{After, NnOptions, NnResult, run_nn};
use crate::search::relu_precision::{LEAST, PREFERRED, shallower_helps};
use crate::search::{Scheduled, SearchOptions, search};

/// What all tries at a compile have in common.
pub(super) struct Attempts<'a> {
    pub network: &'a Func<Nn>,
    pub source: &'a Source<'a>,
    pub noise: Option<NoiseProbe<'a>>,
    pub options: &'a CompileOptions,
    pub search: &'a SearchOptions,
}

/// Both halves of a compile, without the plan.
pub(super) struct Attempt {
    pub result: NnResult,
    pub judgement: Judgement,
    pub scheduled: Scheduled,
    /// What was done for the outputs.
    pub note: Option<String>,
}

/// The least share of images that are to keep their class, for fits that nobody asked for. Fewer
/// than were wanted may keep it for a program that is many times as fast as one of compositions,
/// but not so few.
const LEAST_KEPT: f64 = 0.9;

/// The first half.
struct Approximated {
    result: NnResult,
    judgement: Judgement,
    note: Option<String>,
}

impl Attempts<'_> {
    /// Tries `nn`; see the [module](self).
    ///
    /// # Errors
    /// [`PassError::OutputLost`], as soon as it is known and unless it is allowed; those of the
    /// passes and of the search.
    pub fn attempt(&self, nn: &NnOptions, after: &mut After<'_>) -> Result<Attempt, PassError> {
        let fitted = self.approximated(nn, after)?;
        let of_its_own_accord =
            self.options.relu == Relu::Default && matches!(nn.fit.fitting, Fitting::Agreement(_));
        if of_its_own_accord
            && !(fitted.judgement.is_good() && fitted.judgement.keeps_classes(LEAST_KEPT))
            && let Some(composed) = self.composed(nn, &fitted.judgement, after)?
        {
            match self.scheduled(composed, after) {
                // Levels are short: the fits have to do, if they can.
                Err(error) if shallower_helps(&error) => tracing::debug!(%error, "compositions are too deep"),
                other => return other,
            }
        }
        self.scheduled(fitted, after)
    }

    fn approximated(&self, nn: &NnOptions, after: &mut After<'_>) -> Result<Approximated, PassError> {
        let result = run_nn(self.network, self.source, nn, &mut *after)?;
        let start = Instant::now();
        let judgement = self.judged(&result.reference, &result.func)?;
        tracing::debug!(step = "judge-outputs", seconds = start.elapsed().as_secs_f64(), "outputs judged");
        Ok(Approximated { result, judgement, note: None })
    }

    /// ReLUs as compositions of the fewest bits that make outputs good, or of the most; `None` if
    /// none are better than the fits.
    fn composed(
        &self,
        nn: &NnOptions,
        fitted: &Judgement,
        after: &mut After<'_>,
    ) -> Result<Option<Approximated>, PassError> {
        let mut nn = nn.clone();
        let wanted = nn.fit.fitting.target();
        nn.fit.fitting = Fitting::Off;
        let mut bits = LEAST;
        loop {
            nn.approximate.relu = ReluMethod::Alpha(bits);
            let mut composed = self.approximated(&nn, after)?;
            let [before, now] = [fitted, &composed.judgement].map(Judgement::worst_decibels);
            let [kept_before, kept] = [fitted, &composed.judgement].map(Judgement::kept_classes);
            tracing::debug!(bits, before, now, kept_before, kept, "ReLUs as compositions");
            let enough = composed.judgement.is_good() && kept >= wanted;
            if !enough && bits < PREFERRED {
                bits += 1.0;
                continue;
            }
            let percent = |share: f64| 100.0 * share;
            composed.note = Some(format!(
                "fitted polynomials leave {before:.1} dB of signal to error in an output, and {:.0} % of the images that nothing was fitted \
                 to keep their class: ReLUs are compositions for sign of {bits} bits instead, which leave {now:.1} dB and {:.0} %",
                percent(kept_before),
                percent(kept)
            ));
            let better = if fitted.is_good() { kept > kept_before } else { now > before };
            return Ok(better.then_some(composed));
        }
    }

    fn scheduled(&self, approximated: Approximated, after: &mut After<'_>) -> Result<Attempt, PassError> {
        let Approximated { result, judgement, note } = approximated;
        self.check(&judgement)?;
        let scheduled = self.searched(&result.func, result.activations.as_ref(), 1.0, after)?;
        Ok(Attempt { result, judgement, scheduled, note })
    }

    /// Refuses what is wrong by more than it is, unless that is allowed.
    pub fn check(&self, judgement: &Judgement) -> Result<(), PassError> {
        if self.options.allow_inaccurate { Ok(()) } else { judgement.check() }
    }

    /// The program of `func`, whose polynomials are `activations` where they are fitted; noise is
    /// `noise_factor` times what is predicted.
    pub fn searched(
        &self,
        func: &Func<Nn>,
        activations: Option<&Activations>,
        noise_factor: f64,
        after: &mut After<'_>,
    ) -> Result<Scheduled, PassError> {
        let mut options = self.search.clone();
        options.params.tolerated_error = activations.and_then(|fitted| fitted.tolerated_error);
        options.params.class_changes = activations.and_then(|fitted| fitted.class_changes);
        options.params.noise_factor = noise_factor;
        search(func, &options, after)
    }

    /// What the outputs of `func` are beside those of `reference`.
    pub fn judged(&self, reference: &Func<Nn>, func: &Func<Nn>) -> Result<Judgement, PassError> {
        match self.source {
            Source::Images(images) => Judgement::of(self.network, reference, func, images),
            Source::Table { .. } | Source::Intervals(_) => Ok(Judgement::default()),
        }
    }
}
