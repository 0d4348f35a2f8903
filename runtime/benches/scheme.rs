//! Scheme operations at the parameter points of `docs/benchmarks.md`.
//!
//! One thread: `RAYON_NUM_THREADS=1 cargo bench -p fhec-runtime --bench scheme`. On Linux this
//! reports the *processor time* of the thread, which other programs on the machine lengthen less
//! than they do the time on the clock. With more threads it is the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, criterion_group, criterion_main};
use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::scale::Scale;
use fhec_runtime::ckks::{Complex, Encoder, Encoding, Encryptor, Evaluator, Plaintext};
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::{EvaluationKeys, KeyRequest, SecretKey};

/// `limbs` chain primes near `2^log_scale`, `special` special primes near `2^50`, all below `2^50`.
fn params(log_n: u32, limbs: usize, special: usize, digit_limbs: usize, log_scale: u32) -> Params {
    let mut large = ntt_primes_near((1 << 50) - 1, log_n).filter(|&q| q < 1 << 50);
    let p: Vec<u64> = large.by_ref().take(special).collect();
    let bottom: Vec<u64> = large.take(1).collect();
    let chain =
        ntt_primes_near(1 << log_scale, log_n).filter(|q| *q < 1 << 50 && !p.contains(q) && *q != bottom[0]);
    Params::new(ParamsLiteral {
        name: format!("bench-n{log_n}-{limbs}+{special}-{log_scale}bit"),
        log_n,
        levels: PrimeSet::prefixes(1..=limbs),
        q: bottom.iter().copied().chain(chain.take(limbs - 1)).collect(),
        p,
        digit_limbs,
        log_scale,
        secret: Secret::UniformTernary,
    })
    .expect("valid parameters")
}

/// Processor time of this thread so far, where Linux keeps it.
fn thread_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Times `f`, run by a thread of the pool: if that is its only one, its processor time is all there
/// is.
fn measure<T>(bencher: &mut Bencher<'_>, mut f: impl FnMut() -> T + Send) {
    let single = rayon::current_num_threads() == 1;
    bencher.iter_custom(|iterations| {
        rayon::scope(|_| {
            let (clock, processor) = (Instant::now(), thread_time().filter(|_| single));
            for _ in 0..iterations {
                std::hint::black_box(f());
            }
            match (processor, thread_time()) {
                (Some(start), Some(end)) => end - start,
                _ => clock.elapsed(),
            }
        })
    });
}

fn scheme(criterion: &mut Criterion) {
    for (log_n, limbs, special, digit_limbs, log_scale) in [(15, 14, 2, 2, 48), (16, 25, 5, 5, 48)] {
        let params = params(log_n, limbs, special, digit_limbs, log_scale);
        let name = params.name().to_owned();
        let context = Arc::new(Context::new(params).expect("valid parameters"));
        let seed = Seed::from_bytes([1; 32]);
        let secret = Arc::new(SecretKey::generate(&context, &seed));
        let top = context.params().top_level();
        let steps: Vec<i64> = (1..=8).collect();
        let mut requests = vec![KeyRequest::relinearization(top)];
        requests.extend(steps.iter().map(|&k| KeyRequest::rotation(&context, k, top)));
        let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests).expect("valid levels");
        let eval = Evaluator::new(&context, &keys);
        let encoder = Encoder::new(&context);
        let values: Vec<Complex> =
            (0..context.params().slots()).map(|i| Complex::new((i as f64).sin(), (i as f64).cos())).collect();
        let plaintext = encoder.encode_complex(&values, Encoding::message(top)).expect("fits");
        let factor = encoder.encode_complex(&values, Encoding::factor(top)).expect("fits");
        let extended = encoder.encode_complex(&values, Encoding::factor(top).extended()).expect("fits");
        let mut encryptor = Encryptor::with_secret_key(&context, &secret, seed);
        let a = encryptor.encrypt(&plaintext).expect("fits");
        let b = encryptor.encrypt(&plaintext).expect("fits");
        let product = eval.mul(&a, &b).expect("same level");

        let mut group = criterion.benchmark_group(&name);
        group.sample_size(15).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
        let id = |op: &str| BenchmarkId::from_parameter(op);
        group.bench_function(id("relinearize"), |x| measure(x, || eval.relinearize(&product)));
        // A new step each time: keys stream from memory, as they do in a program.
        let mut step = steps.iter().cycle();
        group.bench_function(id("rotate"), |x| measure(x, || eval.rotate(&a, *step.next().unwrap_or(&1))));
        // Eight baby steps and four giant steps of 32 diagonals: one plaintext stands for all of
        // them.
        let terms: Vec<Vec<(usize, &Plaintext)>> = vec![(0..8).map(|i| (i, &extended)).collect(); 4];
        group.bench_function(id("32 diagonals, 8 baby steps"), |x| {
            measure(x, || eval.hoist(&a).and_then(|h| eval.rotate_and_sum_products(&h, &steps, &terms)));
        });
        group.bench_function(id("mul + relinearize"), |x| {
            measure(x, || eval.mul(&a, &b).and_then(|c| eval.relinearize(&c)));
        });
        group.bench_function(id("mul + relinearize + rescale"), |x| {
            measure(x, || eval.mul(&a, &b).and_then(|c| eval.relinearize_rescale(&c)));
        });
        let squared = eval.mul_scalar_to(&a, 1.0, Scale::squared(top)).expect("fits");
        group.bench_function(id("rescale"), |x| measure(x, || eval.rescale(&squared)));
        group.bench_function(id("ct x pt"), |x| measure(x, || eval.mul_plain(&a, &factor)));
        group.bench_function(id("ct + ct"), |x| measure(x, || eval.add(&a, &b)));
        group.bench_function(id("encode"), |x| {
            measure(x, || encoder.encode_complex(&values, Encoding::factor(top)));
        });
        group.finish();
    }
}

criterion_group!(benches, scheme);
criterion_main!(benches);
