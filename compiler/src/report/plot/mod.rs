//! Plots of a plan as SVG: each file draws one, whole in itself, for a page or for a file of its
//! own.
//!
//! Colours are those of Okabe and Ito, which readers who confuse colours tell apart; what colours
//! say, shapes, hatching or dashes say as well, so that plots survive a black-and-white printer.

pub mod blame;
mod canvas;
pub mod errors;
pub mod levels;
pub mod memory;
pub mod network;
pub mod time;

pub use canvas::escape;

use crate::profile::OpTime;
use fhec_ir::program::Program;

/// A plot and the name of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Name of the file, without the ending.
    pub name: &'static str,
    /// What it shows, as a heading.
    pub title: &'static str,
    /// How to read it, a sentence or two.
    pub caption: String,
    /// The drawing.
    pub svg: String,
}

/// All plots of `program`, with what was measured where there is a recording of a run.
pub fn plots(program: &Program, measured: Option<&[OpTime]>) -> Vec<Plot> {
    vec![
        network::network(program),
        levels::levels(program),
        time::time(&program.plan, measured),
        memory::memory(&program.plan, measured),
        errors::errors(&program.plan),
    ]
}
