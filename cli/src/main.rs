//! Entry point of the `fhec` binary: parse, run, report.

use std::process::ExitCode;

use clap::Parser;
use fhec_cli::{Cli, execute};

fn main() -> ExitCode {
    match execute(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // One line, causes included; nothing to do if standard error is gone.
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "error: {}", failure.message());
            failure.code()
        }
    }
}
