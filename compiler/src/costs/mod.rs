//! What operations cost on a machine: the prices of predictions.
//!
//! | prices | from |
//! |---|---|
//! | [`Prices::OfMachine`] | this machine, measured once and kept in the user's cache folder |
//! | [`Prices::Zen5`] | the built-in table: the same everywhere, so that compiles can be repeated |
//! | [`Prices::File`] | a file that [`write()`] wrote |
//!
//! | module | subject |
//! |---|---|
//! | `machine` | which machine this is |
//! | `measure` | operations by the clock |
//! | `refine` | what runs show of kept prices |

mod machine;
mod measure;
mod refine;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use fhec_passes::analysis::cost::{CostTable, OpKind};
use fhec_passes::bootstrap::sets::SetError;
use fhec_roles::files::{self, Access, FileError};
use fhec_runtime::EvalError;
use fhec_runtime::ring::ContextError;
use thiserror::Error;

pub use machine::Machine;
pub use measure::{Effort, Measured, measure};
pub use refine::{Refined, refine};

use crate::memory::available_bytes;

/// Cost tables are a few lines.
const MAX_BYTES: u64 = 1 << 20;

/// Memory that has to be there for a measurement: its switching keys take most of it.
const MEASURED_BYTES: u64 = 3 << 30;

/// Which prices predictions are made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prices {
    /// Those of this machine.
    #[default]
    OfMachine,
    /// Those of two cores of a Zen 5, built in.
    Zen5,
    /// Those in a file.
    File(PathBuf),
}

impl std::str::FromStr for Prices {
    type Err = std::convert::Infallible;

    /// `auto`, `zen5`, or a path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Prices::OfMachine,
            "zen5" => Prices::Zen5,
            path => Prices::File(path.into()),
        })
    }
}

impl Prices {
    /// What the environment's `FHEC_COSTS` asks for, as the command line does; else this machine's.
    pub fn of_environment() -> Self {
        let asked = env::var("FHEC_COSTS").unwrap_or_else(|_| "auto".into());
        let Ok(prices) = asked.parse();
        prices
    }
}

/// Prices that were found, and what should be known of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The prices.
    pub table: CostTable,
    /// Why they are not those of this machine, where they should be.
    pub note: Option<String>,
}

/// Why there are no prices.
#[derive(Debug, Error)]
pub enum CostsError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder cannot be made.
    #[error("cannot make the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no table of costs.
    #[error("{} is no table of costs: {reason}; `fhec bench --calibrate --costs FILE` writes one", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An operation that is measured fails.
    #[error("operations cannot be measured: {0}")]
    Measure(#[from] EvalError),
    /// A parameter set that is measured cannot be made.
    #[error("operations cannot be measured: {0}")]
    Set(#[from] SetError),
    /// A ring that is measured cannot be made.
    #[error("operations cannot be measured: {0}")]
    Ring(#[from] ContextError),
}

/// The prices that are asked for. Those of this machine are measured where they are not known, and
/// kept. While other work takes its processors, or where there is too little memory, they cannot
/// be: those of the built-in table are found, with a note.
///
/// # Errors
/// [`CostsError`] for a file that was named. What is in the cache folder is no error, but measured
/// anew.
pub fn find(prices: &Prices) -> Result<Found, CostsError> {
    let known = |table| Found { table, note: None };
    match prices {
        Prices::Zen5 => Ok(known(CostTable::default())),
        Prices::File(path) => Ok(known(read(path)?)),
        Prices::OfMachine => {
            let machine = Machine::here();
            let path = cache_path(&machine);
            let threads = rayon::current_num_threads();
            let kept = path.as_deref().and_then(|path| read(path).ok());
            // The file's name is a digest: what it holds decides.
            let is_own = |table: &CostTable| table.machine == machine.in_words() && table.threads == threads;
            if let Some(table) = kept.filter(is_own) {
                return Ok(known(table));
            }
            let built_in = |why: &str| {
                let note = format!(
                    "{why}, so that its prices could not be measured: times are those of the built-in table"
                );
                Ok(Found { table: CostTable::default(), note: Some(note) })
            };
            if available_bytes().is_some_and(|bytes| bytes < MEASURED_BYTES) {
                return built_in("this machine has too little memory left");
            }
            let Measured { table, busy } = measure(Effort::Quick)?;
            if busy {
                return built_in("other work kept this machine busy");
            }
            if let Some(path) = path
                && let Err(error) = write(&path, &table)
            {
                tracing::debug!(%error, "prices are not kept");
            }
            Ok(known(table))
        }
    }
}

/// Whether the prices of a plan, by its [`cost_table`](fhec_ir::plan::Plan::cost_table), are those
/// of this machine.
pub fn are_of(machine: &Machine, cost_table: &str) -> bool {
    let built_in = &CostTable::default().machine;
    cost_table.starts_with(&machine.in_words()) || (cost_table.starts_with(built_in) && machine.is_zen5())
}

/// Where the prices of a machine are kept, for the threads there are: in `fhec/costs` of the user's
/// cache folder.
pub fn cache_path(machine: &Machine) -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    let name = format!("{}-{}.json", machine.digest(), rayon::current_num_threads());
    Some(cache.join("fhec").join("costs").join(name))
}

/// Reads a table.
///
/// # Errors
/// [`CostsError::File`] and [`CostsError::Table`].
pub fn read(path: &Path) -> Result<CostTable, CostsError> {
    let fault = |reason| CostsError::Table { path: path.into(), reason };
    let bytes = files::read(path, MAX_BYTES)?;
    let table: CostTable = serde_json::from_slice(&bytes).map_err(|error| fault(error.to_string()))?;
    if let Some(kind) = OpKind::ALL.iter().find(|kind| !table.factors.contains_key(kind)) {
        return Err(fault(format!("it has no factor for {kind:?}")));
    }
    let numbers = [
        table.speedup,
        table.conversion_ns,
        table.product_ns,
        table.tail_ns,
        table.packing_ns,
        table.embedding_ns,
        table.bytes_per_ns,
    ];
    let mut all =
        numbers.iter().chain(table.ntt_ns.values()).chain(table.factors.values()).chain(table.runs.values());
    match all.find(|number| !(number.is_finite() && **number >= 0.0)) {
        Some(number) => Err(fault(format!("{number} is no price"))),
        None if table.threads == 0 => Err(fault("it is of no thread".into())),
        None => Ok(table),
    }
}

/// Writes a table, its folder as well.
///
/// # Errors
/// [`CostsError::File`] and [`CostsError::Folder`].
pub fn write(path: &Path, table: &CostTable) -> Result<(), CostsError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let failed = |source| CostsError::Folder { path: folder.into(), source };
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let bytes = serde_json::to_vec_pretty(table)
        .map_err(|error| CostsError::Table { path: path.into(), reason: error.to_string() })?;
    files::write_atomically(path, Access::Ordinary, |writer| writer.write_all(&bytes))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_written_with_their_folder_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("costs.json");
        let table = CostTable { machine: "test".into(), ..CostTable::default() };
        write(&path, &table).unwrap();
        assert_eq!(read(&path).unwrap(), table);
        let mut lacking = table.clone();
        lacking.factors.remove(&OpKind::Mul);
        let negative = CostTable { speedup: -1.0, ..table.clone() };
        let nobody = CostTable { threads: 0, ..table };
        for (wrong, says) in [(lacking, "no factor for Mul"), (negative, "-1 is"), (nobody, "no thread")] {
            write(&path, &wrong).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        fs::write(&path, "{").unwrap();
        assert!(matches!(read(&path), Err(CostsError::Table { .. })));
    }

    #[test]
    fn prices_are_told_apart_by_machine() {
        let here = Machine::here();
        assert_eq!(here, Machine::here());
        assert!(are_of(&here, &format!("{}, 2 threads", here.in_words())));
        assert!(!are_of(&here, "another machine, 2 threads"));
        assert_eq!(are_of(&here, &CostTable::default().machine), here.is_zen5());
        assert_eq!("zen5".parse(), Ok(Prices::Zen5));
        assert_eq!("auto".parse(), Ok(Prices::OfMachine));
        assert_eq!("a/zen5".parse(), Ok(Prices::File("a/zen5".into())));
        assert_eq!(find(&Prices::Zen5).unwrap().table, CostTable::default());
    }
}
