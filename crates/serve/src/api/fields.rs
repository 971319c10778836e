//! The fields of a request's JSON object, each checked under its name. Unknown fields are passed over, because clients
//! send many. A field that would change the answer and is not supported is refused.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ApiError;
use axum::http::StatusCode;

/// A request's fields.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let bad = |what: String| {
            ApiError::new(StatusCode::BAD_REQUEST, format!("the body {what}")).code("invalid_json")
        };
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(bad("is JSON, but no object: expected {\"model\": .., ..}".into())),
            Err(error) => Err(bad(format!("is not JSON: {error}"))),
        }
    }

    /// The value of a field; none where it is absent or null.
    pub(crate) fn raw(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// The value of a field as a type.
    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        T::deserialize(value).map(Some).map_err(|error| ApiError::field(name, format!("{name}: {error}")))
    }

    /// A whole number in a range.
    pub(crate) fn count(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, ApiError> {
        let found = self.get::<usize>(name)?;
        match found.filter(|value| !range.contains(value)) {
            Some(value) => {
                let (low, high) = (range.start(), range.end());
                Err(ApiError::field(name, format!("{name} = {value}: expected {low} to {high}")))
            }
            None => Ok(found),
        }
    }

    /// Refuses fields that are not supported, unless their value asks for nothing.
    pub(crate) fn refuse_unsupported(&self) -> Result<(), ApiError> {
        let nothing = |value: &Value| match value {
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty() || map.get("type").is_some_and(|kind| kind == "text"),
            Value::String(text) => text.is_empty() || text == "none" || text == "auto",
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::Bool(wanted) => !wanted,
            Value::Null => true,
        };
        const NAMES: [&str; 10] = [
            "presence_penalty",
            "frequency_penalty",
            "logit_bias",
            "suffix",
            "tools",
            "tool_choice",
            "functions",
            "function_call",
            "response_format",
            "prompt_logprobs",
        ];
        let asked = NAMES.iter().find(|name| self.raw(name).is_some_and(|value| !nothing(value)));
        match asked {
            Some(name) => Err(ApiError::field(name, format!("{name} is not supported by this server"))
                .code("unsupported_parameter")),
            None => Ok(()),
        }
    }
}
