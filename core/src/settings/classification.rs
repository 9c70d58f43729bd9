//! Exceptions to the classification of ends.

use std::collections::BTreeMap;

#[cfg(feature = "serde")]
use super::text;
use crate::classify::Class;

/// What is to follow from particular close codes and HTTP statuses, where a server means something else
/// by them than most do. What is not named here keeps its place in the default table. Default: empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct ClassificationSettings {
    /// By close code: those that a peer may send (RFC 6455 §7.4), and 1005 and 1006 for a close frame
    /// without a code and a connection that ended without one.
    #[cfg_attr(feature = "serde", serde(with = "text::by_number"))]
    pub close: BTreeMap<u16, Class>,
    /// By the status, from 200 to 999, of an upgrade response that was not 101.
    #[cfg_attr(feature = "serde", serde(with = "text::by_number"))]
    pub status: BTreeMap<u16, Class>,
}
