//! How much memory and processor time the process has used, and how much memory it can have.

use fhec_ir::ckks::CiphertextType;
use fhec_ir::params::Params;

/// Largest resident set of this process so far, in bytes; `None` where the system does not tell.
pub fn peak_rss_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// Resident set of this process now, in bytes; `None` where the system does not tell.
pub fn rss_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

fn status_bytes(field: &str) -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, field)
}

/// Processor time of all threads of this process so far, in user and kernel mode, to a hundredth of
/// a second; `None` where the system does not tell.
pub fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields after the name, which is in parentheses: state is the first, times are in ticks of 10
    // ms.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

/// Bytes that this process can still take: the least of what the machine has available, what the
/// control group leaves, and what the limit of the address space leaves (`ulimit -v`). `None` where
/// the system does not tell.
pub fn available_bytes() -> Option<u64> {
    let machine = kibibytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:");
    [machine, control_group_left(), address_space_left()].into_iter().flatten().min()
}

fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Of the second version of control groups; those above the process's own limit it, too.
fn control_group_left() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/');
    let root = std::path::Path::new("/sys/fs/cgroup");
    let number = |path: &std::path::Path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let left = |folder: &std::path::Path| {
        let (max, current) = (number(&folder.join("memory.max"))?, number(&folder.join("memory.current"))?);
        // What files left in memory goes when it is needed.
        let statistics = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cached = statistics.lines().find_map(|line| line.strip_prefix("inactive_file "));
        let cached: u64 = cached.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        Some(max.saturating_sub(current.saturating_sub(cached)))
    };
    root.join(group).ancestors().take_while(|folder| folder.starts_with(root)).filter_map(left).min()
}

fn address_space_left() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    // `unlimited` is no number.
    let limit: u64 = limit.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(status_bytes("VmSize:")?))
}

/// Bytes of a bundle of ciphertexts of type `ty`, and of the numbers in its slots.
pub fn bundle_bytes(params: &Params, ty: &CiphertextType) -> u64 {
    let residues = usize::from(ty.size) * params.limbs(ty.level) * params.ring_degree();
    ((residues + 2 * ty.slots) * size_of::<u64>()) as u64 * ty.vectors as u64
}

/// `bytes` for people: `1.5 GiB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        assert_eq!(human_bytes(17), "17 B");
        assert_eq!(human_bytes(1536), "1.5 KiB");
        assert_eq!(human_bytes(5 << 40), "5120.0 GiB");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_can_be_had_is_less_than_the_machine_has() {
        let total = kibibytes(&std::fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal:").unwrap();
        assert!((1 << 20..total).contains(&available_bytes().unwrap()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_covers_what_is_touched() {
        let block = vec![1u8; 64 << 20];
        assert!(block.iter().map(|&b| u64::from(b)).sum::<u64>() == 64 << 20);
        assert!(rss_bytes().unwrap() >= 64 << 20);
        assert!(peak_rss_bytes().unwrap() >= 64 << 20);
    }
}
