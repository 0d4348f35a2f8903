//! Convolutions where a bootstrapped network runs them: at the bottom of the chain, few limbs under
//! many special primes.
//!
//! `cargo bench -p fhec-runtime --bench linear_maps [-- FILTER]`. Names read `what/threads`; bytes
//! of the diagonals are printed before.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fhec_ir::circuit_shape::LinearShape;
use fhec_ir::layout::Layout;
use fhec_ir::linear_map::{LinearKind, LinearMap};
use fhec_ir::params::{FixedScale, Params, ParamsLiteral, Secret};
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::tensor::{ConstPool, Tensor};
use fhec_runtime::circuits::linear_transform::DiagonalRows;
use fhec_runtime::ckks::{Encoder, Encoding, Encryptor, Evaluator, FactorEncoder};
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::{EvaluationKeys, KeyRequest, SecretKey};
use rayon::ThreadPoolBuilder;

const LOG_N: u32 = 15;
const LEVEL: u16 = 3;

/// The bottom of the set n15-98: primes of 42, 28, 28 and then 32 bits, five special primes of 46
/// bits.
fn params() -> Params {
    let mut taken: Vec<u64> = Vec::new();
    let mut below = |bits: u32, count: usize| -> Vec<u64> {
        let primes =
            ntt_primes_near((1 << bits) - 1, LOG_N).filter(|&p| p < 1 << bits && !taken.contains(&p));
        let found: Vec<u64> = primes.take(count).collect();
        taken.extend(&found);
        found
    };
    let p = below(46, 5);
    let q: Vec<u64> = [below(42, 1), below(28, 2), below(32, 3)].concat();
    let literal = ParamsLiteral {
        name: "bottom of n15-98".into(),
        log_n: LOG_N,
        levels: PrimeSet::prefixes(1..=q.len()),
        q,
        p,
        digit_limbs: 5,
        log_scale: 32,
        secret: Secret::UniformTernary,
    };
    let fixed = [1, 0].map(|level| FixedScale { level, log_scale: 32 });
    Params::segmented(literal, fixed.into()).expect("these primes make a chain")
}

/// A convolution of ResNet-20, 3 x 3, with stride 1: channels, gap between the pixels of one
/// channel, period.
fn conv(consts: &mut ConstPool, channels: usize, gap: usize, period: usize) -> LinearMap {
    let weight = consts
        .add(Tensor::from_fn([channels, channels, 3, 3], |i| 0.1 * ((i * 7919 % 1009) as f32 / 504.5 - 1.0)));
    let kind = LinearKind::Conv2d { weight, strides: [1; 2], pads: [1; 4], dilations: [1; 2], groups: 1 };
    let layout = Layout {
        shape: [channels, 32 / gap, 32 / gap],
        gap: [gap; 2],
        multiplex: gap * gap,
        plane: [32, 32],
        period,
        slots: 1 << (LOG_N - 1),
    };
    LinearMap::new(kind, layout.clone(), layout)
}

fn convolutions(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));
    let context = Arc::new(Context::new(params()).expect("transforms"));
    let seed = Seed::from_bytes([1; 32]);
    let secret = Arc::new(SecretKey::generate(&context, &seed));
    for (channels, gap, log_period) in [(64, 4, 12), (32, 2, 13), (16, 1, 14)] {
        let mut consts = ConstPool::default();
        let map = conv(&mut consts, channels, gap, 1 << log_period);
        map.validate(&consts).expect("a layer of the network");
        let shape = LinearShape::cheapest(&map.rotations(&consts), map.input.period, 1.0, 1.0);
        let steps = shape.rotation_set();
        let requests: Vec<KeyRequest> =
            steps.into_iter().map(|k| KeyRequest::rotation(&context, k as i64, LEVEL)).collect();
        let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests).expect("levels");
        let values: Vec<f64> = (0..map.input.slots).map(|i| (i % 257) as f64 / 128.5 - 1.0).collect();
        let plaintext = Encoder::new(&context).encode(&values, Encoding::message(LEVEL)).expect("below 1");
        let mut encryptor = Encryptor::with_secret_key(&context, &secret, Seed::from_bytes([2; 32]));
        let x = [encryptor.encrypt(&plaintext).expect("a message")];
        let (evaluator, encoder) = (Evaluator::new(&context, &keys), FactorEncoder::new(&context));
        let rows = DiagonalRows::new(&map, &consts, shape.baby_step);
        let encoded = rows.encode(&encoder, LEVEL).expect("weights below 1");
        let rows = rows.without_values();
        let name = format!("{channels}-{channels}-2^{log_period}");
        eprintln!(
            "{name}: {} diagonals, {} babies, {} giants, {:.1} MB of diagonals, {:.1} MB of keys",
            shape.diagonals(),
            shape.baby_rotations(),
            shape.giant_rotations(),
            encoded.bytes() as f64 / 1e6,
            keys.bytes() as f64 / 1e6
        );
        for threads in [1, 2] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            group.bench_function(format!("{name}/{threads}"), |b| {
                pool.install(|| {
                    b.iter(|| {
                        let sums =
                            evaluator.linear_map_extended(&x, &rows, Some(&encoded), &encoder).expect("keys");
                        black_box(evaluator.divide_special_rescale(&sums[0]).expect("a level"))
                    })
                })
            });
        }
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
