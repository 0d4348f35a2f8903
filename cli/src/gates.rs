//! Limits of `fhec compile`.

use fhec_passes::options::ByteSize;

use super::options::max_ram_help;
use super::quantities::{Seconds, Share};
use fhec_compiler::gates::Gates;

/// Limits on the plan: beyond one of them nothing is written and the exit code is 3.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Limits on the plan (beyond one: no artifact, exit code 3)")]
pub struct GateArgs {
    /// Largest predicted time of one inference: 30s, 500ms, 2min
    #[arg(long, value_name = "TIME")]
    max_latency: Option<Seconds>,
    // Of the plans within it the fastest is chosen.
    #[arg(long, visible_alias = "ram", value_name = "SIZE", help = max_ram_help())]
    pub max_ram: Option<ByteSize>,
    /// Largest number of bootstraps
    #[arg(long, value_name = "N")]
    max_bootstraps: Option<usize>,
    /// Least share of sample images that keep their class, as measured when activations were
    /// fitted: 99.5%
    #[arg(long, value_name = "SHARE")]
    min_agreement: Option<Share>,
}

impl GateArgs {
    /// The limits.
    pub fn gates(&self) -> Gates {
        Gates {
            max_seconds: self.max_latency.map(|seconds| seconds.0),
            max_bootstraps: self.max_bootstraps,
            min_agreement: self.min_agreement.map(|share| share.0),
        }
    }
}
