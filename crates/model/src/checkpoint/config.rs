//! `config.json` to [`ModelSpec`] and back. Every size is checked here, so that nothing below can
//! divide by zero, overflow, or ask for more memory than an address space holds.

mod fields;
mod sizes;

use std::path::Path;

use serde_json::{Map, Value, json};
use thinktune_policy::ModelError;
use thinktune_policy::model_files::{CONFIG_FILE, brief, parse_object};

use super::dtype::Dtype;
use crate::families::{FAMILIES, FamilyFacts, Window};
use crate::spec::{Llama3Scaling, ModelSpec};
use fields::Fields;
pub(crate) use fields::{read_config, write_json};

impl ModelSpec {
    /// Reads `config.json` of a model directory.
    ///
    /// # Errors
    /// A missing directory or file, JSON that does not parse, an unsupported family or feature, an impossible size.
    pub fn from_dir(dir: &Path) -> Result<Self, ModelError> {
        let map = read_config(dir)?;
        Self::parse(&Fields { path: &dir.join(CONFIG_FILE), map: &map })
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// As [`ModelSpec::from_dir`].
    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        let path = Path::new(CONFIG_FILE);
        let map = parse_object(path, text)?;
        Self::parse(&Fields { path, map: &map })
    }

    /// Writes a `config.json` that transformers opens. `eos` may hold several ids.
    ///
    /// # Errors
    /// A spec that is impossible or that its family's configuration cannot express, or a file that cannot be written.
    pub fn write_config(
        &self,
        dir: &Path,
        dtype: Dtype,
        bos: Option<u32>,
        eos: &[u32],
    ) -> Result<(), ModelError> {
        self.check()?;
        let defaults = FamilyFacts::of(self.family);
        if (self.qkv_bias, self.qk_norm) != (defaults.qkv_bias, defaults.qk_norm) {
            return Err(ModelError::BadInput(format!(
                "a {} configuration has qkv_bias {} and qk_norm {}; this model has {} and {}",
                defaults.model_type, defaults.qkv_bias, defaults.qk_norm, self.qkv_bias, self.qk_norm
            )));
        }
        write_json(&dir.join(CONFIG_FILE), &Value::Object(self.to_config(dtype, bos, eos)))
    }

    fn parse(fields: &Fields<'_>) -> Result<Self, ModelError> {
        let facts = family(fields)?;
        refuse_unsupported(fields)?;
        let heads = fields.size("num_attention_heads")?;
        let width = fields.size("hidden_size")?;
        let spec = Self {
            family: facts.family,
            vocab_size: fields.size("vocab_size")?,
            width,
            layers: fields.size("num_hidden_layers")?,
            heads,
            kv_heads: kv_heads(fields, facts, heads)?,
            head_dim: head_dim(fields, facts, width, heads)?,
            ffn: fields.size("intermediate_size")?,
            rope_theta: rope_theta(fields)?,
            rope_scaling: rope_scaling(fields)?,
            norm_eps: fields.positive("rms_norm_eps")?.unwrap_or(1e-6) as f32,
            qkv_bias: facts.qkv_bias,
            qk_norm: facts.qk_norm,
            tied_head: fields.flag("tie_word_embeddings")?,
            context: context(fields, facts)?,
        };
        match spec.first_fault() {
            Some(fault) => Err(ModelError::bad_file(fields.path, fault)),
            None => Ok(spec),
        }
    }

    fn to_config(&self, dtype: Dtype, bos: Option<u32>, eos: &[u32]) -> Map<String, Value> {
        let facts = FamilyFacts::of(self.family);
        let eos = match eos {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        };
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        put("architectures", json!([facts.architecture]));
        put("model_type", json!(facts.model_type));
        put("torch_dtype", json!(dtype.torch_name()));
        put("bos_token_id", json!(bos));
        put("eos_token_id", eos);
        put("vocab_size", json!(self.vocab_size));
        put("hidden_size", json!(self.width));
        put("intermediate_size", json!(self.ffn));
        put("num_hidden_layers", json!(self.layers));
        put("num_attention_heads", json!(self.heads));
        put("num_key_value_heads", json!(self.kv_heads));
        put("head_dim", json!(self.head_dim));
        put("hidden_act", json!("silu"));
        put("max_position_embeddings", json!(self.context));
        put("rms_norm_eps", json!(shortest_f64(self.norm_eps)));
        put("rope_theta", json!(self.rope_theta));
        put("rope_scaling", self.rope_scaling.map_or(Value::Null, scaling_to_json));
        put("tie_word_embeddings", json!(self.tied_head));
        match FamilyFacts::of(self.family).window_use {
            Window::Never => put("attention_bias", json!(false)),
            Window::Always => put("sliding_window", Value::Null),
            Window::Switched => put("use_sliding_window", json!(false)),
        };
        map
    }
}

fn family(fields: &Fields<'_>) -> Result<&'static FamilyFacts, ModelError> {
    let known = || FAMILIES.iter().map(|facts| facts.model_type).collect::<Vec<_>>().join(", ");
    let architecture = fields.get("architectures").and_then(|list| list.get(0));
    if let Some(model_type) = fields.get("model_type") {
        let facts = FAMILIES.iter().find(|facts| model_type == facts.model_type).ok_or_else(|| {
            fields.error("model_type", model_type, &format!("a supported family: {}", known()))
        })?;
        return match architecture {
            Some(named) if named != facts.architecture => {
                Err(fields.error("architectures", named, &format!("`{}`", facts.architecture)))
            }
            _ => Ok(facts),
        };
    }
    let Some(named) = architecture else {
        let message =
            format!("neither `model_type` nor `architectures` is given; supported families: {}", known());
        return Err(ModelError::bad_file(fields.path, message));
    };
    FAMILIES.iter().find(|facts| named == facts.architecture).ok_or_else(|| {
        let names = FAMILIES.iter().map(|facts| facts.architecture).collect::<Vec<_>>().join(", ");
        fields.error("architectures", named, &format!("a supported architecture: {names}"))
    })
}

/// Features that would change the numbers if they were ignored.
fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), ModelError> {
    if let Some(act) = fields.get("hidden_act").filter(|act| *act != "silu") {
        return Err(fields.error("hidden_act", act, "\"silu\", the only activation supported"));
    }
    for key in ["attention_bias", "mlp_bias"] {
        if fields.flag(key)? {
            let message =
                format!("`{key}` is true; checkpoints with these biases are not supported, expected false");
            return Err(ModelError::bad_file(fields.path, message));
        }
    }
    if let Some(config) = fields.object("quantization_config")? {
        let method = config.get("quant_method").map_or_else(|| "an unnamed method".to_owned(), brief);
        let message = format!(
            "`quantization_config` is present ({method}); quantized weights are not supported, \
             use the original f32, bf16 or f16 checkpoint"
        );
        return Err(ModelError::bad_file(fields.path, message));
    }
    match fields.positive("partial_rotary_factor")? {
        Some(part) if part != 1.0 => {
            Err(ModelError::bad_file(fields.path, format!("`partial_rotary_factor` is {part}, expected 1")))
        }
        _ => Ok(()),
    }
}

fn kv_heads(fields: &Fields<'_>, facts: &FamilyFacts, heads: usize) -> Result<usize, ModelError> {
    let absent = !fields.map.contains_key("num_key_value_heads");
    let default = facts.kv_heads.filter(|_| absent).unwrap_or(heads);
    Ok(fields.optional_size("num_key_value_heads")?.unwrap_or(default))
}

fn head_dim(
    fields: &Fields<'_>,
    facts: &FamilyFacts,
    width: usize,
    heads: usize,
) -> Result<usize, ModelError> {
    match fields.optional_size("head_dim")?.or(facts.head_dim) {
        Some(size) => Ok(size),
        None if width.is_multiple_of(heads) => Ok(width / heads),
        None => Err(ModelError::bad_file(
            fields.path,
            format!(
                "`hidden_size` is {width}, expected a multiple of `num_attention_heads` = {heads} (or a `head_dim`)"
            ),
        )),
    }
}

/// Full attention is exact as long as no token looks further back than the window, so the window bounds the context.
fn context(fields: &Fields<'_>, facts: &FamilyFacts) -> Result<usize, ModelError> {
    let positions = fields.optional_size("max_position_embeddings")?.unwrap_or(facts.context);
    let slides = match facts.window_use {
        Window::Never => false,
        Window::Always => true,
        Window::Switched => fields.flag("use_sliding_window")?,
    };
    let absent = !fields.map.contains_key("sliding_window");
    let window = fields.optional_size("sliding_window")?.or(facts.window.filter(|_| absent));
    Ok(window.filter(|_| slides).map_or(positions, |window| window.min(positions)))
}

/// Rope settings stand in `rope_parameters` (newer files) or in `rope_scaling` beside `rope_theta`.
fn rope_fields<'a>(fields: &'a Fields<'_>) -> Result<Option<(&'static str, Fields<'a>)>, ModelError> {
    for key in ["rope_parameters", "rope_scaling"] {
        if let Some(found) = fields.object(key)? {
            return Ok(Some((key, found)));
        }
    }
    Ok(None)
}

fn rope_theta(fields: &Fields<'_>) -> Result<f64, ModelError> {
    let nested = match rope_fields(fields)? {
        Some((_, rope)) => rope.positive("rope_theta")?,
        None => None,
    };
    Ok(nested.or(fields.positive("rope_theta")?).unwrap_or(10_000.0))
}

fn rope_scaling(fields: &Fields<'_>) -> Result<Option<Llama3Scaling>, ModelError> {
    let Some((key, rope)) = rope_fields(fields)? else { return Ok(None) };
    let Some(kind) = rope.get("rope_type").or(rope.get("type")) else {
        let only_theta = rope.map.keys().all(|key| key == "rope_theta");
        let expected = "an object with `rope_type` \"default\" or \"llama3\"";
        return if only_theta { Ok(None) } else { Err(fields.error(key, &fields.map[key], expected)) };
    };
    match kind.as_str() {
        Some("default") => Ok(None),
        Some("llama3") => llama3_scaling(&rope, fields).map(Some),
        _ => Err(fields.error(
            &format!("{key}.rope_type"),
            kind,
            "one of the rope types supported: default, llama3",
        )),
    }
}

fn llama3_scaling(rope: &Fields<'_>, fields: &Fields<'_>) -> Result<Llama3Scaling, ModelError> {
    let need = |key: &str| {
        rope.positive(key)?.ok_or_else(|| {
            ModelError::bad_file(fields.path, format!("llama3 rope scaling lacks `{key}`, a positive number"))
        })
    };
    let original = "original_max_position_embeddings";
    let scaling = Llama3Scaling {
        factor: need("factor")?,
        low_freq_factor: need("low_freq_factor")?,
        high_freq_factor: need("high_freq_factor")?,
        original_context: match rope.optional_size(original)?.or(fields.optional_size(original)?) {
            Some(size) => size,
            None => rope.size(original)?,
        },
    };
    if scaling.high_freq_factor <= scaling.low_freq_factor {
        let message = format!(
            "`high_freq_factor` is {}, expected more than `low_freq_factor` = {}",
            scaling.high_freq_factor, scaling.low_freq_factor
        );
        return Err(ModelError::bad_file(fields.path, message));
    }
    Ok(scaling)
}

fn scaling_to_json(scaling: Llama3Scaling) -> Value {
    json!({
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "original_max_position_embeddings": scaling.original_context,
    })
}

/// The decimal a reader expects: 1e-5, not 0.000009999999747378752.
fn shortest_f64(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
