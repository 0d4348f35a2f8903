//! The language of the e-graph: tensor terms, constant terms, and leaves that name things kept
//! beside it.

use std::{fmt, str::FromStr};

use egg::{Analysis, DidMerge, EGraph, Id, Language, define_language};
use fhec_ir::{
    nn::{Op, infer},
    tensor::element_count,
};

use super::constants::Array;

define_language! {
    /// A term. Weights are constant terms, evaluated only if the term is chosen in the end.
    pub enum Term {
        // Tensors.
        // geometry, x, weight, bias.
        "conv" = Conv([Id; 4]),
        // x, weight, bias.
        "dense" = Dense([Id; 3]),
        // x, scale, shift: scale(c) x + shift(c), c the index along dimension 1.
        "affine" = Affine([Id; 3]),
        // window, x: average.
        "pool" = Pool([Id; 2]),
        // pads, x: zeros around the planes.
        "pad" = Pad([Id; 2]),
        // shape, x.
        "reshape" = Reshape([Id; 2]),
        // permutation, x.
        "transpose" = Transpose([Id; 2]),
        // x, y of one shape.
        "add" = Add([Id; 2]),
        // The results of the network.
        "outputs" = Outputs(Box<[Id]>),
        // Constants; see `constants::Array`.
        "times" = Times([Id; 2]),
        "plus" = Plus([Id; 2]),
        "zeros-like" = ZerosLike([Id; 1]),
        // count, vector.
        "repeat" = Repeat([Id; 2]),
        // weight, scale.
        "scale-outputs" = ScaleOutputs([Id; 2]),
        // weight, scale.
        "scale-inputs" = ScaleInputs([Id; 2]),
        // weight, shift.
        "sum-inputs" = SumInputs([Id; 2]),
        // outer, inner matrix.
        "compose" = Compose([Id; 2]),
        // weight, permutation, shape of the tensor.
        "unpermute-columns" = UnpermuteColumns([Id; 3]),
        // weight, window, shape of the pool's operand.
        "unpool-columns" = UnpoolColumns([Id; 3]),
        // weight, kernel, geometry, shape of the convolution's operand.
        "unconvolve-columns" = UnconvolveColumns([Id; 4]),
        // weight, window, geometry of the convolution.
        "spread-kernel" = SpreadKernel([Id; 3]),
        // weight, geometry of the convolution, window.
        "pool-kernel" = PoolKernel([Id; 3]),
        // Things beside the e-graph.
        Leaf(Leaf),
        // An op that no rule looks into.
        Other(OtherOp, Box<[Id]>),
    }
}

/// The index of something kept in [`Facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leaf {
    /// An input of the network.
    Input(usize),
    /// A constant array.
    Constant(usize),
    /// An attribute.
    Attr(usize),
}

/// The index of an op in [`Facts::others`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherOp(pub usize);

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leaf::Input(index) => write!(f, "input.{index}"),
            Leaf::Constant(index) => write!(f, "constant.{index}"),
            Leaf::Attr(index) => write!(f, "attr.{index}"),
        }
    }
}

impl FromStr for Leaf {
    type Err = String;

    fn from_str(text: &str) -> Result<Leaf, String> {
        let (kind, index) = text.split_once('.').ok_or("no leaf")?;
        let index = index.parse().map_err(|_| "no leaf")?;
        match kind {
            "input" => Ok(Leaf::Input(index)),
            "constant" => Ok(Leaf::Constant(index)),
            "attr" => Ok(Leaf::Attr(index)),
            _ => Err("no leaf".into()),
        }
    }
}

impl fmt::Display for OtherOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op.{}", self.0)
    }
}

impl FromStr for OtherOp {
    type Err = String;

    fn from_str(text: &str) -> Result<OtherOp, String> {
        let index = text.strip_prefix("op.").and_then(|index| index.parse().ok());
        index.map(OtherOp).ok_or_else(|| "no op".into())
    }
}

/// How a convolution moves over its operand; see `nn::Op::Conv2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// `[h, w]`.
    pub strides: [usize; 2],
    /// `[top, left, bottom, right]`.
    pub pads: [usize; 4],
    /// `[h, w]`.
    pub dilations: [usize; 2],
    /// Channel groups.
    pub groups: usize,
}

impl Geometry {
    /// Width of the result for operands and kernels that fit.
    pub fn result_width(&self, width: usize, kernel: usize) -> usize {
        let pads = self.pads[1] + self.pads[3];
        infer::window(width, kernel, self.strides[1], pads, self.dilations[1]).unwrap_or(1)
    }
}

/// An average pool; see `nn::Op::AveragePool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// `[h, w]`.
    pub kernel: [usize; 2],
    /// `[h, w]`.
    pub strides: [usize; 2],
    /// `[top, left, bottom, right]`.
    pub pads: [usize; 4],
    /// Whether pads count in the divisor.
    pub count_include_pad: bool,
}

impl Window {
    /// Whether a plane of ones pools to ones.
    pub fn keeps_constants(&self) -> bool {
        self.pads == [0; 4] || !self.count_include_pad
    }

    /// Whether windows tile a plane of `size` without overlap or rest.
    pub fn tiles(&self, size: [usize; 2]) -> bool {
        self.pads == [0; 4]
            && self.kernel == self.strides
            && (0..2).all(|i| size[i].is_multiple_of(self.kernel[i]))
    }

    /// Size of the result.
    pub fn result(&self, size: [usize; 2]) -> [usize; 2] {
        let along = |i: usize| {
            infer::window(size[i], self.kernel[i], self.strides[i], self.pads[i] + self.pads[i + 2], 1)
        };
        [along(0).unwrap_or(0), along(1).unwrap_or(0)]
    }

    /// Positions within the plane that window `(y, x)` covers.
    pub fn taps(&self, y: usize, x: usize, size: [usize; 2]) -> Vec<(usize, usize)> {
        let range = |position: usize, i: usize| {
            let start = position * self.strides[i];
            (start..start + self.kernel[i])
                .filter_map(move |p| p.checked_sub(self.pads[i]).filter(|&p| p < size[i]))
        };
        range(y, 0).flat_map(|ty| range(x, 1).map(move |tx| (ty, tx))).collect()
    }

    /// What the sum over `taps` positions within the plane is divided by.
    pub fn divisor(&self, taps: usize) -> f64 {
        if self.count_include_pad { (self.kernel[0] * self.kernel[1]) as f64 } else { taps.max(1) as f64 }
    }
}

/// An attribute leaf's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttrValue {
    /// Of a convolution.
    Geometry(Geometry),
    /// Of an average pool.
    Window(Window),
    /// `[top, left, bottom, right]`.
    Pads([usize; 4]),
    /// Dimensions, batch included.
    Shape(Vec<usize>),
    /// Of a transpose.
    Permutation(Vec<usize>),
    /// A number.
    Count(usize),
}

/// What is known about a class of equal terms.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A tensor of this shape.
    Tensor(Vec<usize>),
    /// A constant array.
    Constant {
        /// Its dimensions.
        shape: Vec<usize>,
        /// All elements are known to be 0.
        zero: bool,
        /// All elements are known to be 1.
        one: bool,
    },
    /// An attribute, by its index.
    Attr(usize),
    /// Anything else.
    Nothing,
}

/// The tables that leaves point into; also the e-graph's analysis, which is shapes.
#[derive(Default)]
pub struct Facts {
    /// Attributes, without duplicates.
    pub attrs: Vec<AttrValue>,
    /// Arrays.
    pub constants: Vec<Array>,
    /// Ops with their operands blanked, without duplicates, and the shape of their result.
    pub others: Vec<(Op, Vec<usize>)>,
    /// Shapes of the inputs.
    pub inputs: Vec<Vec<usize>>,
}

/// The e-graph of this pass.
pub type Graph = EGraph<Term, Facts>;

/// Adds an attribute leaf.
pub fn add_attr(graph: &mut Graph, value: AttrValue) -> Id {
    let attrs = &mut graph.analysis.attrs;
    let index = attrs.iter().position(|a| *a == value).unwrap_or_else(|| {
        attrs.push(value);
        attrs.len() - 1
    });
    graph.add(Term::Leaf(Leaf::Attr(index)))
}

/// Adds a constant leaf.
pub fn add_constant(graph: &mut Graph, array: Array) -> Id {
    let constants = &mut graph.analysis.constants;
    let index = constants.iter().position(|c| *c == array).unwrap_or_else(|| {
        constants.push(array);
        constants.len() - 1
    });
    graph.add(Term::Leaf(Leaf::Constant(index)))
}

/// The attribute of a class.
///
/// # Panics
/// If the class is none: patterns put attributes where attributes belong.
pub fn attr(graph: &Graph, id: Id) -> &AttrValue {
    match graph[id].data {
        Fact::Attr(index) => &graph.analysis.attrs[index],
        ref other => panic!("expected an attribute, found {other:?}"),
    }
}

/// The shape of a tensor or constant; empty if there is none.
pub fn shape(graph: &Graph, id: Id) -> &[usize] {
    match &graph[id].data {
        Fact::Tensor(shape) | Fact::Constant { shape, .. } => shape,
        Fact::Attr(_) | Fact::Nothing => &[],
    }
}

/// Whether a constant is known to be zero throughout.
pub fn is_zero(graph: &Graph, id: Id) -> bool {
    matches!(graph[id].data, Fact::Constant { zero: true, .. })
}

/// Whether a constant is known to be one throughout.
pub fn is_one(graph: &Graph, id: Id) -> bool {
    matches!(graph[id].data, Fact::Constant { one: true, .. })
}

impl Analysis<Term> for Facts {
    type Data = Fact;

    fn make(graph: &mut Graph, term: &Term, _: Id) -> Fact {
        fact(graph, term).unwrap_or(Fact::Nothing)
    }

    /// Zeros and ones of one shape are one class, however they are written: identities end there.
    fn modify(graph: &mut Graph, id: Id) {
        let Fact::Constant { shape, zero, one } = &graph[id].data else { return };
        let value = match (zero, one) {
            (true, false) => 0.0,
            (false, true) => 1.0,
            _ => return,
        };
        let array = Array { shape: shape.clone(), data: vec![value; shape.iter().product()] };
        let canonical = add_constant(graph, array);
        graph.union(id, canonical);
    }

    fn merge(&mut self, a: &mut Fact, b: Fact) -> DidMerge {
        match (a, b) {
            (
                Fact::Constant { zero: az, one: ao, shape: a_shape },
                Fact::Constant { zero: bz, one: bo, shape: b_shape },
            ) => {
                assert_eq!(*a_shape, b_shape, "equal constants have one shape");
                let merged = DidMerge((bz && !*az) || (bo && !*ao), (*az && !bz) || (*ao && !bo));
                *az |= bz;
                *ao |= bo;
                merged
            }
            (a, b) => {
                assert_eq!(*a, b, "equal terms have one shape");
                DidMerge(false, false)
            }
        }
    }
}

/// Shape of a term's value. `None` for attributes' and outputs' classes and malformed terms.
fn fact(graph: &Graph, term: &Term) -> Option<Fact> {
    let shape_of = |id: Id| shape(graph, id);
    let tensor = |shape: Vec<usize>| Some(Fact::Tensor(shape));
    let constant = |shape: Vec<usize>| Some(Fact::Constant { shape, zero: false, one: false });
    let zeros = |shape: Vec<usize>, zero: bool| Some(Fact::Constant { shape, zero, one: false });
    match term {
        Term::Leaf(Leaf::Input(index)) => tensor(graph.analysis.inputs[*index].clone()),
        Term::Leaf(Leaf::Attr(index)) => Some(Fact::Attr(*index)),
        Term::Leaf(Leaf::Constant(index)) => {
            let array = &graph.analysis.constants[*index];
            let all = |value: f64| array.data.iter().all(|v| *v == value);
            Some(Fact::Constant { shape: array.shape.clone(), zero: all(0.0), one: all(1.0) })
        }
        Term::Other(op, _) => tensor(graph.analysis.others[op.0].1.clone()),
        Term::Conv([g, x, w, _]) => {
            let AttrValue::Geometry(geometry) = attr(graph, *g) else { return None };
            let (&[n, _, h, width], &[m, _, kh, kw]) = (shape_of(*x), shape_of(*w)) else { return None };
            let along = |size: usize, kernel: usize, i: usize| {
                let pads = geometry.pads[i] + geometry.pads[i + 2];
                infer::window(size, kernel, geometry.strides[i], pads, geometry.dilations[i]).ok()
            };
            tensor(vec![n, m, along(h, kh, 0)?, along(width, kw, 1)?])
        }
        Term::Dense([x, w, _]) => tensor(vec![*shape_of(*x).first()?, *shape_of(*w).first()?]),
        Term::Affine([x, ..]) | Term::Add([x, _]) => tensor(shape_of(*x).to_vec()),
        Term::Pool([w, x]) => {
            let AttrValue::Window(window) = attr(graph, *w) else { return None };
            let [n, c, h, width] = *shape_of(*x) else { return None };
            let [rows, columns] = window.result([h, width]);
            tensor(vec![n, c, rows, columns])
        }
        Term::Pad([p, x]) => {
            let AttrValue::Pads([top, left, bottom, right]) = *attr(graph, *p) else { return None };
            let [n, c, h, w] = *shape_of(*x) else { return None };
            tensor(vec![n, c, h + top + bottom, w + left + right])
        }
        Term::Reshape([s, _]) => match attr(graph, *s) {
            AttrValue::Shape(shape) => tensor(shape.clone()),
            _ => None,
        },
        Term::Transpose([p, x]) => match attr(graph, *p) {
            AttrValue::Permutation(p) => tensor(p.iter().map(|&from| shape_of(*x)[from]).collect()),
            _ => None,
        },
        Term::Outputs(_) => None,
        Term::Times([a, b]) => Some(Fact::Constant {
            shape: shape_of(*a).to_vec(),
            zero: is_zero(graph, *a) || is_zero(graph, *b),
            one: is_one(graph, *a) && is_one(graph, *b),
        }),
        Term::Plus([a, b]) => zeros(shape_of(*a).to_vec(), is_zero(graph, *a) && is_zero(graph, *b)),
        Term::ZerosLike([a]) => zeros(shape_of(*a).to_vec(), true),
        Term::Repeat([n, a]) => {
            let AttrValue::Count(count) = attr(graph, *n) else { return None };
            let (zero, one) = (is_zero(graph, *a), is_one(graph, *a));
            Some(Fact::Constant { shape: vec![shape_of(*a).first()? * count], zero, one })
        }
        Term::ScaleOutputs([w, _]) | Term::ScaleInputs([w, _]) | Term::UnpermuteColumns([w, ..]) => {
            constant(shape_of(*w).to_vec())
        }
        Term::SumInputs([w, t]) => zeros(vec![*shape_of(*w).first()?], is_zero(graph, *t)),
        Term::Compose([a, b]) => constant(vec![*shape_of(*a).first()?, *shape_of(*b).get(1)?]),
        Term::UnpoolColumns([w, _, s]) | Term::UnconvolveColumns([w, _, _, s]) => {
            let AttrValue::Shape(shape) = attr(graph, *s) else { return None };
            constant(vec![*shape_of(*w).first()?, element_count(shape.get(1..)?)?])
        }
        Term::SpreadKernel([w, p, g]) => {
            let (AttrValue::Window(window), AttrValue::Geometry(geometry)) =
                (attr(graph, *p), attr(graph, *g))
            else {
                return None;
            };
            let [m, c, kh, kw] = *shape_of(*w) else { return None };
            let along =
                |k: usize, i: usize| (k - 1) * window.strides[i] * geometry.dilations[i] + window.kernel[i];
            constant(vec![m, c, along(kh, 0), along(kw, 1)])
        }
        Term::PoolKernel([w, g, p]) => {
            let (AttrValue::Window(window), AttrValue::Geometry(geometry)) =
                (attr(graph, *p), attr(graph, *g))
            else {
                return None;
            };
            let [m, c, kh, kw] = *shape_of(*w) else { return None };
            let along = |k: usize, i: usize| {
                (k - 1) * geometry.dilations[i] + 1 + (window.kernel[i] - 1) * geometry.strides[i]
            };
            constant(vec![m, c, along(kh, 0), along(kw, 1)])
        }
    }
}

/// Whether a term is a constant (as opposed to a tensor, an attribute or the outputs).
pub fn is_constant(graph: &Graph, id: Id) -> bool {
    matches!(graph[id].data, Fact::Constant { .. })
}

/// The operands of a term; attributes and constants included.
pub fn children(term: &Term) -> &[Id] {
    term.children()
}
