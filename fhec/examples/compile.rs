//! Compiles a model, looks at the plan, and writes the files of both parties.
//!
//! `cargo run --release --example compile -- net.onnx FOLDER`

#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use std::error::Error;
use std::path::{Path, PathBuf};

use fhec::{CompileOptions, SecurityLevel, compile, write, write_interface};

/// Compiles `model` and writes into `folder`.
pub fn run(model: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let options = CompileOptions { security: Some(SecurityLevel::Bits128), ..CompileOptions::default() };
    let program = compile(model, &options)?;
    let plan = &program.plan;
    println!(
        "{}: {} bits of security, {} bootstraps, {:.2} s predicted",
        plan.network, plan.security_bits, plan.bootstraps, plan.predicted_seconds
    );
    write(&program, &folder.join("net.fhec"))?;
    let bytes = write_interface(&program.interface, &folder.join("net.client.fhec"))?;
    println!("{bytes} bytes for a client");
    let server = fhec::Program::clone(&program).without_reference();
    write(&server, &folder.join("net.server.fhec"))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let model = arguments.next().unwrap_or_else(|| models.join("mnist_cnn_deg3.onnx"));
    run(&model, &arguments.next().unwrap_or_else(std::env::temp_dir))
}
