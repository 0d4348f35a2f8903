//! Entry point of the `fhec` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(fhec_cli::main(std::env::args_os()))
}
