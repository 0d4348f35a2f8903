//! Any bytes as an ONNX model. What imports must verify, survive printing and parsing, and run.

#![no_main]

use fhec_compiler::onnx::{ImportOptions, import_bytes};
use fhec_ir::interp;
use fhec_ir::nn::Nn;
use fhec_ir::tensor::{Tensor, element_count};
use fhec_ir::text::{ConstSource, parse_func, print_func};
use fhec_ir::verify::verify;
use libfuzzer_sys::fuzz_target;

/// Larger networks are imported but not run, to keep the rate up.
const RUN_UP_TO: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let Ok(imported) = import_bytes(bytes, None, &ImportOptions::default()) else { return };
    let func = imported.func;
    verify(&func).expect("an imported network verifies");
    let source = ConstSource::new(func.consts.iter().map(|(_, tensor)| tensor.clone()));
    let again = parse_func::<Nn>(&print_func(&func), &source).expect("a printed network parses");
    assert_eq!(again, func);
    let values = func.inputs().iter().copied().chain(func.ops().iter().map(|data| data.result));
    let elements: usize = values.map(|v| element_count(&func.ty(v).shape).unwrap_or(usize::MAX)).sum();
    let stored: usize = func.consts.iter().map(|(_, tensor)| tensor.data().len()).sum();
    if elements.saturating_mul(stored.max(1)) <= RUN_UP_TO * 1024 && elements <= RUN_UP_TO {
        let zeros = |v| Tensor::from_fn(func.ty(v).shape.clone(), |_| 0.5);
        let inputs: Vec<Tensor> = func.inputs().iter().map(|&v| zeros(v)).collect();
        interp::nn::run(&func, &inputs).expect("a verified network runs");
    }
});
