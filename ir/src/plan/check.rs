//! What readers of a plan rely on: a plan of a file may say anything.

use super::{OpRow, Plan, PlanError, SCHEMA_VERSION, SecretRow};
use crate::params::Params;
use crate::security::{Certificate, CertifiedSecret};

impl Plan {
    /// A plan of a program of `ops` ops that says nothing: for programs that no compile made.
    pub fn bare(ops: usize) -> Self {
        let ops = (0..ops).map(|index| OpRow { index, ..OpRow::default() }).collect();
        Plan { schema_version: SCHEMA_VERSION, ops, ..Plan::default() }
    }

    /// Errs unless rows name ops and layers that exist, of a program of `ops` ops, and differences
    /// that are printed are not below zero.
    pub fn check(&self, ops: usize) -> Result<(), PlanError> {
        let misfit = |what: String| Err(PlanError::Misfit { what });
        if self.ops.len() != ops {
            return misfit(format!("it has rows for {} ops, the program has {ops}", self.ops.len()));
        }
        // Plans of older artifacts have no layers.
        let layers = self.layers.len();
        if let Some(row) = self
            .ops
            .iter()
            .enumerate()
            .find(|(i, row)| row.index != *i || (layers > 0 && row.layer >= layers))
        {
            return misfit(format!(
                "the row of op {} names op {} and layer {}",
                row.0, row.1.index, row.1.layer
            ));
        }
        let named = self.layers.iter().flat_map(|layer| layer.ops.iter().copied());
        let named = named.chain(self.bootstrap_sites.iter().map(|site| site.op));
        let needs = self.bootstrap_sites.iter().flat_map(|site| site.needed_by.iter().map(|need| need.op));
        if let Some(op) = named.chain(needs).find(|&op| op >= ops) {
            return misfit(format!("a row names op {op}, the program has {ops}"));
        }
        if let Some(site) = self.bootstrap_sites.iter().find(|site| site.level_after < site.levels_reserved) {
            return misfit(format!("the bootstrap of op {} reserves more levels than it leaves", site.op));
        }
        if self.resident_bytes > self.predicted_peak_bytes {
            return misfit("more memory is taken all the time than at the peak".into());
        }
        Ok(())
    }

    /// Puts in what `params` and `certificate` say, computed, in place of what the plan says of
    /// itself.
    pub fn certify(&mut self, params: &Params, certificate: &Certificate) {
        self.security_bits = certificate.bits();
        self.security_source = Certificate::source();
        self.log_n = params.log_n();
        self.log_qp = params.log_qp();
        self.secret = params.secret().to_string();
        self.log_scale = params.literal().log_scale;
        self.levels = u32::from(params.top_level());
        let row = |role: &str, of: &CertifiedSecret| SecretRow {
            role: role.into(),
            distribution: of.secret.to_string(),
            log_modulus: of.log_modulus,
            bits: of.bits,
        };
        let ephemeral = certificate.ephemeral.iter().map(|of| row(SecretRow::EPHEMERAL, of));
        self.secrets = [row(SecretRow::MAIN, &certificate.main)].into_iter().chain(ephemeral).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{BootstrapRow, LayerRow};

    #[test]
    fn rows_that_name_nothing_are_refused() {
        let plan = Plan {
            layers: vec![LayerRow { ops: vec![0, 1], ..LayerRow::default() }],
            bootstrap_sites: vec![BootstrapRow { op: 1, ..BootstrapRow::default() }],
            ..Plan::bare(2)
        };
        plan.check(2).unwrap();
        plan.check(3).unwrap_err();
        let refused = |change: &dyn Fn(&mut Plan)| {
            let mut plan = plan.clone();
            change(&mut plan);
            plan.check(2).unwrap_err();
        };
        refused(&|plan| plan.ops[1].index = 0);
        refused(&|plan| plan.ops[1].layer = 1);
        refused(&|plan| plan.layers[0].ops[1] = 2);
        refused(&|plan| plan.bootstrap_sites[0].op = usize::MAX);
        refused(&|plan| plan.bootstrap_sites[0].levels_reserved = 1);
        refused(&|plan| plan.resident_bytes = 1);
    }
}
