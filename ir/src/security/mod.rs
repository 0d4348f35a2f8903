//! How large a modulus may be: the limit on `log2(Q P)` for a ring degree, a secret and a security
//! level.
//!
//! The limits are those of the lattice estimator under the MATZOV cost model, with every attack it
//! knows, those on sparse secrets that its default list leaves out included (see [`table`]). `Q P`
//! is the largest modulus at which anything is published under the secret: the chain times all
//! special primes.
//!
//! Rules: a ring degree that is not in the table is refused; a Hamming weight between two rows
//! takes the row of the next smaller one, and one below the smallest row is refused. Nothing is
//! extrapolated.

mod certificate;
pub mod table;

use crate::params::{Params, Secret};
use thiserror::Error;

pub use certificate::{Certificate, CertifiedSecret};
pub use table::SECURITY_LEVELS;

/// Bits of security that a reader of programs wants where she does not say.
pub const DEFAULT_FLOOR: u32 = 128;

/// Why no promise can be made.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum SecurityError {
    #[error("security {bits} is not one of {SECURITY_LEVELS:?} bits")]
    UnknownLevel { bits: u32 },
    #[error("there is no security estimate for ring degree 2^{log_n}; known are 2^12 to 2^17")]
    UnknownRing { log_n: u32 },
    #[error("there is no security estimate for Hamming weight {hamming_weight}; use at least 32")]
    UnknownSecret { hamming_weight: u32 },
    #[error("no modulus reaches {bits} bits for a {secret} secret in ring degree 2^{log_n}")]
    OutOfReach { log_n: u32, secret: Secret, bits: u32 },
    #[error(
        "log2(QP) = {log_qp:.1} is above {max}, the limit of {bits} bits for ring degree 2^{log_n} and a {secret} secret"
    )]
    TooLarge { log_n: u32, secret: Secret, bits: u32, log_qp: f64, max: u32 },
    #[error(
        "the {secret} secret keeps {bits} bits of security, at least {least} are asked for; say `--min-security {bits}` \
         to accept that, or have the model compiled for {least} bits"
    )]
    BelowFloor { secret: Secret, bits: u32, least: u32 },
}

/// Limits of all [`SECURITY_LEVELS`] for a ring degree and a secret.
fn limits(log_n: u32, secret: Secret) -> Result<[Option<u32>; 4], SecurityError> {
    let weight = match secret {
        Secret::UniformTernary => None,
        Secret::SparseTernary { hamming_weight } => Some(hamming_weight),
    };
    let rows = table::MAX_LOG_QP.iter().filter(|row| row.log_n == log_n);
    let known: Vec<_> = rows.collect();
    if known.is_empty() {
        return Err(SecurityError::UnknownRing { log_n });
    }
    let fitting = known.into_iter().filter(|row| match (row.hamming_weight, weight) {
        (None, None) => true,
        (Some(row), Some(asked)) => row <= asked,
        _ => false,
    });
    let best = fitting.max_by_key(|row| row.hamming_weight);
    best.map(|row| row.max_log_qp)
        .ok_or(SecurityError::UnknownSecret { hamming_weight: weight.unwrap_or_default() })
}

/// Largest `log2(Q P)` at which the cheapest known attack costs at least `2^bits`.
pub fn max_log_qp(log_n: u32, secret: Secret, bits: u32) -> Result<u32, SecurityError> {
    let column = SECURITY_LEVELS.iter().position(|&level| level == bits);
    let column = column.ok_or(SecurityError::UnknownLevel { bits })?;
    limits(log_n, secret)?[column].ok_or(SecurityError::OutOfReach { log_n, secret, bits })
}

/// The highest of [`SECURITY_LEVELS`] that `log_qp` keeps, `None` below the lowest.
pub fn level_reached(log_n: u32, secret: Secret, log_qp: f64) -> Result<Option<u32>, SecurityError> {
    let limits = limits(log_n, secret)?;
    let kept = |limit: &Option<u32>| limit.is_some_and(|max| log_qp <= f64::from(max));
    Ok(SECURITY_LEVELS.iter().zip(&limits).rev().find(|(_, limit)| kept(limit)).map(|(&bits, _)| bits))
}

/// Errs unless `params` keep `bits` bits.
pub fn check(params: &Params, bits: u32) -> Result<(), SecurityError> {
    let (log_n, secret, log_qp) = (params.log_n(), params.secret(), params.log_qp());
    let max = max_log_qp(log_n, secret, bits)?;
    if log_qp <= f64::from(max) {
        Ok(())
    } else {
        Err(SecurityError::TooLarge { log_n, secret, bits, log_qp, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const SPARSE: fn(u32) -> Secret = |hamming_weight| Secret::SparseTernary { hamming_weight };

    #[test]
    fn published_limits_for_uniform_secrets() {
        // ePrint 2024/463, table 5.2, to within the one bit by which the estimates differ.
        let published = [(12, 106), (13, 214), (14, 430), (15, 868), (16, 1747), (17, 3523)];
        for (log_n, limit) in published {
            let ours = max_log_qp(log_n, Secret::UniformTernary, 128).unwrap();
            assert!(ours <= limit && limit - ours <= 1, "2^{log_n}");
        }
    }

    #[test]
    fn nothing_is_extrapolated() {
        assert_eq!(max_log_qp(16, SPARSE(64), 98), Ok(1750));
        assert_eq!(max_log_qp(16, SPARSE(100), 98), Ok(1750), "the next smaller weight");
        assert_eq!(max_log_qp(16, SPARSE(4096), 98), Ok(2252));
        assert_eq!(max_log_qp(16, SPARSE(31), 98), Err(SecurityError::UnknownSecret { hamming_weight: 31 }));
        assert_eq!(max_log_qp(11, Secret::UniformTernary, 98), Err(SecurityError::UnknownRing { log_n: 11 }));
        assert_eq!(
            max_log_qp(16, Secret::UniformTernary, 100),
            Err(SecurityError::UnknownLevel { bits: 100 })
        );
        assert!(matches!(max_log_qp(14, SPARSE(32), 192), Err(SecurityError::OutOfReach { .. })));
    }

    #[test]
    fn reached_levels() {
        let reached = |log_qp| level_reached(15, Secret::UniformTernary, log_qp).unwrap();
        assert_eq!(
            [400.0, 462.5, 596.0, 868.0, 868.1, 1130.0, 1130.1].map(reached),
            [Some(256), Some(192), Some(192), Some(128), Some(98), Some(98), None]
        );
    }

    #[test]
    fn limits_grow_with_ring_and_weight_and_shrink_with_the_level() {
        for row in table::MAX_LOG_QP {
            assert!(row.max_log_qp.windows(2).all(|w| w[0] > w[1] || w[1].is_none()), "{row:?}");
            for other in table::MAX_LOG_QP {
                let larger_ring = other.log_n == row.log_n + 1 && other.hamming_weight == row.hamming_weight;
                let denser = other.log_n == row.log_n
                    && row.hamming_weight.is_some_and(|w| other.hamming_weight.is_none_or(|o| o > w));
                if larger_ring || denser {
                    assert!(row.max_log_qp.iter().zip(&other.max_log_qp).all(|(a, b)| a <= b));
                }
            }
        }
    }

    /// Compares every cell with the estimator's output, where that file is at hand.
    #[test]
    fn the_table_is_that_of_the_estimator() {
        const FILE: &str = "security/max_log_qp.json";
        let Some(folder) = fhec_test_data::folder_with(FILE) else { return };
        let text = std::fs::read_to_string(folder.join(FILE)).unwrap();
        let records: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let mut compared = 0;
        for record in records.iter().filter(|r| r["cost_model"] == "MATZOV") {
            let number = |key: &str| record[key].as_u64().map(|n| n as u32);
            let secret = match number("hamming_weight") {
                None => Secret::UniformTernary,
                Some(hamming_weight) => Secret::SparseTernary { hamming_weight },
            };
            let log_n = number("n").unwrap().trailing_zeros();
            let bits = number("lambda").unwrap();
            assert_eq!(max_log_qp(log_n, secret, bits).ok(), number("max_log_qp"), "{log_n} {secret} {bits}");
            assert_eq!(record["estimator_version"], table::ESTIMATOR);
            compared += 1;
        }
        assert!(compared >= table::MAX_LOG_QP.len() * 3, "{compared} cells");
    }
}
