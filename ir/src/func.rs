//! The container that all three stages share: a straight-line function in SSA form.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::attr::{AsAttr, Attr, AttrError};
use crate::entity::{Const, Value};
use crate::fact::Fact;
use crate::printable::printable;
use crate::tensor::{ConstPool, Tensor};

/// An op of some stage, as its op table declares it.
pub trait StageOp: Clone + Debug + PartialEq {
    /// Name in printed programs.
    fn mnemonic(&self) -> &'static str;
    /// Names of all ops of the stage.
    fn mnemonics() -> Vec<&'static str>;
    /// Operands in order.
    fn operands(&self) -> Vec<Value>;
    /// Operands in order, to be renamed.
    fn operands_mut(&mut self) -> Vec<&mut Value>;
    /// Attributes in order.
    fn attrs(&self) -> Vec<(String, Attr)>;
    /// The op of that name, operands and attributes.
    fn from_parts(mnemonic: &str, operands: &[Value], attrs: &[(String, Attr)]) -> Result<Self, AttrError>;
}

/// A type of values of some stage; prints and parses as `word<attribute record>`.
pub trait StageType: Clone + Debug + PartialEq {
    /// Printed form, e.g. `f32[1, 3, 32, 32]`.
    fn print(&self) -> String;
    /// Reads the printed form.
    fn parse(text: &str) -> Result<Self, AttrError>;
}

/// One of the three stages.
pub trait Stage: Clone + Debug + PartialEq + 'static {
    /// Its ops.
    type Op: StageOp;
    /// Its types.
    type Type: StageType;
    /// Its name in printed programs: `nn`, `packed` or `ckks`.
    const NAME: &'static str;
    /// Result type of `op` on operands of the given types, or why there is none.
    fn infer(op: &Self::Op, operands: &[Self::Type], func: &Func<Self>) -> Result<Self::Type, String>;
}

/// What defines a value.
#[derive(Clone, Debug, PartialEq)]
pub struct OpData<S: Stage> {
    /// The op.
    pub op: S::Op,
    /// Its result.
    pub result: Value,
}

#[derive(Clone, Debug, PartialEq)]
struct ValueData<S: Stage> {
    ty: S::Type,
    name: Option<String>,
}

/// A straight-line function: inputs, ops in execution order, outputs, constants, and named facts
/// about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Func<S: Stage> {
    /// Name without the `@`... a word of letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// Constant tensors.
    pub consts: ConstPool,
    /// Facts that passes leave for later ones (layouts of inputs and outputs, factors, notes), by
    /// name.
    pub(crate) meta: BTreeMap<String, Attr>,
    values: Vec<ValueData<S>>,
    inputs: Vec<Value>,
    ops: Vec<OpData<S>>,
    outputs: Vec<Value>,
}

impl<S: Stage> Func<S> {
    /// An empty function.
    pub fn new(name: impl Into<String>) -> Self {
        Func {
            name: name.into(),
            consts: ConstPool::default(),
            meta: BTreeMap::new(),
            values: Vec::new(),
            inputs: Vec::new(),
            ops: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Appends an input of type `ty`.
    pub fn add_input(&mut self, ty: S::Type, name: Option<&str>) -> Value {
        let value = self.new_value(ty, name.map(str::to_string));
        self.inputs.push(value);
        value
    }

    /// Appends `op`, inferring its result type. `Err` says why the op does not fit its operands.
    pub fn push(&mut self, op: S::Op) -> Result<Value, String> {
        self.push_named(op, None)
    }

    /// [`Func::push`], with a name that says where the value comes from (an ONNX node's output).
    pub fn push_named(&mut self, op: S::Op, name: Option<&str>) -> Result<Value, String> {
        let mut types = Vec::new();
        for operand in op.operands() {
            let data = self.values.get(operand.index());
            types.push(data.ok_or_else(|| format!("operand {operand} is not defined"))?.ty.clone());
        }
        let ty = S::infer(&op, &types, self)?;
        Ok(self.push_typed(op, ty, name))
    }

    /// Appends `op` with a result type that the caller vouches for; the verifier checks it.
    pub fn push_typed(&mut self, op: S::Op, ty: S::Type, name: Option<&str>) -> Value {
        let result = self.new_value(ty, name.map(str::to_string));
        self.ops.push(OpData { op, result });
        result
    }

    /// Declares the outputs.
    pub fn set_outputs(&mut self, outputs: Vec<Value>) {
        self.outputs = outputs;
    }

    /// Adds a constant.
    pub fn add_const(&mut self, tensor: Tensor) -> Const {
        self.consts.add(tensor)
    }

    /// Sets a fact.
    pub fn set_fact<T: AsAttr>(&mut self, fact: Fact<T>, value: &T) {
        match value.to_attr() {
            Some(attr) => self.meta.insert(fact.name().to_string(), attr),
            None => self.meta.remove(fact.name()),
        };
    }

    /// Reads a fact.
    ///
    /// # Errors
    /// If it is absent and its type has no value for that, or is something else.
    pub fn fact<T: AsAttr>(&self, fact: Fact<T>) -> Result<T, AttrError> {
        let name = fact.name();
        T::from_attr(self.meta.get(name)).map_err(|AttrError(m)| AttrError(format!("meta `{name}`: {m}")))
    }

    /// Whether a fact is there.
    pub fn has_fact<T>(&self, fact: Fact<T>) -> bool {
        self.meta.contains_key(fact.name())
    }

    /// Removes a fact.
    pub fn remove_fact<T>(&mut self, fact: Fact<T>) {
        self.meta.remove(fact.name());
    }

    /// Takes over all facts of another function, of whatever stage.
    pub fn copy_facts<T: Stage>(&mut self, other: &Func<T>) {
        self.meta.clone_from(&other.meta);
    }

    /// Inputs in order.
    pub fn inputs(&self) -> &[Value] {
        &self.inputs
    }

    /// Ops in execution order.
    pub fn ops(&self) -> &[OpData<S>] {
        &self.ops
    }

    /// Outputs in order.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// Number of values; their ids are `0..value_count()`.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// Type of `value`.
    ///
    /// # Panics
    /// If `value` is not of this function.
    pub fn ty(&self, value: Value) -> &S::Type {
        &self.values[value.index()].ty
    }

    /// Where `value` comes from, if known.
    pub fn value_name(&self, value: Value) -> Option<&str> {
        self.values[value.index()].name.as_deref()
    }

    /// Names `value`. Names come from files and go to people: they lose their control characters.
    pub fn set_value_name(&mut self, value: Value, name: Option<String>) {
        self.values[value.index()].name = name.map(|name| printable(&name).into_owned());
    }

    /// For every value the index of its defining op, `None` for inputs.
    pub fn definitions(&self) -> Vec<Option<usize>> {
        let mut definitions = vec![None; self.values.len()];
        for (index, data) in self.ops.iter().enumerate() {
            definitions[data.result.index()] = Some(index);
        }
        definitions
    }

    /// For every value how often it is used, outputs included.
    pub fn use_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.values.len()];
        let operands = self.ops.iter().flat_map(|data| data.op.operands());
        for value in operands.chain(self.outputs.iter().copied()) {
            counts[value.index()] += 1;
        }
        counts
    }

    /// For every value the index of the last op that uses it (`ops().len()` for outputs), `None` if
    /// unused.
    pub fn last_uses(&self) -> Vec<Option<usize>> {
        let mut last = vec![None; self.values.len()];
        for (index, data) in self.ops.iter().enumerate() {
            for operand in data.op.operands() {
                last[operand.index()] = Some(index);
            }
        }
        for output in &self.outputs {
            last[output.index()] = Some(self.ops.len());
        }
        last
    }

    fn new_value(&mut self, ty: S::Type, name: Option<String>) -> Value {
        let name = name.map(|name| printable(&name).into_owned());
        self.values.push(ValueData { ty, name });
        Value::new(self.values.len() - 1)
    }
}

/// Copies a function op by op into a new one, the frame of every rewriting pass.
///
/// The pass walks the old ops in order, pushes what it wants into [`Rewriter::func`] and records
/// what each old value has become.
pub struct Rewriter<S: Stage, T: Stage = S> {
    /// The new function.
    pub func: Func<T>,
    map: BTreeMap<Value, Value>,
    marker: std::marker::PhantomData<S>,
}

impl<S: Stage, T: Stage> Rewriter<S, T> {
    /// A new function with the old one's name, constants and meta; inputs are to be added by the
    /// caller.
    pub fn new(old: &Func<S>) -> Self {
        let mut func = Func::new(old.name.clone());
        func.consts = old.consts.clone();
        func.meta = old.meta.clone();
        Rewriter { func, map: BTreeMap::new(), marker: std::marker::PhantomData }
    }

    /// Records that the old value `old` is now `new`.
    pub fn replace(&mut self, old: Value, new: Value) {
        self.map.insert(old, new);
    }

    /// What the old value has become.
    ///
    /// # Panics
    /// If it has not been recorded: ops are visited in order, so this is a bug of the pass.
    pub fn get(&self, old: Value) -> Value {
        *self.map.get(&old).unwrap_or_else(|| panic!("{old} has no replacement"))
    }
}

impl<S: Stage> Rewriter<S, S> {
    /// A rewriter to the same stage, with the inputs copied.
    pub fn same_stage(old: &Func<S>) -> Self {
        let mut rewriter = Rewriter::new(old);
        for &input in old.inputs() {
            let new = rewriter.func.add_input(old.ty(input).clone(), old.value_name(input));
            rewriter.replace(input, new);
        }
        rewriter
    }

    /// Copies the old op as it is, with renamed operands and a freshly inferred type.
    pub fn copy(&mut self, old: &Func<S>, data: &OpData<S>) -> Result<Value, String> {
        let mut op = data.op.clone();
        for operand in op.operands_mut() {
            *operand = self.get(*operand);
        }
        let new = self.func.push_named(op, old.value_name(data.result))?;
        self.replace(data.result, new);
        Ok(new)
    }

    /// Declares the outputs and returns the new function.
    pub fn finish(self, old: &Func<S>) -> Func<S> {
        self.finish_with_values(old).0
    }

    /// [`Rewriter::finish`], with what has become of the old values that were recorded.
    pub fn finish_with_values(mut self, old: &Func<S>) -> (Func<S>, BTreeMap<Value, Value>) {
        let outputs = old.outputs().iter().map(|&output| self.get(output)).collect();
        self.func.set_outputs(outputs);
        (self.func, self.map)
    }
}
