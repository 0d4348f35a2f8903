//! The text form of programs: `parse(print(f)) == f`.
//!
//! ```text
//! func nn lenet {
//!   meta output_factor = 1.0
//!   const @0 : f32[2, 1] = [1.0, -2.5]
//!   const @1 : f32[16, 3, 3, 3] = #9f3c...   ; large data: looked up by digest
//!   input %0 : f32[1, 1] "image"
//!   %1 = dense(%0) {weight=@0} : f32[1, 2] "fc"
//!   return %1
//! }
//! ```
//! Values are numbered in order of definition. Comments run from `;` to the end of the line. In
//! hand-written programs a constant may also be `random(seed)`: uniform values in `[-1, 1)` from a
//! fixed generator.

mod lexer;
mod parse;
mod print;

pub use parse::{ConstSource, ParseError, parse_attr, parse_func};
pub use print::print_func;

/// Constants with more elements than this print as their digest.
pub const INLINE_ELEMENTS: usize = 64;
