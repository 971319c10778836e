//! `thinktune train`: a configuration file, checked, then run or only shown.

use serde_json::json;
use thinktune_method::rl::report::RunReport;

use crate::args::{Common, TrainArgs};
use crate::commands::{dry_run, print};
use crate::config::Config;
use crate::failure::NobodyGuided;
use crate::plan::{Job, Plan};
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
    report(&plan, &outcome, args.json)
}

/// Prints where the model is, the guidance ledger, and what came to nothing.
///
/// # Errors
/// Guidance was asked for and none was ever used.
fn report(plan: &Plan, outcome: &Outcome, as_json: bool) -> anyhow::Result<()> {
    let Outcome { run, model, already, totals } = outcome;
    let report = match (&plan.job, totals) {
        (Job::Rl(rl), Some(totals)) => Some(RunReport { totals, settings: &rl.settings }),
        _ => None,
    };
    let faults = report.map(|report| report.faults()).unwrap_or_default();
    if as_json {
        print(
            &json!({
                "run": run,
                "model": model,
                "already_finished": already,
                "totals": totals,
                "faults": faults,
            })
            .to_string(),
        )?;
    } else {
        let done = if *already { "was finished before" } else { "done" };
        let mut lines = vec![
            done.to_string(),
            format!("run    {}", run.display()),
            format!("model  {}", model.display()),
        ];
        let ledger = report.map(|report| report.ledger()).unwrap_or_default();
        if !ledger.is_empty() {
            lines.push(String::new());
            lines.extend(ledger);
        }
        if !faults.is_empty() {
            lines.push(String::new());
            lines.extend(faults);
        }
        print(&lines.join("\n"))?;
    }
    match report.and_then(|report| report.unguided()) {
        Some(why) => Err(NobodyGuided(why).into()),
        None => Ok(()),
    }
}
