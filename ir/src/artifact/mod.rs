//! The artifact: the one file a compile produces, and all that running it needs besides keys.
//!
//! ```text
//! bytes  0..4    magic "FHEP"
//! bytes  4..8    format version, little-endian
//! bytes  8..16   length of the compressed payload, little-endian
//! bytes 16..48   blake3 digest of the compressed payload
//! bytes 48..     payload: a protobuf message ([`Message`]), zstd-compressed
//! ```
//!
//! Programs travel in their text form with the tensors beside them, named by digest, so one printer and one parser
//! serve people, tests and files. Readers trust nothing: the digest is checked before anything is decompressed, the
//! decompressed size is bounded, programs are parsed, typed and verified, tensors checked against their shapes, layouts of
//! inputs and outputs against the program's types and the network's tensors, what is declared against [`limits`]. Security
//! is computed from parameters and keys ([`Artifact::certificate`]), and a reader says how much of it she wants.

mod limits;

use std::io::Read;

use prost::Message as _;
use thiserror::Error;

use crate::batch::{Batch, BatchError};
use crate::bootstrap::ProgramBootstrapError;
use crate::ckks::Ckks;
use crate::entity::Value;
use crate::evaluation_keys::{Encapsulation, EvaluationKeys};
use crate::func::{Func, Stage};
use crate::layout::Layout;
use crate::nn::Nn;
use crate::params::{FixedScale, Params, ParamsError, ParamsLiteral, Secret};
use crate::prime_set::PrimeSet;
use crate::scale::Level;
use crate::security::{Certificate, SecurityError};
use crate::tensor::{ConstPool, Tensor, element_count};
use crate::text::{ConstSource, ParseError, parse_func, print_func};
use crate::verify::{VerifyErrors, verify};

const MAGIC: &[u8; 4] = b"FHEP";
/// Version of the format written; only this one is read.
pub const FORMAT_VERSION: u32 = 2;
const HEADER_BYTES: usize = 48;
/// Bound on the decompressed payload: far above any network this compiler handles.
const MAX_PAYLOAD_BYTES: u64 = 2 << 30;
/// A payload of more bytes than this must not be more than [`MAX_RATIO`] times the file, so that a small file takes little
/// memory.
const SMALL_PAYLOAD_BYTES: u64 = 128 << 20;
/// Weights shrink hardly at all, programs and plans to a tenth.
const MAX_RATIO: u64 = 100;
const COMPRESSION_LEVEL: i32 = 9;

/// What a compile produces.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// The scheduled homomorphic program.
    pub program: Func<Ckks>,
    /// The network as imported, with its exact activations: the plain reference.
    pub network: Func<Nn>,
    /// Scheme parameters.
    pub params: Params,
    /// The plan, as JSON: what was decided, predicted and considered.
    pub plan_json: String,
    /// From bytes of a picture to the network's input, and the names of the classes, as JSON.
    pub preprocess_json: String,
}

/// Why bytes are no artifact.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ArtifactError {
    #[error("not an fhec artifact: the file does not start with FHEP; compile the model with `fhec compile`")]
    Magic,
    #[error(
        "the artifact has format version {found}, this fhec reads version {FORMAT_VERSION}; compile the model again"
    )]
    Version { found: u32 },
    #[error("the artifact is truncated or has trailing bytes: {expected} bytes announced, {found} found")]
    Length { expected: u64, found: u64 },
    #[error("the artifact is damaged: its checksum does not match; copy or compile it again")]
    Checksum,
    #[error("the artifact cannot be decompressed: {0}")]
    Decompress(std::io::Error),
    #[error("the artifact decompresses to more than {limit} bytes, more than a file of its size may hold")]
    TooLarge { limit: u64 },
    #[error("the artifact's {part} has {bytes} bytes, more than {limit}")]
    PartTooLarge { part: &'static str, bytes: usize, limit: usize },
    #[error("the artifact's {stage} program declares what no program has: {reason}")]
    Limits { stage: &'static str, reason: String },
    #[error(transparent)]
    Bootstraps(#[from] ProgramBootstrapError),
    #[error("the artifact is not secure enough: {0}")]
    Security(#[from] SecurityError),
    #[error("the artifact's message cannot be read: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("the artifact lacks its {0}")]
    Missing(&'static str),
    #[error("the artifact's parameters are invalid: {0}")]
    Params(#[from] ParamsError),
    #[error("a tensor of the artifact is malformed: {0}")]
    Tensor(String),
    #[error("the artifact's {stage} program cannot be parsed: {error}")]
    Parse { stage: &'static str, error: ParseError },
    #[error("the artifact's {stage} program is malformed: {errors}")]
    Verify { stage: &'static str, errors: VerifyErrors },
    #[error("the artifact's program does not fit its parameters: {0}")]
    Misfit(String),
    #[error("the artifact's `{meta}` does not describe its program: {reason}; compile the model again")]
    Layouts { meta: &'static str, reason: String },
}

/// Protobuf form of an [`Artifact`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// Scheme parameters.
    #[prost(message, optional, tag = "1")]
    pub params: Option<ParamsMessage>,
    /// ckks program, as text.
    #[prost(string, tag = "2")]
    pub program: String,
    /// nn program, as text.
    #[prost(string, tag = "3")]
    pub network: String,
    /// Tensors that the programs name by digest.
    #[prost(message, repeated, tag = "4")]
    pub tensors: Vec<TensorMessage>,
    /// JSON.
    #[prost(string, tag = "5")]
    pub plan: String,
    /// JSON.
    #[prost(string, tag = "6")]
    pub preprocess: String,
}

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
            name: self.name.clone(),
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

impl Artifact {
    /// The bytes of the file. The same artifact always gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut pool = ConstPool::default();
        let tensors = self.program.consts.iter().chain(self.network.consts.iter());
        tensors.filter(|(_, t)| t.data().len() > crate::text::INLINE_ELEMENTS).for_each(|(_, tensor)| {
            pool.add(tensor.clone());
        });
        let message = Message {
            params: Some((&self.params).into()),
            program: print_func(&self.program),
            network: print_func(&self.network),
            tensors: pool.iter().map(|(_, tensor)| tensor.into()).collect(),
            plan: self.plan_json.clone(),
            preprocess: self.preprocess_json.clone(),
        };
        let payload = zstd::bulk::compress(&message.encode_to_vec(), COMPRESSION_LEVEL)
            .expect("compressing into memory cannot fail");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&payload).as_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// Reads what [`Artifact::to_bytes`] wrote, of a program whose secrets keep at least `least_security` bits by the
    /// security table. What the file says of its own security is not looked at.
    ///
    /// # Errors
    /// [`ArtifactError::Security`] for programs that keep less, and for those that the table knows nothing of.
    pub fn from_bytes(bytes: &[u8], least_security: u32) -> Result<Self, ArtifactError> {
        if !bytes.starts_with(MAGIC) {
            return Err(ArtifactError::Magic);
        }
        let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(ArtifactError::Length { expected: HEADER_BYTES as u64, found: bytes.len() as u64 });
        };
        let field = |range: std::ops::Range<usize>| {
            header[range].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b))
        };
        if field(4..8) != u64::from(FORMAT_VERSION) {
            return Err(ArtifactError::Version { found: field(4..8) as u32 });
        }
        if field(8..16) != payload.len() as u64 {
            return Err(ArtifactError::Length { expected: field(8..16), found: payload.len() as u64 });
        }
        if blake3::hash(payload).as_bytes()[..] != header[16..48] {
            return Err(ArtifactError::Checksum);
        }
        let limit = SMALL_PAYLOAD_BYTES.max(MAX_RATIO * payload.len() as u64).min(MAX_PAYLOAD_BYTES);
        let mut raw = Vec::new();
        let decoder = zstd::stream::read::Decoder::new(payload).map_err(ArtifactError::Decompress)?;
        decoder.take(limit + 1).read_to_end(&mut raw).map_err(ArtifactError::Decompress)?;
        if raw.len() as u64 > limit {
            return Err(ArtifactError::TooLarge { limit });
        }
        let message = Message::decode(&raw[..])?;
        drop(raw);
        Artifact::from_message(message, least_security)
    }

    fn from_message(message: Message, least_security: u32) -> Result<Self, ArtifactError> {
        let parts = [
            ("ckks program", &message.program, limits::MAX_TEXT_BYTES),
            ("nn program", &message.network, limits::MAX_TEXT_BYTES),
            ("plan", &message.plan, limits::MAX_JSON_BYTES),
            ("normalisation", &message.preprocess, limits::MAX_JSON_BYTES),
        ];
        for (part, text, limit) in parts {
            if text.len() > limit {
                return Err(ArtifactError::PartTooLarge { part, bytes: text.len(), limit });
            }
        }
        let params = message.params.ok_or(ArtifactError::Missing("parameters"))?.to_params()?;
        // The main secret first, before anything large is read; with the other one again below.
        Certificate::of(&params, None)?.require(least_security)?;
        let tensors = message.tensors.iter().map(Tensor::try_from).collect::<Result<Vec<_>, _>>();
        let source = ConstSource::of_file(tensors.map_err(ArtifactError::Tensor)?);
        let program: Func<Ckks> = read_func(&message.program, &source)?;
        let network: Func<Nn> = read_func(&message.network, &source)?;
        let limits = |stage| move |reason| ArtifactError::Limits { stage, reason };
        limits::check_program(&program).map_err(limits(Ckks::NAME))?;
        limits::check_network(&network).map_err(limits(Nn::NAME))?;
        let values = program.inputs().iter().copied().chain(program.ops().iter().map(|data| data.result));
        for value in values {
            let ty = program.ty(value);
            if ty.level > params.top_level() || ty.slots > params.slots() {
                return Err(ArtifactError::Misfit(format!(
                    "{value} needs level {} and {} slots",
                    ty.level, ty.slots
                )));
            }
        }
        let artifact = Artifact {
            program,
            network,
            params,
            plan_json: message.plan,
            preprocess_json: message.preprocess,
        };
        artifact.input_layouts()?;
        artifact.output_layouts()?;
        artifact.certificate()?.require(least_security)?;
        Ok(artifact)
    }

    /// The keys to an ephemeral secret and back that the program's bootstraps need, if they raise the modulus so.
    ///
    /// # Errors
    /// [`ArtifactError::Bootstraps`]; not if the artifact was read from bytes.
    pub fn encapsulation(&self) -> Result<Option<Encapsulation>, ArtifactError> {
        let keys = EvaluationKeys::default().with_bootstraps(&self.program, &self.params)?;
        Ok(keys.encapsulation)
    }

    /// What the security table says of the program's secrets, computed from its parameters and keys.
    ///
    /// # Errors
    /// [`ArtifactError::Security`] if the table says nothing of one, or if one keeps less than its lowest level.
    pub fn certificate(&self) -> Result<Certificate, ArtifactError> {
        Ok(Certificate::of(&self.params, self.encapsulation()?.as_ref())?)
    }

    /// How many images a run takes, and how they share its ciphertexts.
    ///
    /// # Errors
    /// [`ArtifactError::Layouts`]; not if the artifact was read from bytes.
    pub fn batch(&self) -> Result<Batch, ArtifactError> {
        let error = |error: BatchError| ArtifactError::Layouts { meta: "batch", reason: error.to_string() };
        Batch::of_program(&self.program).map_err(error)
    }

    /// Where the elements of each input go. What is returned packs the network's inputs into bundles of the program's types.
    ///
    /// # Errors
    /// [`ArtifactError::Layouts`]; not if the artifact was read from bytes.
    pub fn input_layouts(&self) -> Result<Vec<Layout>, ArtifactError> {
        self.layouts("input_layout", self.program.inputs(), self.network.inputs())
    }

    /// Where the elements of each output are. What is returned unpacks bundles of the program's types into the network's outputs.
    ///
    /// # Errors
    /// [`ArtifactError::Layouts`]; not if the artifact was read from bytes.
    pub fn output_layouts(&self) -> Result<Vec<Layout>, ArtifactError> {
        self.layouts("output_layout", self.program.outputs(), self.network.outputs())
    }

    fn layouts(
        &self,
        meta: &'static str,
        bundles: &[Value],
        tensors: &[Value],
    ) -> Result<Vec<Layout>, ArtifactError> {
        let error = |reason: String| ArtifactError::Layouts { meta, reason };
        let layouts: Vec<Layout> = self.program.meta(meta).map_err(|e| error(e.to_string()))?;
        let batch = Batch::of_program(&self.program).map_err(|e| error(e.to_string()))?;
        if (layouts.len(), layouts.len()) != (bundles.len(), tensors.len()) {
            return Err(error(format!(
                "there are {} layouts for {} bundles and {} tensors",
                layouts.len(),
                bundles.len(),
                tensors.len()
            )));
        }
        for ((layout, &bundle), &tensor) in layouts.iter().zip(bundles).zip(tensors) {
            layout.validate().map_err(|e| error(e.to_string()))?;
            let ty = self.program.ty(bundle);
            if (layout.vectors(), layout.slots) != (ty.vectors, ty.slots) {
                return Err(error(format!(
                    "the layout takes {} vectors of {} slots, {bundle} is {} of {}",
                    layout.vectors(),
                    layout.slots,
                    ty.vectors,
                    ty.slots
                )));
            }
            let shape = &self.network.ty(tensor).shape;
            let elements = batch.elements_per_image(layout).map_err(|e| error(e.to_string()))?;
            if element_count(shape) != Some(elements) {
                return Err(error(format!(
                    "the layout holds {elements} elements of an image, the network's tensor has shape {shape:?}"
                )));
            }
        }
        Ok(layouts)
    }
}

fn read_func<S: Stage>(text: &str, source: &ConstSource) -> Result<Func<S>, ArtifactError> {
    let func = parse_func(text, source).map_err(|error| ArtifactError::Parse { stage: S::NAME, error })?;
    verify(&func).map_err(|errors| ArtifactError::Verify { stage: S::NAME, errors })?;
    Ok(func)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prime::ntt_primes_near;

    fn artifact() -> Artifact {
        let network = "func nn net {
            const @0 : f32[10, 64] = random(1)
            input %0 : f32[1, 64] \"image\"
            %1 = dense(%0) {weight=@0}
            %2 = relu(%1)
            return %2
        }";
        let program = "func ckks net {
            meta input_layout = [{shape=[64, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=64, slots=4096}]
            meta output_layout = [{shape=[10, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=64, slots=4096}]
            const @0 : f32[10, 64] = random(1)
            input %0 : ct<1, 4096, 3, D3, 2> \"image\"
            %1 = linear_map(%0) {map={kind={dense=@0}, input={shape=[64, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=64, slots=4096}, output={shape=[10, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=64, slots=4096}}, baby_step=8}
            %2 = rescale(%1)
            return %2
        }";
        let q: Vec<u64> = ntt_primes_near(1 << 45, 13).take(4).collect();
        let literal = ParamsLiteral {
            name: "toy-n13".into(),
            log_n: 13,
            levels: PrimeSet::prefixes(1..=q.len()),
            q,
            p: ntt_primes_near((1 << 48) - 1, 13).take(1).collect(),
            digit_limbs: 1,
            log_scale: 45,
            secret: Secret::UniformTernary,
        };
        Artifact {
            program: parse_func(program, &ConstSource::default()).unwrap(),
            network: parse_func(network, &ConstSource::default()).unwrap(),
            params: Params::new(literal).unwrap(),
            plan_json: "{}".into(),
            preprocess_json: "{}".into(),
        }
    }

    #[test]
    fn writing_and_reading_are_inverse_and_deterministic() {
        let artifact = artifact();
        let bytes = artifact.to_bytes();
        assert_eq!(Artifact::from_bytes(&bytes, 98).unwrap(), artifact);
        assert_eq!(bytes, artifact.to_bytes());
    }

    #[test]
    fn every_flipped_byte_and_every_truncation_is_an_error() {
        let bytes = artifact().to_bytes();
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x10;
            assert!(Artifact::from_bytes(&damaged, 98).is_err(), "byte {position}");
        }
        for length in 0..bytes.len() {
            assert!(Artifact::from_bytes(&bytes[..length], 98).is_err(), "length {length}");
        }
    }

    /// A file with this payload and a right checksum.
    fn seal(payload: &[u8]) -> Vec<u8> {
        let payload = zstd::bulk::compress(payload, 1).unwrap();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&payload).as_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }

    fn message() -> Message {
        let good = artifact();
        Message {
            params: Some((&good.params).into()),
            program: print_func(&good.program),
            network: print_func(&good.network),
            tensors: good.network.consts.iter().map(|(_, tensor)| tensor.into()).collect(),
            plan: good.plan_json,
            preprocess: good.preprocess_json,
        }
    }

    /// What a reader says of a message that `change` was made to.
    fn changed(change: impl FnOnce(&mut Message)) -> Result<Artifact, ArtifactError> {
        let mut message = message();
        change(&mut message);
        Artifact::from_bytes(&seal(&message.encode_to_vec()), 98)
    }

    #[test]
    fn hostile_payloads_with_a_right_checksum_are_errors() {
        assert!(matches!(Artifact::from_bytes(&seal(b"\xff\xff\xff"), 98), Err(ArtifactError::Decode(_))));
        assert!(matches!(Artifact::from_bytes(&seal(b""), 98), Err(ArtifactError::Missing("parameters"))));
        let good = artifact();
        let mut message = Message {
            params: Some((&good.params).into()),
            program: print_func(&good.program),
            network: print_func(&good.network),
            ..Message::default()
        };
        // The tensors are missing.
        assert!(matches!(
            Artifact::from_bytes(&seal(&message.encode_to_vec()), 98),
            Err(ArtifactError::Parse { .. })
        ));
        message.tensors = vec![TensorMessage { shape: vec![u64::MAX, 2], data: vec![0; 8] }];
        assert!(matches!(
            Artifact::from_bytes(&seal(&message.encode_to_vec()), 98),
            Err(ArtifactError::Tensor(_))
        ));
        message.tensors = good.network.consts.iter().map(|(_, tensor)| tensor.into()).collect();
        message.params.as_mut().unwrap().q.truncate(3);
        message.params.as_mut().unwrap().levels.truncate(6);
        assert!(matches!(
            Artifact::from_bytes(&seal(&message.encode_to_vec()), 98),
            Err(ArtifactError::Misfit(_))
        ));
    }

    /// A seed that is refused would leave the fuzzer nothing to vary.
    #[test]
    fn the_seed_of_the_fuzz_target_is_an_artifact() {
        let seed =
            Message::decode(&include_bytes!("../../../fuzz/seeds/artifact/bootstrap_message")[..]).unwrap();
        Artifact::from_message(seed, 128).unwrap();
    }

    #[test]
    fn layouts_that_do_not_describe_the_program_are_errors() {
        let changed = |meta: &str, change: &dyn Fn(&mut Vec<Layout>)| {
            let mut artifact = artifact();
            let mut layouts: Vec<Layout> = artifact.program.meta(meta).unwrap();
            change(&mut layouts);
            artifact.program.set_meta(meta, &layouts);
            Artifact::from_bytes(&artifact.to_bytes(), 98)
        };
        type Change = &'static dyn Fn(&mut Vec<Layout>);
        let changes: [(Change, &str); 7] = [
            (&|layouts| layouts.clear(), "0 layouts for 1 bundles"),
            (&|layouts| layouts.push(layouts[0].clone()), "2 layouts"),
            (&|layouts| layouts[0].slots = 128, "vectors of 128 slots"),
            (&|layouts| layouts[0].gap = 0, "gap"),
            // Each element in a vector of its own: a reader would look for vectors that are not there.
            (&|layouts| layouts[0].period = 1, "1 of 4096"),
            (&|layouts| layouts[0].shape[0] -= 1, "elements"),
            (&|layouts| layouts[0].plane = [1 << 10, 1 << 6], "vectors"),
        ];
        for meta in ["input_layout", "output_layout"] {
            assert!(changed(meta, &|_| ()).is_ok());
            for (change, part) in changes {
                let error = changed(meta, change).expect_err(part);
                let message = error.to_string();
                assert!(
                    matches!(error, ArtifactError::Layouts { meta: found, .. } if found == meta),
                    "{message}"
                );
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
            let mut artifact = artifact();
            artifact.program.meta.remove(meta);
            let error = Artifact::from_bytes(&artifact.to_bytes(), 98).unwrap_err();
            assert!(matches!(error, ArtifactError::Layouts { .. }), "{error}");
        }
    }

    #[test]
    fn security_is_computed_and_the_reader_sets_the_least() {
        let bytes = artifact().to_bytes();
        // Four primes of 45 bits and one of 48: 228 bits, of which 2^13 admits 214 at 128 bits and 277 at 98.
        assert_eq!(Artifact::from_bytes(&bytes, 98).unwrap().certificate().unwrap().bits(), 98);
        let error = Artifact::from_bytes(&bytes, 128).unwrap_err();
        assert!(
            matches!(error, ArtifactError::Security(SecurityError::BelowFloor { bits: 98, .. })),
            "{error}"
        );
        let weak = changed(|message| message.params.as_mut().unwrap().hamming_weight = 1).unwrap_err();
        assert!(matches!(weak, ArtifactError::Security(SecurityError::UnknownSecret { .. })), "{weak}");
    }

    #[test]
    fn a_weak_ephemeral_secret_is_refused() {
        let seed = &include_bytes!("../../../fuzz/seeds/artifact/bootstrap_message")[..];
        for (weight, refused) in [("32", false), ("31", true), ("1", true), ("0", true)] {
            let mut message = Message::decode(seed).unwrap();
            let program =
                message.program.replace("ephemeral_weight=32", &format!("ephemeral_weight={weight}"));
            message.program = program;
            let read = Artifact::from_bytes(&seal(&message.encode_to_vec()), 98);
            match (read, refused) {
                (Ok(_), false) => {}
                (Err(ArtifactError::Security(SecurityError::UnknownSecret { .. })), true) => {}
                (other, _) => panic!("weight {weight}: {other:?}"),
            }
        }
    }

    #[test]
    fn declarations_without_bounds_are_errors() {
        let limits = |result: Result<Artifact, ArtifactError>, part: &str| {
            let error = result.expect_err(part);
            assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
        };
        changed(|_| ()).unwrap();
        // Elements that nobody sent.
        limits(
            changed(|m| m.program = m.program.replacen('{', "{\n const @0 : f32[16777216] = random(1)", 1)),
            "hand-written text only",
        );
        limits(changed(|m| m.program += &" ".repeat(17 << 20)), "ckks program has");
        limits(changed(|m| m.network += &" ".repeat(17 << 20)), "nn program has");
        limits(changed(|m| m.plan = " ".repeat(65 << 20)), "plan has");
        let unused =
            |m: &mut Message| m.program = m.program.replace("return", "%3 = rotate(%2) {steps=1}\n return");
        limits(changed(unused), "nothing uses %3");
        let many = |m: &mut Message| {
            m.program = m.program.replacen("input %0 : ct<1,", "input %0 : ct<1000000,", 1);
        };
        assert!(changed(many).is_err());
        for log_scale in [3_000_000, u32::MAX] {
            limits(
                changed(|m| m.params.as_mut().unwrap().log_scale = log_scale),
                "canonical scale of level 3",
            );
        }
        // Brackets, 256 MiB of them in a file of a few kilobytes.
        let error = Artifact::from_bytes(&seal(&vec![b'['; 256 << 20]), 98).unwrap_err();
        assert!(matches!(error, ArtifactError::TooLarge { .. }), "{error}");
    }
}
