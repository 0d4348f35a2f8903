//! What the tests of ckks passes share: parameters, and running a program before and after.

use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::interp::run_ckks;
use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_ir::verify::verify;

/// `levels` levels of 40 bits over a base of 49 in a ring of degree `2^log_n`.
pub(crate) fn params(log_n: u32, levels: usize) -> Params {
    let mut q = vec![ntt_primes_near(1 << 49, log_n).next().unwrap()];
    q.extend(ntt_primes_near(1 << 40, log_n).take(levels));
    Params::new(ParamsLiteral {
        name: "test".into(),
        log_n,
        level_limbs: (1..=q.len()).collect(),
        q,
        p: ntt_primes_near((1 << 50) - 1, log_n).filter(|p| *p < 1 << 50).take(3).collect(),
        digit_limbs: 3.min(levels + 1),
        log_scale: 40,
        secret: Secret::UniformTernary,
    })
    .unwrap()
}

pub(crate) fn parse(body: &str) -> Func<Ckks> {
    let func = parse_func(&format!("func ckks test {{ {body} }}"), &ConstSource::default()).unwrap();
    verify(&func).unwrap();
    func
}

/// Both programs verify and give the same on the same inputs.
pub(crate) fn same_function(before: &Func<Ckks>, after: &Func<Ckks>) {
    verify(after).unwrap();
    let input = |index: usize, ty: &fhec_ir::ckks::CiphertextType| {
        let slot = |v: usize, i: usize| (((i + 31 * v + 7 * index) * 7919) % 2003) as f64 / 1001.5 - 1.0;
        (0..ty.vectors).map(|v| (0..ty.slots).map(|i| slot(v, i)).collect()).collect::<Vec<Vec<f64>>>()
    };
    let inputs: Vec<_> =
        before.inputs().iter().enumerate().map(|(i, &value)| input(i, before.ty(value))).collect();
    let (expected, found) = (run_ckks(before, &inputs).unwrap(), run_ckks(after, &inputs).unwrap());
    for (expected, found) in expected.iter().flatten().flatten().zip(found.iter().flatten().flatten()) {
        assert!((expected - found).abs() < 1e-9);
    }
}
