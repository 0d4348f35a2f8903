//! What the system writes down of a process that ends by a fault: nothing, where a secret key is in
//! its memory.

/// Keeps the memory of this process out of core dumps, and from debuggers of other processes of the
/// same user. For commands that hold a secret key. Where the system has no such thing, nothing
/// happens.
pub fn keep_secrets_from_core_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        if let Err(error) = setrlimit(Resource::Core, none) {
            tracing::debug!("core dumps stay as they are: {error}");
        }
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::debug!("the process stays dumpable: {error}");
        }
    }
}
