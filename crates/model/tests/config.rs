//! `config.json` of each family, old style and new, and every way it can be wrong.

use proptest::prelude::*;
use serde_json::{Value, json};
use thinktune_model::spec::{Family, Llama3Scaling};
use thinktune_model::{Dtype, ModelSpec};

/// Llama-3.2-3B's, as the hub has it.
fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false, "head_dim": 128,
        "hidden_act": "silu", "hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 131072,
        "mlp_bias": false, "num_attention_heads": 24, "num_hidden_layers": 28, "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": true, "vocab_size": 128256,
        "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        "torch_dtype": "bfloat16", "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009]
    })
}

fn with(mut config: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn without(mut config: Value, key: &str) -> Value {
    config.as_object_mut().unwrap().remove(key);
    config
}

fn read(config: &Value) -> ModelSpec {
    ModelSpec::from_json(&config.to_string()).unwrap()
}

#[track_caller]
fn refuses(config: &Value, parts: &[&str]) {
    let message = ModelSpec::from_json(&config.to_string()).unwrap_err().to_string();
    assert!(message.starts_with("config.json: "), "{message}");
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

#[test]
fn llama_3_2() {
    let spec = read(&llama());
    let expected = ModelSpec {
        family: Family::Llama,
        vocab_size: 128_256,
        width: 3072,
        layers: 28,
        heads: 24,
        kv_heads: 8,
        head_dim: 128,
        ffn: 8192,
        rope_theta: 500_000.0,
        rope_scaling: Some(Llama3Scaling {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192,
        }),
        norm_eps: 1e-5,
        qkv_bias: false,
        qk_norm: false,
        tied_head: true,
        context: 131_072,
    };
    assert_eq!(spec, expected);
    assert_eq!(spec.parameters(), 3_212_749_824);
}

#[test]
fn newer_files_put_rope_into_rope_parameters() {
    let scaling = with(llama()["rope_scaling"].clone(), json!({"rope_theta": 500_000.0}));
    let newer =
        with(without(without(llama(), "rope_scaling"), "rope_theta"), json!({"rope_parameters": scaling}));
    assert_eq!(read(&newer), read(&llama()));
    let plain = with(newer, json!({"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}));
    assert_eq!((read(&plain).rope_theta, read(&plain).rope_scaling), (1e6, None));
}

#[test]
fn absent_keys_mean_what_transformers_takes_them_to_mean() {
    let keys = [
        "head_dim",
        "num_key_value_heads",
        "rope_theta",
        "rope_scaling",
        "rms_norm_eps",
        "tie_word_embeddings",
    ];
    let bare = keys.into_iter().chain(["max_position_embeddings", "hidden_act"]).fold(llama(), without);
    let spec = read(&bare);
    assert_eq!((spec.head_dim, spec.kv_heads, spec.context), (128, 24, 2048));
    assert_eq!((spec.rope_theta, spec.norm_eps, spec.tied_head), (10_000.0, 1e-6, false));
    let named = |name: &str, architecture: &str| {
        read(&with(
            bare.clone(),
            json!({"model_type": name, "architectures": [architecture], "num_attention_heads": 32}),
        ))
    };
    let mistral = named("mistral", "MistralForCausalLM");
    assert_eq!((mistral.kv_heads, mistral.head_dim, mistral.context), (8, 96, 4096));
    assert_eq!(named("qwen2", "Qwen2ForCausalLM").context, 32_768);
    assert_eq!(named("qwen3", "Qwen3ForCausalLM").head_dim, 128);
    let by_architecture = read(&without(llama(), "model_type"));
    assert_eq!(by_architecture.family, Family::Llama);
}

#[test]
fn families_differ_in_biases_and_norms() {
    for (name, architecture, bias, norm) in [
        ("mistral", "Mistral", false, false),
        ("qwen2", "Qwen2", true, false),
        ("qwen3", "Qwen3", false, true),
    ] {
        let architecture = format!("{architecture}ForCausalLM");
        let spec = read(&with(llama(), json!({"model_type": name, "architectures": [architecture]})));
        assert_eq!((spec.qkv_bias, spec.qk_norm), (bias, norm), "{name}");
    }
}

#[test]
fn a_sliding_window_bounds_the_context() {
    let mistral = with(llama(), json!({"model_type": "mistral", "architectures": ["MistralForCausalLM"]}));
    let context = |changes: Value| read(&with(mistral.clone(), changes)).context;
    assert_eq!(context(json!({"sliding_window": 4096})), 4096);
    assert_eq!(context(json!({"sliding_window": 1_000_000})), 131_072);
    assert_eq!(context(json!({"sliding_window": null})), 131_072);
    let qwen = with(llama(), json!({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}));
    let context = |changes: Value| read(&with(qwen.clone(), changes)).context;
    assert_eq!(context(json!({"sliding_window": 100, "use_sliding_window": false})), 131_072);
    assert_eq!(context(json!({"sliding_window": 100, "use_sliding_window": true})), 100);
}

#[test]
fn what_is_written_is_read_back() {
    let mut configs = vec![llama()];
    for (name, architecture) in [("mistral", "Mistral"), ("qwen2", "Qwen2"), ("qwen3", "Qwen3")] {
        let named = json!({"model_type": name, "architectures": [format!("{architecture}ForCausalLM")],
            "sliding_window": 77, "rope_scaling": null, "tie_word_embeddings": false, "rms_norm_eps": 1e-6});
        configs.push(with(llama(), named));
    }
    for config in configs {
        let spec = read(&config);
        let dir = tempfile::tempdir().unwrap();
        spec.write_config(dir.path(), Dtype::Bf16, Some(1), &[2, 3]).unwrap();
        assert_eq!(ModelSpec::from_dir(dir.path()).unwrap(), spec);
        let text = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
        let written: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written["torch_dtype"], "bfloat16");
        assert_eq!((&written["bos_token_id"], &written["eos_token_id"]), (&json!(1), &json!([2, 3])));
        assert_eq!(written["rms_norm_eps"].to_string(), config["rms_norm_eps"].to_string());
    }
}

#[test]
fn a_spec_its_family_cannot_have_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let odd = ModelSpec { qkv_bias: true, ..read(&llama()) };
    let message = odd.write_config(dir.path(), Dtype::F32, None, &[]).unwrap_err().to_string();
    assert!(message.contains("llama configuration has qkv_bias false"), "{message}");
    let odd = ModelSpec { kv_heads: 7, ..read(&llama()) };
    let message = odd.write_config(dir.path(), Dtype::F32, None, &[]).unwrap_err().to_string();
    assert!(message.contains("`num_key_value_heads` is 7"), "{message}");
}

#[test]
fn impossible_sizes_are_named() {
    for key in ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]
    {
        refuses(&without(llama(), key), &[&format!("`{key}` is missing"), "positive integer"]);
        for bad in [json!(0), json!(-3), json!(2.5), json!("12"), json!([1]), json!(1e300)] {
            refuses(
                &with(llama(), json!({ key: bad })),
                &[&format!("`{key}` is {bad}"), "expected a positive integer"],
            );
        }
        refuses(
            &with(llama(), json!({ key: u64::MAX })),
            &[&format!("`{key}` is {}", u64::MAX), "expected an integer"],
        );
    }
    refuses(
        &with(llama(), json!({"num_key_value_heads": 7})),
        &["`num_key_value_heads` is 7", "divisor", "= 24"],
    );
    refuses(&with(llama(), json!({"num_key_value_heads": 0})), &["`num_key_value_heads` is 0"]);
    refuses(&with(llama(), json!({"head_dim": 33})), &["`head_dim` is 33", "even"]);
    refuses(&with(llama(), json!({"max_position_embeddings": 0})), &["`max_position_embeddings` is 0"]);
    refuses(
        &with(without(llama(), "head_dim"), json!({"num_attention_heads": 7, "num_key_value_heads": 7})),
        &["`hidden_size` is 3072", "multiple of `num_attention_heads` = 7"],
    );
    for bad in [json!(0), json!(-1e-5), json!("x"), json!(1e-60)] {
        refuses(
            &with(llama(), json!({"rms_norm_eps": bad})),
            &["`rms_norm_eps` is", "expected a positive number"],
        );
    }
    refuses(&with(llama(), json!({"rope_theta": 0.0})), &["`rope_theta` is 0.0"]);
    refuses(
        &with(llama(), json!({"tie_word_embeddings": "yes"})),
        &["`tie_word_embeddings` is \"yes\"", "true or false"],
    );
}

#[test]
fn sizes_that_are_possible_alone_but_not_together_are_named() {
    let huge = json!({"hidden_size": 1 << 30, "intermediate_size": 1 << 30, "num_hidden_layers": 4000});
    refuses(&with(llama(), huge), &["`hidden_size` 1073741824", "ask for more than", "parameters"]);
    let heads = json!({"num_attention_heads": 1 << 30, "num_key_value_heads": 1 << 30, "head_dim": 1 << 30});
    refuses(&with(llama(), heads), &["`head_dim` 1073741824", "ask for more than"]);
}

#[test]
fn what_is_not_supported_is_said_not_ignored() {
    let known = "llama, mistral, qwen2, qwen3";
    refuses(&with(llama(), json!({"model_type": "gpt2"})), &["`model_type` is \"gpt2\"", known]);
    refuses(
        &with(llama(), json!({"architectures": ["LlamaForSequenceClassification"]})),
        &["LlamaForSequenceClassification", "expected `LlamaForCausalLM`"],
    );
    let unnamed = without(llama(), "model_type");
    refuses(
        &with(unnamed.clone(), json!({"architectures": ["GPT2LMHeadModel"]})),
        &["GPT2LMHeadModel", "Qwen3ForCausalLM"],
    );
    refuses(&without(unnamed, "architectures"), &["neither `model_type` nor `architectures`", known]);
    refuses(&with(llama(), json!({"hidden_act": "gelu"})), &["`hidden_act` is \"gelu\"", "silu"]);
    refuses(&with(llama(), json!({"attention_bias": true})), &["`attention_bias` is true", "not supported"]);
    refuses(&with(llama(), json!({"mlp_bias": true})), &["`mlp_bias` is true"]);
    refuses(
        &with(llama(), json!({"quantization_config": {"quant_method": "gptq"}})),
        &["quantized", "gptq", "bf16"],
    );
    refuses(&with(llama(), json!({"partial_rotary_factor": 0.5})), &["`partial_rotary_factor` is 0.5"]);
    refuses(&json!([1, 2]), &["expected a JSON object, found [1,2]"]);
    let message = ModelSpec::from_json("{\"a\": ").unwrap_err().to_string();
    assert!(message.contains("not valid JSON"), "{message}");
}

#[test]
fn rope_settings_are_checked() {
    let rope = |scaling: Value| with(llama(), json!({"rope_scaling": scaling}));
    let llama3 = llama()["rope_scaling"].clone();
    for kind in ["yarn", "linear", "dynamic", "longrope"] {
        let parts = [&format!("`rope_scaling.rope_type` is \"{kind}\"")[..], "default, llama3"];
        refuses(&rope(json!({"rope_type": kind, "factor": 2.0})), &parts);
        refuses(&rope(json!({"type": kind, "factor": 2.0})), &parts);
    }
    refuses(&rope(json!({"factor": 2.0})), &["`rope_scaling` is", "`rope_type`"]);
    refuses(&rope(json!(8.0)), &["`rope_scaling` is 8.0", "an object"]);
    for key in ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"] {
        refuses(&rope(without(llama3.clone(), key)), &[key]);
        refuses(&rope(with(llama3.clone(), json!({ key: -1 }))), &[key, "-1"]);
    }
    refuses(
        &rope(with(llama3, json!({"high_freq_factor": 1.0}))),
        &["`high_freq_factor` is 1, expected more than"],
    );
}

proptest! {
    /// Whatever numbers stand in a file, reading it ends in a spec or an error, and a spec can be laid out.
    #[test]
    fn no_sizes_make_it_panic(sizes in proptest::collection::vec(any_size(), 7)) {
        let keys = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "head_dim"];
        let changes: serde_json::Map<String, Value> =
            keys.iter().zip(sizes).map(|(key, size)| ((*key).to_owned(), json!(size))).collect();
        if let Ok(spec) = ModelSpec::from_json(&with(llama(), Value::Object(changes)).to_string()) {
            prop_assert!(spec.parameters() > 0);
            prop_assert!(spec.parameters() < 1 << 47);
        }
    }
}

fn any_size() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..200, 1u64 << 30..1 << 31, any::<u64>()]
}
