//! Parameter sets with bootstrapping that are worth compiling for.
//!
//! | | |
//! |---|---|
//! | Stage    | packed |
//! | Requires | the largest number of levels that one op of the program uses |
//! | Ensures  | sets that keep the security level for both secrets, each with a bootstrap of all slots |
//! | Method   | profiles of the named sets ([`crate::bootstrap::sets`]) varied in width of primes, application levels, special primes, matrices of the transforms, and degree and doublings of the cosine; everything that the limit on `log2(QP)` admits. The caller ranks them by predicted cost |
//!
//! Sizes of primes decide the precision of a bootstrap: *compact* 32-bit levels (about 16 bits),
//! *wide* 40-bit levels (about 22 bits), and each up to five bits narrower where a program needs
//! less. Where polynomials undo the sine ([`super::absorb_sines`]) messages are larger beside the
//! modulus, and the primes of the reduction narrower by nearly as much, at the same precision.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fhec_ir::bootstrap::Order;
use fhec_ir::scale::Level;
use rayon::prelude::*;

use super::choose_params::ParamOptions;
use crate::bootstrap::sets::{BootstrapSet, LevelPacking, Recipe, SetError, SinePolynomials, recipe};
use fhec_ir::security::{self, SecurityError};

/// Largest number of special primes, and of chain primes per digit, tried.
const MAX_SPECIAL: usize = 8;
/// Application levels tried beyond the least.
const MORE_LEVELS: u32 = 16;

/// What becomes of the sine that a reduction bends messages by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sine {
    /// Messages are so small beside the modulus that it is straight.
    Straight,
    /// The polynomials that read the results undo it.
    Undone,
}

/// What the polynomials of a sine depend on.
type SineOf = (u32, u32, usize, Option<usize>, u32);

/// Polynomials of the sine by what they depend on.
#[derive(Debug, Default)]
pub struct SineTable {
    known: BTreeMap<SineOf, SinePolynomials>,
}

/// All that were computed, some dozens: a compile looks for parameters several times over, and the
/// sines are the same each time.
static KNOWN: Mutex<BTreeMap<SineOf, SinePolynomials>> = Mutex::new(BTreeMap::new());

/// [`KNOWN`]; a panic elsewhere leaves it whole, as entries are put in at once.
fn known() -> MutexGuard<'static, BTreeMap<SineOf, SinePolynomials>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SineTable {
    /// Adds those of `recipes` that are not there yet, each computed once, on all threads.
    pub fn add<'a>(&mut self, recipes: impl IntoIterator<Item = &'a Recipe>) -> Result<(), SetError> {
        let all = recipes.into_iter().map(|recipe| (sine_of(recipe), recipe));
        let mut distinct: BTreeMap<SineOf, &Recipe> = all.collect();
        let found: Vec<_> = known()
            .iter()
            .filter(|(key, _)| distinct.contains_key(key))
            .map(|(key, sine)| (*key, sine.clone()))
            .collect();
        self.known.extend(found);
        distinct.retain(|key, _| !self.known.contains_key(key));
        let made = distinct.into_par_iter().map(|(key, recipe)| Ok((key, recipe.sine()?)));
        // The first error in the order of keys, whichever thread is first.
        let made: Vec<Result<_, SetError>> = made.collect();
        let made: Vec<_> = made.into_iter().collect::<Result<_, _>>()?;
        known().extend(made.iter().cloned());
        self.known.extend(made);
        Ok(())
    }

    fn of(&self, recipe: &Recipe) -> Result<SinePolynomials, SetError> {
        self.known.get(&sine_of(recipe)).cloned().map_or_else(|| recipe.sine(), Ok)
    }
}

fn sine_of(recipe: &Recipe) -> SineOf {
    let Recipe { bound, double_angles, cosine_degree, arcsine_degree, log_message_ratio, .. } = *recipe;
    (bound, double_angles, cosine_degree, arcsine_degree, log_message_ratio)
}

/// Recipes of all sets for one ring whose bootstraps leave at least `least_levels` levels, and
/// whose modulus is planned to be within the limit of the security level.
pub fn recipes(
    log_n: u32,
    least_levels: Level,
    sine: Sine,
    options: &ParamOptions,
) -> Result<Vec<Recipe>, SetError> {
    let name = || format!("n{log_n}-{}", options.security);
    let limit = match security::max_log_qp(log_n, options.secret, options.security.bits()) {
        Ok(limit) => f64::from(limit),
        Err(SecurityError::OutOfReach { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(SetError::Security { name: name(), error }),
    };
    let mut recipes = Vec::new();
    let profiles = profiles(log_n, options.security.bits())?;
    let profiles = match sine {
        Sine::Straight => profiles,
        Sine::Undone => profiles.into_iter().filter_map(undone).collect(),
    };
    for profile in profiles {
        for variant in widths(profile).flat_map(packings).flat_map(variants) {
            for application_levels in u32::from(least_levels)..=u32::from(least_levels) + MORE_LEVELS {
                let variant = Recipe { application_levels, secret: options.secret, ..variant.clone() };
                let of_special = (1..=MAX_SPECIAL).map(|special| {
                    let recipe = Recipe { special: (variant.special.0, special), ..variant.clone() };
                    Recipe { special: (special_bits(&recipe, special), special), ..recipe }
                });
                recipes.extend(of_special.take_while(|recipe| log_qp(recipe) <= limit));
            }
        }
    }
    Ok(recipes)
}

/// The set of one of [`recipes`]; `None` if its modulus is beyond the limit after all, as primes
/// are not exactly their size.
pub fn build(recipe: &Recipe, sines: &SineTable) -> Result<Option<BootstrapSet>, SetError> {
    match recipe.build_with(sines.of(recipe)?) {
        Ok(set) => Ok(Some(set)),
        Err(SetError::Security { error: SecurityError::TooLarge { .. }, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The named sets' sizes for this ring and security level.
fn profiles(log_n: u32, security_bits: u32) -> Result<Vec<Recipe>, SetError> {
    let like = |name: &str| -> Result<Recipe, SetError> {
        Ok(Recipe { name: format!("n{log_n}-{security_bits}"), log_n, security_bits, ..recipe(name)? })
    };
    // A bit less between message and q0 is half a bit of precision more: the sine is that much
    // straighter than its result is precise.
    let compact = || -> Result<Recipe, SetError> {
        let compact = like("n15-98")?;
        let (q0_bits, log_message_ratio) = (compact.q0_bits - 1, compact.log_message_ratio - 1);
        Ok(Recipe { q0_bits, log_message_ratio, ..compact })
    };
    Ok(match (log_n, security_bits) {
        (..15, _) => Vec::new(),
        // At 192 bits and more the ephemeral secret must be denser.
        (_, 192..) => vec![like("n16-192")?],
        (15, _) => vec![compact()?],
        _ => vec![compact()?, like("n16-128")?],
    })
}

/// `log2` of the message ratio at which polynomials undo the sine. A cubic term undoes it to 2^-17
/// of the largest message, and even polynomials of degree 126 still follow, whose wiggles near the
/// ends are moved from their places. At 2^4 they do not.
const UNDONE_LOG_RATIO: u32 = 5;

/// A profile with larger messages beside the modulus, whose sine somebody must undo. What the
/// reduction's errors are multiplied by on the way to messages, the ratio, falls as much. So its
/// primes can be narrower, the cosine's, which most of the error comes from, by as many bits. An
/// arcsine has nothing left to do.
fn undone(profile: Recipe) -> Option<Recipe> {
    if profile.order != Order::SlotsToCoeffsFirst {
        return None;
    }
    let bits = profile.log_message_ratio.checked_sub(UNDONE_LOG_RATIO)?;
    Some(Recipe {
        log_message_ratio: UNDONE_LOG_RATIO,
        arcsine_degree: None,
        q0_bits: profile.q0_bits - bits,
        sine_bits: profile.sine_bits - bits,
        doubling_bits: profile.doubling_bits - bits.saturating_sub(2),
        coeffs_to_slots_bits: profile.coeffs_to_slots_bits - bits.saturating_sub(1),
        ..profile
    })
}

/// Bits that primes of a profile are narrowed by.
const NARROWER: [u32; 6] = [0, 1, 2, 3, 4, 5];

/// A profile with all chain primes a few bits narrower: less precision, for more levels or special
/// primes in the same modulus. The cosine's first products are what most of the error comes from,
/// so its primes are narrowed less, by three bits in five; those of an application's level cost a
/// third of a bit of precision each.
fn widths(profile: Recipe) -> impl Iterator<Item = Recipe> {
    NARROWER.into_iter().map(move |bits| Recipe {
        q0_bits: profile.q0_bits - bits.div_ceil(2),
        slots_to_coeffs_bits: profile.slots_to_coeffs_bits - bits,
        application_bits: profile.application_bits - bits,
        sine_bits: profile.sine_bits - (3 * bits).div_ceil(5),
        doubling_bits: profile.doubling_bits - bits,
        coeffs_to_slots_bits: profile.coeffs_to_slots_bits - bits,
        ..profile.clone()
    })
}

/// Widest levels of which two primes for three are below `2^50`, where kernels are fast.
const MAX_PACKED_BITS: u32 = 33;

/// A profile with a prime for every level, and with levels packed: those of the application, and
/// also those of slots to coefficients, as wide as these.
fn packings(profile: Recipe) -> Vec<Recipe> {
    let mut list = vec![profile.clone()];
    if profile.application_bits <= MAX_PACKED_BITS {
        let packed = Recipe { packing: LevelPacking::ThreeInTwo, ..profile };
        list.push(Recipe { slots_to_coeffs_bits: packed.application_bits, ..packed.clone() });
        list.push(packed);
    }
    list
}

/// A profile with other transforms and another cosine.
fn variants(profile: Recipe) -> Vec<Recipe> {
    let log_slots = profile.log_n - 1;
    let mut list = Vec::new();
    let cosines = match profile.arcsine_degree {
        // Doublings cost a product each; a degree as high as the last one's saves a level and takes
        // more products.
        None if profile.bound <= 14 => vec![(profile.cosine_degree, profile.double_angles), (62, 1)],
        _ => vec![(profile.cosine_degree, profile.double_angles)],
    };
    for (cosine_degree, double_angles) in cosines {
        for coeffs_to_slots in [raising_matrices(log_slots, 3), raising_matrices(log_slots, 4)] {
            for slots_to_coeffs in [2, 3] {
                list.push(Recipe {
                    cosine_degree,
                    double_angles,
                    coeffs_to_slots: coeffs_to_slots.clone(),
                    slots_to_coeffs: matrices(log_slots, slots_to_coeffs),
                    ..profile.clone()
                });
            }
        }
    }
    list
}

/// [`matrices`], the first of which takes the butterflies that the division leaves over and has
/// baby steps only: it is applied on the way back from the ephemeral secret, where rotations are
/// cheap.
fn raising_matrices(log_slots: u32, count: u32) -> Vec<(u32, u32)> {
    let mut list = matrices(log_slots, count);
    list.reverse();
    if let Some((butterflies, baby_steps)) = list.first_mut() {
        *baby_steps = 1 << *butterflies;
    }
    list
}

/// Butterflies spread evenly over `count` matrices, each with the power of two of baby steps next
/// to the square root of its diagonals.
fn matrices(log_slots: u32, count: u32) -> Vec<(u32, u32)> {
    let butterflies = |index: u32| (log_slots + index) / count;
    (0..count).map(|index| (butterflies(index), 1 << butterflies(index).div_ceil(2))).collect()
}

/// Bits of special primes that hold a digit of as many chain primes, with a bit or two to spare so
/// that key switching adds less noise than rescaling.
fn special_bits(recipe: &Recipe, special: usize) -> u32 {
    let wide = match recipe.packing {
        LevelPacking::OnePerLevel => 0,
        LevelPacking::ThreeInTwo => (recipe.application_bits * 3).div_ceil(2),
    };
    let largest = recipe.sine_bits.max(recipe.q0_bits).max(recipe.wide_bits()).max(wide);
    if special == 1 { (largest + 2).min(50) } else { (largest + 1).min(50) }
}

/// `log2(QP)` as planned.
fn log_qp(recipe: &Recipe) -> f64 {
    let depth = |degree: usize| usize::BITS - degree.leading_zeros();
    let doublings = recipe.double_angles + recipe.arcsine_degree.map_or(0, depth);
    let bits = recipe.q0_bits
        + recipe.slots_to_coeffs_bits * recipe.slots_to_coeffs.len() as u32
        + recipe.application_bits * recipe.application_levels
        + recipe.doubling_bits * doublings
        + recipe.sine_bits * depth(recipe.cosine_degree)
        + recipe.coeffs_to_slots_total()
        + recipe.special.0 * recipe.special.1 as u32;
    f64::from(bits) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_keep_security_levels_and_butterflies() {
        for (log_n, security_bits, least) in [(15, 98, 8), (15, 128, 4), (16, 128, 10)] {
            let security = security_bits.try_into().unwrap();
            let options = ParamOptions { security, ..ParamOptions::default() };
            let of = |sine| recipes(log_n, least, sine, &options).unwrap();
            let recipes = [of(Sine::Straight), of(Sine::Undone)].concat();
            let mut sines = SineTable::default();
            sines.add(&recipes).unwrap();
            let sets: Vec<_> = recipes.iter().filter_map(|recipe| build(recipe, &sines).unwrap()).collect();
            assert!(sets.len() > 4, "2^{log_n} at {security_bits} bits: {} sets", sets.len());
            for set in &sets {
                set.check_security().unwrap();
                assert!(set.bootstrap.usable_levels() >= least);
                assert_eq!(set.security_bits, security_bits);
            }
        }
        let none = recipes(15, 30, Sine::Straight, &ParamOptions::default()).unwrap();
        assert!(none.is_empty());
        assert_eq!(matrices(14, 3), [(4, 4), (5, 8), (5, 8)]);
        assert_eq!(matrices(14, 2), [(7, 16), (7, 16)]);
        assert_eq!(raising_matrices(14, 3), [(5, 32), (5, 8), (4, 4)]);
    }
}
