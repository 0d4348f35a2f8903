//! The limits themselves.
//!
//! Largest integer `log2(Q P)` for which the cheapest of all attacks costs at least `2^lambda`:
//! usvp, bdd, the primal and dual hybrids, and for sparse secrets also the dual attacks with
//! guessing and meet-in-the-middle that the estimator holds but its default list omits. Error
//! standard deviation 3.19, unlimited samples, cost model MATZOV. Uniform rows equal table 5.2 of
//! "Security Guidelines for Implementing Homomorphic Encryption" (ePrint 2024/463) to within one
//! bit.

/// Version of the lattice estimator that made the table.
pub const ESTIMATOR: &str = "malb/lattice-estimator@27a581bb8e9d (2026-06-06), SageMath 9.5";

/// Security levels of the columns, in bits.
pub const SECURITY_LEVELS: [u32; 4] = [98, 128, 192, 256];

/// Limits for one ring degree and secret.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `log2` of the ring degree.
    pub log_n: u32,
    /// Non-zero coefficients of a sparse secret, `None` for a uniform ternary one.
    pub hamming_weight: Option<u32>,
    /// Largest `log2(Q P)` per level of [`SECURITY_LEVELS`]; `None` where no modulus of 12 bits or
    /// more reaches it.
    pub max_log_qp: [Option<u32>; 4],
}

const fn row(log_n: u32, hamming_weight: u32, limits: [u32; 4]) -> Row {
    const fn cell(value: u32) -> Option<u32> {
        if value == 0 { None } else { Some(value) }
    }
    let [a, b, c, d] = limits;
    let hamming_weight = cell(hamming_weight);
    Row { log_n, hamming_weight, max_log_qp: [cell(a), cell(b), cell(c), cell(d)] }
}

/// All rows: `log2(N)`, Hamming weight (0 for uniform ternary), limits per level (0 where there is
/// none).
#[rustfmt::skip]
pub const MAX_LOG_QP: &[Row] = &[
    row(12, 0, [137, 106, 73, 56]),
    row(13, 0, [277, 214, 147, 114]),
    row(14, 0, [560, 430, 297, 230]),
    row(15, 0, [1130, 868, 596, 462]),
    row(16, 0, [2285, 1746, 1199, 929]),
    row(17, 0, [4613, 3522, 2410, 1865]),
    row(12, 256, [136, 104, 68, 49]),
    row(13, 256, [274, 209, 134, 95]),
    row(14, 256, [555, 416, 264, 187]),
    row(15, 256, [1118, 833, 527, 373]),
    row(16, 256, [2252, 1680, 1061, 749]),
    row(17, 256, [4555, 3394, 2146, 1519]),
    row(12, 192, [135, 102, 64, 43]),
    row(13, 192, [273, 202, 124, 83]),
    row(14, 192, [548, 401, 245, 165]),
    row(15, 192, [1104, 806, 489, 329]),
    row(16, 192, [2230, 1627, 988, 665]),
    row(17, 192, [4521, 3300, 2005, 1353]),
    row(12, 128, [132, 94, 53, 32]),
    row(13, 128, [261, 184, 103, 61]),
    row(14, 128, [521, 366, 202, 122]),
    row(15, 128, [1055, 738, 406, 243]),
    row(16, 128, [2146, 1499, 827, 494]),
    row(17, 128, [4369, 3052, 1691, 1016]),
    row(12, 64, [104, 65, 25, 0]),
    row(13, 64, [206, 125, 49, 18]),
    row(14, 64, [414, 250, 95, 37]),
    row(15, 64, [847, 511, 190, 75]),
    row(16, 64, [1750, 1053, 393, 151]),
    row(17, 64, [3600, 2178, 821, 314]),
    row(12, 32, [53, 23, 0, 0]),
    row(13, 32, [103, 44, 0, 0]),
    row(14, 32, [207, 84, 0, 0]),
    row(15, 32, [433, 172, 25, 0]),
    row(16, 32, [912, 364, 50, 0]),
    row(17, 32, [1931, 777, 104, 0]),
];
