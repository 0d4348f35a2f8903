//! Sets that have a name: recipes that were tuned by hand, and those of a paper.

use fhec_ir::bootstrap::Order;
use fhec_ir::params::Secret;

use super::{BootstrapSet, LevelPacking, Recipe, SetError};

/// Names of all sets.
pub const NAMES: [&str; 9] = [
    "n15-98",
    "n15-128",
    "n16-98",
    "n16-128",
    "n16-192",
    "n17-256",
    "lee2021",
    LEE2021_GROUPED,
    LEE2021_STC_LAST,
];
/// The chain of arXiv 2106.07229 with a uniform secret and keys of three digits.
pub const LEE2021_GROUPED: &str = "lee2021-grouped";
/// The same with slots to coefficients last.
pub const LEE2021_STC_LAST: &str = "lee2021-stc-last";

/// The set called `name`.
pub fn named(name: &str) -> Result<BootstrapSet, SetError> {
    recipe(name)?.build()
}

/// The recipe of the set called `name`.
pub fn recipe(name: &str) -> Result<Recipe, SetError> {
    let uniform = Secret::UniformTernary;
    let base = Recipe {
        name: "n15-128".into(),
        log_n: 15,
        security_bits: 128,
        secret: uniform,
        order: Order::SlotsToCoeffsFirst,
        ephemeral_weight: Some(32),
        bound: 14,
        cosine_degree: 30,
        double_angles: 3,
        arcsine_degree: None,
        q0_bits: 41,
        log_message_ratio: 9,
        slots_to_coeffs_bits: 28,
        application_bits: 32,
        application_levels: 5,
        sine_bits: 45,
        doubling_bits: 41,
        coeffs_to_slots_bits: 39,
        coeffs_to_slots: vec![(5, 32), (5, 8), (4, 8)],
        slots_to_coeffs: vec![(7, 16), (7, 16)],
        spare_levels: 0,
        packing: LevelPacking::OnePerLevel,
        // A few bits above the digits: key switching then adds less noise than rescaling.
        special: (47, 3),
        first_special_bits: None,
        digit_limbs: None,
    };
    let wide = Recipe {
        name: "n16-128".into(),
        log_n: 16,
        arcsine_degree: Some(3),
        q0_bits: 50,
        log_message_ratio: 7,
        slots_to_coeffs_bits: 38,
        application_bits: 40,
        application_levels: 11,
        sine_bits: 49,
        doubling_bits: 46,
        coeffs_to_slots_bits: 46,
        coeffs_to_slots: vec![(5, 32), (5, 16), (5, 8)],
        slots_to_coeffs: vec![(5, 8), (5, 8), (5, 8)],
        special: (50, 10),
        ..base.clone()
    };
    let found = match name {
        "n15-128" => base,
        "n15-98" => Recipe {
            name: "n15-98".into(),
            security_bits: 98,
            application_levels: 10,
            log_message_ratio: 10,
            q0_bits: 42,
            special: (46, 5),
            ..base
        },
        "n16-128" => wide,
        "n16-98" => Recipe {
            name: "n16-98".into(),
            security_bits: 98,
            application_levels: 21,
            special: (50, 13),
            ..wide
        },
        // At 192 bits an ephemeral secret of weight 32 no longer hides at q0 p: 64 does, for a
        // larger K.
        "n16-192" => Recipe {
            name: "n16-192".into(),
            security_bits: 192,
            ephemeral_weight: Some(64),
            bound: 21,
            cosine_degree: 28,
            double_angles: 4,
            arcsine_degree: None,
            q0_bits: 44,
            log_message_ratio: 10,
            slots_to_coeffs_bits: 32,
            application_bits: 34,
            application_levels: 9,
            sine_bits: 47,
            doubling_bits: 43,
            coeffs_to_slots_bits: 42,
            slots_to_coeffs: vec![(7, 16), (8, 16)],
            special: (49, 5),
            ..wide
        },
        "n17-256" => Recipe {
            name: "n17-256".into(),
            log_n: 17,
            security_bits: 256,
            ephemeral_weight: Some(64),
            bound: 21,
            cosine_degree: 28,
            double_angles: 4,
            arcsine_degree: None,
            log_message_ratio: 10,
            application_levels: 15,
            coeffs_to_slots: vec![(6, 8), (5, 8), (5, 8)],
            slots_to_coeffs: vec![(5, 8), (5, 8), (6, 8)],
            ..wide
        },
        // arXiv 2106.07229: 60-bit q0, scale 50, 11 + 18 levels, K = 17, degrees 54 and 5, two
        // doublings.
        "lee2021" => Recipe {
            name: "lee2021".into(),
            security_bits: 98,
            secret: Secret::SparseTernary { hamming_weight: 64 },
            ephemeral_weight: None,
            bound: 17,
            cosine_degree: 54,
            double_angles: 2,
            arcsine_degree: Some(5),
            q0_bits: 60,
            log_message_ratio: 10,
            slots_to_coeffs_bits: 50,
            application_bits: 50,
            application_levels: 11,
            sine_bits: 50,
            doubling_bits: 50,
            coeffs_to_slots_bits: 50,
            coeffs_to_slots: vec![(4, 4), (4, 4), (4, 4), (3, 4)],
            slots_to_coeffs: vec![(5, 8), (5, 8), (5, 8)],
            special: (60, 4),
            ..wide
        },
        // Levels, scales and polynomials of the same program, keys of our own. Its secret of weight
        // 64 admits log2(QP) 1,750 at 98 bits, which leaves room for few special primes, and so for
        // short digits and large keys. A uniform main secret with an encapsulated one admits 2,285:
        // digits of ten primes. Primes are below 2^50, where kernels are fast, but for q0 and the
        // special one that covers it. Of the 18 levels for bootstrapping the parts that the paper
        // names (2 matrices, degree 54, two doublings, degree 5, 2 matrices) take 15.
        "lee2021-grouped" => Recipe {
            name: "lee2021-grouped".into(),
            secret: uniform,
            ephemeral_weight: Some(32),
            coeffs_to_slots: vec![(8, 16), (7, 16)],
            slots_to_coeffs: vec![(7, 16), (8, 16)],
            spare_levels: 3,
            special: (50, 11),
            first_special_bits: Some(60),
            digit_limbs: Some(10),
            ..recipe("lee2021")?
        },
        // The order of the paper, which raises coefficients of 2^50 to 2^60; here 2^51, with their
        // conjugates.
        "lee2021-stc-last" => Recipe {
            name: "lee2021-stc-last".into(),
            order: Order::SlotsToCoeffsLast,
            log_message_ratio: 9,
            ..recipe("lee2021-grouped")?
        },
        _ => return Err(SetError::Unknown { name: name.to_owned() }),
    };
    Ok(found)
}

/// The chain of [`LEE2021_GROUPED`] with the paper's key switching: one special prime of 60 bits, a
/// digit per prime, the sparse secret.
pub fn lee2021_as_published() -> Result<BootstrapSet, SetError> {
    let secret = Secret::SparseTernary { hamming_weight: 64 };
    let recipe = Recipe {
        secret,
        ephemeral_weight: None,
        special: (60, 1),
        first_special_bits: None,
        digit_limbs: None,
        ..recipe(LEE2021_GROUPED)?
    };
    recipe.build()
}
