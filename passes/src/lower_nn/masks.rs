//! Where slots beside pictures are set to zero again.
//!
//! Regular maps may leave sums there ([`Beside::Sums`]). They are masked as late as can be: not
//! where they arise but where somebody would read them, or where they would grow. A bias and the
//! sum with a shortcut come before, so that the masked value is the one that is refreshed, and its
//! bootstrap can do the mask ([`crate::ckks::place_bootstraps`]).

use fhec_ir::linear_map::{Beside, LinearKind, LinearMap};

use super::choose_layout::Layouts;
use super::program::{Step, TensorProgram};

/// By tensor: whether it is masked as soon as it is computed.
pub(super) fn masked(program: &TensorProgram, layouts: &Layouts) -> Vec<bool> {
    let depths = depths(program);
    let mut needed = vec![false; program.tensors.len()];
    program.outputs.iter().for_each(|&output| needed[output] = true);
    for (index, (step, _)) in program.steps.iter().enumerate() {
        if needs_zeros(step, layouts.regular[index]) {
            step.operands().into_iter().for_each(|operand| needed[operand] = true);
        }
    }
    loop {
        let sums = with_sums(program, layouts, &needed);
        let remain = |tensor: usize| sums[tensor] && !needed[tensor];
        // A sum with what is far deeper: its shallow summand has a level to spare for a mask.
        let early = program.steps.iter().flat_map(|(step, _)| match *step {
            Step::Add { x, y } | Step::Sub { x, y } => vec![(x, y), (y, x)],
            _ => Vec::new(),
        });
        let early = early.filter(|&(x, y)| remain(x) && !remain(y) && depths[x] < depths[y]);
        let early: Vec<usize> = early.map(|(x, _)| x).collect();
        if early.is_empty() {
            return sums.iter().zip(&needed).map(|(sums, needed)| *sums && *needed).collect();
        }
        early.into_iter().for_each(|tensor| needed[tensor] = true);
    }
}

/// Whether a step must find zeros beside pictures: it reads them, or makes more of what is there.
/// Other maps read elements alone.
fn needs_zeros(step: &Step, regular: Option<Beside>) -> bool {
    match step {
        Step::Linear { kind: LinearKind::Conv2d { pads, .. }, .. } => regular.is_some() && *pads != [0; 4],
        Step::Polynomial { .. } | Step::Mul { .. } | Step::View { .. } => true,
        Step::Linear { .. }
        | Step::Add { .. }
        | Step::Sub { .. }
        | Step::AddPlain { .. }
        | Step::MulPlain { .. }
        | Step::MulScalar { .. } => false,
    }
}

/// By tensor: whether its step leaves sums, where tensors that are `needed` have been masked.
fn with_sums(program: &TensorProgram, layouts: &Layouts, needed: &[bool]) -> Vec<bool> {
    let mut sums = vec![false; program.tensors.len()];
    for (index, (step, result)) in program.steps.iter().enumerate() {
        let remain = step.operands().into_iter().any(|operand| sums[operand] && !needed[operand]);
        sums[*result] = match step {
            Step::Linear { x, kind } => {
                let (input, output) = (layouts.layouts[*x].clone(), layouts.layouts[*result].clone());
                let map = LinearMap::new(kind.clone(), input, output);
                let regular = layouts.regular[index] == Some(Beside::Sums);
                regular && (remain || map.leaves_sums(&program.consts))
            }
            // Constants are at elements alone.
            Step::MulPlain { .. } => false,
            Step::Polynomial { .. }
            | Step::Add { .. }
            | Step::Sub { .. }
            | Step::Mul { .. }
            | Step::AddPlain { .. }
            | Step::MulScalar { .. }
            | Step::View { .. } => remain,
        };
    }
    sums
}

/// Levels between the inputs and each tensor.
fn depths(program: &TensorProgram) -> Vec<u32> {
    let mut depths = vec![0; program.tensors.len()];
    for (step, result) in &program.steps {
        let used = match step {
            Step::Linear { .. } | Step::Mul { .. } | Step::MulPlain { .. } | Step::MulScalar { .. } => 1,
            Step::Polynomial { polynomial, .. } => polynomial.depth(),
            Step::Add { .. } | Step::Sub { .. } | Step::AddPlain { .. } | Step::View { .. } => 0,
        };
        let before = step.operands().into_iter().map(|operand| depths[operand]).max();
        depths[*result] = before.unwrap_or(0) + used;
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhec_ir::layout::Layout;
    use fhec_ir::polynomial::Polynomial;
    use fhec_ir::tensor::Tensor;

    /// Steps on tensors of one shape, each a regular map or none, and which tensors are masked.
    fn masked_of(steps: &[Step], kernels: usize) -> Vec<bool> {
        let mut program = TensorProgram::default();
        for _ in 0..kernels {
            program.consts.add(Tensor::from_fn([1, 1, 3, 3], |_| 1.0));
        }
        program.consts.add(Tensor::from_fn([1, 1, 1, 1], |_| 1.0));
        program.inputs = vec![program.tensor([1, 6, 6], None)];
        for step in steps {
            program.push(step.clone(), [1, 6, 6], None);
        }
        program.outputs = vec![program.tensors.len() - 1];
        let layout =
            Layout { shape: [1, 6, 6], gap: [1; 2], multiplex: 1, plane: [8; 2], period: 64, slots: 64 };
        let regular = |step: &Step| matches!(step, Step::Linear { .. }).then_some(Beside::Sums);
        let layouts = Layouts {
            layouts: vec![layout; program.tensors.len()],
            folds: vec![1; steps.len()],
            regular: steps.iter().map(regular).collect(),
            bordered: vec![true; program.tensors.len()],
            seconds: 0.0,
        };
        masked(&program, &layouts)
    }

    #[test]
    fn masks_are_where_sums_would_be_read() {
        let conv = |x: usize, size: usize| {
            let (weight, pad) = if size == 3 { (0, 1) } else { (1, 0) };
            let (weight, pads) = (fhec_ir::entity::Const::new(weight), [pad; 4]);
            let kind = LinearKind::Conv2d { weight, strides: [1; 2], pads, dilations: [1; 2], groups: 1 };
            Step::Linear { x, kind }
        };
        let polynomial = |x| Step::Polynomial {
            x,
            polynomial: Polynomial::chebyshev(vec![0.0, 0.0, 1.0], [-1.0, 1.0]).unwrap(),
        };
        let all = |steps: &[Step]| {
            let found = masked_of(steps, 1);
            (0..found.len()).filter(|&tensor| found[tensor]).collect::<Vec<_>>()
        };
        // A bias and a shortcut come before the mask; the shortcut's 1x1 map reads zeros there.
        let bias = |x| Step::MulScalar { x, factor: 0.5 };
        let block = [conv(0, 3), bias(1), conv(0, 1), Step::Add { x: 2, y: 3 }, polynomial(4)];
        assert_eq!(all(&block), [4]);
        // What both a polynomial and a sum read is masked once, for both.
        assert_eq!(all(&[conv(0, 3), polynomial(1), Step::Add { x: 1, y: 2 }]), [1]);
        // Beside what is deeper a mask takes no level of the sum's.
        let other = [conv(0, 3), polynomial(0), Step::Add { x: 2, y: 1 }, conv(3, 3)];
        assert_eq!(all(&other), [1, 4]);
        // 1x1 maps pass sums on, 3x3 maps do not read them.
        assert_eq!(all(&[conv(0, 3), conv(1, 1), conv(2, 3), polynomial(3)]), [2, 3]);
        // The output.
        assert_eq!(all(&[conv(0, 3)]), [1]);
        assert!(all(&[polynomial(0), conv(1, 1)]).is_empty());
    }
}
