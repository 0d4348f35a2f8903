//! What `--version` says: the version, how it was built, and what this processor runs of it.

use std::env::consts::{ARCH, OS};
use std::sync::LazyLock;

use fhec_runtime::kernels::Isa;

/// The commit that a release is built from; set by whoever builds it.
const COMMIT: Option<&str> = option_env!("FHEC_COMMIT");

/// The lines after the name of the program.
pub(super) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let build = if cfg!(debug_assertions) { "development" } else { "release" };
        let commit = COMMIT.map(|commit| format!(", commit {commit}")).unwrap_or_default();
        let sets: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
        format!(
            "{}\n{build} build for {ARCH} {OS}{commit}\ninstruction set {}, of {}",
            env!("CARGO_PKG_VERSION"),
            Isa::detect().name(),
            sets.join(", ")
        )
    });
    &TEXT
}
