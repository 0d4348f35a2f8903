//! Arguments that several subcommands share.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use fhec_ir::program::{Interface, Program};
use fhec_ir::security::{DEFAULT_FLOOR, SECURITY_LEVELS};

use fhec_compiler::memory::{available_bytes, human_bytes};
use fhec_compiler::onnx::ImportOptions;
use fhec_compiler::program;
use fhec_roles::checkpoint::CheckpointFolder;

/// `--json` and how much is logged.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Print the result as one JSON object on standard output (logs stay on standard error)
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more: -v what is done, -vv every pass and op, -vvv everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// No progress bars and no log lines below errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Worker threads; default: one per core
    #[arg(long, global = true, value_name = "T")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// Least security in bits of a compiled program that is read, computed from its parameters and
    /// keys; what the file says of itself is not believed
    #[arg(long, global = true, value_name = "BITS", default_value_t = DEFAULT_FLOOR, value_parser = security_level)]
    pub min_security: u32,
    /// Start even where memory seems too short
    #[arg(long, global = true)]
    pub ignore_memory: bool,
}

impl Common {
    /// Reads a compiled program that is as secure as was asked for.
    pub fn open(&self, path: &Path) -> Result<Arc<Program>> {
        Ok(Arc::new(program::open(path, self.min_security)?))
    }

    /// Reads the interface of a program that is as secure as was asked for: the file may be a
    /// client's.
    pub fn open_interface(&self, path: &Path) -> Result<Arc<Interface>> {
        Ok(Arc::new(program::open_interface(path, self.min_security)?))
    }

    /// Errs where fewer than `bytes` can be had for `what`: before work starts, because a process
    /// that runs out of memory is ended without a word.
    pub fn require_memory(&self, what: &str, bytes: u64) -> Result<()> {
        match available_bytes() {
            Some(available) if available < bytes && !self.ignore_memory => bail!(
                "{what} takes about {}, and {} of memory can be had: free some, or say --ignore-memory to try all the same",
                human_bytes(bytes),
                human_bytes(available)
            ),
            _ => Ok(()),
        }
    }
}

/// A level of the security table.
fn security_level(text: &str) -> Result<u32, String> {
    let bits = text.parse().ok().filter(|bits| SECURITY_LEVELS.contains(bits));
    bits.ok_or_else(|| format!("security levels are {SECURITY_LEVELS:?} bits"))
}

/// A list of numbers: `0.485,0.456,0.406`.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers(pub Vec<f32>);

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |item: &str| {
            item.trim()
                .parse()
                .map_err(|_| format!("`{item}` is not a number; write for example 0.485,0.456,0.406"))
        };
        text.split(',').map(number).collect::<Result<_, _>>().map(Numbers)
    }
}

/// The shape of a model's input: `1,3,32,32`, or `image=1,3,32,32`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputShape {
    /// Empty for the only input.
    name: String,
    shape: Vec<usize>,
}

impl FromStr for InputShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Names of tensors may hold the sign, shapes may not.
        let (name, shape) = text.rsplit_once('=').unwrap_or(("", text));
        let number = |item: &str| match item.trim().parse() {
            Ok(size @ 1..) => Ok(size),
            _ => Err(format!("`{item}` is no dimension; write for example 1,3,32,32 or image=1,3,32,32")),
        };
        let shape = shape.split(',').map(number).collect::<Result<_, _>>()?;
        Ok(InputShape { name: name.to_string(), shape })
    }
}

/// How a model is read.
#[derive(Args, Clone, Debug)]
pub struct Import {
    /// Shape of the input, for models that leave dimensions open: 1,3,32,32, or NAME=1,3,32,32 for
    /// one of several inputs
    #[arg(long, value_name = "SHAPE")]
    input_shape: Vec<InputShape>,
    /// End the network at this tensor of the model in place of its outputs; may be given several
    /// times. What comes after it is left to you
    #[arg(long, value_name = "TENSOR")]
    end_at: Vec<String>,
    /// Refuse a quantised model: its values are compiled as real numbers, saturated but not rounded
    /// to steps
    #[arg(long)]
    keep_rounding: bool,
}

impl Import {
    /// The same for the importer.
    pub fn options(&self) -> Result<ImportOptions> {
        let mut options = ImportOptions {
            end_at: self.end_at.clone(),
            keep_rounding: self.keep_rounding,
            ..ImportOptions::default()
        };
        for InputShape { name, shape } in &self.input_shape {
            let other = options.input_shapes.insert(name.clone(), shape.clone());
            ensure!(other.is_none(), "--input-shape is given twice for the same input");
        }
        Ok(options)
    }
}

/// Where a long evaluation leaves what it has reached.
#[derive(Args, Clone, Debug)]
pub struct Checkpointing {
    /// Folder for what the evaluation has reached at ends of layers; a run that was interrupted
    /// goes on from there when the same command is given again
    #[arg(long, value_name = "DIR")]
    pub checkpoint: Option<PathBuf>,
    /// Write no more often than every so many seconds; 0: after every layer
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "checkpoint")]
    pub checkpoint_interval: u64,
}

impl Checkpointing {
    /// The folder, claimed for this process.
    pub fn claim(&self) -> Result<Option<CheckpointFolder>> {
        Ok(self.checkpoint.as_deref().map(CheckpointFolder::claim).transpose()?)
    }

    /// The time between two checkpoints.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.checkpoint_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_shapes() {
        let shape = |text: &str| text.parse::<InputShape>().map(|shape| (shape.name, shape.shape));
        assert_eq!(shape("1,3,32,32"), Ok((String::new(), vec![1, 3, 32, 32])));
        assert_eq!(shape("a=b=1, 2"), Ok(("a=b".into(), vec![1, 2])));
        for bad in ["", "x=", "1,,2", "1,0", "1,-3", "1x3", "3=x"] {
            assert!(shape(bad).is_err(), "{bad}");
        }
    }
}
