//! Matrix products, and what the machine gives at best: the yardsticks of the other parts.

use thinktune_cpu::Precision;

use super::peak::{PEAK, fastest, flop, memory_bandwidth};
use super::report::{Report, Row};

/// M, K, N: training rows by a square weight, and decoding of 1, 16 and 64 rows by a wide one.
const PRODUCTS: [[usize; 3]; 4] = if cfg!(debug_assertions) {
    // An unoptimised build measures nothing worth knowing; small products keep its tests quick.
    [PEAK, [1, 256, 512], [16, 256, 512], [64, 256, 512]]
} else {
    [PEAK, [1, 2048, 8192], [16, 2048, 8192], [64, 2048, 8192]]
};
/// Times the products; each with weights packed beforehand, as forward passes have them, the first also with weights
/// packed on the fly, as backward passes do.
pub fn run(precision: Precision) -> Report {
    let mut rows: Vec<Row> = PRODUCTS.iter().map(|&product| row(product, precision, true)).collect();
    rows.insert(1, row(PRODUCTS[0], precision, false));
    let title = "matrix products M x K x N, the fastest of many".into();
    let mut report = Report::new("gemm", title, precision, None);
    report.fact("memory_gigabytes_per_second", memory_bandwidth() / 1e9);
    report.rows("products", rows);
    report
}

fn row([m, k, n]: [usize; 3], precision: Precision, packed: bool) -> Row {
    let name = format!("{m}x{k}x{n}{}", if packed { "" } else { " packing" });
    Row::new(&name, &name, fastest([m, k, n], precision, packed))
        .flop(flop([m, k, n]))
        .bytes((precision.bytes() * k * n) as f64)
}
