//! The macro that defines metrics, and what it says of each field.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// A record whose fields are numbers with a unit and a meaning.
pub trait Metrics: Serialize + DeserializeOwned {
    /// Each field, in the order of the JSON object.
    const FIELDS: &'static [Field];

    /// The sentence that says what the record is.
    fn meaning() -> &'static str;
}

/// A field of a record: its name in the JSON object, its unit and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Key in the JSON object.
    pub name: &'static str,
    /// Unit of the value.
    pub unit: Unit,
    /// The sentences that document it, as they are written in the code.
    pub(super) doc: &'static str,
}

impl Field {
    /// The sentences that say what the field is.
    pub fn meaning(&self) -> &'static str {
        self.doc.trim_start()
    }
}

/// Unit of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Number of a training step or update.
    Step,
    /// Number of things.
    Count,
    /// Numbers of things, by name.
    CountByReason,
    /// Fraction between 0 and 1.
    Share,
    /// Points of the reward: 1 for a correct answer, without shaping.
    Reward,
    /// Tokens.
    Tokens,
    /// Natural units of information.
    Nats,
    /// Seconds of wall clock.
    Seconds,
    /// Tokens per second of wall clock.
    TokensPerSecond,
    /// A number without a unit.
    Plain,
    /// A name.
    Text,
    /// A record within the record, with fields of its own.
    Record,
}

impl Unit {
    /// The unit in words; empty where there is none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Count => "count",
            Self::CountByReason => "count by reason",
            Self::Share => "share",
            Self::Reward => "reward",
            Self::Tokens => "tokens",
            Self::Nats => "nats",
            Self::Seconds => "seconds",
            Self::TokensPerSecond => "tokens/second",
            Self::Plain | Self::Text | Self::Record => "",
        }
    }
}

/// The value of a number that an earlier program did not write.
pub(super) fn not_computed() -> f64 {
    f64::NAN
}

/// A type that a field may have.
pub(super) trait Value: DeserializeOwned {
    /// Reads a value from JSON.
    fn read<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Self::deserialize(input)
    }
}

impl Value for u64 {}
impl Value for String {}
impl Value for BTreeMap<String, u64> {}
impl Value for super::PhaseTiming {}
impl Value for BTreeMap<String, super::BehaviourMetrics> {}

impl Value for f64 {
    /// A number that could not be computed is NaN here and `null` in JSON.
    fn read<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Ok(Option::<f64>::deserialize(input)?.unwrap_or(f64::NAN))
    }
}

/// Defines records of metrics. Each field is its documentation, `pub NAME: TYPE = UNIT,`, and before it, where an
/// earlier program did not write it, `#[serde(default)]`.
macro_rules! metrics {
    ($(
        $(#[doc = $meaning:literal])+
        $(#[derive($($derived:ident),+)])?
        pub struct $record:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)+)])?
                pub $name:ident: $type:ty = $unit:ident,
            )+
        }
    )+) => {$(
        $(#[doc = $meaning])+
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize $($(, $derived)+)?)]
        pub struct $record {
            $(
                $(#[doc = $doc])+
                #[serde(deserialize_with = "super::field::Value::read")]
                $(#[serde($($serde)+)])?
                pub $name: $type,
            )+
        }

        impl Metrics for $record {
            const FIELDS: &'static [super::Field] = &[$(super::Field {
                name: stringify!($name),
                unit: super::Unit::$unit,
                doc: concat!($($doc),+),
            }),+];

            fn meaning() -> &'static str {
                concat!($($meaning),+).trim_start()
            }
        }
    )+};
}
pub(super) use metrics;
