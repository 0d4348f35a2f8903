//! The intermediate representation of fhec: three stages in one container.
//!
//! | stage | values | ops |
//! |---|---|---|
//! | [`nn`] | tensors | those of a network after import |
//! | [`packed`] | vectors of slots | linear maps, polynomials, additions, products, rotations |
//! | [`ckks`] | ciphertexts with level and exact scale | the same, plus rescale, relinearize, level drops, bootstraps |
//!
//! | module | subject |
//! |---|---|
//! | [`func`], `op_table` | the container all stages share; the macro behind their op tables |
//! | [`entity`], [`tensor`], [`attr`] | ids, constants, attributes |
//! | [`fact`] | what passes leave with a function, each with its type |
//! | [`text`] | printer and parser |
//! | [`verify`] | what every pass may rely on |
//! | [`interp`] | cleartext meaning of each stage |
//! | [`layout`], [`linear_map`] | where tensors sit in slots, and maps between such places |
//! | [`permutation`] | orders of the elements of a tensor |
//! | [`batch`] | several images in one run |
//! | [`slot_mask`] | which slots of a plane belong to its picture |
//! | [`spare`] | what slots hold that no element takes |
//! | [`layers`] | which layer of the network an op belongs to |
//! | [`layer_values`] | which values of a program stand for the network's, and how they are stored |
//! | [`program`] | a compiled program, the interface that clients read, and its file |
//! | [`plan`] | what a compile decided and predicts |
//! | [`circuit_shape`] | rotations and products of the big circuits |
//! | [`diagonal`] | what diagonals of linear maps take, and how they are multiplied |
//! | [`bootstrap`] | bootstrapping as data: levels, matrices, polynomials |
//! | [`noise`] | how large the errors of operations, polynomials and bootstraps are |
//! | [`key_demand`] | the switching keys a program needs |
//! | [`params`], [`scale`], [`prime`], [`prime_set`] | numbers of an RNS-CKKS instance; which primes a level has |
//! | [`security`] | how large a modulus may be, and what a program's secrets keep |
//! | [`printable`] | text of strangers that people will read |
//! | [`packing`] | bits of residues in keys and matrices |
//! | [`polynomial`], [`polynomial_shape`] | Chebyshev polynomials, and how they are evaluated |
//!
//! Everything a pass and the runtime must agree on lives here; neither sees the other. This crate
//! chooses nothing and encrypts nothing.

#![forbid(unsafe_code)]

pub mod attr;
pub mod batch;
pub mod bootstrap;
pub mod circuit_shape;
pub mod ckks;
pub mod diagonal;
pub mod entity;
pub mod fact;
pub mod func;
pub mod interp;
pub mod key_demand;
pub mod layer_values;
pub mod layers;
pub mod layout;
pub mod linear_map;
pub mod nn;
pub mod noise;
pub(crate) mod op_table;
pub mod packed;
pub mod packing;
pub mod params;
pub mod permutation;
pub mod plan;
pub mod polynomial;
pub mod polynomial_shape;
pub mod prime;
pub mod prime_set;
pub mod printable;
pub mod program;
pub mod scale;
pub mod security;
pub mod slot_mask;
pub mod spare;
pub mod tensor;
pub mod text;
pub mod verify;
