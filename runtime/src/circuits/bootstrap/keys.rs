//! Keys of a bootstrap.

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::key_demand;

use crate::circuits::mod_raise::EncapsulationKeys;
use crate::ring::{Context, ContextError, Seed};
use crate::rlwe::{KeyRequest, SecretKey};

/// The evaluation keys that `bootstrap` uses, each up to the highest level it is used at.
pub fn key_requests(context: &Context, bootstrap: &BootstrapParams) -> Vec<KeyRequest> {
    let mut keys = key_demand::KeyDemand::default();
    keys.bootstrap(bootstrap, context.params());
    KeyRequest::of_set(&keys, context.params())
}

/// The encapsulation keys that `bootstrap` uses, if it has an ephemeral secret.
pub fn encapsulation_keys(
    context: &Context,
    secret: &SecretKey,
    bootstrap: &BootstrapParams,
    seed: &Seed,
) -> Result<Option<EncapsulationKeys>, ContextError> {
    let mut keys = key_demand::KeyDemand::default();
    keys.bootstrap(bootstrap, context.params());
    let generate = |needed| EncapsulationKeys::generate(context, secret, &needed, seed);
    keys.encapsulation.map(generate).transpose()
}
