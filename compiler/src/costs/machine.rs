//! Which machine this is, as far as prices depend on it.

use std::fs;

use fhec_runtime::kernels::Isa;

/// What prices depend on, but for the number of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Model of the processor, with family and model number where there are such.
    cpu: String,
    /// Instruction set of the kernels.
    isa: String,
    /// Sizes of the caches of data, the nearest first, as the system writes them.
    caches: Vec<String>,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        Machine { cpu: cpu(), isa: Isa::detect().name().to_string(), caches: caches() }
    }

    /// In words, for people and files.
    pub fn in_words(&self) -> String {
        let Machine { cpu, isa, caches } = self;
        let caches =
            if caches.is_empty() { String::new() } else { format!(", caches {}", caches.join(" + ")) };
        format!("{cpu}, {isa}{caches}")
    }

    /// A name for files: a digest of [`Machine::in_words`].
    pub fn digest(&self) -> String {
        blake3::hash(self.in_words().as_bytes()).to_hex()[..16].to_string()
    }

    /// Whether it is what the built-in prices were measured on: a Zen 5 with 52-bit products.
    pub fn is_zen5(&self) -> bool {
        self.cpu.contains("AMD") && self.cpu.contains("family 26") && self.isa.contains("avx512")
    }
}

/// The model by `/proc/cpuinfo`; the architecture where there is no such file.
fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name));
        line.map(|(_, value)| value.trim().to_string())
    };
    let Some(model) = field("model name") else { return std::env::consts::ARCH.to_string() };
    // Virtual machines tell a brand that many processors share.
    match (field("cpu family"), field("model")) {
        (Some(family), Some(number)) => format!("{model} (family {family}, model {number})"),
        _ => model,
    }
}

fn caches() -> Vec<String> {
    let read = |index: usize, what: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}");
        fs::read_to_string(path).ok().map(|text| text.trim().to_string())
    };
    let of_data = (0..8).filter(|&index| read(index, "type").is_some_and(|kind| kind != "Instruction"));
    of_data.filter_map(|index| read(index, "size")).collect()
}
