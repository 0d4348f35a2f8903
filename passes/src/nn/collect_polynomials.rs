//! Recognise polynomials of one value written out in products and sums.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function |
//! | Ensures  | the same function; an element-wise polynomial of degree 2 or more in one value is one `poly` op |
//! | Leaves   | degree 1 (`simplify` folds it); coefficients that differ between elements |
//! | Method   | every value is carried as coefficients over the value it is a polynomial of, until something else uses it |
//! | Tests    | `tests/filetests/nn/collect_polynomials/` |
//!
//! Horner's rule, as trained polynomial activations are exported, takes a level per degree; as one
//! op it takes the logarithm. The domain of the new ops is [-1, 1] until ranges are known: a
//! polynomial in these coefficients is the same on every domain.

use std::collections::BTreeMap;

use fhec_ir::{
    entity::Value,
    func::{Func, Rewriter, StageOp},
    nn::{Nn, Op},
};

use crate::{
    approximation::chebyshev::from_monomial,
    error::PassError,
    report::{Passed, Report},
};

const PASS: &str = "collect-polynomials";
/// Polynomials of higher degree stay written out: their monomial coefficients lose digits.
const MAX_DEGREE: usize = 15;

/// sum_k coefficients[k] base^k.
#[derive(Clone)]
struct Form {
    base: Value,
    coefficients: Vec<f64>,
}

/// Returns the rewritten function; the report counts polynomials.
pub fn collect_polynomials(func: &Func<Nn>) -> Result<Passed<Nn>, PassError> {
    let mut report = Report::new(PASS);
    let forms = forms(func);
    let mut rewriter = Rewriter::same_stage(func);
    let malformed = |message: String| PassError::Malformed { pass: PASS, message };
    // A polynomial is built where something else than a longer polynomial uses it.
    let mut needed = vec![false; func.value_count()];
    for output in func.outputs() {
        needed[output.index()] = true;
    }
    for data in func.ops().iter().rev() {
        let form = forms.get(&data.result);
        if !needed[data.result.index()] {
            continue;
        }
        match form.filter(|form| form.coefficients.len() > 2) {
            Some(form) => needed[form.base.index()] = true,
            None => data.op.operands().iter().for_each(|operand| needed[operand.index()] = true),
        }
    }
    for data in func.ops() {
        if !needed[data.result.index()] {
            continue;
        }
        let Some(form) = forms.get(&data.result).filter(|form| form.coefficients.len() > 2) else {
            rewriter.copy(func, data).map_err(malformed)?;
            continue;
        };
        let name = func.value_name(data.result).map(str::to_string);
        let polynomial = from_monomial(&form.coefficients, [-1.0, 1.0]).map_err(|source| {
            PassError::Approximation { value: name.clone().unwrap_or(data.result.to_string()), source }
        })?;
        let op = Op::Poly { x: rewriter.get(form.base), polynomial };
        let new = rewriter.func.push_named(op, name.as_deref()).map_err(malformed)?;
        rewriter.replace(data.result, new);
        report.count("poly", 1);
    }
    Ok(Passed::new(rewriter.finish(func), report))
}

/// Values that are polynomials of another value, degree 1 included.
fn forms(func: &Func<Nn>) -> BTreeMap<Value, Form> {
    let mut forms: BTreeMap<Value, Form> = BTreeMap::new();
    let mut scalars: BTreeMap<Value, f64> = BTreeMap::new();
    for data in func.ops() {
        if let Op::Constant { value } = &data.op {
            if let [scalar] = func.consts[*value].data() {
                scalars.insert(data.result, f64::from(*scalar));
            }
            continue;
        }
        let (x, y) = match &data.op {
            Op::Add { x, y } | Op::Sub { x, y } | Op::Mul { x, y } | Op::Div { x, y } => (*x, *y),
            _ => continue,
        };
        // Broadcasting must not change the shape of the polynomial's base.
        let same_shape = |v: Value| func.ty(v) == func.ty(data.result);
        let form = |v: Value| {
            let own = || Form { base: v, coefficients: vec![0.0, 1.0] };
            same_shape(v).then(|| forms.get(&v).cloned().unwrap_or_else(own))
        };
        let result = match (scalars.get(&x).copied(), scalars.get(&y).copied()) {
            (None, Some(c)) => form(x).and_then(|form| with_scalar(&data.op, form, c, false)),
            (Some(c), None) => form(y).and_then(|form| with_scalar(&data.op, form, c, true)),
            (None, None) => match (form(x), form(y)) {
                (Some(a), Some(b)) => combine(&data.op, x, a, y, b),
                _ => None,
            },
            (Some(_), Some(_)) => None,
        };
        if let Some(result) = result.filter(|form| form.coefficients.len() <= MAX_DEGREE + 1) {
            forms.insert(data.result, result);
        }
    }
    forms
}

fn with_scalar(op: &Op, mut form: Form, c: f64, scalar_first: bool) -> Option<Form> {
    let mut times = |factor: f64| form.coefficients.iter_mut().for_each(|a| *a *= factor);
    let shift = match op {
        Op::Mul { .. } => {
            times(c);
            0.0
        }
        Op::Div { .. } if !scalar_first && c != 0.0 => {
            times(1.0 / c);
            0.0
        }
        Op::Add { .. } => c,
        Op::Sub { .. } if scalar_first => {
            times(-1.0);
            c
        }
        Op::Sub { .. } => -c,
        _ => return None,
    };
    form.coefficients[0] += shift;
    Some(form)
}

/// Two polynomials of one value. An operand may also stand for itself, as the base of the other.
fn combine(op: &Op, x: Value, mut a: Form, y: Value, mut b: Form) -> Option<Form> {
    if a.base != b.base {
        // x is the base of b, or y that of a: then its own, more detailed form is forgotten.
        if b.base == x {
            a = Form { base: x, coefficients: vec![0.0, 1.0] };
        } else if a.base == y {
            b = Form { base: y, coefficients: vec![0.0, 1.0] };
        } else {
            return None;
        }
    }
    let length = a.coefficients.len().max(b.coefficients.len());
    let at = |form: &Form, k: usize| form.coefficients.get(k).copied().unwrap_or(0.0);
    let coefficients = match op {
        Op::Add { .. } => (0..length).map(|k| at(&a, k) + at(&b, k)).collect(),
        Op::Sub { .. } => (0..length).map(|k| at(&a, k) - at(&b, k)).collect(),
        Op::Mul { .. } => {
            let mut product = vec![0.0; a.coefficients.len() + b.coefficients.len() - 1];
            for (i, p) in a.coefficients.iter().enumerate() {
                for (j, q) in b.coefficients.iter().enumerate() {
                    product[i + j] += p * q;
                }
            }
            product
        }
        _ => return None,
    };
    Some(Form { base: a.base, coefficients })
}
