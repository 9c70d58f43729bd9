//! Settings that were found to be sound.

use std::sync::Arc;

use super::{ConfigError, ConfigProblem, Order, Overflow, Settings};
use crate::hooks::Hooks;

/// A checked configuration, which many connections may share.
///
/// Its values are in range, ordered and not absurd: no arithmetic on them with an
/// [`Instant`](crate::Instant) overflows. `Config::default()` is every default and no hook.
#[derive(Clone, Debug, Default)]
pub struct Config {
    settings: Arc<Settings>,
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
        let settings = Arc::new(settings);
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

    /// Whether both are known to say the same. No code is known to do what other code does, so a configuration with a hook
    /// equals none, not even itself.
    pub fn is_known_to_equal(&self, other: &Self) -> bool {
        let (hooks, others) = (&self.hooks, &other.hooks);
        self.settings == other.settings
            && hooks.numbered_after == others.numbered_after
            && hooks.provider == others.provider
            && !hooks.have_code()
            && !others.have_code()
    }

    /// Keeps no settings of its own if they equal those of `other`: then both keep the same.
    pub fn share_settings(&mut self, other: &Self) {
        if self.settings == other.settings {
            self.settings = Arc::clone(&other.settings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::{Decode, Provider, ReadyStep, Template};

    fn with_items(items_max: usize) -> Config {
        let mut settings = Settings::default();
        settings.outbound.items_max = items_max;
        Config::new(settings, Hooks::default()).unwrap()
    }

    #[test]
    fn only_settings_that_are_equal_are_shared() {
        let first = with_items(10);
        let (mut equal, mut different) = (with_items(10), with_items(11));
        equal.share_settings(&first);
        different.share_settings(&first);
        assert!(Arc::ptr_eq(&equal.settings, &first.settings));
        assert_eq!(different.settings().outbound.items_max, 11);
    }

    #[test]
    fn configurations_are_equal_if_they_are_data_alone_and_the_same() {
        let first = with_items(10);
        assert!(first.is_known_to_equal(&with_items(10)));
        assert!(!first.is_known_to_equal(&with_items(11)));
        let with = |hooks| Config::new(first.settings().clone(), hooks).unwrap();
        let others = [
            Hooks {
                numbered_after: 1,
                ..Hooks::default()
            },
            Hooks {
                provider: Provider::PerAttempt,
                ..Hooks::default()
            },
            Hooks {
                decode: Some(Decode::new(|_| Ok(()))),
                ..Hooks::default()
            },
            Hooks {
                ready: vec![ReadyStep::Send(Template::parse("hello").unwrap())],
                ..Hooks::default()
            },
        ];
        for hooks in others {
            let other = with(hooks);
            assert!(!first.is_known_to_equal(&other), "{other:?}");
            assert!(!other.is_known_to_equal(&first), "{other:?}");
        }
    }
}
