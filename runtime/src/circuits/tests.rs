//! Circuits on ciphertexts of real sizes against the clear result; errors against derived ones;
//! rotations and levels against the shapes.

use std::sync::Arc;

use fhec_ir::circuit_shape::LinearShape;
use fhec_ir::diagonal::{self, Hoisting, MapCounts};
use fhec_ir::layout::Layout;
use fhec_ir::linear_map::{Beside, LinearKind, LinearMap};
use fhec_ir::params::{Params, ParamsLiteral};
use fhec_ir::polynomial::Polynomial;
use fhec_ir::polynomial_shape::PolynomialShape;
use fhec_ir::scale::{ExactScale, Level, Scale};
use fhec_ir::tensor::{ConstPool, Tensor};

use super::constant_map::ConstantMap;
use super::linear_transform::DiagonalRows;
use super::polynomial::{Arithmetic, Term, evaluate};
use crate::ckks::{Complex, Encoder, Encoding, Encryptor, Evaluator, FactorEncoder};
use crate::error::EvalError;
use crate::kernels::Isa;
use crate::ring::{Context, Seed};
use crate::rlwe::{Ciphertext, EvaluationKeys, KeyRequest, SecretKey};
use crate::testing::noise;
use crate::testing::{Fixture, literal, mixed_literal, packed_literal};

fn wave(shape: &[usize], seed: usize) -> Tensor {
    Tensor::from_fn(shape, |i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0)
}

fn conv(
    consts: &mut ConstPool,
    weight: [usize; 4],
    strides: [usize; 2],
    pads: [usize; 4],
    groups: usize,
) -> LinearKind {
    let weight = consts.add(wave(&weight, 1));
    LinearKind::Conv2d { weight, strides, pads, dilations: [1; 2], groups }
}

struct Setup {
    context: Arc<Context>,
    secret: Arc<SecretKey>,
    keys: EvaluationKeys,
}

impl Setup {
    /// Keys for exactly these rotations, up to `level`.
    fn new(literal: ParamsLiteral, rotations: impl IntoIterator<Item = usize>, level: Level) -> Self {
        let context = Arc::new(Context::new(Params::new(literal).unwrap()).unwrap());
        let seed = Seed::from_bytes([11; 32]);
        let secret = Arc::new(SecretKey::generate(&context, &seed));
        let requests: Vec<KeyRequest> =
            rotations.into_iter().map(|k| KeyRequest::rotation(&context, k as i64, level)).collect();
        let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests).unwrap();
        Setup { context, secret, keys }
    }

    fn encrypt(&self, vectors: &[Vec<f64>], level: Level) -> Vec<Ciphertext> {
        let encoder = Encoder::new(&self.context);
        let seed = Seed::from_bytes([13; 32]);
        let mut encryptor = Encryptor::with_secret_key(&self.context, &self.secret, seed);
        let encode = |v: &Vec<f64>| encoder.encode(v, Encoding::message(level)).unwrap();
        vectors.iter().map(|v| encryptor.encrypt(&encode(v)).unwrap()).collect()
    }

    fn decrypt(&self, bundle: &[Ciphertext]) -> Vec<Complex> {
        let decryptor = crate::ckks::Decryptor::new(&self.context, &self.secret);
        let encoder = Encoder::new(&self.context);
        let decode = |c| encoder.decode_complex(&decryptor.decrypt(c).unwrap()).unwrap();
        bundle.iter().flat_map(decode).collect()
    }
}

fn hoisting(
    params: &Params,
    level: Level,
    map: &LinearMap,
    consts: &ConstPool,
    shape: &LinearShape,
) -> Hoisting {
    let counts = MapCounts {
        babies: shape.baby_rotations(),
        giants: shape.giant_rotations(),
        diagonals: shape.diagonals(),
        period: map.diagonal_period(consts),
    };
    Hoisting::cheaper(params, level, counts)
}

/// Runs `map` encrypted, with only the keys its shape names, and compares slots, rotations and the
/// error.
fn check_linear(literal: ParamsLiteral, map: &LinearMap, consts: &ConstPool, baby_step: usize, level: Level) {
    let name = literal.name.clone();
    map.validate(consts).unwrap();
    let shape = LinearShape::of(map, consts, baby_step);
    let rows = DiagonalRows::new(map, consts, baby_step);
    assert_eq!(rows.shape(baby_step), shape, "{name}: no diagonal of these maps cancels");
    let setup = Setup::new(literal, shape.rotation_set(), level);
    let (context, params) = (&setup.context, setup.context.params());
    let elements: Vec<f64> = wave(&[map.input.elements()], 3).data().iter().map(|&x| f64::from(x)).collect();
    let packed = map.input.pack(&elements);
    let bundle = setup.encrypt(&packed, level);
    let evaluator = Evaluator::new(context, &setup.keys);
    let encoder = FactorEncoder::new(context);

    let result = evaluator.linear_map(&bundle, &rows, None, &encoder).unwrap();
    let encoded = rows.encode(&encoder, level).unwrap();
    assert_eq!(encoded.bytes(), rows.encoded_bytes(&encoder, level));
    let rows = rows.without_values();
    let cached = evaluator.linear_map_within(&bundle, &rows, Some(&encoded), &encoder, 1).unwrap();
    let divided: Vec<Ciphertext> = cached.iter().map(|sum| evaluator.divide_special(sum)).collect();
    assert_eq!(result, divided, "{name}: neither the cache nor the working memory changes a bit");
    for c in &result {
        assert_eq!((c.level(), c.scale(), c.size()), (level, Scale::squared(level), 2));
    }
    let rescaled: Vec<Ciphertext> =
        cached.iter().map(|sum| evaluator.divide_special_rescale(sum).unwrap()).collect();

    // Squared row sums of all entries, and of those that need a baby rotation; products per slot.
    let (mut energy, mut rotated, mut products) = (0.0, 0.0, 0.0);
    let slots = map.output.slots as f64 * map.output.vectors() as f64;
    for diagonals in map.diagonals(consts).into_values() {
        for (rotation, diagonal) in diagonals {
            let sum = diagonal.iter().map(|x| x * x).sum::<f64>() / diagonal.len() as f64;
            let share = map.output.slots as f64 / slots;
            energy += sum * share;
            rotated += if rotation % baby_step == 0 { 0.0 } else { sum * share };
            products += share;
        }
    }
    let power = packed.iter().flatten().map(|x| x * x).sum::<f64>() / (packed.len() * map.input.slots) as f64;
    let (canonical, below) = (Scale::canonical(level), Scale::canonical(level - 1));
    // Rotations divided one by one bring a rounding each.
    let rounded = match hoisting(params, level, map, consts, &shape) {
        Hoisting::Single => noise::division(context, canonical),
        Hoisting::Double => 0.0,
    };
    let fresh = noise::encoding(context, canonical) + noise::secret_key_encryption(context, canonical);
    // A diagonal of period p has 2p coefficients, each rounded at q D_(l-1) / D_l.
    let ratio = params.scale(Scale::squared(level)).to_f64() / params.scale(canonical).to_f64();
    let mask = match map.is_masked(consts) {
        true => f64::from(diagonal::log2_mask(params, level)).exp2(),
        false => 1.0,
    };
    let rounding = 2.0 * map.diagonal_period(consts) as f64 / 12.0 / (ratio / mask).powi(2);
    let expected = map.apply(consts, &packed);
    // The mask multiplies what the products left, beside the picture too, and has as many
    // coefficients as a period has slots, twice.
    let masking = if map.is_masked(consts) {
        let mut left = vec![vec![0.0; map.output.slots]; map.output.vectors()];
        for ((output, input), diagonals) in map.diagonals(consts) {
            for (rotation, diagonal) in diagonals {
                for (slot, left) in left[output].iter_mut().enumerate() {
                    let rotated = packed[input][(slot + rotation) % map.input.slots];
                    *left += diagonal[slot % diagonal.len()] * rotated;
                }
            }
        }
        let power = left.iter().flatten().map(|y| y * y).sum::<f64>() / slots;
        2.0 * map.output.period as f64 / 12.0 / (mask * mask) * power
    } else {
        0.0
    };
    let variance = fresh * energy
        + masking
        + (noise::key_switch_product(context, level, canonical) + rounded) * rotated
        + rounding * products * power
        + noise::division(context, below);
    let expected: Vec<Complex> = expected.into_iter().flatten().map(Complex::from).collect();
    noise::assert_errors(&name, &setup.decrypt(&rescaled), &expected, variance);
}

/// Diagonals that treat all pixels alike, and the mask after them, at one scale together.
#[test]
fn regular_convolutions_share_a_level_with_their_mask() {
    let mut consts = ConstPool::default();
    let layout = |channels, size, gap: [usize; 2]| Layout {
        shape: [channels, size, size],
        gap,
        multiplex: gap[0] * gap[1],
        plane: [16, 64],
        period: 1024,
        slots: 4096,
    };
    let fine = || layout(8, 14, [1, 4]);
    for (weight, stride, pads, groups, input, output, baby_step) in [
        ([8, 8, 3, 3], 1, [1; 4], 1, fine(), fine(), 16),
        ([12, 8, 3, 3], 2, [1; 4], 1, fine(), layout(12, 7, [2, 8]), 64),
        ([16, 12, 3, 3], 1, [1; 4], 1, layout(12, 7, [2, 8]), layout(16, 7, [2, 8]), 16),
        ([12, 1, 3, 3], 1, [1; 4], 12, layout(12, 7, [2, 8]), layout(12, 7, [2, 8]), 16),
        ([16, 8, 1, 1], 1, [0; 4], 1, fine(), layout(16, 14, [1, 4]), 2),
    ] {
        let kind = conv(&mut consts, weight, [stride; 2], pads, groups);
        let mut map = LinearMap::new(kind, input, output);
        map.regular = Some(Beside::Zeros);
        for level in [1, 3] {
            check_linear(literal(13, 4, 2, 40), &map, &consts, baby_step, level);
        }
    }
}

#[test]
fn convolutions_of_one_vector() {
    let mut consts = ConstPool::default();
    let kind = conv(&mut consts, [4, 4, 3, 3], [1; 2], [1; 4], 1);
    let layout = Layout::dense([4, 16, 16], 4096);
    check_linear(literal(13, 4, 2, 40), &LinearMap::new(kind, layout.clone(), layout), &consts, 32, 3);
    // Into gaps of two, four channels on a plane; a chain with levels of two primes and drifting
    // scales.
    let kind = conv(&mut consts, [8, 4, 3, 3], [2; 2], [1; 4], 1);
    let layout = Layout::dense([4, 16, 16], 2048);
    let multiplexed =
        Layout { shape: [8, 8, 8], gap: [2; 2], multiplex: 4, plane: [16, 16], period: 512, slots: 2048 };
    for level in [1, 3, 5] {
        let map = LinearMap::new(kind.clone(), layout.clone(), multiplexed.clone());
        check_linear(mixed_literal(12), &map, &consts, 16, level);
    }
}

/// The bottom of a chain under many special primes: baby rotations are divided one by one, and
/// 32-bit factors are kept in 4 bytes a coefficient.
#[test]
fn maps_over_the_chain_alone() {
    let mut consts = ConstPool::default();
    let kind = conv(&mut consts, [8, 8, 3, 3], [1; 2], [1; 4], 1);
    let layout = Layout { period: 1024, ..Layout::dense([8, 8, 8], 4096) };
    let map = LinearMap::new(kind.clone(), layout.clone(), layout);
    let params = Params::new(literal(13, 8, 5, 32)).unwrap();
    for (level, expected) in [(2, Hoisting::Single), (7, Hoisting::Single)] {
        assert_eq!(hoisting(&params, level, &map, &consts, &LinearShape::of(&map, &consts, 16)), expected);
        check_linear(literal(13, 8, 5, 32), &map, &consts, 16, level);
    }
    let layout = Layout { period: 256, ..Layout::dense([8, 8, 8], 4096) };
    assert_eq!(layout.vectors(), 2);
    let map = LinearMap::new(kind, layout.clone(), layout);
    assert_eq!(hoisting(&params, 2, &map, &consts, &LinearShape::of(&map, &consts, 8)), Hoisting::Single);
    check_linear(literal(13, 8, 5, 32), &map, &consts, 8, 2);
    // Three taps per channel: few diagonals.
    let kind = conv(&mut consts, [8, 1, 1, 3], [1; 2], [0, 1, 0, 1], 8);
    let layout = Layout::dense([8, 16, 16], 4096);
    let map = LinearMap::new(kind, layout, Layout { period: 2048, ..Layout::dense([8, 16, 16], 4096) });
    assert_eq!(hoisting(&params, 2, &map, &consts, &LinearShape::of(&map, &consts, 16)), Hoisting::Double);
    check_linear(literal(13, 8, 5, 32), &map, &consts, 16, 2);
}

#[test]
fn maps_depend_neither_on_threads_nor_on_instruction_sets() {
    let mut consts = ConstPool::default();
    let kind = conv(&mut consts, [4, 4, 3, 3], [1; 2], [1; 4], 1);
    let layout = Layout { period: 512, ..Layout::dense([4, 8, 8], 2048) };
    let map = LinearMap::new(kind, layout.clone(), layout);
    for (special, baby_step, expected) in [(4, 8, Hoisting::Single), (1, 256, Hoisting::Double)] {
        let literal = literal(12, 4, special, 40);
        let shape = LinearShape::of(&map, &consts, baby_step);
        let params = Params::new(literal.clone()).unwrap();
        assert_eq!(hoisting(&params, 3, &map, &consts, &shape), expected);
        let run = |threads: usize, isa: Isa| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut setup = Setup::new(literal.clone(), shape.rotation_set(), 3);
                setup.context = Arc::new(Context::with_isa(params.clone(), isa).unwrap());
                let values = (0..2048).map(|i| f64::from(i % 61) / 61.0).collect();
                let x = setup.encrypt(&[values], 3);
                let rows = DiagonalRows::new(&map, &consts, baby_step);
                let evaluator = Evaluator::new(&setup.context, &setup.keys);
                let y = evaluator.linear_map(&x, &rows, None, &FactorEncoder::new(&setup.context)).unwrap();
                y[0].polys().iter().flat_map(|p| p.data().iter().copied()).collect::<Vec<u64>>()
            })
        };
        let reference = run(1, Isa::SCALAR);
        for isa in Isa::available() {
            for threads in [1, 2, 3] {
                assert!(run(threads, isa) == reference, "{expected:?}, {isa:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn maps_between_several_vectors() {
    let mut consts = ConstPool::default();
    let kind = conv(&mut consts, [8, 4, 3, 3], [2; 2], [1; 4], 1);
    let input = Layout { period: 256, ..Layout::dense([4, 16, 16], 4096) };
    let output = Layout { period: 256, ..Layout::dense([8, 8, 8], 4096) };
    assert_eq!((input.vectors(), output.vectors()), (4, 2));
    check_linear(literal(13, 3, 1, 45), &LinearMap::new(kind, input, output), &consts, 8, 2);
    let kind = conv(&mut consts, [6, 2, 2, 3], [1, 2], [0, 1, 1, 0], 3);
    let input = Layout::dense([6, 9, 8], 4096);
    let output = Layout { period: 64, ..Layout::dense([6, 9, 4], 4096) };
    check_linear(literal(13, 3, 2, 40), &LinearMap::new(kind, input, output), &consts, 16, 1);
}

#[test]
fn dense_layers_folded_or_not_and_placements() {
    let mut consts = ConstPool::default();
    let weight = consts.add(wave(&[10, 48], 2));
    let input =
        Layout { shape: [12, 2, 2], gap: [2; 2], multiplex: 4, plane: [4, 4], period: 64, slots: 4096 };
    let map = LinearMap::new(LinearKind::Dense { weight }, input.clone(), Layout::dense([10, 1, 1], 4096));
    check_linear(literal(13, 3, 1, 45), &map, &consts, 8, 1);
    check_linear(literal(13, 3, 1, 45), &LinearMap { fold: 4, ..map }, &consts, 4, 2);
    let place = LinearKind::Place { channel_offset: 4 };
    let map = LinearMap::new(place, input, Layout::dense([20, 2, 2], 4096));
    check_linear(literal(13, 3, 1, 45), &map, &consts, 16, 1);
}

/// ResNet-20's widest convolution fills 2^14 slots; at N = 2^16 its diagonals live in a subring.
#[test]
fn a_wide_convolution_at_full_size() {
    let mut consts = ConstPool::default();
    let kind = conv(&mut consts, [16, 16, 3, 3], [1; 2], [1; 4], 1);
    let layout = |slots| Layout::dense([16, 32, 32], slots);
    check_linear(
        literal(15, 3, 2, 40),
        &LinearMap::new(kind.clone(), layout(1 << 14), layout(1 << 14)),
        &consts,
        1 << 10,
        2,
    );
    let map = LinearMap::new(kind, layout(1 << 15), layout(1 << 15));
    check_linear(literal(16, 3, 1, 45), &map, &consts, 1 << 10, 1);
}

#[test]
fn missing_keys_and_wrong_operands_are_errors() {
    let mut consts = ConstPool::default();
    let kind = conv(&mut consts, [2, 2, 3, 3], [1; 2], [1; 4], 1);
    let layout = Layout::dense([2, 8, 8], 2048);
    let map = LinearMap::new(kind, layout.clone(), layout);
    let shape = LinearShape::of(&map, &consts, 8);
    let rows = DiagonalRows::new(&map, &consts, 8);
    for missing in shape.rotation_set() {
        let others = shape.rotation_set().into_iter().filter(|&k| k != missing);
        let setup = Setup::new(literal(12, 3, 1, 45), others, 2);
        let bundle = setup.encrypt(&[vec![0.5; 2048]], 2);
        let evaluator = Evaluator::new(&setup.context, &setup.keys);
        let encoder = FactorEncoder::new(&setup.context);
        let result = evaluator.linear_map(&bundle, &rows, None, &encoder);
        assert!(matches!(result, Err(EvalError::MissingKey { .. })), "rotation {missing} is used");
        let squared = evaluator.mul_scalar(&bundle[0], 1.0).unwrap();
        let result = evaluator.linear_map(&[squared], &rows, None, &encoder);
        assert!(matches!(result, Err(EvalError::ScaleMismatch { .. })));
        let bottom = setup.encrypt(&[vec![0.5; 2048]], 0);
        let result = evaluator.linear_map(&bottom, &rows, None, &encoder);
        assert!(matches!(result, Err(EvalError::LevelTooLow { .. })));
    }
}

/// A bound of the size and of the error of every slot, through a polynomial: sizes and errors add
/// and multiply in the worst way, fresh errors are 21 deviations.
struct WorstCase<'a>(&'a Context);

#[derive(Clone, Copy)]
struct Bound {
    size: f64,
    error: f64,
    switched: bool,
}

const DEVIATIONS: f64 = 21.0;

impl Arithmetic for WorstCase<'_> {
    type Value = Bound;

    fn mul(&self, a: &Bound, b: &Bound, _: Level) -> Result<Bound, EvalError> {
        let error = a.size * b.error + b.size * a.error + a.error * b.error;
        Ok(Bound { size: a.size * b.size, error, switched: true })
    }

    fn lower(
        &self,
        a: &Bound,
        (_, to): (Level, Level),
        scale: &ExactScale,
        _: u64,
    ) -> Result<Bound, EvalError> {
        let unit = self.0.params().canonical_scale(to).to_f64() / scale.to_f64();
        let variance = noise::division(self.0, Scale::canonical(to));
        Ok(Bound { error: a.error + DEVIATIONS * unit * variance.sqrt(), ..*a })
    }

    fn sum(
        &self,
        _: Level,
        scale: &ExactScale,
        terms: &[Term<'_, Bound>],
        constant: f64,
    ) -> Result<Bound, EvalError> {
        let mut sum = Bound { size: constant.abs(), error: 0.5 / scale.to_f64(), switched: false };
        for Term { value, coefficient, ratio } in terms {
            sum.size += coefficient.abs() * value.size;
            sum.error += coefficient.abs() * value.error + 0.5 / ratio.to_f64() * value.size;
            sum.switched |= value.switched;
        }
        Ok(sum)
    }

    fn rescale(&self, sum: Bound, level: Level, scale: &ExactScale, _: u64) -> Result<Bound, EvalError> {
        // In units of the canonical scale, of which the exact one is a multiple.
        let unit = self.0.params().canonical_scale(level - 1).to_f64() / scale.to_f64();
        let switch = noise::key_switch_product(self.0, level, Scale::squared(level))
            * if sum.switched { 1.0 } else { 0.0 };
        let variance = switch + noise::division(self.0, Scale::canonical(level - 1));
        // Elements are at most 1 in size, whatever their products are bounded by.
        Ok(Bound { error: sum.error + DEVIATIONS * unit * variance.sqrt(), switched: false, ..sum })
    }
}

fn polynomial(degree: usize, keep: impl Fn(usize) -> bool) -> Polynomial {
    let coefficient = |k: usize| ((k * 7919 + 13) % 1009) as f64 / 504.5 - 1.001;
    let coefficients = (0..=degree).map(|k| if keep(k) { coefficient(k) } else { 0.0 }).collect();
    Polynomial::chebyshev(coefficients, [-1.0, 1.0]).unwrap()
}

/// Returns the bits of the worst error.
fn check_polynomial(f: &Fixture, polynomial: &Polynomial, level: Level, label: &str) -> f64 {
    let context = &f.context;
    let slots = context.params().slots();
    let shape = PolynomialShape::new(polynomial);
    let x: Vec<f64> = (0..slots).map(|i| (2 * i) as f64 / (slots - 1) as f64 - 1.0).collect();
    let z: Vec<Complex> = x.iter().map(|&x| Complex::from(x)).collect();
    let a = f.encrypt(&z, level);
    let y = f.evaluator().polynomial(&a, &shape).unwrap();
    let out = level - polynomial.depth() as Level;
    assert_eq!((y.level(), y.scale(), y.size()), (out, Scale::canonical(out), 2), "{label}");
    let scale = Scale::canonical(level);
    let fresh = noise::encoding(context, scale) + noise::secret_key_encryption(context, scale);
    let input = Bound { size: 1.0, error: DEVIATIONS * fresh.sqrt(), switched: false };
    let bound = evaluate(&WorstCase(context), context.params(), &shape, &input, level).unwrap().error;
    let found = f.decrypt(&y);
    let error = |(found, x): (&Complex, &f64)| (found.re - polynomial.eval(*x)).hypot(found.im);
    let worst = found.iter().zip(&x).map(error).fold(0.0, f64::max);
    let bits = |x: f64| -x.log2();
    assert!(worst <= bound, "{label}: {:.1} bits, at least {:.1} derived", bits(worst), bits(bound));
    bits(worst)
}

#[test]
fn polynomials_of_every_degree() {
    let f = Fixture::new(literal(12, 8, 2, 45), &[]);
    let parities: [(&str, fn(usize) -> bool); 3] =
        [("full", |_| true), ("odd", |k| k % 2 == 1), ("even", |k| k % 2 == 0)];
    for degree in 1..=64 {
        for (name, keep) in parities {
            let p = polynomial(degree, keep);
            if p.depth() > 0 {
                check_polynomial(&f, &p, 7, &format!("degree {degree}, {name}"));
            }
        }
    }
}

/// Scales that drift by 2^-20 per level, and levels of two primes: a sum of unequal scales would
/// show at once.
#[test]
fn scales_are_exact_on_uneven_chains() {
    let f = Fixture::new(mixed_literal(13), &[]);
    for (degree, level) in [(1, 1), (3, 2), (7, 6), (7, 4), (15, 5), (27, 6), (31, 6), (63, 6)] {
        let bits = check_polynomial(&f, &polynomial(degree, |k| k % 2 == 1), level, "mixed chain");
        assert!(bits > 21.0, "degree {degree}: {bits:.1} bits");
    }
}

/// Levels that lack primes of those below: elements of a basis are brought to some of them by
/// divisions. As precise as with a prime for every level.
#[test]
fn polynomials_on_levels_that_share_primes() {
    let (f, single) = (Fixture::new(packed_literal(13), &[]), Fixture::new(literal(13, 9, 3, 30), &[]));
    let params = f.context.params();
    let mut copied = 0;
    for (degree, level) in
        [(3, 8), (7, 8), (7, 7), (7, 6), (15, 8), (15, 7), (31, 8), (31, 7), (63, 8), (127, 8)]
    {
        for keep in [|_: usize| true, |k: usize| k % 2 == 1] {
            let p = polynomial(degree, keep);
            let copies = PolynomialShape::new(&p).copies(params, level).len();
            let bits = check_polynomial(&f, &p, level, "packed chain");
            copied += copies;
            let alone = check_polynomial(&single, &p, level, "a prime per level");
            assert!((bits - alone).abs() < 1.5, "degree {degree}: {bits:.1} and {alone:.1} bits");
        }
    }
    assert!(copied > 10, "{copied} copies");
}

#[test]
fn a_sign_polynomial_at_full_size() {
    // Chebyshev coefficients of sign, damped (Lanczos): what a ReLU is made of.
    let sign = |k: usize| {
        let damping = std::f64::consts::PI * k as f64 / 28.0;
        4.0 / (std::f64::consts::PI * k as f64) * damping.sin() / damping
            * if k % 4 == 1 { 1.0 } else { -1.0 }
    };
    let coefficients = (0..=27).map(|k| if k % 2 == 1 { sign(k) } else { 0.0 }).collect();
    let f = Fixture::new(literal(16, 6, 2, 45), &[]);
    let p = Polynomial::chebyshev(coefficients, [-1.0, 1.0]).unwrap();
    assert!((p.eval(0.5) - 1.0).abs() < 0.05 && (p.eval(-0.5) + 1.0).abs() < 0.05);
    assert!(check_polynomial(&f, &p, 5, "sign") > 24.0);
}

#[test]
fn polynomials_refuse_what_they_cannot_use() {
    let f = Fixture::new(literal(12, 4, 2, 45), &[]);
    let shape = PolynomialShape::new(&polynomial(15, |_| true));
    let a = f.encrypt(&[Complex::from(0.5); 2048], 3);
    let result = f.evaluator().polynomial(&a, &shape);
    assert!(matches!(result, Err(EvalError::LevelTooLow { needed: 4, found: 3, .. })));
    let squared = f.evaluator().mul_scalar(&a, 1.0).unwrap();
    let result = f.evaluator().polynomial(&squared, &shape);
    assert!(matches!(result, Err(EvalError::ScaleMismatch { .. })));
    let product = f.evaluator().mul(&a, &a).unwrap().with_scale(Scale::canonical(3));
    let result = f.evaluator().polynomial(&product, &shape);
    assert!(matches!(result, Err(EvalError::SizeMismatch { .. })));
}

/// Eight images of a batch, four to a vector: two blocks with the same diagonals, which repeat with
/// the image.
#[test]
fn images_of_a_batch_share_diagonals() {
    let mut consts = ConstPool::default();
    let one = wave(&[4, 4, 3, 3], 1);
    let weight = consts.add(Tensor::from_fn([32, 4, 3, 3], |i| one.data()[i % one.data().len()]));
    let kind = LinearKind::Conv2d { weight, strides: [1; 2], pads: [1; 4], dilations: [1; 2], groups: 8 };
    let layout = Layout::dense([32, 16, 16], 4096);
    let map = LinearMap::new(kind, layout.clone(), layout);
    assert_eq!((map.blocks(&consts), map.diagonal_period(&consts), map.input.vectors()), (2, 1024, 2));
    for baby_step in [1, 32] {
        check_linear(literal(13, 4, 2, 40), &map, &consts, baby_step, 3);
    }
    // Other weights for one image: nothing is shared.
    let mut other = consts[weight].data().to_vec();
    other[40] += 0.5;
    let weight = consts.add(Tensor::new([32, 4, 3, 3], other).unwrap());
    let kind = LinearKind::Conv2d { weight, strides: [1; 2], pads: [1; 4], dilations: [1; 2], groups: 8 };
    let map = LinearMap { kind, ..map };
    assert_eq!((map.blocks(&consts), map.diagonal_period(&consts)), (1, 4096));
}

/// One channel per ciphertext and a tap of one pixel: a regular map is one of constants, and does
/// what the general circuit does.
#[test]
fn regular_maps_of_one_channel_per_vector_are_of_constants() {
    let mut consts = ConstPool::default();
    let layout = |channels| Layout {
        shape: [channels, 30, 30],
        gap: [1; 2],
        multiplex: 1,
        plane: [32, 32],
        period: 1024,
        slots: 4096,
    };
    let mut map = LinearMap::new(conv(&mut consts, [12, 3, 1, 1], [1; 2], [0; 4], 1), layout(3), layout(12));
    let literal = literal(13, 4, 2, 40);
    let (level, name) = (3, literal.name.clone());
    map.regular = Some(Beside::Zeros);
    map.validate(&consts).unwrap();
    let setup = Setup::new(literal, [], level);
    let (context, evaluator) = (&setup.context, Evaluator::new(&setup.context, &setup.keys));
    let elements: Vec<f64> = wave(&[2700], 5).data().iter().map(|&x| f64::from(x)).collect();
    let packed = map.input.pack(&elements);
    let bundle = setup.encrypt(&packed, level);
    let constants = ConstantMap::of(&map, &consts).expect("it is of constants");
    let found = evaluator.constant_map(&bundle, &constants, |sum| evaluator.rescale(&sum)).unwrap();
    let rows = DiagonalRows::new(&map, &consts, 1);
    let sums = evaluator.linear_map_extended(&bundle, &rows, None, &FactorEncoder::new(context)).unwrap();
    let general: Vec<Ciphertext> =
        sums.iter().map(|sum| evaluator.divide_special_rescale(sum).unwrap()).collect();
    let expected: Vec<Complex> =
        map.apply(&consts, &packed).into_iter().flatten().map(Complex::from).collect();
    let weights = map.diagonals(&consts).into_values().flat_map(|d| d.into_values().map(|d| d[0] * d[0]));
    let energy = weights.sum::<f64>() / 12.0;
    let canonical = Scale::canonical(level);
    let fresh = noise::encoding(context, canonical) + noise::secret_key_encryption(context, canonical);
    let variance = fresh * energy + noise::division(context, Scale::canonical(level - 1));
    let (found, general) = (setup.decrypt(&found), setup.decrypt(&general));
    noise::assert_errors(&name, &found, &expected, variance);
    // With a rounding for each diagonal that is encoded, and a mask, more.
    let apart = found.iter().zip(&general).map(|(a, b)| (a.re - b.re).hypot(a.im - b.im)).fold(0.0, f64::max);
    assert!(apart < 64.0 * variance.sqrt(), "{apart:e} {:e}", variance.sqrt());
    // Several channels per vector, taps beside their pixel, and strides are no such maps.
    let several =
        Layout { gap: [1, 4], multiplex: 4, plane: [32, 128], period: 4096, slots: 4096, ..layout(4) };
    let kind = conv(&mut consts, [4, 4, 1, 1], [1; 2], [0; 4], 1);
    let mut other = LinearMap::new(kind, several.clone(), several);
    other.regular = Some(Beside::Zeros);
    assert!(ConstantMap::of(&other, &consts).is_none());
    let mut wide = LinearMap::new(conv(&mut consts, [3, 3, 3, 3], [1; 2], [1; 4], 1), layout(3), layout(3));
    wide.regular = Some(Beside::Sums);
    assert!(ConstantMap::of(&wide, &consts).is_none());
}

/// One pixel per ciphertext: nothing is rotated, so no key is there, and every slot is an image of
/// its own.
#[test]
fn maps_of_constants_act_on_every_slot() {
    let mut consts = ConstPool::default();
    let kind = conv(&mut consts, [3, 2, 3, 3], [2; 2], [1; 4], 1);
    let pixelwise = |shape| Layout { period: 1, ..Layout::dense(shape, 4096) };
    let map = LinearMap::new(kind, pixelwise([2, 6, 6]), pixelwise([3, 3, 3]));
    map.validate(&consts).unwrap();
    let dense = Layout::dense([3, 3, 3], 4096);
    assert!(ConstantMap::of(&LinearMap { output: dense, ..map.clone() }, &consts).is_none());
    for literal in [literal(13, 4, 2, 40), mixed_literal(13)] {
        let name = literal.name.clone();
        let setup = Setup::new(literal, [], 0);
        let (context, level) = (&setup.context, 3);
        let wave = |vector: usize| wave(&[4096], vector).data().iter().map(|&x| f64::from(x)).collect();
        let packed: Vec<Vec<f64>> = (0..72).map(wave).collect();
        let evaluator = Evaluator::new(context, &setup.keys);
        let bundle = setup.encrypt(&packed, level);
        let constants = ConstantMap::of(&map, &consts).unwrap();
        let sums = evaluator.constant_map(&bundle, &constants, Ok).unwrap();
        assert!(sums.iter().all(|c| (c.level(), c.scale(), c.size()) == (level, Scale::squared(level), 2)));
        let rescaled = evaluator.constant_map(&bundle, &constants, |sum| evaluator.rescale(&sum)).unwrap();
        let one_by_one: Vec<Ciphertext> = sums.iter().map(|sum| evaluator.rescale(sum).unwrap()).collect();
        assert_eq!(rescaled, one_by_one);
        let expected: Vec<Complex> =
            map.apply(&consts, &packed).into_iter().flatten().map(Complex::from).collect();
        let energy: f64 = map
            .diagonals(&consts)
            .into_values()
            .flat_map(|diagonals| diagonals.into_values().map(|diagonal| diagonal[0] * diagonal[0]))
            .sum::<f64>()
            / map.output.vectors() as f64;
        let canonical = Scale::canonical(level);
        let fresh = noise::encoding(context, canonical) + noise::secret_key_encryption(context, canonical);
        let variance = fresh * energy + noise::division(context, Scale::canonical(level - 1));
        noise::assert_errors(&name, &setup.decrypt(&rescaled), &expected, variance);
        let mixed = [&bundle[..71], &setup.encrypt(&packed[..1], level - 1)].concat();
        let error = evaluator.constant_map(&mixed, &constants, Ok).unwrap_err();
        assert!(matches!(error, EvalError::LevelMismatch { .. }), "{error}");
    }
}
