//! What operations cost on this machine: where the table is looked for, and its file.

use std::path::{Path, PathBuf};

use fhec_passes::analysis::cost::{CostTable, OpKind};
use fhec_roles::files::{self, FileError};
use thiserror::Error;

/// Cost tables are a few lines.
const MAX_BYTES: u64 = 1 << 20;

/// Why there is no table of costs.
#[derive(Debug, Error)]
pub enum CostsError {
    /// The file cannot be read, or is too large.
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds something else.
    #[error("{} is no table of costs", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It lacks operations that this version knows.
    #[error(
        "{} is a table of costs of another version; `fhec bench --calibrate` measures anew",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
    },
}

/// Where the table is looked for when a program is compiled: `fhec/costs.json` in the user's
/// configuration folder.
pub fn default_path() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    config.or_else(home).map(|folder| folder.join("fhec").join("costs.json"))
}

/// Reads a table.
///
/// # Errors
/// [`CostsError`].
pub fn read(path: &Path) -> Result<CostTable, CostsError> {
    let bytes = files::read(path, MAX_BYTES)?;
    let json = |source| CostsError::Json { path: path.to_owned(), source };
    let table: CostTable = serde_json::from_slice(&bytes).map_err(json)?;
    match OpKind::ALL.iter().all(|kind| table.factors.contains_key(kind)) {
        true => Ok(table),
        false => Err(CostsError::Version { path: path.to_owned() }),
    }
}

/// The table in `path`, or that of this machine, or else the built-in one.
///
/// # Errors
/// [`CostsError`].
pub fn open(path: Option<&Path>) -> Result<CostTable, CostsError> {
    let own = || default_path().filter(|path| path.is_file());
    match path.map(Path::to_path_buf).or_else(own) {
        Some(path) => read(&path),
        None => Ok(CostTable::default()),
    }
}
