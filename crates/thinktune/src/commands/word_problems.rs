//! `thinktune word-problems`: the data and model files of the word problems, from their seeded generator.

use serde_json::json;
use thinktune_tasks::word_problems::{Counts, write_data, write_model_files};

use crate::args::WordProblemsArgs;
use crate::failure::UsageError;

/// Writes `data/*.jsonl` and `model/` (everything of a model folder but the weights).
pub fn run(args: &WordProblemsArgs) -> anyhow::Result<()> {
    let WordProblemsArgs { pretraining, base, student, teacher, .. } = *args;
    write_data(args.seed, Counts { pretraining, base, student, teacher }, &args.out.join("data"))?;
    write_model_files(&args.out.join("model"))?;
    if args.json {
        let (data, model) = (args.out.join("data"), args.out.join("model"));
        return super::print(&json!({ "data": data, "model": model }).to_string());
    }
    let out = args.out.display();
    super::print(&format!("wrote {out}/data (pretraining, base, student, teacher) and {out}/model"))
}

/// Says that `thinktune homework` has another name.
pub fn renamed() -> anyhow::Result<()> {
    Err(UsageError("the command `homework` is called `word-problems` now".into()).into())
}
