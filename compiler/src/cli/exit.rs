//! How a command ends: exit codes, so that pipelines can tell a failed check from a failed command, and one line for an error.

use std::process::ExitCode;

use super::output::shown;
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

/// `error` and its causes on one line, without control characters. Many errors say what their cause says: it is not said again.
pub fn message(error: &anyhow::Error) -> String {
    let text = error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        match text.contains(&cause) {
            _ if text.is_empty() => cause,
            true => text,
            false => format!("{text}: {cause}"),
        }
    });
    shown(&text)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;
    use crate::files::FileError;

    #[test]
    fn causes_are_said_once() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let error = FileError::Read { path: PathBuf::from("net.fhec"), source };
        assert_eq!(message(&error.into()), "cannot read net.fhec: entity not found");
        let error = anyhow::anyhow!("its checksum is wrong").context("cannot load net.fhec");
        assert_eq!(message(&error), "cannot load net.fhec: its checksum is wrong");
    }
}
