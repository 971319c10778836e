//! `docs/run-folder.md` lists every field of the metrics as the code documents it.
//!
//! With `THINKTUNE_WRITE_DOCS=1` the test writes the tables anew instead of comparing them.

use std::path::Path;

use serde_json::Value;
use thinktune_runlog::event::{
    BehaviourMetrics, EvalMetrics, Metrics, PhaseTiming, RunTotals, SftMetrics, StepMetrics, StepTimings,
};

/// The table of a record's fields.
fn table<M: Metrics>() -> String {
    let mut out = format!("{}\n\n| field | unit | meaning |\n|---|---|---|\n", M::meaning());
    for field in M::FIELDS {
        let meaning = field.meaning().replace('|', "\\|");
        out += &format!("| `{}` | {} | {meaning} |\n", field.name, field.unit.name());
    }
    out
}

/// Puts a table between the two marks of a record.
fn put(page: &str, record: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {record} -->\n"), format!("<!-- end of {record} -->"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}\n{table}\n{end}{after}")
}

#[test]
fn the_page_lists_each_field_of_the_metrics() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/run-folder.md");
    let found = std::fs::read_to_string(&path).unwrap();
    let mut page = found.clone();
    for (record, table) in [
        ("StepMetrics", table::<StepMetrics>()),
        ("BehaviourMetrics", table::<BehaviourMetrics>()),
        ("RunTotals", table::<RunTotals>()),
        ("SftMetrics", table::<SftMetrics>()),
        ("EvalMetrics", table::<EvalMetrics>()),
        ("StepTimings", table::<StepTimings>()),
        ("PhaseTiming", table::<PhaseTiming>()),
    ] {
        page = put(&page, record, &table);
    }
    if std::env::var_os("THINKTUNE_WRITE_DOCS").is_some() {
        std::fs::write(&path, page).unwrap();
    } else {
        assert!(
            page == found,
            "{} is out of date; run this test with THINKTUNE_WRITE_DOCS=1",
            path.display()
        );
    }
}

/// The keys of a record in JSON.
fn keys<M: Metrics>(record: &M) -> Vec<String> {
    let Value::Object(object) = serde_json::to_value(record).unwrap() else { panic!("no object") };
    object.keys().cloned().collect()
}

#[test]
fn field_names_are_the_keys_in_json() {
    fn same<M: Metrics>(record: &M) {
        let names: Vec<&str> = M::FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(keys(record), names);
        assert!(M::FIELDS.iter().all(|field| field.meaning().ends_with('.')), "{names:?}");
    }
    same(&StepMetrics::default());
    same(&SftMetrics::default());
    same(&EvalMetrics { set: "gsm8k".into(), ..Default::default() });
    same(&StepTimings::default());
    same(&PhaseTiming::default());
    same(&BehaviourMetrics::default());
    same(&RunTotals::default());
}
