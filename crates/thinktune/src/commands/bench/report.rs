//! What was measured, as a table and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};
use thinktune_model::{ModelSpec, Precision};

use super::peak;

/// One line of the table. A count of 0 says that the column does not apply.
pub struct Row {
    key: String,
    name: String,
    seconds: f64,
    tokens: usize,
    flop: f64,
    bytes: f64,
}

impl Row {
    /// Work that took `time`.
    pub fn new(key: &str, name: &str, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        Self { key: key.into(), name: name.into(), seconds, tokens: 0, flop: 0.0, bytes: 0.0 }
    }

    /// Tokens it went over.
    #[must_use]
    pub fn tokens(self, tokens: usize) -> Self {
        Self { tokens, ..self }
    }

    /// Floating-point operations it is worth.
    #[must_use]
    pub fn flop(self, flop: f64) -> Self {
        Self { flop, ..self }
    }

    /// Bytes of weights it read.
    #[must_use]
    pub fn bytes(self, bytes: f64) -> Self {
        Self { bytes, ..self }
    }

    /// `count` per second; `None` where the column does not apply.
    fn rate(&self, count: f64) -> Option<f64> {
        (count > 0.0 && self.seconds > 0.0).then(|| count / self.seconds)
    }

    fn to_json(&self, peak: f64) -> Value {
        let mut map = Map::from_iter([("seconds".to_owned(), json!(self.seconds))]);
        let rates = [
            ("tokens_per_second", self.rate(self.tokens as f64)),
            ("gflops", self.rate(self.flop / 1e9)),
            ("share_of_peak", self.rate(self.flop / peak)),
            ("gigabytes_per_second", self.rate(self.bytes / 1e9)),
        ];
        map.extend(rates.into_iter().filter_map(|(key, rate)| Some((key.to_owned(), json!(rate?)))));
        Value::Object(map)
    }

    fn to_text(&self, peak: f64) -> String {
        let show =
            |rate: Option<f64>, digits: usize| rate.map_or("-".into(), |rate| format!("{rate:.digits$}"));
        format!(
            "{:<24}{:>10}{:>12}{:>10}{:>9}{:>8}",
            self.name,
            if self.seconds < 0.1 { format!("{:.5}", self.seconds) } else { format!("{:.3}", self.seconds) },
            show(self.rate(self.tokens as f64), 0),
            show(self.rate(self.flop / 1e9), 1),
            self.rate(self.flop / peak).map_or("-".into(), |share| format!("{:.0} %", 100.0 * share)),
            show(self.rate(self.bytes / 1e9), 1),
        )
    }
}

/// A measurement and the machine it was made on.
pub struct Report {
    title: String,
    facts: Map<String, Value>,
    rows_key: &'static str,
    rows: Vec<Row>,
    peak: f64,
}

impl Report {
    /// Made right after the work: the peak of memory is read here, before the yardstick takes some of its own.
    pub fn new(part: &str, title: String, precision: Precision, model: Option<(&str, &ModelSpec)>) -> Self {
        let peak_rss_mib = peak_rss_mib();
        let peak = peak::peak(precision);
        let mut facts = Map::new();
        let mut put = |key: &str, value: Value| facts.insert(key.to_owned(), value);
        put("part", json!(part));
        if let Some((name, spec)) = model {
            put("model", json!(name));
            put("parameters", json!(spec.parameters()));
        }
        put("precision", json!(precision.name()));
        put("isa", json!(thinktune_cpu::isa().name()));
        put("threads", json!(rayon::current_num_threads()));
        put("measured_peak_gflops", json!(peak / 1e9));
        put("peak_rss_mib", json!(peak_rss_mib));
        Self { title, facts, rows_key: "rows", rows: Vec::new(), peak }
    }

    /// Adds a number or a list to the JSON, and to the lines under the table.
    pub fn fact(&mut self, key: &str, value: impl Into<Value>) {
        self.facts.insert(key.to_owned(), value.into());
    }

    /// The lines of the table, and their name in the JSON.
    pub fn rows(&mut self, key: &'static str, rows: Vec<Row>) {
        self.rows_key = key;
        self.rows = rows;
    }

    /// One object.
    pub fn to_json(&self) -> Value {
        let mut map = self.facts.clone();
        let rows = self.rows.iter().map(|row| (row.key.clone(), row.to_json(self.peak)));
        map.insert(self.rows_key.to_owned(), Value::Object(rows.collect()));
        Value::Object(map)
    }

    /// A table, and every fact beside it.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        let heads = ["seconds", "tokens/s", "GFLOP/s", "of peak", "GB/s"];
        let _ = writeln!(
            text,
            "{:<24}{:>10}{:>12}{:>10}{:>9}{:>8}",
            "", heads[0], heads[1], heads[2], heads[3], heads[4]
        );
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.to_text(self.peak));
        }
        text.push('\n');
        for (key, value) in self.facts.iter().filter(|(key, _)| *key != "part") {
            let _ = writeln!(text, "{:<30}{}", key.replace('_', " "), shown(value));
        }
        let [m, k, n] = peak::PEAK;
        let _ = write!(text, "peak: the fastest {m}x{k}x{n} product of this program's own kernel, just now");
        text
    }
}

/// A fact without quotes and braces, numbers with four digits.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| !number.is_u64()) {
            Some(number) if number.abs() >= 100.0 => format!("{number:.0}"),
            Some(number) => format!("{number:.3}"),
            None => number.to_string(),
        },
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        Value::Object(map) => {
            let entries =
                map.iter().map(|(key, value)| format!("{}: {}", key.replace('_', " "), shown(value)));
            entries.collect::<Vec<_>>().join(", ")
        }
        Value::Null => "not known here".into(),
        Value::Bool(yes) => yes.to_string(),
    }
}

/// Most memory this process ever held, in MiB; `None` where the system does not say.
fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_and_columns_that_do_not_apply_are_left_out() {
        let row = Row::new("decode", "decode", Duration::from_secs(2)).tokens(10).flop(4e9);
        let json = row.to_json(8e9);
        assert_eq!(json["tokens_per_second"], 5.0);
        assert_eq!(json["gflops"], 2.0);
        assert_eq!(json["share_of_peak"], 0.25);
        assert!(json.get("gigabytes_per_second").is_none());
        assert!(row.to_text(8e9).contains("25 %"), "{}", row.to_text(8e9));
    }

    #[test]
    fn facts_read_as_text() {
        assert_eq!(shown(&json!([1, 2.5, "a"])), "1 2.500 a");
        assert_eq!(shown(&json!({ "new_tokens": 64 })), "new tokens: 64");
        assert_eq!(shown(&Value::Null), "not known here");
    }
}
