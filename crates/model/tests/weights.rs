//! Weights on disk: what is written is read back, and what is not right is named.

use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;
use thinktune_model::spec::Family;
use thinktune_model::{Dtype, ModelSpec, Params, copy_config, copy_side_files, load_params, save_params};
use thinktune_policy::model_files::{INDEX_FILE, WEIGHTS_FILE};

fn spec(family: Family, tied_head: bool) -> ModelSpec {
    ModelSpec {
        family,
        vocab_size: 11,
        width: 8,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 4,
        ffn: 6,
        rope_theta: 10_000.0,
        rope_scaling: None,
        norm_eps: 1e-5,
        qkv_bias: family == Family::Qwen2,
        qk_norm: family == Family::Qwen3,
        tied_head,
        context: 64,
    }
}

/// Values that every number format holds exactly: small multiples of 1/8.
fn exact_params(spec: ModelSpec) -> Params {
    let mut params = Params::zeros(spec);
    for (at, value) in params.data.iter_mut().enumerate() {
        *value = (at % 61) as f32 / 8.0 - 3.0;
    }
    params
}

fn model_dir(params: &Params, dtype: Dtype) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    params.spec.write_config(dir.path(), dtype, Some(1), &[2]).unwrap();
    save_params(dir.path(), params, dtype).unwrap();
    dir
}

fn error_of(dir: &Path) -> String {
    load_params(dir).unwrap_err().to_string()
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

#[test]
fn every_family_and_dtype_comes_back() {
    for family in [Family::Llama, Family::Mistral, Family::Qwen2, Family::Qwen3] {
        for tied in [false, true] {
            for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
                let params = exact_params(spec(family, tied));
                let dir = model_dir(&params, dtype);
                assert_eq!(load_params(dir.path()).unwrap(), params, "{family:?} tied {tied} {dtype:?}");
            }
        }
    }
}

#[test]
fn f32_keeps_every_bit_and_halves_round_to_nearest_even() {
    let mut params = exact_params(spec(Family::Llama, true));
    params.data[0] = 1.0 + f32::EPSILON;
    params.data[1] = -0.0;
    params.data[2] = f32::from_bits(0x3f80_8000); // halfway between two bf16 neighbours, the lower one even
    params.data[3] = f32::from_bits(0x3f81_8000); // halfway, the upper one even
    let whole = load_params(model_dir(&params, Dtype::F32).path()).unwrap();
    let bits = |params: &Params| params.data[..4].iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&whole), bits(&params));
    let half = load_params(model_dir(&params, Dtype::Bf16).path()).unwrap();
    assert_eq!(bits(&half), [0x3f80_0000, 0x8000_0000, 0x3f80_0000, 0x3f82_0000]);
}

#[test]
fn the_same_weights_give_the_same_bytes() {
    let params = exact_params(spec(Family::Qwen3, false));
    let read = |dir: &TempDir| fs::read(dir.path().join(WEIGHTS_FILE)).unwrap();
    let (first, second) = (model_dir(&params, Dtype::Bf16), model_dir(&params, Dtype::Bf16));
    assert_eq!(read(&first), read(&second));
    let bytes = read(&first);
    let header = String::from_utf8_lossy(&bytes[8..80]);
    assert_says(&header, &[r#""__metadata__":{"format":"pt"}"#]);
}

/// Splits `model.safetensors` of a directory into shards of two tensors and an index.
fn shard(dir: &Path) {
    let bytes = fs::read(dir.join(WEIGHTS_FILE)).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = all.names();
    names.sort();
    let mut map = serde_json::Map::new();
    for (at, chunk) in names.chunks(2).enumerate() {
        let file = format!("model-{at:05}.safetensors");
        let views = chunk.iter().map(|name| (*name, all.tensor(name).unwrap()));
        safetensors::serialize_to_file(views, None, &dir.join(&file)).unwrap();
        map.extend(chunk.iter().map(|name| ((*name).to_owned(), json!(file))));
    }
    fs::write(dir.join(INDEX_FILE), json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    fs::remove_file(dir.join(WEIGHTS_FILE)).unwrap();
}

#[test]
fn shards_give_the_same_parameters_as_one_file() {
    let params = exact_params(spec(Family::Qwen2, false));
    let dir = model_dir(&params, Dtype::F16);
    shard(dir.path());
    assert_eq!(load_params(dir.path()).unwrap(), params);

    let missing = dir.path().join("model-00003.safetensors");
    fs::remove_file(&missing).unwrap();
    assert_says(
        &error_of(dir.path()),
        &["model-00003.safetensors", "not found", INDEX_FILE, "missing shard"],
    );
}

#[test]
fn a_bad_index_is_named() {
    let dir = model_dir(&exact_params(spec(Family::Llama, true)), Dtype::F32);
    fs::remove_file(dir.path().join(WEIGHTS_FILE)).unwrap();
    let with_index = |index: Value| {
        fs::write(dir.path().join(INDEX_FILE), index.to_string()).unwrap();
        error_of(dir.path())
    };
    assert_says(&with_index(json!({})), &[INDEX_FILE, "lacks `weight_map`"]);
    assert_says(&with_index(json!({"weight_map": {}})), &["`weight_map` is empty"]);
    assert_says(&with_index(json!({"weight_map": {"a": 3}})), &["gives 3 for `a`", "safetensors file"]);
    assert_says(&with_index(json!({"weight_map": {"a": "../x"}})), &["../x", "same directory"]);
    assert_says(&with_index(json!([1])), &["expected a JSON object"]);
}

#[test]
fn missing_and_truncated_files_are_named() {
    let dir = model_dir(&exact_params(spec(Family::Llama, true)), Dtype::F32);
    let path = dir.path().join(WEIGHTS_FILE);
    let bytes = fs::read(&path).unwrap();
    for keep in [0, 4, 20, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..keep]).unwrap();
        assert_says(&error_of(dir.path()), &[WEIGHTS_FILE, "truncated or damaged", "copy it again"]);
    }
    fs::write(&path, "<html>not found, but with status 200</html>").unwrap();
    assert_says(&error_of(dir.path()), &["is not a safetensors file"]);
    fs::remove_file(&path).unwrap();
    assert_says(&error_of(dir.path()), &["neither model.safetensors nor model.safetensors.index.json"]);
    fs::write(dir.path().join("pytorch_model.bin"), "x").unwrap();
    assert_says(&error_of(dir.path()), &["pytorch_model.bin is there", "convert it first"]);
    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert_says(&error_of(dir.path()), &["config.json", "not found"]);
}

/// Rewrites the weights of a directory, each tensor as `change` has it; `None` drops it.
fn rewrite(
    dir: &Path,
    change: impl Fn(&str, TensorView<'_>) -> Option<(safetensors::Dtype, Vec<usize>, Vec<u8>)>,
) {
    let bytes = fs::read(dir.join(WEIGHTS_FILE)).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let changed: Vec<_> = all
        .iter()
        .filter_map(|(name, view)| change(name, view).map(|parts| (name.to_owned(), parts)))
        .collect();
    let views = changed
        .iter()
        .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize_to_file(views, None, &dir.join(WEIGHTS_FILE)).unwrap();
}

fn unchanged(view: &TensorView<'_>) -> (safetensors::Dtype, Vec<usize>, Vec<u8>) {
    (view.dtype(), view.shape().to_vec(), view.data().to_vec())
}

const K_PROJ: &str = "model.layers.1.self_attn.k_proj.weight";

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let params = exact_params(spec(Family::Llama, true));
    let dir = model_dir(&params, Dtype::F32);
    rewrite(dir.path(), |name, view| (name != K_PROJ).then(|| unchanged(&view)));
    assert_says(&error_of(dir.path()), &[K_PROJ, "[8, 8]", "incomplete"]);

    let dir = model_dir(&params, Dtype::F32);
    rewrite(dir.path(), |name, view| {
        let (dtype, mut shape, data) = unchanged(&view);
        if name == K_PROJ {
            shape = vec![4, 16];
        }
        Some((dtype, shape, data))
    });
    assert_says(&error_of(dir.path()), &[K_PROJ, "has shape [4, 16], expected [8, 8]"]);
}

#[test]
fn an_integer_tensor_is_refused() {
    let dir = model_dir(&exact_params(spec(Family::Llama, true)), Dtype::F32);
    rewrite(dir.path(), |name, view| {
        let (dtype, shape, data) = unchanged(&view);
        Some((if name == K_PROJ { safetensors::Dtype::I32 } else { dtype }, shape, data))
    });
    assert_says(&error_of(dir.path()), &[K_PROJ, "stored as I32", "expected F32, BF16 or F16"]);
}

#[test]
fn tensors_of_mixed_formats_and_extra_tensors_are_read() {
    let params = exact_params(spec(Family::Llama, true));
    let dir = model_dir(&params, Dtype::F32);
    let bytes = fs::read(dir.path().join(WEIGHTS_FILE)).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let head = vec![0u8; 11 * 8 * 4];
    let mut views: Vec<(String, TensorView<'_>)> = all.tensors();
    views.push((
        "lm_head.weight".into(),
        TensorView::new(safetensors::Dtype::F32, vec![11, 8], &head).unwrap(),
    ));
    views
        .push(("vision.patch".into(), TensorView::new(safetensors::Dtype::U8, vec![4], &head[..4]).unwrap()));
    safetensors::serialize_to_file(views, None, &dir.path().join(WEIGHTS_FILE)).unwrap();
    assert_eq!(load_params(dir.path()).unwrap(), params);
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let dir = model_dir(&exact_params(spec(Family::Llama, true)), Dtype::F32);
    shard(dir.path());
    fs::copy(dir.path().join("model-00000.safetensors"), dir.path().join("model-00009.safetensors")).unwrap();
    let mut index: Value = serde_json::from_slice(&fs::read(dir.path().join(INDEX_FILE)).unwrap()).unwrap();
    index["weight_map"]["x"] = json!("model-00009.safetensors");
    fs::write(dir.path().join(INDEX_FILE), index.to_string()).unwrap();
    assert_says(&error_of(dir.path()), &["model-00009.safetensors", "model-00000.safetensors", "as well"]);
}

#[test]
fn sizes_beyond_memory_are_an_error_not_an_abort() {
    let dir = model_dir(&exact_params(spec(Family::Llama, true)), Dtype::F32);
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["intermediate_size"] = json!(1_000_000_000);
    fs::write(&path, config.to_string()).unwrap();
    assert_says(&error_of(dir.path()), &["mlp.gate_proj.weight", "expected [1000000000, 8]"]);
}

#[test]
fn unwritable_places_are_named() {
    let params = exact_params(spec(Family::Llama, true));
    let message = save_params(Path::new("/nonexistent/dir"), &params, Dtype::F32).unwrap_err().to_string();
    assert_says(&message, &["/nonexistent/dir/model.safetensors"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", dir.path().join(WEIGHTS_FILE)).unwrap();
    let params = exact_params(spec(Family::Llama, true));
    let message = save_params(dir.path(), &params, Dtype::F32).unwrap_err().to_string();
    assert_says(&message, &[WEIGHTS_FILE, "No space left"]);
}

#[test]
fn a_saved_copy_keeps_the_configuration_and_what_stands_beside_it() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config =
        json!({"model_type": "llama", "torch_dtype": "float32", "zeta": [1, 2], "alpha": {"b": 1.5}});
    fs::write(from.path().join("config.json"), config.to_string()).unwrap();
    fs::write(from.path().join("tokenizer.json"), "T").unwrap();
    fs::write(from.path().join("chat_template.jinja"), "C").unwrap();
    fs::write(from.path().join("model.safetensors"), "W").unwrap();
    copy_side_files(from.path(), to.path()).unwrap();
    copy_config(from.path(), to.path(), Dtype::Bf16).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["chat_template.jinja", "config.json", "tokenizer.json"]);
    let text = fs::read_to_string(to.path().join("config.json")).unwrap();
    let expected = r#"{
  "model_type": "llama",
  "torch_dtype": "bfloat16",
  "zeta": [
    1,
    2
  ],
  "alpha": {
    "b": 1.5
  }
}
"#;
    assert_eq!(text, expected);
    copy_side_files(from.path(), from.path()).unwrap();
    assert_eq!(fs::read_to_string(from.path().join("tokenizer.json")).unwrap(), "T");
}

#[test]
fn the_newer_name_of_the_format_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), r#"{"dtype": "float32"}"#).unwrap();
    copy_config(dir.path(), dir.path(), Dtype::F16).unwrap();
    let text = fs::read_to_string(dir.path().join("config.json")).unwrap();
    assert_eq!(text, "{\n  \"dtype\": \"float16\"\n}\n");
}
