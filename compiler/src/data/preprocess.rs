//! Normalisations from files: the TOML beside a model.

use std::path::{Path, PathBuf};

use fhec_ir::program::Preprocess;
use fhec_roles::files::{self, FileError};
use thiserror::Error;

/// Largest file read: a few lines, and the names of thousands of classes.
const MAX_BYTES: u64 = 1 << 20;

/// A file with a normalisation that cannot be used.
#[derive(Debug, Error)]
pub enum PreprocessFileError {
    /// The file cannot be read, or is too large.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not the TOML described at [`Preprocess`].
    #[error("{}: {reason}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What the parser says, with the line.
        reason: String,
    },
}

/// Reads the TOML file described at [`Preprocess`].
pub fn open(path: impl AsRef<Path>) -> Result<Preprocess, PreprocessFileError> {
    let path = path.as_ref().to_owned();
    let bytes = files::read(&path, MAX_BYTES)?;
    match String::from_utf8(bytes) {
        Err(error) => Err(PreprocessFileError::Toml { path, reason: error.to_string() }),
        Ok(text) => parse(&text, path),
    }
}

/// Reads the text of such a file; `path` names it in errors.
pub fn parse(text: &str, path: impl Into<PathBuf>) -> Result<Preprocess, PreprocessFileError> {
    toml::from_str(text).map_err(|e| PreprocessFileError::Toml { path: path.into(), reason: e.to_string() })
}

/// The file beside a model, `net.toml` for `net.onnx`, if there is one.
pub fn beside(model: impl AsRef<Path>) -> Result<Option<Preprocess>, PreprocessFileError> {
    let path = model.as_ref().with_extension("toml");
    if path.is_file() { open(path).map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn toml_beside_a_model_is_read_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("net.onnx");
        assert_eq!(beside(&model).unwrap(), None);
        let write = |text: &str| fs::write(folder.path().join("net.toml"), text).unwrap();
        write("mean = [0.1307]\nstd = [0.3081]\nscale = 255.0\nclasses = ['a', 'b']\n");
        let p = beside(&model).unwrap().unwrap();
        assert_eq!((p.scale(), p.mean(), p.std()), (255.0, &[0.1307][..], &[0.3081][..]));
        assert_eq!(p.classes(), ["a", "b"]);
        write("");
        assert_eq!(beside(&model).unwrap().unwrap(), Preprocess::default());
        for bad in ["means = [1.0]", "mean = 1.0", "std = [0.0]", "scale = nan", "mean = [", "scale = 'x'"] {
            write(bad);
            let error = beside(&model).unwrap_err();
            assert!(matches!(error, PreprocessFileError::Toml { .. }), "{bad}: {error}");
        }
    }
}
