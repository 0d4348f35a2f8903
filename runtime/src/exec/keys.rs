//! Evaluation keys that a program needs.

use fhec_ir::ckks::Ckks;
use fhec_ir::evaluation_keys;
use fhec_ir::func::Func;
use fhec_ir::params::Params;

use crate::ring::automorphism::{conjugation_element, rotation_element};
use crate::rlwe::{EvaluationKeys, KeyKind, KeyRequest};

/// The keys of `func`, each up to the highest level it is used at: what to generate.
pub fn requests(func: &Func<Ckks>, params: &Params) -> Vec<KeyRequest> {
    of_set(&evaluation_keys::EvaluationKeys::of(func), params)
}

/// A set of keys as requests.
pub fn of_set(keys: &evaluation_keys::EvaluationKeys, params: &Params) -> Vec<KeyRequest> {
    let degree = params.ring_degree();
    let galois = |element, level| KeyRequest { kind: KeyKind::Galois { element }, level };
    let rotations = keys.rotations.iter();
    let rotations = rotations.map(|(&steps, &level)| galois(rotation_element(steps as i64, degree), level));
    let conjugation = keys.conjugation.map(|level| galois(conjugation_element(degree), level));
    let relinearization = keys.relinearization.map(KeyRequest::relinearization);
    relinearization.into_iter().chain(rotations).chain(conjugation).collect()
}

/// The requests that `keys` do not meet.
pub fn missing(requests: &[KeyRequest], keys: &EvaluationKeys) -> Vec<KeyRequest> {
    let met = |request: &&KeyRequest| {
        !keys.iter().any(|key| key.kind() == request.kind && key.level() >= request.level)
    };
    requests.iter().filter(met).copied().collect()
}
