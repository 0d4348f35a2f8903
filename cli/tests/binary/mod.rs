//! The built `fhec`, run as users do.

use std::process::{Command, Output, Stdio};

/// What `fhec arguments` ends with; nothing is on its standard input.
pub fn fhec(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fhec"));
    // Tests look at plans, which are the same everywhere with the built-in prices alone.
    command.env("FHEC_COSTS", "zen5");
    command.args(arguments).stdin(Stdio::null()).output().expect("fhec starts")
}

/// What `fhec arguments`, which must succeed, prints.
#[allow(dead_code, reason = "not every test that includes this module expects success")]
pub fn succeeds(arguments: &[&str]) -> String {
    let output = fhec(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "fhec {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("output is text")
}
