//! Names of programs.

use std::fmt;

use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::text::print_func;

/// Names a program by its content: BLAKE3 of its text, in which large constants stand as digests.
/// Equal programs have equal names wherever they are in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(pub [u8; 32]);

impl ProgramId {
    /// The name of `program`. Prints it, and reads all of its constants.
    pub fn of(program: &Func<Ckks>) -> Self {
        ProgramId(blake3::hash(print_func(program).as_bytes()).into())
    }
}

impl fmt::Display for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProgramId({self})")
    }
}
