//! Stage 3, `ckks`: the scheduled homomorphic program. Every value has a level and an exact, named
//! scale.
//!
//! | op | level | scale | size |
//! |---|---|---|---|
//! | `add`, `sub` | equal | equal | the larger |
//! | `mul` | equal | `D_l`, `D_l` to `D_l^2` | 2, 2 to 3 |
//! | `mul_plain`, `mul_scalar`, `linear_map` | kept | `D_l` to `D_l^2` | kept (`linear_map`: 2) |
//! | `add_plain`, `add_scalar` | kept | kept | kept |
//! | `relinearize` | kept | kept | 3 to 2 |
//! | `rescale` | `l` to `l - 1` | `D_l^2` to `D_(l-1)` | kept |
//! | `level_drop` | to `level`, below | `D_l` to `D_level` | 2 |
//! | `polynomial` | `l` to `l - depth` | `D_l` to `D_(l-depth)` | 2 |
//! | `rotate`, `conjugate` | kept | kept | 2 |
//! | `bootstrap` | to `level` | canonical to canonical | 2 |

use crate::attr::{AsAttr, Attr, AttrError};
use crate::bootstrap::SineCurve;
use crate::func::{Func, Stage, StageType};
use crate::linear_map::{LinearMap, PlainTensor};
use crate::op_table::op_table;
use crate::polynomial::Polynomial;
use crate::scale::{Level, Scale};
use crate::slot_mask::SlotMask;

/// The ckks stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ckks;

/// A bundle of ciphertexts; prints as `ct<1, 16384, 12, D12, 2>`: ciphertexts, slots, level, scale,
/// size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CiphertextType {
    /// Number of ciphertexts.
    pub vectors: usize,
    /// Slots of each.
    pub slots: usize,
    /// Levels left.
    pub level: Level,
    /// Exact scale, by name.
    pub scale: Scale,
    /// Polynomials per ciphertext: 2, or 3 after a product.
    pub size: u8,
}

impl CiphertextType {
    /// A canonical ciphertext bundle at `level`.
    pub fn canonical(vectors: usize, slots: usize, level: Level) -> Self {
        CiphertextType { vectors, slots, level, scale: Scale::canonical(level), size: 2 }
    }

    /// Whether the scale is the canonical one of the level and the size 2.
    pub fn is_canonical(&self) -> bool {
        self.scale == Scale::canonical(self.level) && self.size == 2
    }
}

impl StageType for CiphertextType {
    fn print(&self) -> String {
        let CiphertextType { vectors, slots, level, scale, size } = self;
        format!("ct<{vectors}, {slots}, {level}, {scale}, {size}>")
    }

    fn parse(text: &str) -> Result<Self, AttrError> {
        let error = || AttrError(format!("expected ct<vectors, slots, level, scale, size>, found `{text}`"));
        let list = text.strip_prefix("ct<").and_then(|rest| rest.strip_suffix('>')).ok_or_else(error)?;
        let Attr::List(items) = crate::text::parse_attr(&format!("[{list}]"))? else { return Err(error()) };
        let [vectors, slots, level, Attr::Word(scale), size] = &items[..] else { return Err(error()) };
        let (base, power) = scale.split_once('^').unwrap_or((scale, "1"));
        let scale = Scale {
            level: base.strip_prefix('D').and_then(|l| l.parse().ok()).ok_or_else(error)?,
            power: power.parse().ok().filter(|power| (1..=2).contains(power)).ok_or_else(error)?,
        };
        Ok(CiphertextType {
            vectors: AsAttr::from_attr(Some(vectors))?,
            slots: AsAttr::from_attr(Some(slots))?,
            level: AsAttr::from_attr(Some(level))?,
            scale,
            size: AsAttr::from_attr(Some(size))?,
        })
    }
}

op_table! {
    /// An op on bundles of ciphertexts.
    enum Op {
    /// A sparse matrix from the operand's slots to the result's, by baby-step giant-step over its
    /// diagonals.
    LinearMap "linear_map" (x) {
        /// Weights and layouts.
        map: LinearMap,
        /// Rotations below this are baby steps, multiples of it giant steps.
        baby_step: usize,
    }
    /// A polynomial over `[-1, 1]` of every slot, rescaled.
    Polynomial "polynomial" (x) {
        /// Coefficients; the domain is `[-1, 1]`.
        polynomial: Polynomial,
    }
    /// `x + y`.
    Add "add" (x, y) {}
    /// `x - y`.
    Sub "sub" (x, y) {}
    /// `x * y`, slot by slot.
    Mul "mul" (x, y) {}
    /// `x + plain`, encoded at the operand's scale.
    AddPlain "add_plain" (x) {
        /// What is added.
        plain: PlainTensor,
    }
    /// `x * plain`, slot by slot, encoded at the canonical scale of the level.
    MulPlain "mul_plain" (x) {
        /// The factor.
        plain: PlainTensor,
    }
    /// `factor * x`, encoded at the canonical scale of the level.
    MulScalar "mul_scalar" (x) {
        /// The factor.
        factor: f64,
    }
    /// `x + offset` in every slot.
    AddScalar "add_scalar" (x) {
        /// The offset.
        offset: f64,
    }
    /// Slot `i` of the result is slot `i + steps` of the operand, cyclically.
    Rotate "rotate" (x) {
        /// Slots to the left; negative is to the right.
        steps: i64,
    }
    /// Complex conjugation of every slot.
    Conjugate "conjugate" (x) {}
    /// Three polynomials to two.
    Relinearize "relinearize" (x) {}
    /// Divides by the top primes: one level down, `D_l^2` becomes `D_(l-1)`.
    Rescale "rescale" (x) {}
    /// To a lower level and its canonical scale, without using up a multiplication.
    LevelDrop "level_drop" (x) {
        /// Level of the result.
        level: Level,
    }
    /// Refreshes to `level`.
    Bootstrap "bootstrap" (x) {
        /// Level of the result.
        level: Level,
        /// The message ratio `rho` of the bootstrap, where the result is meant to be `rho / (2 pi)
        /// sin(2 pi x / rho)` ([`crate::bootstrap::SineCurve`]) because all who read it undo the
        /// sine; none where it is meant to be `x`.
        sine: Option<f64>,
        /// The slots that are refreshed; all others become zero. None where all are.
        mask: Option<SlotMask>,
    }
    }
}

impl Stage for Ckks {
    type Op = Op;
    type Type = CiphertextType;
    const NAME: &'static str = "ckks";

    fn infer(op: &Op, operands: &[CiphertextType], func: &Func<Self>) -> Result<CiphertextType, String> {
        let x = operands[0];
        let canonical = |what: &str| match x.scale == Scale::canonical(x.level) {
            true => Ok(()),
            false => Err(format!("{what} needs scale D{}, found {}", x.level, x.scale)),
        };
        let size_two = |what: &str| match x.size {
            2 => Ok(()),
            size => Err(format!("{what} needs size 2, found {size}: relinearize first")),
        };
        let product = CiphertextType { scale: Scale::squared(x.level), ..x };
        let needs_level = |what: &str| match x.level {
            0 => Err(format!("{what} at level 0: nothing is left to rescale")),
            _ => Ok(()),
        };
        match op {
            Op::LinearMap { map, baby_step, .. } => {
                map.validate(&func.consts)?;
                fits(x, map.input.vectors(), map.input.slots)?;
                canonical("linear_map")?;
                size_two("linear_map")?;
                needs_level("linear_map")?;
                if !baby_step.is_power_of_two() || *baby_step > map.input.period {
                    return Err(format!(
                        "baby step {baby_step} is no power of two up to {}",
                        map.input.period
                    ));
                }
                Ok(CiphertextType { vectors: map.output.vectors(), ..product })
            }
            Op::Polynomial { polynomial, .. } => {
                canonical("polynomial")?;
                size_two("polynomial")?;
                if polynomial.domain() != [-1.0, 1.0] {
                    return Err(format!("polynomial over {:?}, expected [-1, 1]", polynomial.domain()));
                }
                let depth = polynomial.depth() as Level;
                let level = x.level.checked_sub(depth).filter(|_| depth > 0);
                let level =
                    level.ok_or_else(|| format!("a polynomial of depth {depth} at level {}", x.level))?;
                Ok(CiphertextType::canonical(x.vectors, x.slots, level))
            }
            Op::Add { .. } | Op::Sub { .. } | Op::Mul { .. } => {
                let y = operands[1];
                if (x.vectors, x.slots, x.level, x.scale) != (y.vectors, y.slots, y.level, y.scale) {
                    return Err(format!("operands differ: {} and {}", x.print(), y.print()));
                }
                if !matches!(op, Op::Mul { .. }) {
                    return Ok(CiphertextType { size: x.size.max(y.size), ..x });
                }
                canonical("mul")?;
                needs_level("mul")?;
                if (x.size, y.size) != (2, 2) {
                    return Err(format!("mul needs sizes 2 and 2, found {} and {}", x.size, y.size));
                }
                Ok(CiphertextType { size: 3, ..product })
            }
            Op::AddPlain { plain, .. } | Op::MulPlain { plain, .. } => {
                plain.validate(&func.consts)?;
                fits(x, plain.layout.vectors(), plain.layout.slots)?;
                if matches!(op, Op::AddPlain { .. }) {
                    return Ok(x);
                }
                canonical("mul_plain")?;
                needs_level("mul_plain")?;
                Ok(product)
            }
            Op::MulScalar { factor, .. } => {
                canonical("mul_scalar")?;
                needs_level("mul_scalar")?;
                if factor.is_finite() { Ok(product) } else { Err(format!("{factor} is not finite")) }
            }
            Op::AddScalar { offset, .. } => {
                if offset.is_finite() {
                    Ok(x)
                } else {
                    Err(format!("{offset} is not finite"))
                }
            }
            Op::Rotate { .. } => size_two("rotate").map(|()| x),
            Op::Conjugate { .. } => size_two("conjugate").map(|()| x),
            Op::Relinearize { .. } => match x.size {
                3 => Ok(CiphertextType { size: 2, ..x }),
                size => Err(format!("relinearize needs size 3, found {size}")),
            },
            Op::Rescale { .. } => {
                needs_level("rescale")?;
                if x.scale != Scale::squared(x.level) {
                    return Err(format!("rescale needs scale D{}^2, found {}", x.level, x.scale));
                }
                Ok(CiphertextType { level: x.level - 1, scale: Scale::canonical(x.level - 1), ..x })
            }
            Op::LevelDrop { level, .. } => {
                canonical("level_drop")?;
                size_two("level_drop")?;
                if *level >= x.level {
                    return Err(format!("level_drop from {} to {level}", x.level));
                }
                Ok(CiphertextType::canonical(x.vectors, x.slots, *level))
            }
            Op::Bootstrap { level, sine, mask, .. } => {
                canonical("bootstrap")?;
                size_two("bootstrap")?;
                sine.map(SineCurve::new).transpose().map_err(|error| error.to_string())?;
                mask.map_or(Ok(()), |mask| mask.validate(x.slots))?;
                Ok(CiphertextType::canonical(x.vectors, x.slots, *level))
            }
        }
    }
}

fn fits(x: CiphertextType, vectors: usize, slots: usize) -> Result<(), String> {
    if (x.vectors, x.slots) == (vectors, slots) {
        return Ok(());
    }
    Err(format!("the layout needs {vectors} vectors of {slots} slots, the operand is {}", x.print()))
}
