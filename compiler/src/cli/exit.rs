//! Exit codes, so that pipelines can tell a failed check from a failed command.

use std::process::ExitCode;

use crate::gates::GateError;

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Code 0.
    Success,
    /// Code 4: `fhec diff` found something worse.
    Worse,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => ExitCode::SUCCESS,
            Exit::Worse => ExitCode::from(4),
        }
    }
}

/// The code of a command that failed: 3 if a plan is beyond a limit asked for, else 1.
pub fn code_of_error(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<GateError>() {
        Some(_) => ExitCode::from(3),
        None => ExitCode::FAILURE,
    }
}
