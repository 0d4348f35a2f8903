//! Comparisons, choices and roundings: of constants, which exporters compute shapes and masks with,
//! and comparisons of the network's values that are a part of an activation, such as `Where(x > 0,
//! x, 0.1 x)`.

use fhec_ir::nn::infer;

use super::super::error::ImportError;
use super::super::literal::{Elements, Literal, Operand, broadcast_indices, integer_count};
use super::super::node::{Node, constant, scalar};

type Outputs = Result<Vec<Operand>, ImportError>;

/// What is refused where it is no part of an activation.
const DECISION: &str = "a decision about the network's values";

pub(super) fn equal(node: &mut Node<'_>) -> Outputs {
    compare(node, |a, b| a == b)
}

pub(super) fn greater(node: &mut Node<'_>) -> Outputs {
    compare(node, |a, b| a > b)
}

pub(super) fn greater_or_equal(node: &mut Node<'_>) -> Outputs {
    compare(node, |a, b| a >= b)
}

pub(super) fn less(node: &mut Node<'_>) -> Outputs {
    compare(node, |a, b| a < b)
}

pub(super) fn less_or_equal(node: &mut Node<'_>) -> Outputs {
    compare(node, |a, b| a <= b)
}

pub(super) fn and(node: &mut Node<'_>) -> Outputs {
    of_constants(node, |a, b| a != 0.0 && b != 0.0)
}

pub(super) fn or(node: &mut Node<'_>) -> Outputs {
    of_constants(node, |a, b| a != 0.0 || b != 0.0)
}

pub(super) fn not(node: &mut Node<'_>) -> Outputs {
    let x = numbers(&*known(node, 0)?);
    let literal = known(node, 0)?;
    let truth = x.iter().map(|&x| i64::from(x == 0.0)).collect();
    Ok(vec![constant(Literal {
        name: String::new(),
        shape: literal.shape.clone(),
        elements: Elements::Int(truth),
    })])
}

/// An operand of what is not continuous, which only constants can be asked.
fn known(node: &Node<'_>, index: usize) -> Result<std::rc::Rc<Literal>, ImportError> {
    match node.input(index)? {
        Operand::Constant(literal) => Ok(literal),
        Operand::Variable(_) => Err(node.unsupported(
            DECISION,
            "it is a jump, which no polynomial is near to; use Relu, Clip or Sigmoid, or fold constants before \
             (onnx-simplifier) if it only computes shapes",
        )),
    }
}

/// Exact for the integers that shapes and masks are made of.
fn numbers(literal: &Literal) -> Vec<f64> {
    match &literal.elements {
        Elements::Float(data) => data.iter().map(|&x| f64::from(x)).collect(),
        Elements::Int(data) => data.iter().map(|&x| x as f64).collect(),
    }
}

fn compare(node: &mut Node<'_>, f: fn(f64, f64) -> bool) -> Outputs {
    match (node.input(0)?, node.input(1)?) {
        (Operand::Constant(_), Operand::Constant(_)) => of_constants(node, f),
        (x, y) => Ok(vec![node.decision([&x, &y], f, DECISION)?]),
    }
}

/// `x` where `x` is larger than a threshold, 0 elsewhere.
pub(super) fn thresholded_relu(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let alpha = node.number_or("alpha", 1.0)?;
    if let Operand::Constant(literal) = &x {
        let above = numbers(literal).into_iter().map(|x| if x > alpha { x as f32 } else { 0.0 }).collect();
        let (name, shape) = (String::new(), literal.shape.clone());
        return Ok(vec![constant(Literal { name, shape, elements: Elements::Float(above) })]);
    }
    let alpha = scalar(alpha);
    let above = node.decision([&x, &alpha], |x, alpha| x > alpha, "a threshold other than 0")?;
    Ok(vec![node.mul(&x, &above)?])
}

fn of_constants(node: &mut Node<'_>, f: fn(f64, f64) -> bool) -> Outputs {
    let (a, b) = (known(node, 0)?, known(node, 1)?);
    let shape = infer::broadcast(&a.shape, &b.shape).map_err(|reason| node.invalid(reason))?;
    integer_count(&shape).map_err(|reason| node.invalid(reason))?;
    let (x, y) = (numbers(&a), numbers(&b));
    let pairs = broadcast_indices(&a.shape, &shape).zip(broadcast_indices(&b.shape, &shape));
    let truth = pairs.map(|(i, j)| i64::from(f(x[i], y[j]))).collect();
    Ok(vec![constant(Literal { name: String::new(), shape, elements: Elements::Int(truth) })])
}

/// `x` where the condition holds, a constant or a comparison, `y` elsewhere.
pub(super) fn choose(node: &mut Node<'_>) -> Outputs {
    if let Operand::Variable(value) = node.input(0)?
        && node.emitter.decisions.contains_key(&value)
    {
        let (x, y) = (node.input(1)?, node.input(2)?);
        // Of whatever is not taken nothing is left, however large it is.
        let holds = Operand::Variable(value);
        let fails = node.sub(&scalar(1.0), &holds)?;
        let (x, y) = (node.mul(&x, &holds)?, node.mul(&y, &fails)?);
        return Ok(vec![node.add(&x, &y)?]);
    }
    let (condition, x, y) = (known(node, 0)?, node.input(1)?, node.input(2)?);
    let holds: Vec<bool> = numbers(&condition).iter().map(|&c| c != 0.0).collect();
    let mut shape = condition.shape.clone();
    for other in [&x, &y] {
        shape = infer::broadcast(&shape, &node.shape_of(other)).map_err(|reason| node.invalid(reason))?;
    }
    if let (Operand::Constant(a), Operand::Constant(b)) = (&x, &y) {
        return Ok(vec![constant(chosen(node, &holds, &condition.shape, [a, b], shape)?)]);
    }
    let mask = |of: bool| {
        let mask = holds.iter().map(|&c| if c == of { 1.0 } else { 0.0 }).collect();
        let shape = condition.shape.clone();
        constant(Literal { name: String::new(), shape, elements: Elements::Float(mask) })
    };
    let mut part = |z: &Operand, of: bool| match z {
        // What is not taken may be infinite.
        Operand::Constant(literal) => {
            let whole = infer::broadcast(&condition.shape, &literal.shape).map_err(|e| node.invalid(e))?;
            let zero =
                Literal { name: String::new(), shape: Vec::new(), elements: Elements::Float([0.0].into()) };
            let floats = literal.to_floats();
            let pair = if of { [&floats, &zero] } else { [&zero, &floats] };
            chosen(node, &holds, &condition.shape, pair, whole).map(constant)
        }
        Operand::Variable(_) => node.mul(z, &mask(of)),
    };
    let (x, y) = (part(&x, true)?, part(&y, false)?);
    Ok(vec![node.add(&x, &y)?])
}

fn chosen(
    node: &mut Node<'_>,
    holds: &[bool],
    condition: &[usize],
    [a, b]: [&Literal; 2],
    shape: Vec<usize>,
) -> Result<Literal, ImportError> {
    let count = shape.iter().try_fold(1usize, |count, &d| count.checked_mul(d));
    node.reserve(count.ok_or_else(|| node.invalid("the result has too many elements"))?)?;
    let places = broadcast_indices(condition, &shape)
        .zip(broadcast_indices(&a.shape, &shape).zip(broadcast_indices(&b.shape, &shape)));
    let elements = match (&a.elements, &b.elements) {
        (Elements::Int(a), Elements::Int(b)) => {
            Elements::Int(places.map(|(c, (i, j))| if holds[c] { a[i] } else { b[j] }).collect())
        }
        _ => {
            let (Elements::Float(a), Elements::Float(b)) = (a.to_floats().elements, b.to_floats().elements)
            else {
                unreachable!("both were made floats")
            };
            Elements::Float(places.map(|(c, (i, j))| if holds[c] { a[i] } else { b[j] }).collect())
        }
    };
    Ok(Literal { name: String::new(), shape, elements })
}

pub(super) fn floor(node: &mut Node<'_>) -> Outputs {
    rounded(node, f32::floor)
}

pub(super) fn ceil(node: &mut Node<'_>) -> Outputs {
    rounded(node, f32::ceil)
}

pub(super) fn round(node: &mut Node<'_>) -> Outputs {
    rounded(node, f32::round_ties_even)
}

fn rounded(node: &mut Node<'_>, f: fn(f32) -> f32) -> Outputs {
    let literal = known(node, 0)?;
    let Elements::Float(data) = &literal.elements else { return Ok(vec![Operand::Constant(literal)]) };
    let elements = Elements::Float(data.iter().map(|&x| f(x)).collect());
    Ok(vec![constant(Literal { name: String::new(), shape: literal.shape.clone(), elements })])
}

/// Integers, or floats, from a start up to before a limit.
pub(super) fn range(node: &mut Node<'_>) -> Outputs {
    let ends = [0, 1, 2].map(|index| node.literal(index, "bound"));
    let [start, limit, step] = ends;
    let (start, limit, step) = (start?, limit?, step?);
    let one = |literal: &Literal| match numbers(literal)[..] {
        [number] => Ok(number),
        _ => Err(node.invalid("start, limit and step must be one number each")),
    };
    let (from, to, by) = (one(&start)?, one(&limit)?, one(&step)?);
    let count = ((to - from) / by).ceil().max(0.0);
    if by == 0.0 || !count.is_finite() {
        return Err(node.invalid(format!("there is no range from {from} to {to} in steps of {by}")));
    }
    // Saturates where there are too many.
    let count = integer_count(&[count as usize]).map_err(|reason| node.invalid(reason))?;
    let values = (0..count).map(|i| from + i as f64 * by);
    let elements = match &start.elements {
        Elements::Int(_) => Elements::Int(values.map(|v| v as i64).collect()),
        Elements::Float(_) => Elements::Float(values.map(|v| v as f32).collect()),
    };
    Ok(vec![constant(Literal { name: String::new(), shape: vec![count], elements })])
}
