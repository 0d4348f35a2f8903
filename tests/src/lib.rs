//! The runner of fhec's filetests: text programs of all stages with what a pass should make of
//! them.
//!
//! | module | subject |
//! |---|---|
//! | [`runner`] | what a filetest says, and running it |
//! | [`passes`] | the passes that filetests name |
//! | [`random`] | numbers that are the same in every run |

#![forbid(unsafe_code)]

pub mod passes;
pub mod random;
pub mod runner;
