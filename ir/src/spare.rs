//! What the slots hold that no element of a tensor takes.
//!
//! A linear map reads elements and writes elements, so all other slots of its result hold zero. A
//! polynomial acts on every slot, and leaves its value at zero there. So all spare slots of a value
//! hold one number, which depends on the program alone and not on the image.

use crate::ckks::{Ckks, Op};
use crate::func::Func;

/// What the spare slots of every value of `func` hold, by the number of the value.
pub fn spare_slots(func: &Func<Ckks>) -> Vec<f64> {
    let mut spare = vec![0.0; func.value_count()];
    for data in func.ops() {
        spare[data.result.index()] = match &data.op {
            Op::LinearMap { .. } | Op::MulPlain { .. } => 0.0,
            Op::Polynomial { x, polynomial } => polynomial.eval(spare[x.index()]),
            Op::Add { x, y } => spare[x.index()] + spare[y.index()],
            Op::Sub { x, y } => spare[x.index()] - spare[y.index()],
            Op::Mul { x, y } => spare[x.index()] * spare[y.index()],
            Op::MulScalar { x, factor } => spare[x.index()] * factor,
            Op::AddScalar { x, offset } => spare[x.index()] + offset,
            // What is added to spare slots is zero, and rotations of whole periods exchange them.
            Op::AddPlain { x, .. }
            | Op::Rotate { x, .. }
            | Op::Conjugate { x }
            | Op::Relinearize { x }
            | Op::Rescale { x }
            | Op::LevelDrop { x, .. }
            | Op::Bootstrap { x, .. } => spare[x.index()],
        };
    }
    spare
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::run_ckks;
    use crate::text::parse_func;

    /// Three elements in four slots of eight, through every kind of op that changes spare slots.
    #[test]
    fn spare_slots_hold_what_the_program_says() {
        let layout = "{shape=[3, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=4, slots=8}";
        let text = format!(
            "func ckks test {{
              const @0 : f32[3] = [0.5, 0.25, -0.5] const @1 : f32[3, 3] = random(1)
              input %0 : ct<1, 8, 9, D9, 2>
              %1 = polynomial(%0) {{polynomial={{domain=[-1.0, 1.0], chebyshev=[0.75, 0.125, 0.0625]}}}}
              %2 = add_scalar(%1) {{offset=0.5}}
              %3 = mul_scalar(%2) {{factor=0.25}}
              %4 = rescale(%3)
              %5 = add_plain(%4) {{plain={{values=@0, layout={layout}}}}}
              %6 = mul(%5, %5)
              %7 = relinearize(%6)
              %8 = rescale(%7)
              %9 = sub(%8, %8)
              %10 = add(%9, %8)
              %11 = bootstrap(%10) {{level=5}}
              %12 = mul_plain(%11) {{plain={{values=@0, layout={layout}}}}}
              %13 = rescale(%12)
              %14 = add_scalar(%13) {{offset=0.125}}
              %15 = linear_map(%14) {{map={{kind={{dense=@1}}, input={layout}, output={layout}}}, baby_step=2}}
              %16 = rescale(%15)
              return %10, %14, %16
            }}"
        );
        let func: Func<Ckks> = parse_func(&text, &Default::default()).unwrap();
        let spare = spare_slots(&func);
        let x = [0.3, -0.2, 0.9];
        let slots: Vec<f64> = [x[0], x[1], x[2], 0.0].repeat(2);
        let found = run_ckks(&func, &[vec![slots]]).unwrap();
        for (output, bundle) in func.outputs().iter().zip(&found) {
            let spare = spare[output.index()];
            assert!([bundle[0][3], bundle[0][7]].iter().all(|slot| (slot - spare).abs() < 1e-12), "{spare}");
        }
        let expected = ((0.75 - 0.0625 + 0.5) * 0.25f64).powi(2);
        assert_eq!([0, 1, 2].map(|i| spare[func.outputs()[i].index()]), [expected, 0.125, 0.0]);
    }
}
