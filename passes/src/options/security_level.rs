//! The security levels that parameters are made for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A security level in bits, by the lattice estimator's table ([`fhec_ir::security`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum SecurityLevel {
    /// 98 bits, what many publications settle for.
    Bits98,
    /// 128 bits.
    #[default]
    Bits128,
    /// 192 bits.
    Bits192,
    /// 256 bits.
    Bits256,
}

/// There is no such level.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no security level `{0}`; known are 98, 128, 192 and 256 bits")]
pub struct UnknownSecurityLevel(pub String);

impl SecurityLevel {
    /// All levels, the lowest first.
    pub const ALL: [SecurityLevel; 4] =
        [SecurityLevel::Bits98, SecurityLevel::Bits128, SecurityLevel::Bits192, SecurityLevel::Bits256];

    /// As a number of bits.
    pub fn bits(self) -> u32 {
        match self {
            SecurityLevel::Bits98 => 98,
            SecurityLevel::Bits128 => 128,
            SecurityLevel::Bits192 => 192,
            SecurityLevel::Bits256 => 256,
        }
    }
}

impl TryFrom<u32> for SecurityLevel {
    type Error = UnknownSecurityLevel;

    fn try_from(bits: u32) -> Result<Self, UnknownSecurityLevel> {
        let known = SecurityLevel::ALL.into_iter().find(|level| level.bits() == bits);
        known.ok_or_else(|| UnknownSecurityLevel(bits.to_string()))
    }
}

impl From<SecurityLevel> for u32 {
    fn from(level: SecurityLevel) -> u32 {
        level.bits()
    }
}

impl FromStr for SecurityLevel {
    type Err = UnknownSecurityLevel;

    fn from_str(text: &str) -> Result<Self, UnknownSecurityLevel> {
        let bits: u32 = text.parse().map_err(|_| UnknownSecurityLevel(text.to_string()))?;
        SecurityLevel::try_from(bits)
    }
}

impl fmt::Display for SecurityLevel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.bits())
    }
}

#[cfg(feature = "clap")]
impl clap::ValueEnum for SecurityLevel {
    fn value_variants<'a>() -> &'a [Self] {
        &SecurityLevel::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let name = match self {
            SecurityLevel::Bits98 => "98",
            SecurityLevel::Bits128 => "128",
            SecurityLevel::Bits192 => "192",
            SecurityLevel::Bits256 => "256",
        };
        Some(clap::builder::PossibleValue::new(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_they_are_written() {
        for level in SecurityLevel::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            let json = serde_json::to_string(&level).unwrap();
            assert_eq!((json.as_str(), serde_json::from_str(&json).unwrap()), (&*level.to_string(), level));
        }
        for bad in ["100", "-98", "", "128 bits"] {
            assert_eq!(bad.parse::<SecurityLevel>(), Err(UnknownSecurityLevel(bad.into())));
        }
        let error = serde_json::from_str::<SecurityLevel>("100").unwrap_err().to_string();
        assert!(error.contains("no security level `100`; known are 98, 128, 192 and 256"), "{error}");
    }

    #[cfg(feature = "clap")]
    #[test]
    fn arguments_are_levels_as_they_are_written() {
        for level in SecurityLevel::ALL {
            let value = clap::ValueEnum::to_possible_value(&level).unwrap();
            assert_eq!(value.get_name(), level.to_string());
        }
    }

    #[test]
    fn the_table_knows_every_level() {
        for level in SecurityLevel::ALL {
            let secret = fhec_ir::params::Secret::UniformTernary;
            assert!(fhec_ir::security::max_log_qp(16, secret, level.bits()).is_ok(), "{level}");
        }
    }
}
