//! The library's errors as the exceptions of `fhec.errors`.

use std::error::Error;

use fhec::exchange::ExchangeError;
use fhec::{
    CompileError, ExecError, InterfaceError, OpenError, PassError, ProgramError, RehearsalError, RoleError,
    Stop,
};
use fhec_serve::api::Code;
use fhec_serve::remote::RemoteError;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// A class of `fhec.errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything else.
    Fhec,
    /// An option, or two that contradict each other.
    Option,
    /// A compile.
    Compile,
    /// The model.
    Model,
    /// A limit that no plan keeps.
    Limit,
    /// Images.
    Data,
    /// A file that cannot be read or written.
    File,
    /// Bytes that are no program.
    Program,
    /// A program that is not secure enough.
    Security,
    /// Keys.
    Keys,
    /// Ciphertexts.
    Ciphertext,
    /// An evaluation.
    Evaluation,
    /// An evaluation that was ended.
    Cancelled,
    /// An evaluation that took too long.
    Deadline,
    /// Memory that there is not.
    Memory,
    /// An answer that decrypts to noise.
    Refused,
    /// A service.
    Remote,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Kind::Fhec => "FhecError",
            Kind::Option => "OptionError",
            Kind::Compile => "CompileError",
            Kind::Model => "ModelError",
            Kind::Limit => "LimitError",
            Kind::Data => "DataError",
            Kind::File => "FileError",
            Kind::Program => "ProgramError",
            Kind::Security => "SecurityError",
            Kind::Keys => "KeysError",
            Kind::Ciphertext => "CiphertextError",
            Kind::Evaluation => "EvaluationError",
            Kind::Cancelled => "Cancelled",
            Kind::Deadline => "DeadlineExceeded",
            Kind::Memory => "OutOfMemory",
            Kind::Refused => "AnswerRefused",
            Kind::Remote => "RemoteError",
        }
    }

    /// An exception that says `message`.
    pub fn says(self, message: impl Into<String>) -> PyErr {
        let message = message.into();
        Python::attach(|py| {
            let class = py.import("fhec.errors").and_then(|module| module.getattr(self.class()));
            match class.and_then(|class| Ok(class.cast_into::<PyType>()?)) {
                Ok(class) => PyErr::from_type(class, message),
                Err(error) => error,
            }
        })
    }

    /// An exception that says what `error` and its causes say.
    pub fn of(self, error: &(dyn Error + 'static)) -> PyErr {
        self.says(fhec_cli::message(error))
    }
}

/// What a compile says.
pub fn of_compile(error: CompileError) -> PyErr {
    let kind = match &error {
        CompileError::Import { .. } | CompileError::Network { .. } => Kind::Model,
        CompileError::Images(_) | CompileError::InputLimits { .. } | CompileError::Normalisation(_) => {
            Kind::Data
        }
        CompileError::NormalisationFile(_)
        | CompileError::File(_)
        | CompileError::Ranges { .. }
        | CompileError::Activations { .. } => Kind::File,
        CompileError::Memory { .. } | CompileError::Limits(_) => Kind::Limit,
        CompileError::Compile { source, .. } if matches!(**source, PassError::Option { .. }) => Kind::Option,
        CompileError::Compile { .. }
        | CompileError::Fit { .. }
        | CompileError::NothingToFit
        | CompileError::Broken { .. } => Kind::Compile,
    };
    kind.of(&error)
}

/// Why a program cannot be opened, or its images.
pub fn of_open(error: OpenError) -> PyErr {
    let kind = match &error {
        OpenError::File(_) => Kind::File,
        OpenError::Program { source, .. } => of_program_kind(source),
        OpenError::NoImage { .. } | OpenError::Images(_) => Kind::Data,
    };
    kind.of(&error)
}

fn of_program_kind(error: &ProgramError) -> Kind {
    match error {
        ProgramError::Security(_) | ProgramError::Interface(InterfaceError::Security(_)) => Kind::Security,
        _ => Kind::Program,
    }
}

/// Why bytes are no program.
pub fn of_program(error: ProgramError) -> PyErr {
    of_program_kind(&error).of(&error)
}

/// What client or server says.
pub fn of_role(error: RoleError) -> PyErr {
    let kind = match &error {
        RoleError::CiphertextCount { .. } | RoleError::CiphertextKind { .. } => Kind::Ciphertext,
        RoleError::Interface(error) => match error {
            InterfaceError::ImageSize { .. } | InterfaceError::BatchSize { .. } => Kind::Data,
            InterfaceError::Range { .. } => Kind::Data,
            InterfaceError::Security(_) => Kind::Security,
            _ => Kind::Program,
        },
        RoleError::Batch(_) | RoleError::Context(_) | RoleError::Prepare(_) => Kind::Program,
        RoleError::Keys(_) | RoleError::Exec(ExecError::MissingKeys { .. }) => Kind::Keys,
        RoleError::Exec(ExecError::Cancelled { .. }) => Kind::Cancelled,
        RoleError::Exec(ExecError::DeadlineExceeded { .. }) => Kind::Deadline,
        RoleError::Exec(ExecError::Op { .. }) if is_of_keys(&error) => Kind::Keys,
        RoleError::Exec(ExecError::Input { .. }) => Kind::Ciphertext,
        RoleError::Exec(_) => Kind::Evaluation,
        RoleError::Eval(_) if is_of_keys(&error) => Kind::Keys,
        RoleError::Eval(_) => Kind::Evaluation,
        RoleError::Randomness(_) => Kind::Fhec,
    };
    kind.of(&error)
}

/// Whether ciphertexts and keys belong to different secret keys.
fn is_of_keys(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(fhec::EvalError::KeyMismatch { .. }) = error.downcast_ref() {
            return true;
        }
        cause = error.source();
    }
    // Errors that are transparent have their cause's cause.
    matches!(error.downcast_ref(), Some(RoleError::Eval(fhec::EvalError::KeyMismatch { .. })))
}

/// What a rehearsal says.
pub fn of_rehearsal(error: RehearsalError) -> PyErr {
    match error {
        RehearsalError::Role(error) => of_role(error),
        RehearsalError::Program(error) => of_program(error),
        RehearsalError::Normalisation(_) | RehearsalError::Image(_) => Kind::Data.of(&error),
        _ => Kind::Evaluation.of(&error),
    }
}

/// What is wrong with a file of keys or ciphertexts; `kind` is what it should be.
pub fn of_exchange(error: ExchangeError, kind: Kind) -> PyErr {
    let kind = match &error {
        ExchangeError::File(_) | ExchangeError::Folder { .. } => Kind::File,
        ExchangeError::KeysExist { .. }
        | ExchangeError::KeysBusy { .. }
        | ExchangeError::KeysUnfinished { .. }
        | ExchangeError::NoKeys { .. } => Kind::Keys,
        ExchangeError::Parameters { .. }
        | ExchangeError::Format { .. }
        | ExchangeError::Read { .. }
        | ExchangeError::Bundle { .. } => kind,
    };
    kind.of(&error)
}

/// Why work was ended from outside.
pub fn of_stop(stop: Stop) -> PyErr {
    match stop {
        Stop::Cancelled => Kind::Cancelled.of(&stop),
        Stop::Deadline { .. } => Kind::Deadline.of(&stop),
    }
}

/// What a service says, or the way to it. A refusal has its code, and when to come back.
pub fn of_remote(py: Python<'_>, error: RemoteError) -> PyErr {
    let kind = match &error {
        RemoteError::Address { .. } | RemoteError::Tls { .. } | RemoteError::NoHome => Kind::Option,
        RemoteError::Interface { source, .. } => of_program_kind(source),
        RemoteError::File(_) | RemoteError::Home { .. } => Kind::File,
        RemoteError::Cancelled => Kind::Cancelled,
        RemoteError::Stopped(stop) => return of_stop(*stop),
        RemoteError::Refused(problem) if problem.code == Code::DeadlineExceeded => Kind::Deadline,
        RemoteError::Refused(problem) if problem.code == Code::ImageRefused => Kind::Ciphertext,
        _ => Kind::Remote,
    };
    let exception = kind.of(&error);
    if let RemoteError::Refused(problem) = &error
        && kind == Kind::Remote
    {
        let value = exception.value(py);
        let set = value
            .setattr("code", problem.code.name())
            .and_then(|()| value.setattr("retry_after", problem.retry_after));
        if let Err(error) = set {
            return error;
        }
    }
    exception
}
