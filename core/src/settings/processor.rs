//! How a connection's processor is called.

/// How many calls of a processor may run at once, and in which order it gets its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct ProcessorSettings {
    /// How many calls may run at once where the [`order`](Self::order) allows more than one.
    pub workers: WorkerBounds,
    /// What is kept in order. Default: [`Order::Strict`].
    pub order: Order,
}

/// Between how many calls at once a connection adapts to its processor.
///
/// One more is tried when messages wait for want of a call and the latency of calls is not above its mean; a tenth
/// fewer when latency rises by 2.5 deviations. After five seconds without a call it begins at `min` again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct WorkerBounds {
    /// The least. Default: 1. More spares a busy connection the first steps of its growth.
    pub min: u16,
    /// The most. Default: 4; at most 256. Each running call holds its batch, beside what waits.
    pub max: u16,
}

impl Default for WorkerBounds {
    fn default() -> Self {
        Self { min: 1, max: 4 }
    }
}

/// What a processor's messages keep of the order in which they arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Order {
    /// All of it: one call at a time, and a message that is to be tried again holds back what came after it. The
    /// default.
    #[default]
    Strict,
    /// That among messages of one key ([`Hooks::per_key`](crate::Hooks::per_key)). Keys are spread over as many lanes as there
    /// may be [workers](WorkerBounds::max): calls of different lanes run at once, and what is to be tried again holds back its lane only.
    PerKey,
    /// Nothing: calls run at once, and what is to be tried again holds back nothing.
    None,
}
