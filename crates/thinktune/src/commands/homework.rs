//! `thinktune homework`: the miniature's data and model files, from its seeded generator.

use serde_json::json;
use thinktune_tasks::homework::{Counts, write_data, write_model_files};

use crate::args::HomeworkArgs;

/// Writes `data/*.jsonl` and `model/` (everything of a model folder but the weights).
pub fn run(args: &HomeworkArgs) -> anyhow::Result<()> {
    let HomeworkArgs { pretraining, base, student, teacher, .. } = *args;
    write_data(args.seed, Counts { pretraining, base, student, teacher }, &args.out.join("data"))?;
    write_model_files(&args.out.join("model"))?;
    if args.json {
        let (data, model) = (args.out.join("data"), args.out.join("model"));
        return super::print(&json!({ "data": data, "model": model }).to_string());
    }
    let out = args.out.display();
    super::print(&format!("wrote {out}/data (pretraining, base, student, teacher) and {out}/model"))
}
