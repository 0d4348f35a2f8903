//! The circuit floor: a convolution as a linear map, sign polynomials, and a network on slots with
//! modelled errors.
//!
//! `cargo bench -p fhec-runtime --bench circuits [-- FILTER]`, on the threads that
//! `RAYON_NUM_THREADS` says. Names read `circuit/what/N/limbs+special primes/digits of the
//! operand`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use fhec_ir::circuit_shape::LinearShape;
use fhec_ir::ckks::{CiphertextType, Ckks, Op};
use fhec_ir::func::Func;
use fhec_ir::layout::Layout;
use fhec_ir::linear_map::{LinearKind, LinearMap};
use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::polynomial::Polynomial;
use fhec_ir::polynomial_shape::PolynomialShape;
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::scale::Level;
use fhec_ir::tensor::{ConstPool, Tensor};
use fhec_runtime::circuits::linear_transform::DiagonalRows;
use fhec_runtime::ckks::{Encoder, Encoding, Encryptor, Evaluator, FactorEncoder};
use fhec_runtime::exec::{Clear, Simulation, execute};
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::{Ciphertext, EvaluationKeys, KeyRequest, SecretKey};

/// A bottom prime and special primes of 50 bits, one prime of `log_scale` bits per level.
fn params(log_n: u32, limbs: usize, special: usize, log_scale: u32) -> Params {
    let mut large = ntt_primes_near((1 << 50) - 1, log_n).filter(|&q| q < 1 << 50);
    let mut q: Vec<u64> = large.by_ref().take(1).collect();
    let p: Vec<u64> = large.take(special).collect();
    let chain = ntt_primes_near(1 << log_scale, log_n).filter(|x| !q.contains(x) && !p.contains(x));
    q.extend(chain.take(limbs - 1).collect::<Vec<_>>());
    Params::new(ParamsLiteral {
        name: format!("bench-n{log_n}-{limbs}+{special}"),
        log_n,
        levels: PrimeSet::prefixes(1..=limbs),
        q,
        p,
        digit_limbs: special,
        log_scale,
        secret: Secret::UniformTernary,
    })
    .expect("these primes make a chain")
}

fn wave(shape: &[usize], size: f32) -> Tensor {
    Tensor::from_fn(shape, |i| size * ((i * 7919 % 1009) as f32 / 504.5 - 1.0))
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));
    group
}

fn encrypt(context: &Arc<Context>, secret: &Arc<SecretKey>, level: Level) -> Ciphertext {
    let values: Vec<f64> = (0..context.params().slots()).map(|i| (i % 257) as f64 / 128.5 - 1.0).collect();
    let plaintext = Encoder::new(context).encode(&values, Encoding::message(level)).expect("numbers below 1");
    let seed = Seed::from_bytes([2; 32]);
    Encryptor::with_secret_key(context, secret, seed).encrypt(&plaintext).expect("a message")
}

fn conv(consts: &mut ConstPool, slots: usize) -> LinearMap {
    let weight = consts.add(wave(&[16, 16, 3, 3], 0.1));
    let kind = LinearKind::Conv2d { weight, strides: [1; 2], pads: [1; 4], dilations: [1; 2], groups: 1 };
    let layout = Layout::dense([16, 32, 32], slots);
    LinearMap::new(kind, layout.clone(), layout)
}

/// 16 to 16 channels, 3 x 3, on 32 x 32 pixels: ResNet-20's first stage; 144 diagonals, 8 + 15
/// rotations.
fn convolution(c: &mut Criterion) {
    let mut group = group(c, "conv-16-16-3x3-32x32");
    for (log_n, limbs, special, log_scale) in [(15, 3, 1, 40), (15, 5, 2, 40), (16, 5, 2, 40)] {
        let context = Arc::new(Context::new(params(log_n, limbs, special, log_scale)).expect("transforms"));
        let mut consts = ConstPool::default();
        let map = conv(&mut consts, context.params().slots());
        let level = context.params().top_level();
        let rotations = map.rotations(&consts);
        let shape = LinearShape::cheapest(&rotations, map.input.period, 1.0, 2.0);
        let seed = Seed::from_bytes([1; 32]);
        let secret = Arc::new(SecretKey::generate(&context, &seed));
        let requests =
            shape.rotation_set().into_iter().map(|k| KeyRequest::rotation(&context, k as i64, level));
        let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests.collect::<Vec<_>>());
        let keys = keys.expect("levels of the chain");
        let (evaluator, encoder) = (Evaluator::new(&context, &keys), FactorEncoder::new(&context));
        let rows = DiagonalRows::new(&map, &consts, shape.baby_step);
        let encoded = rows.encode(&encoder, level).expect("weights below 1");
        let x = [encrypt(&context, &secret, level)];
        let name = format!("2^{log_n}/{limbs}+{special}");
        group.bench_function(format!("diagonals at hand/{name}"), |b| {
            b.iter(|| {
                let sums = evaluator.linear_map_extended(&x, &rows, Some(&encoded), &encoder).expect("keys");
                black_box(evaluator.divide_special_rescale(&sums[0]).expect("a level"))
            })
        });
        group.bench_function(format!("encode the diagonals/{name}"), |b| {
            b.iter(|| black_box(rows.encode(&encoder, level).expect("weights below 1")))
        });
        group.bench_function(format!("make the diagonals/{name}"), |b| {
            b.iter(|| black_box(DiagonalRows::new(&map, &consts, shape.baby_step)))
        });
    }
}

/// Odd polynomials of the degrees of composite signs.
fn polynomials(c: &mut Criterion) {
    let mut group = group(c, "polynomial");
    for (degree, limbs, special) in [(7, 12, 3), (15, 12, 3), (27, 12, 3), (27, 24, 5)] {
        let context = Arc::new(Context::new(params(16, limbs, special, 45)).expect("transforms"));
        let seed = Seed::from_bytes([1; 32]);
        let secret = Arc::new(SecretKey::generate(&context, &seed));
        let level = context.params().top_level();
        let keys = EvaluationKeys::generate(&context, &secret, &seed, &[KeyRequest::relinearization(level)]);
        let keys = keys.expect("levels of the chain");
        let evaluator = Evaluator::new(&context, &keys);
        let coefficients = (0..=degree).map(|k| f64::from(k % 2) / f64::from(k + 1)).collect();
        let polynomial = Polynomial::chebyshev(coefficients, [-1.0, 1.0]).expect("numbers");
        let shape = PolynomialShape::new(&polynomial);
        let x = encrypt(&context, &secret, level);
        group.bench_function(format!("odd-{degree}/2^16/{limbs}+{special}"), |b| {
            b.iter(|| black_box(evaluator.polynomial(&x, &shape).expect("keys")))
        });
    }
    let product = |k: usize| if k % 2 == 1 { 1.0 / k as f64 } else { 0.0 };
    let polynomial = Polynomial::chebyshev((0..=27).map(product).collect(), [-1.0, 1.0]).expect("numbers");
    group
        .bench_function("find the shape/odd-27", |b| b.iter(|| PolynomialShape::new(black_box(&polynomial))));
}

/// A convolution and a composite sign on 2^14 slots, simulated: with errors and without.
fn simulation(c: &mut Criterion) {
    let params = params(15, 14, 2, 40);
    let mut func: Func<Ckks> = Func::new("bench");
    let slots = params.slots();
    let x = func.add_input(CiphertextType::canonical(1, slots, params.top_level()), None);
    let mut consts = ConstPool::default();
    let map = conv(&mut consts, slots);
    func.consts = consts;
    let coefficients = (0..=15).map(|k| f64::from(k % 2) / f64::from(k + 1)).collect();
    let sign = Polynomial::chebyshev(coefficients, [-1.0, 1.0]).expect("numbers");
    let mut push = |op| func.push(op).expect("it fits");
    let y = push(Op::LinearMap { x, map, baby_step: 1024 });
    let y = push(Op::Rescale { x: y });
    let y = push(Op::Polynomial { x: y, polynomial: sign.clone() });
    let y = push(Op::Polynomial { x: y, polynomial: sign });
    func.set_outputs(vec![y]);
    let func = Arc::new(func);
    let (simulation, clear) = (Simulation::new(&func, &params), Clear::new(&func));
    let input = vec![vec![0.25; slots]];
    let mut group = group(c, "simulate");
    group.bench_function("conv and two odd-15/2^14 slots/noisy", |b| {
        let run = simulation.run(1);
        b.iter(|| execute(&run, vec![input.clone()], &mut ()).expect("a program"))
    });
    group.bench_function("conv and two odd-15/2^14 slots/clear", |b| {
        b.iter(|| execute(&clear, vec![input.clone()], &mut ()).expect("a program"))
    });
}

criterion_group!(benches, convolution, polynomials, simulation);
criterion_main!(benches);
