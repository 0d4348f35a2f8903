//! What is kept of the candidates seen so far, and which of them is taken.

use fhec_ir::plan::Considered;

use super::Built;
use crate::ckks::choose_params::{self, ChooseParamsError, ParamOptions};
use crate::pipeline::ckks::Candidate;

/// By how much predicted times may differ and say nothing: of sets as fast as that, the most
/// precise is chosen.
pub(crate) const SAME_TIME: f64 = 0.01;

/// Bits of precision that a set may lack where no precision was asked for.
const LACKING: f64 = 1.5;
/// A set that lacks a bit counts as if it took so many times as long.
const PER_BIT: f64 = 1.25;
/// Beside one that lacks precision, a set that takes twice the memory counts as if it took so many
/// times as long: a process touches all of it for the first time, which no price says.
const PER_DOUBLING: f64 = 1.1;

/// A set that fits the memory, with its program.
#[derive(Clone)]
pub(super) struct Fitting {
    pub built: Built,
    pub candidate: Candidate,
    /// Bits of precision of its outputs.
    pub bits: f64,
    row: usize,
}

impl Fitting {
    fn seconds(&self) -> f64 {
        self.built.estimate.seconds
    }

    /// What the memory that it takes beyond that of `other`, or less, counts as: a factor of time.
    fn more_memory_than(&self, other: &Self) -> f64 {
        let bytes = |set: &Self| set.built.estimate.peak_bytes.max(1) as f64;
        PER_DOUBLING.powf((bytes(self) / bytes(other)).log2())
    }
}

/// A set that does not fit the memory.
struct TooLarge {
    /// Bytes that it needs, as far as is known.
    needed: u64,
    candidate: Candidate,
    row: usize,
}

/// Why no set is taken.
pub(super) enum NoneFits {
    /// The set of that row comes nearest to the memory.
    Memory { needed: u64, candidate: Box<Candidate>, row: usize },
    /// Something else.
    Other(ChooseParamsError),
}

/// Candidates seen so far.
#[derive(Default)]
pub(super) struct Verdicts {
    /// One row per candidate, and per ring without any.
    pub considered: Vec<Considered>,
    /// Bits of precision wanted.
    pub wanted: f64,
    /// How many programs were compiled to the end.
    pub compiled: usize,
    /// How many sets keep all that was asked for.
    acceptable: usize,
    /// Seconds of the fastest of them.
    fastest: Option<f64>,
    /// Those of them that are as fast as the fastest, as far as predictions can tell.
    best: Vec<Fitting>,
    /// The most precise set that fits the memory but not the precision.
    most_precise: Option<Fitting>,
    /// The set of the least [`Verdicts::worth`] of those that lack a little precision.
    nearly: Option<Fitting>,
    /// The set that needs the least memory of those that do not fit it.
    smallest: Option<TooLarge>,
}

impl Verdicts {
    /// How many sets keep all that was asked for.
    pub fn acceptable(&self) -> usize {
        self.acceptable
    }

    /// Whether a set keeps all but the precision.
    pub fn is_any_imprecise(&self) -> bool {
        self.most_precise.is_some()
    }

    /// Seconds of the fastest acceptable set.
    pub fn fastest(&self) -> f64 {
        self.fastest.unwrap_or(f64::INFINITY)
    }

    /// Seconds that a set must be faster than to be taken, as far as is known.
    pub fn least_worth(&self) -> f64 {
        let nearly = self.nearly.as_ref().map_or(f64::INFINITY, |set| self.worth(set));
        self.fastest().min(nearly)
    }

    /// Takes note of a set that was compiled; true if it keeps all that was asked for.
    pub fn judge(
        &mut self,
        candidate: Candidate,
        built: Built,
        mut row: Considered,
        ram: Option<u64>,
    ) -> bool {
        let (seconds, bits) = (built.estimate.seconds, built.estimate.error_bits_worst);
        if ram.is_some_and(|ram| row.peak_bytes > ram) {
            row.verdict = format!("would take {} bytes of memory", row.peak_bytes);
            self.refuse_memory(candidate, row.peak_bytes, row);
            return false;
        }
        let fitting = Fitting { built, candidate, bits, row: self.considered.len() };
        let precise = bits >= self.wanted;
        if precise {
            row.verdict = Considered::SLOWER.into();
            self.acceptable += 1;
            self.best.push(fitting);
            let fastest = self.fastest().min(seconds);
            self.fastest = Some(fastest);
            // A program that can no longer win is let go.
            self.best.retain(|set| set.seconds() <= fastest * (1.0 + SAME_TIME));
        } else {
            row.verdict =
                format!("outputs would have errors of 2^{:.1}, wanted are 2^{:.1}", -bits, -self.wanted);
            let better = |set: &Fitting| self.worth(&fitting) < self.worth(set);
            if bits >= self.least_bits() && self.nearly.as_ref().is_none_or(better) {
                self.nearly = Some(fitting.clone());
            }
            if self.most_precise.as_ref().is_none_or(|most| bits > most.bits) {
                self.most_precise = Some(fitting);
            }
        }
        self.considered.push(row);
        precise
    }

    /// Bits of precision below which no set is taken while there is another.
    pub fn least_bits(&self) -> f64 {
        self.wanted - LACKING
    }

    /// Seconds of a set, more if it lacks precision.
    fn worth(&self, set: &Fitting) -> f64 {
        set.seconds() * PER_BIT.powf((self.wanted - set.bits).max(0.0))
    }

    /// Takes note of a set that would fit `needed` bytes.
    pub fn refuse_memory(&mut self, candidate: Candidate, needed: u64, row: Considered) {
        if self.smallest.as_ref().is_none_or(|least| needed < least.needed) {
            self.smallest = Some(TooLarge { needed, candidate, row: self.considered.len() });
        }
        self.considered.push(row);
    }

    /// The set that is taken; its row and those of sets that were faster say so. `depth` is what
    /// the program has.
    pub fn choose(&mut self, asked: &ParamOptions, depth: u32) -> Result<Fitting, NoneFits> {
        // The most precise; of equally precise ones the fastest.
        let best = std::mem::take(&mut self.best).into_iter();
        let best = best.min_by(|a, b| b.bits.total_cmp(&a.bits).then(a.seconds().total_cmp(&b.seconds())));
        if let Some(chosen) = best {
            let bendable = asked.precision_bits.is_none() && !asked.agreement_asked;
            if let Some(nearly) = self.nearly.take().filter(|_| bendable)
                && self.worth(&nearly) < chosen.seconds() * chosen.more_memory_than(&nearly)
            {
                return Ok(self.taken(nearly));
            }
            let faster =
                |set: &&mut Considered| set.verdict == Considered::SLOWER && set.seconds < chosen.seconds();
            let faster = self.considered.iter_mut().filter(faster);
            faster.for_each(|set| set.verdict = Considered::LESS_PRECISE.into());
            return Ok(self.taken(chosen));
        }
        // What was not asked for is a wish.
        if asked.precision_bits.is_none()
            && let Some(chosen) = self.nearly.take().or_else(|| self.most_precise.take())
        {
            return Ok(self.taken(chosen));
        }
        Err(match (&self.most_precise, self.smallest.take()) {
            (Some(most), _) => {
                NoneFits::Other(ChooseParamsError::Precision { depth, wanted: self.wanted, best: most.bits })
            }
            (None, Some(TooLarge { needed, candidate, row })) => {
                NoneFits::Memory { needed, candidate: Box::new(candidate), row }
            }
            (None, None) => NoneFits::Other(ChooseParamsError::TooDeep {
                depth,
                max_levels: choose_params::max_levels(asked),
                max_log_n: asked.max_log_n,
                security_bits: asked.security.bits(),
            }),
        })
    }

    fn taken(&mut self, chosen: Fitting) -> Fitting {
        self.considered[chosen.row].verdict = Considered::CHOSEN.into();
        chosen
    }

    /// What a reader of the plan should know of the set that is taken: that it lacks precision, and
    /// what would not.
    pub fn remark(&self, chosen: &Fitting) -> Option<String> {
        let (found, wanted, fastest) = (chosen.bits, self.wanted, self.fastest?);
        (found < wanted).then(|| {
            format!(
                "errors of outputs are 2^{:.1} where 2^{:.1} is wanted: what reaches that takes {:.1} times as long (`precision-bits` in an options file asks for it)",
                -found, -wanted, fastest / chosen.seconds()
            )
        })
    }
}
