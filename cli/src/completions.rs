//! `fhec completions`: what shells complete.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::output::verbatim;
use crate::Cli;

/// Print the completions of a shell
///
/// For bash: `fhec completions bash > ~/.local/share/bash-completion/completions/fhec`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn execute(args: Args) -> Result<()> {
    let mut text = Vec::new();
    generate(args.shell, &mut Cli::command(), "fhec", &mut text);
    verbatim(&text)
}
