//! `fhec man`: pages for `man`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::builder::Resettable;
use clap::{Command, CommandFactory};

use super::output::verbatim;
use crate::Cli;

/// Write manual pages
///
/// Without --dir the page of the command is printed: `fhec man | man -l -`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder for the pages, one per subcommand: fhec.1, fhec-compile.1 and so on
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The command as its pages describe it: the same wherever they are written.
fn described() -> Command {
    Cli::command().long_version(Resettable::Reset).disable_help_subcommand(true)
}

pub(super) fn execute(args: Args) -> Result<()> {
    match args.dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(described()).render(&mut page)?;
            verbatim(&page)
        }
        Some(folder) => {
            let cannot = || format!("cannot write manual pages to {}", folder.display());
            fs::create_dir_all(&folder).with_context(cannot)?;
            clap_mangen::generate_to(described(), &folder).with_context(cannot)
        }
    }
}
