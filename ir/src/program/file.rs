//! The file of a program.
//!
//! ```text
//! bytes  0..4    magic "FHEP"
//! bytes  4..8    format version, little-endian, as all numbers
//! bytes  8..12   number of sections
//! then, per section, in the order of their kinds:
//!        4       kind: 1 interface, 2 schedule and weights, 3 reference, 4 plan
//!        8       length of the section
//!       32       blake3 digest of the section
//!       32       blake3 digest of everything before
//! then the sections: protocol buffers (the plan: JSON), each zstd-compressed
//! ```
//!
//! A client's file has the first section alone, a server's leaves out the third. Functions travel
//! in their text form with the tensors beside them, named by digest, so one printer and one parser
//! serve people, tests and files. Readers trust nothing: digests are checked before anything is
//! decompressed, decompressed sizes are bounded, functions are parsed, typed and verified, tensors
//! checked against their shapes, what is declared against limits, and the parts against one
//! another. Security is computed from parameters and keys, and a reader says how much of it she
//! wants.

use std::io::Read;

use prost::Message as _;

use super::compression;
use super::interface::{Interface, ProgramId};
use super::wire::{InterfaceMessage, TensorMessage};
use super::{Program, ProgramError, limits};
use crate::func::{Func, Stage};
use crate::plan::Plan;
use crate::security::Certificate;
use crate::tensor::{ConstPool, Tensor};
use crate::text::{ConstSource, INLINE_ELEMENTS, parse_func, print_func};
use crate::verify::verify;

const MAGIC: &[u8; 4] = b"FHEP";
/// Version of the format written; only this one is read.
pub const FORMAT_VERSION: u32 = 4;
/// Magic, version, number of sections.
const PREFIX: usize = 12;
/// Kind, length, digest.
const ENTRY: usize = 44;
const DIGEST: usize = 32;
/// Bound on a decompressed section: far above any network this compiler handles.
const MAX_SECTION_BYTES: u64 = 2 << 30;
/// A section of more bytes than this must not be more than [`MAX_RATIO`] times what is in the file,
/// so that a small file takes little memory.
const SMALL_SECTION_BYTES: u64 = 128 << 20;
/// Weights shrink hardly at all, functions and plans to a tenth.
const MAX_RATIO: u64 = 100;

/// A part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Interface = 1,
    Schedule = 2,
    Reference = 3,
    Plan = 4,
}

impl Section {
    const ALL: [Section; 4] = [Section::Interface, Section::Schedule, Section::Reference, Section::Plan];
}

/// Protobuf form of a function with its tensors.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FuncMessage {
    /// As text.
    #[prost(string, tag = "1")]
    pub text: String,
    /// Tensors that the text names by digest.
    #[prost(message, repeated, tag = "2")]
    pub tensors: Vec<TensorMessage>,
}

impl FuncMessage {
    /// Of `func`; the same function always gives the same.
    pub fn of<S: Stage>(func: &Func<S>) -> Self {
        let mut pool = ConstPool::default();
        func.consts.iter().filter(|(_, tensor)| tensor.data().len() > INLINE_ELEMENTS).for_each(
            |(_, tensor)| {
                pool.add(tensor.clone());
            },
        );
        FuncMessage {
            text: print_func(func),
            tensors: pool.iter().map(|(_, tensor)| tensor.into()).collect(),
        }
    }

    fn to_func<S: Stage>(&self) -> Result<Func<S>, ProgramError> {
        let (stage, limit) = (S::NAME, limits::MAX_TEXT_BYTES);
        if self.text.len() > limit {
            return Err(ProgramError::PartTooLarge { part: stage, bytes: self.text.len(), limit });
        }
        let tensors = self.tensors.iter().map(Tensor::try_from).collect::<Result<Vec<_>, _>>();
        let source = ConstSource::of_file(tensors.map_err(ProgramError::Tensor)?);
        let func = parse_func(&self.text, &source).map_err(|error| ProgramError::Parse { stage, error })?;
        verify(&func).map_err(|errors| ProgramError::Verify { stage, errors })?;
        Ok(func)
    }
}

/// A file of these sections, given in the order of their kinds, before compression.
fn sealed(sections: &[(Section, Vec<u8>)]) -> Vec<u8> {
    let compressed: Vec<(Section, Vec<u8>)> =
        sections.iter().map(|(section, bytes)| (*section, compression::compress(bytes))).collect();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    for (section, content) in &compressed {
        bytes.extend_from_slice(&(*section as u32).to_le_bytes());
        bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(content).as_bytes());
    }
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    compressed.iter().for_each(|(_, content)| bytes.extend_from_slice(content));
    bytes
}

/// The sections of a file, still compressed.
struct Sections<'a>(Vec<(Section, &'a [u8], [u8; DIGEST])>);

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

impl<'a> Sections<'a> {
    /// Reads the table and checks it, and the file's length; sections are looked at when they are
    /// read.
    fn of(bytes: &'a [u8]) -> Result<Self, ProgramError> {
        if !bytes.starts_with(MAGIC) {
            return Err(ProgramError::Magic);
        }
        let short =
            |expected: usize| ProgramError::Length { expected: expected as u64, found: bytes.len() as u64 };
        let version = bytes.get(4..8).map(number).ok_or(short(PREFIX))?;
        if version != u64::from(FORMAT_VERSION) {
            return Err(ProgramError::Version { found: version as u32 });
        }
        let count = bytes.get(8..PREFIX).map(number).ok_or(short(PREFIX))?;
        if !(1..=Section::ALL.len() as u64).contains(&count) {
            return Err(ProgramError::Sections);
        }
        let table = PREFIX + count as usize * ENTRY;
        let (head, rest) = bytes.split_at_checked(table + DIGEST).ok_or(short(table + DIGEST))?;
        if blake3::hash(&head[..table]).as_bytes()[..] != head[table..] {
            return Err(ProgramError::Checksum);
        }
        let mut sections: Vec<(Section, &[u8], [u8; DIGEST])> = Vec::new();
        let (mut rest, mut expected) = (rest, head.len() as u64);
        for entry in head[PREFIX..table].chunks_exact(ENTRY) {
            let kind = number(&entry[..4]);
            let section = Section::ALL.into_iter().find(|section| *section as u64 == kind);
            let section = section.ok_or(ProgramError::Sections)?;
            if sections.last().is_some_and(|(last, ..)| *last >= section) {
                return Err(ProgramError::Sections);
            }
            let length = number(&entry[4..12]);
            expected = expected.saturating_add(length);
            let content = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
            let (content, tail) =
                content.ok_or(ProgramError::Length { expected, found: bytes.len() as u64 })?;
            let mut digest = [0; DIGEST];
            digest.copy_from_slice(&entry[12..]);
            sections.push((section, content, digest));
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(ProgramError::Length { expected, found: bytes.len() as u64 });
        }
        Ok(Sections(sections))
    }

    /// The section, checked and decompressed; `None` if the file has none.
    fn read(&self, section: Section) -> Result<Option<Vec<u8>>, ProgramError> {
        let Some((_, content, digest)) = self.0.iter().find(|(found, ..)| *found == section) else {
            return Ok(None);
        };
        if blake3::hash(content).as_bytes() != digest {
            return Err(ProgramError::Checksum);
        }
        let limit = SMALL_SECTION_BYTES.max(MAX_RATIO * content.len() as u64).min(MAX_SECTION_BYTES);
        let mut bytes = Vec::new();
        let decoder = compression::decoder(content).map_err(ProgramError::Decompress)?;
        decoder.take(limit + 1).read_to_end(&mut bytes).map_err(ProgramError::Decompress)?;
        if bytes.len() as u64 > limit {
            return Err(ProgramError::TooLarge { limit });
        }
        Ok(Some(bytes))
    }

    fn interface(&self, least_security: u32) -> Result<Interface, ProgramError> {
        let bytes = self.read(Section::Interface)?.ok_or(ProgramError::Missing("interface"))?;
        let message = InterfaceMessage::decode(&bytes[..])?;
        let interface = Interface::try_from(&message)?;
        interface.certificate()?.require(least_security)?;
        Ok(interface)
    }
}

impl Interface {
    /// The bytes of a client's file: the interface alone.
    pub fn to_bytes(&self) -> Vec<u8> {
        sealed(&[(Section::Interface, InterfaceMessage::from(self).encode_to_vec())])
    }

    /// Reads the interface of any program's file; nothing else of it is looked at. Its secrets keep
    /// at least `least_security` bits by the security table.
    ///
    /// # Errors
    /// [`ProgramError::Security`] for programs that keep less, and for those that the table knows
    /// nothing of.
    pub fn from_bytes(bytes: &[u8], least_security: u32) -> Result<Self, ProgramError> {
        Sections::of(bytes)?.interface(least_security)
    }
}

impl Program {
    /// The bytes of the file. The same program always gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut sections = vec![
            (Section::Interface, InterfaceMessage::from(&self.interface).encode_to_vec()),
            (Section::Schedule, FuncMessage::of(&self.schedule).encode_to_vec()),
        ];
        if let Some(reference) = &self.reference {
            sections.push((Section::Reference, FuncMessage::of(reference).encode_to_vec()));
        }
        let plan = self.plan.to_json().expect("a plan is numbers and text");
        sections.push((Section::Plan, plan.into_bytes()));
        sealed(&sections)
    }

    /// Reads what [`Program::to_bytes`] wrote, of a program whose secrets keep at least
    /// `least_security` bits by the security table. What the file says of its own security is not
    /// looked at: the plan gets what was computed.
    ///
    /// # Errors
    /// [`ProgramError::Security`] for programs that keep less, and for those that the table knows
    /// nothing of.
    pub fn from_bytes(bytes: &[u8], least_security: u32) -> Result<Self, ProgramError> {
        let sections = Sections::of(bytes)?;
        let interface = sections.interface(least_security)?;
        let advice = "it is a client's (`fhec client`): take the one that `fhec compile` wrote";
        let missing = |section| ProgramError::NoSection { section, advice };
        let schedule = sections.read(Section::Schedule)?.ok_or(missing("function to run"))?;
        let message = FuncMessage::decode(&schedule[..])?;
        drop(schedule);
        if ProgramId::of_text(&message.text) != interface.program {
            return Err(ProgramError::Misfit("its interface is that of another program".into()));
        }
        let schedule = message.to_func()?;
        let reference = match sections.read(Section::Reference)? {
            Some(bytes) => Some(FuncMessage::decode(&bytes[..])?.to_func()?),
            None => None,
        };
        let plan = sections.read(Section::Plan)?.ok_or(missing("plan"))?;
        if plan.len() > limits::MAX_JSON_BYTES {
            let (bytes, limit) = (plan.len(), limits::MAX_JSON_BYTES);
            return Err(ProgramError::PartTooLarge { part: "plan", bytes, limit });
        }
        let plan = std::str::from_utf8(&plan).map_err(|_| ProgramError::Missing("plan's text"))?;
        let mut plan = Plan::from_json(plan)?;
        let certificate: Certificate = interface.certificate()?;
        plan.certify(&interface.params, &certificate);
        let program = Program { interface, schedule, reference, plan };
        program.check()?;
        Ok(program)
    }
}
