//! See [`crate::kernels::repeat`].

use crate::kernels::repeat::rows_and_columns;

pub(in crate::kernels) fn repeat_into(out: &mut [u64], values: &[u64], log_repeat: u32) {
    let (r, e) = rows_and_columns(log_repeat);
    for (rows, values) in out.chunks_exact_mut(8 << r).zip(values.chunks_exact(8 >> e)) {
        for row in rows.chunks_exact_mut(8) {
            for (columns, &value) in row.chunks_exact_mut(1 << e).zip(values) {
                columns.fill(value);
            }
        }
    }
}
