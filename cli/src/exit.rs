//! How a command ends: exit codes, so that pipelines can tell a failed check from a failed command,
//! and one line for an error.

use fhec_roles::RoleError;
use fhec_runtime::exec::ExecError;

use super::output::shown;
use fhec_compiler::build::CompileError;

/// What shells say of a process that ended by an interrupt.
pub(crate) const INTERRUPTED: u8 = 130;

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Code 0.
    Success,
    /// Code 4: `fhec diff` found something worse.
    Worse,
}

impl Exit {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Worse => 4,
        }
    }
}

/// Why a command did not do its work.
#[derive(Debug)]
pub enum Failure {
    /// Code 3: a plan is beyond a limit that was asked for.
    Limits(CompileError),
    /// Code 130, as shells have it: the user interrupted an evaluation.
    Interrupted(anyhow::Error),
    /// Code 1: everything else.
    Other(anyhow::Error),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Limits(_) => 3,
            Failure::Interrupted(_) => INTERRUPTED,
            Failure::Other(_) => 1,
        }
    }

    /// The error and its causes on one line.
    pub fn message(&self) -> String {
        match self {
            Failure::Limits(error) => message(error),
            Failure::Interrupted(error) | Failure::Other(error) => message(error.as_ref()),
        }
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Memory { .. } | CompileError::Limits(_) => Failure::Limits(error),
            error => Failure::Other(error.into()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    /// Commands that compile on the way to something else hand on what a compile says.
    fn from(error: anyhow::Error) -> Self {
        if let Some(RoleError::Exec(ExecError::Cancelled { .. })) = error.downcast_ref() {
            return Failure::Interrupted(error);
        }
        error.downcast::<CompileError>().map_or_else(Failure::Other, Failure::from)
    }
}

/// `error` and its causes on one line, without control characters. Many errors say what their cause
/// says: it is not said again.
pub fn message(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text =
        causes.map(ToString::to_string).fold(String::new(), |text, cause| match text.contains(&cause) {
            _ if text.is_empty() => cause,
            true => text,
            false => format!("{text}: {cause}"),
        });
    shown(&text)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;
    use fhec_compiler::gates::GateError;
    use fhec_roles::files::FileError;

    #[test]
    fn causes_are_said_once() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let error = FileError::Read { path: PathBuf::from("net.fhec"), source };
        let error = Failure::from(anyhow::Error::from(error));
        assert_eq!(error.message(), "cannot read net.fhec: entity not found");
        let error = anyhow::anyhow!("its checksum is wrong").context("cannot load net.fhec");
        assert_eq!(Failure::from(error).message(), "cannot load net.fhec: its checksum is wrong");
    }

    #[test]
    fn plans_beyond_limits_are_told_from_errors() {
        let gate = || GateError { reasons: vec!["too slow".into()], nearest: "none".into() };
        let memory = || CompileError::Memory { model: "net.onnx".into(), source: gate() };
        let limits = |failure: &Failure| matches!(failure, Failure::Limits(_));
        assert!(limits(&memory().into()) && limits(&CompileError::from(gate()).into()));
        assert!(limits(&anyhow::Error::from(memory()).into()), "of a command that compiles on the way");
        let message = Failure::from(memory()).message();
        assert!(message.starts_with("cannot compile net.onnx: the plan is beyond"), "{message}");
        assert!(!limits(&CompileError::NothingToFit.into()));
        assert!(!limits(&anyhow::anyhow!("something else").into()));
    }
}
