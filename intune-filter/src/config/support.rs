//! What this version reads but does not do. Such a setting is refused, never silently accepted:
//! when its data plane is there, its line here goes.

use super::{Config, ConfigError};

/// Every setting of `config` that has no effect in this version.
pub(super) fn refusals(config: &Config) -> Vec<ConfigError> {
    let mut refused = Vec::new();
    let mut refuse = |key: String, what: &str, instead: &str| {
        let message = format!("{what} is not supported by this version, expected {instead}");
        refused.push(config.error(key, message));
    };
    if config.warm_up.0 != 0 {
        refuse("warm_up".to_owned(), "warm-up", "0s or no such key");
    }
    refused
}
