//! Rates that other rates are a share of: of one large product, and of reading memory.

use std::time::{Duration, Instant};

use rayon::prelude::*;
use thinktune_cpu::Precision;
use thinktune_cpu::gemm::{Packed, Scratch, Threads, View, gemm};

/// The yardstick.
pub const PEAK: [usize; 3] = if cfg!(debug_assertions) { [32, 256, 256] } else { [512, 2048, 2048] };
/// A product is repeated for this long, and the fastest counts.
const LONG_ENOUGH: Duration = Duration::from_millis(if cfg!(debug_assertions) { 20 } else { 600 });
/// Bytes read to measure the memory's bandwidth.
const READ: usize = if cfg!(debug_assertions) { 1 << 20 } else { 512 << 20 };

/// The best rate of one large product by the kernel of this program, in operations per second: what other rates are a
/// share of. What the hardware could do at most is not known here.
pub fn peak(precision: Precision) -> f64 {
    flop(PEAK) / fastest(PEAK, precision, true).as_secs_f64()
}

pub fn flop([m, k, n]: [usize; 3]) -> f64 {
    2.0 * (m * k * n) as f64
}

pub fn fastest([m, k, n]: [usize; 3], precision: Precision, packed: bool) -> Duration {
    let numbers = |count: usize| -> Vec<f32> { (0..count).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect() };
    let (a, b, mut c) = (numbers(m * k), numbers(k * n), vec![0.0; m * n]);
    let (a, b) = (View::new(&a, m, k), View::new(&b, k, n));
    let (mut weights, mut scratch) = (Packed::new(b, precision), Scratch::default());
    let mut product = || {
        if !packed {
            weights.fill(b, precision, Threads::All);
        }
        gemm(scratch.rows(a, precision, Threads::All), &weights, &mut c, false, Threads::All);
    };
    fastest_of(&mut product)
}

fn fastest_of(work: &mut dyn FnMut()) -> Duration {
    let begun = Instant::now();
    let mut fastest = Duration::MAX;
    while begun.elapsed() < LONG_ENOUGH {
        let start = Instant::now();
        work();
        fastest = fastest.min(start.elapsed());
    }
    fastest
}

/// Bytes per second that all threads read together from a buffer larger than any cache.
pub fn memory_bandwidth() -> f64 {
    let buffer: Vec<u64> = (0..READ as u64 / 8).collect();
    let sum = |piece: &[u64]| piece.iter().fold(0u64, |sum, &word| sum.wrapping_add(word));
    let mut read = || {
        let total = buffer.par_chunks(1 << 17).map(sum).reduce(|| 0, u64::wrapping_add);
        std::hint::black_box(total);
    };
    READ as f64 / fastest_of(&mut read).as_secs_f64()
}
