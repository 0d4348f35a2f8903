//! Rehearses a program without encryption: will the encrypted answers be those of the plain
//! network?
//!
//! `cargo run --release --example rehearse`

#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use std::error::Error;
use std::path::Path;

use fhec::{CompileOptions, Simulator, argmax, compile, open_images, reference_logits};

/// Pictures whose class stays the same, of all that were tried.
pub fn run() -> Result<[usize; 2], Box<dyn Error>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let program = compile(&models.join("mnist_cnn_deg3.onnx"), &CompileOptions::default())?;
    // The compiled program itself, on numbers with the errors that encryption would add.
    let simulator = Simulator::new(&program, false);
    let mut same = 0;
    let names = ["digit_0_a.png", "digit_3_a.png", "digit_7_a.png"];
    for (seed, name) in (0u64..).zip(names) {
        let images = open_images(&program.interface, &models.join("digits").join(name))?;
        let image = images.input(0, &program.interface.preprocess)?;
        let simulated = simulator.answer(&image, seed)?;
        if !simulated.overflows.is_empty() {
            println!("{name}: {} operands leave their range", simulated.overflows.len());
        }
        same += usize::from(argmax(simulated.logits()) == argmax(&reference_logits(&program, &image)?));
    }
    Ok([same, names.len()])
}

fn main() -> Result<(), Box<dyn Error>> {
    let [same, all] = run()?;
    println!("{same} of {all} pictures keep their class");
    Ok(())
}
