//! Parameter sets for unit tests.

use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::prime::ntt_primes_near;

use crate::ring::Context;

/// One prime per level near `2^log_scale` above a bottom prime of 50 bits, `special` primes of 50 bits, digits of
/// `special` primes.
pub(crate) fn literal(log_n: u32, limbs: usize, special: usize, log_scale: u32) -> ParamsLiteral {
    let mut large = ntt_primes_near((1 << 50) - 1, log_n).filter(|&q| q < 1 << 50);
    let bottom = large.next().into_iter();
    let p: Vec<u64> = large.take(special).collect();
    let chain = ntt_primes_near(1 << log_scale, log_n).filter(|q| *q < 1 << 50 && !p.contains(q));
    let mut q: Vec<u64> = bottom.collect();
    q.extend(chain.filter(|x| *x != q[0]).take(limbs - 1).collect::<Vec<_>>());
    ParamsLiteral {
        name: format!("test-n{log_n}-{limbs}+{special}"),
        log_n,
        level_limbs: (1..=limbs).collect(),
        q,
        p,
        digit_limbs: special,
        log_scale,
        secret: Secret::UniformTernary,
    }
}

/// See [`literal`]; scale `2^45`.
pub(crate) fn context(log_n: u32, limbs: usize, special: usize) -> Context {
    Context::new(Params::new(literal(log_n, limbs, special, 45)).unwrap()).unwrap()
}

/// Primes of 25, 50, 51, 60 and 61 bits, some levels of two primes, digits of two.
pub(crate) fn mixed_literal(log_n: u32) -> ParamsLiteral {
    let mut fifty = ntt_primes_near(1 << 50, log_n);
    let mut half = ntt_primes_near(1 << 25, log_n);
    let sixty = ntt_primes_near((1 << 60) - 1, log_n).next().unwrap();
    let p: Vec<u64> =
        ntt_primes_near((1 << 61) - (1 << 50), log_n).filter(|&q| q > 1 << 60).take(2).collect();
    let mut take = |wide: bool| if wide { fifty.next().unwrap() } else { half.next().unwrap() };
    let q = [true, true, false, false, true, false, false, true].map(&mut take);
    ParamsLiteral {
        name: format!("test-mixed-n{log_n}"),
        log_n,
        q: [sixty].into_iter().chain(q).collect(),
        level_limbs: vec![1, 2, 3, 5, 6, 8, 9],
        p,
        digit_limbs: 2,
        log_scale: 50,
        secret: Secret::UniformTernary,
    }
}

/// See [`mixed_literal`].
pub(crate) fn mixed_context(log_n: u32) -> Context {
    Context::new(Params::new(mixed_literal(log_n)).unwrap()).unwrap()
}
