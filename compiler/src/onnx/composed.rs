//! Activations that exporters write as several nodes.
//!
//! Before an operator was in the standard, and where a framework has no name for it, a function of
//! one variable is a handful of products, sums and simpler functions: `x * Clip(x + 3, 0, 6) / 6`,
//! `x * Tanh(Log(1 + Exp(x)))`, `0.5 * x * (1 + Erf(x / sqrt 2))`, `Max(x, 0.1 * x)`. Each in as
//! many spellings as there are exporters. As one activation it is one polynomial; node by node it
//! would be several, one after the other, and products.
//!
//! So functions are known by their values, whatever they are made of: all that is computed from one
//! tensor, element by element and with single numbers, is followed on a grid of operands. Among it
//! are comparisons, which jump: `Where(x > 0, x, 0.1 * x)` does not.

use std::collections::BTreeMap;
use std::rc::Rc;

use fhec_ir::entity::Value;
use fhec_ir::func::{Func, OpData};
use fhec_ir::nn::activation::TABLE;
use fhec_ir::nn::{Activation, Nn, Op};

use super::emit::Decision;

/// The most ops, counted once per use, that a function is made of.
const MOST_OPS: usize = 24;
/// The most tensors that a value is seen as a function of: the nearest ones.
const MOST_ROOTS: usize = 8;
/// Exporters store constants in single precision: sqrt 2 is off by 2^-25 of it.
const TOLERANCE: f64 = 1e-6;
/// Beyond this an exponential may overflow in a spelling of a function that does not itself.
const OVERFLOW: f64 = 60.0;
/// The ends of the grid, larger than bounds that clips have.
const FAR: f64 = 1e6;

/// A value as a function of a tensor before it.
#[derive(Clone)]
struct Trace {
    /// On the grid.
    values: Rc<[f64]>,
    ops: usize,
    /// Whether an activation is among the ops.
    bends: bool,
}

/// What is known of functions and of values, in the order of the ops.
struct Traces<'a> {
    func: &'a Func<Nn>,
    decisions: &'a BTreeMap<Value, Decision>,
    definitions: Vec<Option<usize>>,
    grid: Rc<[f64]>,
    /// By the value, then by what it is a function of. A value is one of itself, which is not here.
    known: BTreeMap<Value, BTreeMap<Value, Trace>>,
}

/// The ops of `func`, those that complete an activation replaced by it. Ops that only they needed
/// are left.
pub(super) fn recognise(func: &Func<Nn>, decisions: &BTreeMap<Value, Decision>) -> Vec<Op> {
    let definitions = func.definitions();
    let mut traces = Traces { func, decisions, definitions, grid: grid().into(), known: BTreeMap::new() };
    func.ops().iter().map(|data| traces.follow(data)).collect()
}

/// Operands that tell functions apart: near 0, where corners are, and far away; first 0, 1, -1.
fn grid() -> Vec<f64> {
    let mut grid = vec![0.0, 1.0, -1.0, FAR, -FAR];
    // Steps that meet no corner twice.
    grid.extend((0..96).map(|i| f64::from(i) * 0.1697 - 8.123));
    let powers = (0..48).map(|i| 10f64.powf(-6.0 + f64::from(i) * 11.0 / 47.0));
    grid.extend(powers.flat_map(|power| [power, -power]));
    grid
}

impl Traces<'_> {
    fn follow(&mut self, data: &OpData<Nn>) -> Op {
        let traces = self.of_result(data);
        // The earlier the tensor, the more ops the activation takes the place of.
        let mut by_ops: Vec<(&Value, &Trace)> =
            traces.iter().filter(|(_, trace)| trace.bends && trace.ops > 1).collect();
        by_ops.sort_by_key(|(_, trace)| std::cmp::Reverse(trace.ops));
        let named = |(root, trace): (&Value, &Trace)| {
            activation(&self.grid, &trace.values).map(|function| Op::Activation { x: *root, function })
        };
        let op = by_ops.into_iter().find_map(named).unwrap_or_else(|| data.op.clone());
        if !traces.is_empty() {
            self.known.insert(data.result, traces);
        }
        op
    }

    fn of_result(&self, data: &OpData<Nn>) -> BTreeMap<Value, Trace> {
        let shape = |value: Value| &self.func.ty(value).shape;
        let keeps = |operands: &[Value]| operands.iter().all(|&x| shape(x) == shape(data.result));
        let decision = self.decisions.get(&data.result).map(|decision| decision.holds);
        let apply: fn(f64, f64) -> f64 = match data.op {
            Op::Activation { x, function } if keeps(&[x]) => {
                let bent = |trace: Trace| Trace { bends: true, ..trace };
                return self.map(x, |value| function.value(value), bent);
            }
            Op::Add { .. } => |x, y| x + y,
            Op::Sub { .. } => |x, y| x - y,
            Op::Mul { .. } => |x, y| x * y,
            Op::Div { .. } => |x, y| x / y,
            _ => return BTreeMap::new(),
        };
        let (Op::Add { x, y } | Op::Sub { x, y } | Op::Mul { x, y } | Op::Div { x, y }) = data.op else {
            unreachable!("these are the ops of two operands")
        };
        let apply = |x: f64, y: f64| match decision {
            Some(holds) => f64::from(u8::from(holds(x, y))),
            None => apply(x, y),
        };
        let also = |trace: Trace| Trace { bends: trace.bends || decision.is_some(), ..trace };
        match (self.number(x), self.number(y)) {
            (None, Some(number)) if keeps(&[x]) => self.map(x, |value| apply(value, number), also),
            (Some(number), None) if keeps(&[y]) => self.map(y, |value| apply(number, value), also),
            (None, None) if keeps(&[x, y]) => self.join(x, y, apply, also),
            _ => BTreeMap::new(),
        }
    }

    /// The number that all elements of a constant are.
    fn number(&self, value: Value) -> Option<f64> {
        let Op::Constant { value } = self.func.ops()[self.definitions[value.index()]?].op else {
            return None;
        };
        let (first, others) = self.func.consts[value].data().split_first()?;
        others.iter().all(|other| other == first).then_some(f64::from(*first))
    }

    /// What `x` is a function of, itself included.
    fn of(&self, x: Value) -> BTreeMap<Value, Trace> {
        let mut traces = self.known.get(&x).cloned().unwrap_or_default();
        if traces.len() == MOST_ROOTS {
            let farthest = traces.iter().max_by_key(|(_, trace)| trace.ops).map(|(&root, _)| root);
            traces.remove(&farthest.expect("it is not empty"));
        }
        traces.insert(x, Trace { values: self.grid.clone(), ops: 0, bends: false });
        traces
    }

    fn map(&self, x: Value, f: impl Fn(f64) -> f64, also: impl Fn(Trace) -> Trace) -> BTreeMap<Value, Trace> {
        let traces = self.of(x).into_iter().filter(|(_, trace)| trace.ops < MOST_OPS);
        let mapped = traces.map(|(root, trace)| {
            let values = trace.values.iter().map(|&value| f(value)).collect();
            (root, also(Trace { values, ops: trace.ops + 1, bends: trace.bends }))
        });
        mapped.collect()
    }

    fn join(
        &self,
        x: Value,
        y: Value,
        f: impl Fn(f64, f64) -> f64,
        also: impl Fn(Trace) -> Trace,
    ) -> BTreeMap<Value, Trace> {
        let others = self.of(y);
        let both = self.of(x).into_iter().filter_map(|(root, trace)| {
            let other = others.get(&root)?;
            let ops = trace.ops + other.ops + 1;
            let values = trace.values.iter().zip(other.values.iter()).map(|(&x, &y)| f(x, y)).collect();
            let joined = Trace { values, ops, bends: trace.bends || other.bends };
            (ops <= MOST_OPS).then(|| (root, also(joined)))
        });
        both.collect()
    }
}

/// The activation that has `values` on `grid`.
fn activation(grid: &[f64], values: &[f64]) -> Option<Activation> {
    let fits = |candidate: &Activation| {
        grid.iter().zip(values).all(|(&x, &value)| match value.is_finite() {
            true => (value - candidate.value(x)).abs() <= TOLERANCE * value.abs().max(1.0),
            false => x.abs() > OVERFLOW,
        })
    };
    candidates(values).into_iter().find(fits)
}

/// Activations of the table that a function of `values` may be, their parameters read off these.
fn candidates(values: &[f64]) -> Vec<Activation> {
    let &[_, at_one, at_minus_one, far, far_below, ..] = values else { return Vec::new() };
    // Parameters are stored in single precision, here as in operators of their own.
    let stored = |number: f64| f64::from(number as f32);
    let bound = |number: f64| if number.abs() >= FAR { f64::INFINITY.copysign(number) } else { number };
    let mut found = vec![Activation::RELU];
    let bounds = [bound(far_below), bound(far)];
    if bounds[0] < bounds[1] && bounds.iter().any(|bound| bound.is_finite()) {
        found.push(Activation::clip(bounds[0], bounds[1]));
    }
    found.push(Activation::leaky_relu(stored(-at_minus_one)));
    found.push(Activation::swish(stored((at_one / (1.0 - at_one)).ln())));
    found.extend([Activation::SIGMOID, Activation::TANH, Activation::gelu(false), Activation::gelu(true)]);
    let of_name = |name: &str| TABLE.iter().copied().find(|function| function.name == name);
    let elu = [stored(at_minus_one / (-1f64).exp_m1())];
    for (name, parameters) in
        [("elu", &elu[..]), ("hard_swish", &[]), ("mish", &[]), ("softplus", &[]), ("softsign", &[])]
    {
        found.extend(of_name(name).and_then(|function| Activation::new(function, parameters).ok()));
    }
    found.retain(|candidate| candidate.check().is_ok());
    found
}

#[cfg(test)]
mod tests {
    use fhec_ir::nn::TensorType;
    use fhec_ir::tensor::Tensor;

    use super::*;

    /// A function of one input, made of ops one by one.
    struct Made {
        func: Func<Nn>,
        x: Value,
    }

    impl Made {
        fn new() -> Self {
            let mut func = Func::new("f");
            let x = func.add_input(TensorType::new([1, 3]), Some("x"));
            Made { func, x }
        }

        fn number(&mut self, number: f64) -> Value {
            let value = self.func.add_const(Tensor::scalar(number as f32));
            self.push(Op::Constant { value })
        }

        fn push(&mut self, op: Op) -> Value {
            self.func.push(op).unwrap()
        }

        fn of(&mut self, x: Value, function: Activation) -> Value {
            self.push(Op::Activation { x, function })
        }

        fn plus(&mut self, x: Value, number: f64) -> Value {
            let y = self.number(number);
            self.push(Op::Add { x, y })
        }

        fn times(&mut self, x: Value, number: f64) -> Value {
            let y = self.number(number);
            self.push(Op::Mul { x: y, y: x })
        }

        /// What the last op has become.
        fn last(&self) -> Op {
            recognise(&self.func, &BTreeMap::new()).pop().unwrap()
        }

        /// It is `name` of the input.
        fn is(&self, name: &str) {
            let Op::Activation { x, function } = self.last() else { panic!("{name}: {:?}", self.last()) };
            assert_eq!((x, function.to_string()), (self.x, name.to_string()));
        }
    }

    #[test]
    fn spellings_of_exporters_are_one_activation() {
        // PyTorch, before Hardswish was an operator; with a quotient, and with a product.
        for divided in [true, false] {
            let mut f = Made::new();
            let x = f.x;
            let shifted = f.plus(x, 3.0);
            let clipped = f.of(shifted, Activation::clip(0.0, 6.0));
            if divided {
                let y = f.number(6.0);
                let product = f.push(Op::Mul { x, y: clipped });
                f.push(Op::Div { x: product, y });
            } else {
                let sixth = f.times(clipped, 1.0 / 6.0);
                f.push(Op::Mul { x: sixth, y: x });
            }
            f.is("hard_swish");
        }
        // Darknet and YOLO.
        let mut f = Made::new();
        let x = f.x;
        let e = f.of(x, Activation::EXP);
        let one_more = f.plus(e, 1.0);
        let softplus = f.of(one_more, Activation::LOG);
        f.is("softplus");
        let gate = f.of(softplus, Activation::TANH);
        f.push(Op::Mul { x, y: gate });
        f.is("mish");
        // GELU, both forms.
        let mut f = Made::new();
        let x = f.x;
        let erf = Activation::new(Activation::of_onnx("Erf").unwrap(), &[]).unwrap();
        let y = f.number(std::f64::consts::SQRT_2);
        let scaled = f.push(Op::Div { x, y });
        let gate = f.of(scaled, erf);
        let gate = f.plus(gate, 1.0);
        let product = f.push(Op::Mul { x, y: gate });
        f.times(product, 0.5);
        f.is("gelu {tanh=false}");
        let mut f = Made::new();
        let x = f.x;
        let square = f.push(Op::Mul { x, y: x });
        let cube = f.push(Op::Mul { x: square, y: x });
        let bent = f.times(cube, 0.044715);
        let inner = f.push(Op::Add { x, y: bent });
        let inner = f.times(inner, std::f64::consts::FRAC_2_PI.sqrt());
        let gate = f.of(inner, Activation::TANH);
        let gate = f.plus(gate, 1.0);
        let half = f.times(x, 0.5);
        f.push(Op::Mul { x: half, y: gate });
        f.is("gelu {tanh=true}");
        // Sigmoids with a factor, as CLIP and some MobileViTs have.
        let mut f = Made::new();
        let x = f.x;
        let scaled = f.times(x, 1.702);
        let gate = f.of(scaled, Activation::SIGMOID);
        f.push(Op::Mul { x: gate, y: x });
        f.is(&format!("swish {{alpha={:?}}}", f64::from(1.702f32)));
    }

    #[test]
    fn maxima_and_differences_of_relus_are_leaky() {
        // max(x, 0.1 x) is 0.1 x + relu(x - 0.1 x); Keras writes a PReLU as relu(x) - a relu(-x).
        let mut f = Made::new();
        let x = f.x;
        let small = f.times(x, 0.1);
        let difference = f.push(Op::Sub { x, y: small });
        let positive = f.of(difference, Activation::RELU);
        f.push(Op::Add { x: small, y: positive });
        f.is(&format!("leaky_relu {{alpha={:?}}}", f64::from(0.1f32)));
        let mut f = Made::new();
        let x = f.x;
        let positive = f.of(x, Activation::RELU);
        let minus = f.times(x, -1.0);
        let negative = f.of(minus, Activation::RELU);
        let leak = f.times(negative, -0.25);
        f.push(Op::Add { x: leak, y: positive });
        f.is("leaky_relu {alpha=0.25}");
        // Two bounds, one after the other.
        let mut f = Made::new();
        let x = f.x;
        let above = f.of(x, Activation::clip(-1.0, f64::INFINITY));
        f.of(above, Activation::clip(f64::NEG_INFINITY, 2.5));
        f.is("clip {low=-1.0, high=2.5}");
    }

    #[test]
    fn other_functions_stay() {
        let none: [fn(&mut Made); 6] = [
            // No activation at all.
            |f| {
                f.push(Op::Mul { x: f.x, y: f.x });
            },
            // A product of two tensors.
            |f| {
                let y = f.func.add_input(TensorType::new([1, 3]), Some("y"));
                let gate = f.of(f.x, Activation::SIGMOID);
                f.push(Op::Mul { x: y, y: gate });
            },
            // Another number for each element.
            |f| {
                let value = f.func.add_const(Tensor::from_fn(vec![1, 3], |i| i as f32));
                let y = f.push(Op::Constant { value });
                let shifted = f.push(Op::Add { x: f.x, y });
                let gate = f.of(shifted, Activation::SIGMOID);
                f.push(Op::Mul { x: f.x, y: gate });
            },
            // A bound that is nearly, not quite, that of a hard swish.
            |f| {
                let shifted = f.plus(f.x, 3.0);
                let clipped = f.of(shifted, Activation::clip(0.0, 5.99));
                let product = f.push(Op::Mul { x: f.x, y: clipped });
                f.times(product, 1.0 / 6.0);
            },
            // A tensor that grows.
            |f| {
                let value = f.func.add_const(Tensor::from_fn(vec![2, 3], |_| 1.0));
                let y = f.push(Op::Constant { value });
                let gate = f.of(f.x, Activation::SIGMOID);
                f.push(Op::Mul { x: gate, y });
            },
            // Twice a ReLU.
            |f| {
                let positive = f.of(f.x, Activation::RELU);
                f.times(positive, 2.0);
            },
        ];
        for (index, make) in none.iter().enumerate() {
            let mut f = Made::new();
            make(&mut f);
            assert_eq!(Some(f.last()), f.func.ops().last().map(|data| data.op.clone()), "{index}");
        }
    }

    #[test]
    fn a_function_of_a_shifted_tensor_is_one_of_the_tensor_itself() {
        // silu(x + 1) is no activation of x, and one of x + 1.
        let mut f = Made::new();
        let x = f.plus(f.x, 1.0);
        let gate = f.of(x, Activation::SIGMOID);
        f.push(Op::Mul { x: gate, y: x });
        assert_eq!(f.last(), Op::Activation { x, function: Activation::SILU });
        // A long chain is followed from the nearest tensors, and ends.
        let mut f = Made::new();
        let mut y = f.x;
        for _ in 0..100 {
            y = f.plus(y, 1.0);
        }
        let gate = f.of(y, Activation::SIGMOID);
        f.push(Op::Mul { x: y, y: gate });
        assert_eq!(f.last(), Op::Activation { x: y, function: Activation::SILU });
    }
}
