//! The bootstraps of a program: text in its meta, read back and checked.

use thiserror::Error;

use super::{BootstrapError, BootstrapParams, Order, SineCurve};
use crate::attr::AttrError;
use crate::ckks::{Ckks, Op};
use crate::fact::BOOTSTRAPS;
use crate::func::Func;
use crate::params::Params;

/// Why the bootstraps of a program cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ProgramBootstrapError {
    /// The meta entry is not what it should be.
    #[error("the program's bootstraps cannot be read: {0}")]
    Meta(#[from] AttrError),
    /// One is none of the program's parameters.
    #[error("a bootstrap of the program does not fit its parameters: {0}")]
    Misfit(#[from] BootstrapError),
    /// There can be one encapsulation only.
    #[error(
        "the program's bootstraps raise the modulus under ephemeral secrets of different Hamming weights"
    )]
    EphemeralWeights,
    /// The program says that results are bent in another way than its bootstraps bend them.
    #[error("the program undoes a sine of message ratio {found}, its bootstrap has {expected}")]
    Sine {
        /// What an op says.
        found: f64,
        /// What the bootstrap does; 0 for no sine that could be undone.
        expected: f64,
    },
    /// Zeros have to be there before coefficients are reduced.
    #[error("a bootstrap of the program masks slots, which one with slots to coefficients last cannot do")]
    Mask,
    /// Which of two is meant is not clear.
    #[error("the program has two bootstraps of {slots} slots")]
    Twice {
        /// The number of slots.
        slots: usize,
    },
}

impl BootstrapParams {
    /// The bootstraps that the `bootstrap` ops of `program` mean, one per number of slots; none if
    /// it has none.
    pub fn of_program(program: &Func<Ckks>) -> Result<Vec<BootstrapParams>, AttrError> {
        if program.has_fact(BOOTSTRAPS) { program.fact(BOOTSTRAPS) } else { Ok(Vec::new()) }
    }

    /// [`BootstrapParams::of_program`] of a program that may come from anywhere: each bootstrap is
    /// one of `params`, and all share one ephemeral secret or have none.
    pub fn checked_of_program(
        program: &Func<Ckks>,
        params: &Params,
    ) -> Result<Vec<BootstrapParams>, ProgramBootstrapError> {
        let bootstraps = Self::of_program(program)?;
        for (index, bootstrap) in bootstraps.iter().enumerate() {
            bootstrap.validate(params)?;
            if bootstrap.ephemeral_weight != bootstraps[0].ephemeral_weight {
                return Err(ProgramBootstrapError::EphemeralWeights);
            }
            if bootstraps[..index].iter().any(|other| other.log_slots == bootstrap.log_slots) {
                return Err(ProgramBootstrapError::Twice { slots: bootstrap.slots() });
            }
            for data in program.ops() {
                let Op::Bootstrap { x, sine, mask, .. } = data.op else { continue };
                if program.ty(x).slots != bootstrap.slots() {
                    continue;
                }
                if mask.is_some() && bootstrap.order == Order::SlotsToCoeffsLast {
                    return Err(ProgramBootstrapError::Mask);
                }
                let Some(found) = sine else { continue };
                let expected = bootstrap.sine_curve(params).map_or(0.0, SineCurve::ratio);
                if found != expected {
                    return Err(ProgramBootstrapError::Sine { found, expected });
                }
            }
        }
        Ok(bootstraps)
    }

    /// Puts `bootstraps` into `program`, which carries them as text with everything else.
    pub fn set_in_program(program: &mut Func<Ckks>, bootstraps: &Vec<BootstrapParams>) {
        program.set_fact(BOOTSTRAPS, bootstraps);
    }
}
