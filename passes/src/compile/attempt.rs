//! One try at a compile: the passes on networks, what they make of the outputs, and the search for
//! parameters.
//!
//! A polynomial that is fitted to a ReLU has the resolution of its degree over the whole range of
//! the operand. Where values of interest are a small part of that range (a denoiser's, whose
//! operands reach far below 0), no degree that is fitted is enough, and answers are lost. A
//! composition for sign is as deep as the logarithm of the ratio: where outputs come out poor with
//! fits that nobody asked for, compositions take their place.

use std::time::Instant;

use fhec_ir::func::Func;
use fhec_ir::nn::Nn;

use crate::error::PassError;
use crate::nn::approximate::ReluMethod;
use crate::nn::calibrate::Source;
use crate::nn::fit_network::Fitting;
use crate::nn::output_errors::Judgement;
use crate::options::{CompileOptions, Relu};
use crate::pipeline::{After, NnOptions, NnResult, run_nn};
use crate::search::relu_precision::{LEAST, PREFERRED, shallower_helps};
use crate::search::{Scheduled, SearchOptions, search};

/// What all tries at a compile have in common.
pub(super) struct Attempts<'a> {
    pub network: &'a Func<Nn>,
    pub source: &'a Source<'a>,
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
            && !fitted.judgement.is_good()
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
        let judgement = match self.source {
            Source::Images(images) => Judgement::of(self.network, &result.reference, &result.func, images)?,
            Source::Table { .. } | Source::Intervals(_) => Judgement::default(),
        };
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
        nn.fit.fitting = Fitting::Off;
        let mut bits = LEAST;
        loop {
            nn.approximate.relu = ReluMethod::Alpha(bits);
            let mut composed = self.approximated(&nn, after)?;
            let (before, now) = (fitted.worst_decibels(), composed.judgement.worst_decibels());
            tracing::debug!(bits, before, now, "ReLUs as compositions");
            if !composed.judgement.is_good() && bits < PREFERRED {
                bits += 1.0;
                continue;
            }
            composed.note = Some(format!(
                "fitted polynomials leave {before:.1} dB of signal to error in an output: ReLUs are compositions for sign of {bits} bits \
                 instead, which leave {now:.1} dB"
            ));
            return Ok((now > before).then_some(composed));
        }
    }

    fn scheduled(&self, approximated: Approximated, after: &mut After<'_>) -> Result<Attempt, PassError> {
        let Approximated { result, judgement, note } = approximated;
        if !self.options.allow_inaccurate {
            judgement.check()?;
        }
        let mut options = self.search.clone();
        options.params.tolerated_error =
            result.activations.as_ref().and_then(|activations| activations.tolerated_error);
        let scheduled = search(&result.func, &options, after)?;
        Ok(Attempt { result, judgement, scheduled, note })
    }
}
