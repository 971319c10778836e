//! `guidance.teacher`: a name, or a table that says where a server is.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thinktune_remote::RemoteSettings;

/// Who helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Teacher {
    /// "initial", or a model in this process.
    Named(String),
    /// A model behind a server.
    Remote(RemoteSettings),
}

impl<'de> Deserialize<'de> for Teacher {
    /// By the kind of value, so that an error speaks of the table's own keys.
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Teacher;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a model's name, or { url = \"..\", model = \"..\" }")
            }

            fn visit_str<E>(self, name: &str) -> Result<Teacher, E> {
                Ok(Teacher::Named(name.into()))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Teacher, M::Error> {
                RemoteSettings::deserialize(MapAccessDeserializer::new(map)).map(Teacher::Remote)
            }
        }

        input.deserialize_any(Either)
    }
}
