//! Settings that were found to be sound.

use super::{ConfigError, ConfigProblem, Order, Overflow, Settings};
use crate::hooks::Hooks;

/// A checked configuration, which many connections may share.
///
/// Its values are in range, ordered and not absurd: no arithmetic on them with an
/// [`Instant`](crate::Instant) overflows. `Config::default()` is every default and no hook.
#[derive(Clone, Debug, Default)]
pub struct Config {
    settings: Settings,
    hooks: Hooks,
}

impl Config {
    /// Checks `settings`, and `hooks` against each other.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key that has an impossible value, in the order in which
    /// [`Settings`] lists them.
    pub fn new(settings: Settings, hooks: Hooks) -> Result<Self, ConfigError> {
        settings.check()?;
        hooks.check()?;
        if settings.outbound.when_full == Overflow::Coalesce && hooks.coalesce.is_none() {
            return Err(ConfigError {
                key: "outbound.when_full".to_owned(),
                problem: ConfigProblem::NothingToCoalesce,
            });
        }
        if settings.processor.order == Order::PerKey && hooks.per_key.is_none() {
            return Err(ConfigError {
                key: "processor.order".to_owned(),
                problem: ConfigProblem::NothingToOrderBy,
            });
        }
        Ok(Self { settings, hooks })
    }

    /// What is configured as data.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is configured as code.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }
}
