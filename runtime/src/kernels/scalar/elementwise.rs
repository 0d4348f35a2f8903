//! Element-wise kernels; see [`crate::kernels::elementwise`] for what each computes.

use crate::kernels::Modulus;
use crate::kernels::modulus::{conditional_subtract, shoup_mul_lazy};

pub(in crate::kernels) fn add_assign(a: &mut [u64], b: &[u64], m: &Modulus) {
    for (x, &y) in a.iter_mut().zip(b) {
        *x = m.add(*x, y);
    }
}

pub(in crate::kernels) fn sub_assign(a: &mut [u64], b: &[u64], m: &Modulus) {
    for (x, &y) in a.iter_mut().zip(b) {
        *x = m.sub(*x, y);
    }
}

pub(in crate::kernels) fn neg_assign(a: &mut [u64], m: &Modulus) {
    for x in a {
        *x = m.neg(*x);
    }
}

pub(in crate::kernels) fn add_into(out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    for ((z, &x), &y) in out.iter_mut().zip(a).zip(b) {
        *z = m.add(x, y);
    }
}

pub(in crate::kernels) fn sub_into(out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    for ((z, &x), &y) in out.iter_mut().zip(a).zip(b) {
        *z = m.sub(x, y);
    }
}

pub(in crate::kernels) fn mul_assign(a: &mut [u64], b: &[u64], m: &Modulus) {
    for (x, &y) in a.iter_mut().zip(b) {
        *x = m.mul(*x, y);
    }
}

pub(in crate::kernels) fn mul_into(out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    for ((z, &x), &y) in out.iter_mut().zip(a).zip(b) {
        *z = m.mul(x, y);
    }
}

pub(in crate::kernels) fn mul_add_assign(acc: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    for ((z, &x), &y) in acc.iter_mut().zip(a).zip(b) {
        *z = m.add(*z, m.mul(x, y));
    }
}

pub(in crate::kernels) fn mul_scalar_assign(a: &mut [u64], w: u64, m: &Modulus) {
    let (q, companion) = (m.value(), m.shoup(w));
    for x in a {
        *x = conditional_subtract(shoup_mul_lazy(*x, w, companion, q), q);
    }
}

pub(in crate::kernels) fn add_scalar_assign(a: &mut [u64], c: u64, m: &Modulus) {
    for x in a {
        *x = m.add(*x, c);
    }
}

pub(in crate::kernels) fn mul_montgomery_into(out: &mut [u64], a: &[u64], bm: &[u64], m: &Modulus) {
    for ((z, &x), &y) in out.iter_mut().zip(a).zip(bm) {
        *z = m.mul_montgomery(x, y);
    }
}

pub(in crate::kernels) fn mul_montgomery_add_assign(acc: &mut [u64], a: &[u64], bm: &[u64], m: &Modulus) {
    for ((z, &x), &y) in acc.iter_mut().zip(a).zip(bm) {
        *z = m.add(*z, m.mul_montgomery(x, y));
    }
}

pub(in crate::kernels) fn sub_mul_scalar_into(out: &mut [u64], a: &[u64], b: &[u64], w: u64, m: &Modulus) {
    let (q, companion) = (m.value(), m.shoup(w));
    for ((z, &x), &y) in out.iter_mut().zip(a).zip(b) {
        *z = conditional_subtract(shoup_mul_lazy(x + q - y, w, companion, q), q);
    }
}

pub(in crate::kernels) fn reduce_into(out: &mut [u64], a: &[u64], from: &Modulus, m: &Modulus) {
    for (z, &x) in out.iter_mut().zip(a) {
        *z = m.reduce_centred(x, from);
    }
}

pub(in crate::kernels) fn reduce_i32_into(out: &mut [u64], a: &[i32], m: &Modulus) {
    for (z, &x) in out.iter_mut().zip(a) {
        let size = m.reduce(u64::from(x.unsigned_abs()));
        *z = if x < 0 { m.neg(size) } else { size };
    }
}

pub(in crate::kernels) fn reduce_i64_into(out: &mut [u64], a: &[i64], m: &Modulus) {
    for (z, &x) in out.iter_mut().zip(a) {
        let size = m.reduce(x.unsigned_abs());
        *z = if x < 0 { m.neg(size) } else { size };
    }
}
