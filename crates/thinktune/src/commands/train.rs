//! `thinktune train`: a configuration file, checked, then run or only shown.

use serde_json::json;

use crate::args::{Common, TrainArgs};
use crate::commands::{dry_run, print};
use crate::config::Config;
use crate::session::{self, Options, Outcome};
use crate::{interrupt, plan};

/// Trains as the configuration says.
pub fn run(args: &TrainArgs, common: Common) -> anyhow::Result<()> {
    let device = args.device.map(|device| format!("model.device={device}"));
    let set: Vec<String> = args.set.iter().cloned().chain(device).collect();
    let plan = plan::resolve(Config::load(&args.config, &set)?)?;
    if args.dry_run {
        return dry_run::run(&plan, args.all, args.json);
    }
    interrupt::install()?;
    let label = plan.method.name();
    let outcome = session::train(&plan, &Options { label, quiet: common.quiet, offline: common.offline })?;
    report(&outcome, args.json)
}

fn report(outcome: &Outcome, as_json: bool) -> anyhow::Result<()> {
    let Outcome { run, model, already } = outcome;
    if as_json {
        return print(&json!({ "run": run, "model": model, "already_finished": already }).to_string());
    }
    let (run, model) = (run.display(), model.display());
    let done = if *already { "was finished before" } else { "done" };
    print(&format!("{done}\nrun    {run}\nmodel  {model}"))
}
