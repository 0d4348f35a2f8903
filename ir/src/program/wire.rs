//! Protocol buffers of an interface, and of tensors.

use std::collections::{BTreeMap, BTreeSet};

use super::ProgramError;
use super::affine::Affine;
use super::ending::{Dimension, Ending, Lists};
use super::interface::{Interface, Port, ProgramId};
use super::preprocess::Preprocess;
use crate::batch::Batch;
use crate::ckks::CiphertextType;
use crate::key_demand::{Encapsulation, KeyDemand};
use crate::layout::Layout;
use crate::params::{FixedScale, Params, ParamsError, ParamsLiteral, Secret};
use crate::permutation::Permutation;
use crate::prime_set::PrimeSet;
use crate::printable::{make_printable, printable};
use crate::scale::{Level, Scale};
use crate::tensor::Tensor;

/// Protobuf form of [`ParamsLiteral`]; fields as there.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct ParamsMessage {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub log_n: u32,
    #[prost(uint64, repeated, tag = "3")]
    pub q: Vec<u64>,
    /// Lower and upper half of the bits of every level's set of primes, one after the other.
    #[prost(uint64, repeated, tag = "4")]
    pub levels: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    pub p: Vec<u64>,
    #[prost(uint32, tag = "6")]
    pub digit_limbs: u32,
    #[prost(uint32, tag = "7")]
    pub log_scale: u32,
    /// 0 for uniform ternary.
    #[prost(uint32, tag = "8")]
    pub hamming_weight: u32,
    /// Level and `log2` of the scale of every [`FixedScale`], one after the other.
    #[prost(uint32, repeated, tag = "9")]
    pub fixed_scales: Vec<u32>,
}

/// Protobuf form of a [`Tensor`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorMessage {
    /// Dimensions.
    #[prost(uint64, repeated, tag = "1")]
    pub shape: Vec<u64>,
    /// Little-endian `f32`, row-major.
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
}

/// Protobuf form of a [`Port`]; fields as there.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct PortMessage {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint64, repeated, tag = "2")]
    pub shape: Vec<u64>,
    /// Vectors, slots, level, level and power of the scale, size.
    #[prost(uint64, repeated, tag = "3")]
    pub ty: Vec<u64>,
    /// Shape (three), gap, multiplex, plane (two), period, slots.
    #[prost(uint64, repeated, tag = "4")]
    pub layout: Vec<u64>,
    #[prost(double, tag = "5")]
    pub factor: f64,
    #[prost(double, tag = "6")]
    pub log2_error: f64,
    #[prost(double, tag = "7")]
    pub spare: f64,
    /// What is left to the client: 0 nothing, 1 a softmax, 2 its logarithm.
    #[prost(uint32, tag = "8")]
    pub ending: u32,
    /// Length and stride of the dimension that it runs along; empty where it is all elements.
    #[prost(uint64, repeated, tag = "9")]
    pub ending_along: Vec<u64>,
    /// Scale and offset of what becomes of each number then; empty where it stays.
    #[prost(double, repeated, tag = "10")]
    pub ending_then: Vec<f64>,
    /// Shape of the permutation, then its axes; empty for none.
    #[prost(uint64, repeated, tag = "15")]
    pub permutation: Vec<u64>,
}

/// Protobuf form of the keys that a program asks for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeysMessage {
    /// Level of the key for products, and one more; 0 for none.
    #[prost(uint32, tag = "1")]
    pub relinearization: u32,
    /// Likewise for conjugation.
    #[prost(uint32, tag = "2")]
    pub conjugation: u32,
    /// Steps of every rotation, ascending.
    #[prost(uint64, repeated, tag = "3")]
    pub steps: Vec<u64>,
    /// Level of each of them.
    #[prost(uint32, repeated, tag = "4")]
    pub levels: Vec<u32>,
    /// Weight, level and special primes of an encapsulation, then its rotations; empty for none.
    #[prost(uint64, repeated, tag = "5")]
    pub encapsulation: Vec<u64>,
}

/// Protobuf form of an [`Interface`]; fields as there.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct InterfaceMessage {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub program: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    pub params: Option<ParamsMessage>,
    #[prost(message, optional, tag = "4")]
    pub input: Option<PortMessage>,
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<PortMessage>,
    #[prost(uint64, tag = "6")]
    pub images: u64,
    #[prost(bool, tag = "7")]
    pub images_in_copies: bool,
    #[prost(message, optional, tag = "8")]
    pub keys: Option<KeysMessage>,
    /// JSON of a [`Preprocess`].
    #[prost(string, tag = "9")]
    pub preprocess: String,
}

impl From<&Params> for ParamsMessage {
    fn from(params: &Params) -> Self {
        let l = params.literal();
        let fixed = params.fixed_scales().iter();
        ParamsMessage {
            fixed_scales: fixed.flat_map(|f| [u32::from(f.level), f.log_scale]).collect(),
            name: l.name.clone(),
            log_n: l.log_n,
            q: l.q.clone(),
            levels: l.levels.iter().flat_map(|set| [set.bits() as u64, (set.bits() >> 64) as u64]).collect(),
            p: l.p.clone(),
            digit_limbs: l.digit_limbs as u32,
            log_scale: l.log_scale,
            hamming_weight: match l.secret {
                Secret::UniformTernary => 0,
                Secret::SparseTernary { hamming_weight } => hamming_weight,
            },
        }
    }
}

impl ParamsMessage {
    /// The validated parameters.
    pub fn to_params(&self) -> Result<Params, ParamsError> {
        // A level that does not fit, or half a pair, becomes one that cannot be.
        let fixed = self.fixed_scales.chunks(2).map(|pair| FixedScale {
            level: pair[0].try_into().unwrap_or(Level::MAX),
            log_scale: pair.get(1).copied().unwrap_or(0),
        });
        let level = |halves: &[u64]| {
            let high = halves.get(1).copied().unwrap_or(0);
            PrimeSet::from_bits(u128::from(high) << 64 | u128::from(halves[0]))
        };
        let literal = ParamsLiteral {
            name: printable(&self.name).into_owned(),
            log_n: self.log_n,
            q: self.q.clone(),
            levels: self.levels.chunks(2).map(level).collect(),
            p: self.p.clone(),
            digit_limbs: self.digit_limbs as usize,
            log_scale: self.log_scale,
            secret: match self.hamming_weight {
                0 => Secret::UniformTernary,
                hamming_weight => Secret::SparseTernary { hamming_weight },
            },
        };
        Params::segmented(literal, fixed.collect())
    }
}

impl From<&Port> for PortMessage {
    fn from(port: &Port) -> Self {
        let Port { name, shape, ty, layout, permutation, factor, spare, ending, log2_error } = port;
        let CiphertextType { vectors, slots, level, scale, size } = *ty;
        let Layout { shape: [c, h, w], gap, multiplex, plane: [ph, pw], period, slots: s } = *layout;
        // One gap where both agree.
        let gaps = if gap[0] == gap[1] { &gap[..1] } else { &gap[..] };
        let ty =
            [vectors as u64, slots as u64, level.into(), scale.level.into(), scale.power.into(), size.into()];
        PortMessage {
            name: name.clone(),
            shape: shape.iter().map(|&dimension| dimension as u64).collect(),
            ty: ty.to_vec(),
            layout: [&[c, h, w][..], gaps, &[multiplex, ph, pw, period, s]]
                .concat()
                .iter()
                .map(|&number| number as u64)
                .collect(),
            factor: *factor,
            log2_error: *log2_error,
            spare: *spare,
            ending: ENDINGS.iter().position(|name| *name == ending.name()).expect("all are named") as u32,
            ending_along: match ending.lists() {
                Lists::One => Vec::new(),
                Lists::Along(Dimension { length, stride }) => vec![length as u64, stride as u64],
            },
            ending_then: match ending.then() {
                Affine::IDENTITY => Vec::new(),
                Affine { scale, offset } => vec![scale, offset],
            },
            permutation: permutation
                .iter()
                .flat_map(|Permutation { shape, axes }| shape.iter().chain(axes))
                .map(|&number| number as u64)
                .collect(),
        }
    }
}

/// Names of endings by their number in a file.
const ENDINGS: [&str; 4] = ["nothing", "softmax", "log_softmax", "arg_max"];

fn ending(message: &PortMessage) -> Option<Ending> {
    let lists = match message.ending_along[..] {
        [] => Lists::One,
        [length, stride] => Lists::Along(Dimension { length: size(length), stride: size(stride) }),
        _ => return None,
    };
    let then = match message.ending_then[..] {
        [] => Affine::IDENTITY,
        [scale, offset] => Affine { scale, offset },
        _ => return None,
    };
    Ending::named(ENDINGS.get(message.ending as usize)?, lists, then)
}

/// Numbers of a file that do not fit where they go are as large as they can be: nothing takes them.
fn narrow<T: TryFrom<u64>>(number: u64, most: T) -> T {
    T::try_from(number).unwrap_or(most)
}

fn size(number: u64) -> usize {
    narrow(number, usize::MAX)
}

impl TryFrom<&PortMessage> for Port {
    type Error = ProgramError;

    fn try_from(message: &PortMessage) -> Result<Self, ProgramError> {
        let PortMessage { name, shape, ty, layout, factor, log2_error, spare, permutation, .. } = message;
        let missing = || ProgramError::Missing("description of an input or output");
        let &[vectors, slots, level, scale_level, scale_power, polys] = &ty[..] else {
            return Err(missing());
        };
        let ([c, h, w], gap, [multiplex, ph, pw, period, s]) = match layout[..] {
            [c, h, w, gap, m, ph, pw, period, s] => ([c, h, w], [gap; 2], [m, ph, pw, period, s]),
            [c, h, w, rows, columns, m, ph, pw, period, s] => {
                ([c, h, w], [rows, columns], [m, ph, pw, period, s])
            }
            _ => return Err(missing()),
        };
        let scale_level = narrow(scale_level, Level::MAX);
        let scale = match scale_power {
            1 => Scale::canonical(scale_level),
            2 => Scale::squared(scale_level),
            _ => return Err(ProgramError::Missing("scale of an input or output")),
        };
        Ok(Port {
            name: printable(name).into_owned(),
            shape: shape.iter().map(|&dimension| size(dimension)).collect(),
            ty: CiphertextType {
                vectors: size(vectors),
                slots: size(slots),
                level: narrow(level, Level::MAX),
                scale,
                size: narrow(polys, u8::MAX),
            },
            layout: Layout {
                shape: [c, h, w].map(size),
                gap: gap.map(size),
                multiplex: size(multiplex),
                plane: [ph, pw].map(size),
                period: size(period),
                slots: size(s),
            },
            factor: *factor,
            spare: *spare,
            ending: ending(message).ok_or(ProgramError::Missing("ending of an output"))?,
            log2_error: *log2_error,
            permutation: (!permutation.is_empty()).then(|| {
                let numbers = |list: &[u64]| list.iter().map(|&number| size(number)).collect();
                let (shape, axes) = permutation.split_at(permutation.len() / 2);
                Permutation { shape: numbers(shape), axes: numbers(axes) }
            }),
        })
    }
}

impl From<&KeyDemand> for KeysMessage {
    fn from(keys: &KeyDemand) -> Self {
        let after = |level: Option<Level>| level.map_or(0, |level| u32::from(level) + 1);
        let encapsulation = keys.encapsulation.iter().flat_map(|keys| {
            let numbers = [u64::from(keys.weight), keys.level.into(), keys.special as u64];
            numbers.into_iter().chain(keys.rotations.iter().map(|&steps| steps as u64))
        });
        KeysMessage {
            relinearization: after(keys.relinearization),
            conjugation: after(keys.conjugation),
            steps: keys.rotations.keys().map(|&steps| steps as u64).collect(),
            levels: keys.rotations.values().map(|&level| level.into()).collect(),
            encapsulation: encapsulation.collect(),
        }
    }
}

impl TryFrom<&KeysMessage> for KeyDemand {
    type Error = ProgramError;

    fn try_from(message: &KeysMessage) -> Result<Self, ProgramError> {
        let before = |number: u32| number.checked_sub(1).map(|level| narrow(level.into(), Level::MAX));
        if message.steps.len() != message.levels.len() {
            return Err(ProgramError::Missing("level of a rotation"));
        }
        let levels = message.levels.iter().map(|&level| narrow(level.into(), Level::MAX));
        let rotations: BTreeMap<usize, Level> =
            message.steps.iter().map(|&steps| size(steps)).zip(levels).collect();
        let encapsulation = match message.encapsulation[..] {
            [] => None,
            [weight, level, special, ref rotations @ ..] => Some(Encapsulation {
                weight: narrow(weight, u32::MAX),
                level: narrow(level, Level::MAX),
                special: size(special),
                rotations: rotations.iter().map(|&steps| size(steps)).collect::<BTreeSet<usize>>(),
            }),
            _ => return Err(ProgramError::Missing("keys to the ephemeral secret")),
        };
        Ok(KeyDemand {
            relinearization: before(message.relinearization),
            conjugation: before(message.conjugation),
            rotations,
            encapsulation,
        })
    }
}

impl From<&Interface> for InterfaceMessage {
    fn from(interface: &Interface) -> Self {
        InterfaceMessage {
            name: interface.name.clone(),
            program: interface.program.0.to_vec(),
            params: Some((&interface.params).into()),
            input: Some((&interface.input).into()),
            outputs: interface.outputs.iter().map(Into::into).collect(),
            images: interface.batch.images as u64,
            images_in_copies: interface.batch.in_copies,
            keys: Some((&interface.keys).into()),
            preprocess: serde_json::to_string(&interface.preprocess).expect("numbers and names are JSON"),
        }
    }
}

impl TryFrom<&InterfaceMessage> for Interface {
    type Error = ProgramError;

    fn try_from(message: &InterfaceMessage) -> Result<Self, ProgramError> {
        let missing = ProgramError::Missing;
        let preprocess: Result<Preprocess, _> =
            serde_json::from_str(&message.preprocess).and_then(|mut value| {
                make_printable(&mut value);
                serde_json::from_value(value)
            });
        let interface = Interface {
            name: printable(&message.name).into_owned(),
            program: ProgramId(message.program[..].try_into().map_err(|_| missing("name of its program"))?),
            params: message.params.as_ref().ok_or(missing("parameters"))?.to_params()?,
            input: message.input.as_ref().ok_or(missing("input"))?.try_into()?,
            outputs: message.outputs.iter().map(Port::try_from).collect::<Result<_, _>>()?,
            batch: Batch { images: size(message.images), in_copies: message.images_in_copies },
            keys: message.keys.as_ref().ok_or(missing("keys"))?.try_into()?,
            preprocess: preprocess.map_err(|error| ProgramError::Normalisation(error.to_string()))?,
        };
        interface.check()?;
        Ok(interface)
    }
}

impl From<&Tensor> for TensorMessage {
    fn from(tensor: &Tensor) -> Self {
        TensorMessage {
            shape: tensor.shape().iter().map(|&dimension| dimension as u64).collect(),
            data: tensor.data().iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

impl TryFrom<&TensorMessage> for Tensor {
    type Error = String;

    fn try_from(message: &TensorMessage) -> Result<Self, String> {
        let shape: Result<Vec<usize>, _> = message.shape.iter().map(|&d| usize::try_from(d)).collect();
        let (chunks, []) = message.data.as_chunks::<4>() else {
            return Err(format!("{} bytes are no f32 data", message.data.len()));
        };
        let data: Vec<f32> = chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        Tensor::new(shape.map_err(|e| e.to_string())?, data).map_err(|e| e.to_string())
    }
}
