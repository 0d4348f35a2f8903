//! Candidates whose chain holds the whole program, ring by ring.

use fhec_ir::params::LOG_N_RANGE;

use super::Search;
use crate::ckks::choose_params::{self, Scales};
use crate::error::PassError;
use crate::pipeline::ckks::Candidate;
use fhec_ir::security::table::MAX_LOG_QP;

impl Search<'_> {
    /// Considers chains that hold the whole program.
    pub(super) fn without_bootstraps(&mut self) -> Result<(), PassError> {
        let asked = &self.options.params;
        let first_ring = MAX_LOG_QP.iter().map(|row| row.log_n).min();
        let rings = first_ring.unwrap_or(*LOG_N_RANGE.start()).max(*LOG_N_RANGE.start())..=asked.max_log_n;
        let mut accepted_rings = 0;
        for log_n in rings.filter(|&log_n| self.options.has_slots(log_n)) {
            let Some(accepted) = self.ring(log_n)? else { continue };
            accepted_rings += usize::from(accepted);
            // A larger ring pays only where tensors fit it better; the one after the first that
            // works is enough to see.
            if accepted_rings == 2 {
                break;
            }
        }
        Ok(())
    }

    /// Considers the chains of one ring: whether one of them keeps what was asked for, `None` if
    /// there are none.
    fn ring(&mut self, log_n: u32) -> Result<Option<bool>, PassError> {
        let preferred = self.chains(log_n, Scales::Preferred)?;
        if preferred.is_empty() {
            return Ok(None);
        }
        let mut accepted = false;
        for candidate in preferred {
            accepted |= self.consider(candidate)?;
        }
        if !accepted && self.verdicts.is_any_imprecise() {
            for candidate in self.chains(log_n, Scales::Beyond)? {
                accepted |= self.consider(candidate)?;
            }
        }
        Ok(Some(accepted))
    }

    fn chains(&mut self, log_n: u32, scales: Scales) -> Result<Vec<Candidate>, PassError> {
        let (asked, considered) = (&self.options.params, &mut self.verdicts.considered);
        let chains = choose_params::candidates(log_n, self.depth, scales, asked, considered)?;
        Ok(chains.into_iter().map(|params| Candidate { params, bootstrap: None, placed: None }).collect())
    }
}
