//! The errors that passes predict against those of the simulator: both ask one model, and this is
//! where a second one would show.

use std::sync::Arc;

use fhec_ir::ckks::Ckks;
use fhec_ir::fact::INPUT_FACTORS;
use fhec_ir::func::Func;
use fhec_ir::interp::{Bundle, run_ckks};
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::analysis::circuit_shapes::CircuitShapes;
use fhec_passes::analysis::noise::noise;
use fhec_runtime::exec::{EncryptionKind, Simulation, execute};
use fhec_tests::runner::params;

/// Standard deviations of the output's error of a program with one input: predicted, and over runs
/// of the simulator. The message is spread as predictions take it to be, with mean square 1, or
/// that of pictures whose largest number is 1 where the program says what its inputs are divided
/// by.
fn deviations(program: &str) -> [f64; 2] {
    let func: Func<Ckks> = parse_func(program, &ConstSource::default()).unwrap();
    let params = params(10, 8).unwrap();
    let output = func.outputs()[0].index();
    let predicted =
        noise(&func, &params, EncryptionKind::PublicKey, &mut CircuitShapes::default())[output].stddev;

    let ty = func.ty(func.inputs()[0]);
    let size = if func.has_fact(INPUT_FACTORS) { 1.0 / 2.75 } else { 1.0 };
    let slot =
        |i: usize| size * 3f64.sqrt() * ((2 * (i * 7919 % ty.slots) + 1) as f64 / ty.slots as f64 - 1.0);
    let message: Bundle = vec![(0..ty.slots).map(slot).collect(); ty.vectors];
    let exact = run_ckks(&func, std::slice::from_ref(&message)).unwrap().concat().concat();
    let simulation = Simulation::new(&Arc::new(func.clone()), &params);
    let (mut squares, mut count) = (0.0, 0);
    for seed in 0..(1 << 14) / ty.slots as u64 {
        let run = simulation.run(seed);
        let input = run.encrypt(0, ty, message.clone(), EncryptionKind::PublicKey);
        let found = execute(&run, vec![input], &mut ()).unwrap().concat().concat();
        squares += found.iter().zip(&exact).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
        count += found.len();
    }
    [predicted, (squares / f64::from(count as u32)).sqrt()]
}

/// Within `tolerance`, a factor: what predictions know of messages is their distribution.
fn agree(what: &str, program: &str, tolerance: f64) {
    let [predicted, simulated] = deviations(program);
    let ratio = predicted / simulated;
    eprintln!("{what}: predicted {predicted:.3e}, simulated {simulated:.3e}, ratio {ratio:.3}");
    assert!(
        ratio < tolerance && ratio > 1.0 / tolerance,
        "{what}: predicted {predicted:.3e}, simulated {simulated:.3e}"
    );
}

#[test]
fn encryptions_of_all_slots_and_of_few() {
    for slots in [512, 64, 8] {
        let program = format!(
            "func ckks p {{
              input %0 : ct<1, {slots}, 4, D4, 2>
              %1 = rotate(%0) {{steps=1}}
              %2 = level_drop(%1) {{level=2}}
              return %2
            }}"
        );
        agree(&format!("{slots} slots"), &program, 1.06);
    }
}

/// Most of the error of a rescaled product of three polynomials comes from the square of the
/// secret.
#[test]
fn products_are_rescaled_with_three_polynomials_or_with_two() {
    for (order, ops) in [
        ("rescale first", ["rescale(%1)", "relinearize(%2)"]),
        ("relinearize first", ["relinearize(%1)", "rescale(%2)"]),
    ] {
        let program = format!(
            "func ckks p {{
              input %0 : ct<1, 512, 4, D4, 2>
              %1 = mul(%0, %0)
              %2 = {}
              %3 = {}
              return %3
            }}",
            ops[0], ops[1]
        );
        agree(order, &program, 1.06);
    }
}

/// The error of a square is that of its operand times twice the operand, which is smaller where it
/// was divided.
#[test]
fn divided_inputs_are_small() {
    let program = |meta: &str| {
        format!(
            "func ckks p {{
              {meta}
              input %0 : ct<1, 512, 4, D4, 2>
              %1 = mul(%0, %0)
              %2 = rescale(%1)
              %3 = relinearize(%2)
              return %3
            }}"
        )
    };
    let divided = program("meta input_factors = [3.0]");
    agree("a square of a divided input", &divided, 1.06);
    let [whole, part] = [&program(""), &divided].map(|program| deviations(program)[0]);
    assert!(part < whole / 1.1, "{part:e} and {whole:e}");
}

#[test]
fn polynomials_have_errors_inside() {
    for slots in [512, 32] {
        let program = format!(
            "func ckks p {{
              input %0 : ct<1, {slots}, 8, D8, 2>
              %1 = mul_scalar(%0) {{factor=0.5}}
              %2 = rescale(%1)
              %3 = polynomial(%2) {{polynomial={{domain=[-1.0, 1.0], chebyshev=[0.3, 0.5, 0.0, -0.2, 0.1, 0.05, 0.3, -0.1, 0.2, 0.1, 0.0, 0.05]}}}}
              return %3
            }}"
        );
        agree(&format!("a polynomial of {slots} slots"), &program, 1.1);
    }
}

/// Rows of the map are alike, and every diagonal is taken to be rotated: a little too much.
#[test]
fn linear_maps_add_up_errors_of_their_rows() {
    let layout = "{shape=[16, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=16, slots=512}";
    let program = format!(
        "func ckks p {{
          const @0 : f32[16, 16] = random(1)
          input %0 : ct<1, 512, 4, D4, 2>
          %1 = linear_map(%0) {{map={{kind={{dense=@0}}, input={layout}, output={layout}}}, baby_step=4}}
          %2 = rescale(%1)
          return %2
        }}"
    );
    agree("a dense layer", &program, 1.1);
}
