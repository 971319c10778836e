//! Matrix product.
//!
//! Contract: every element of the result is one chain of fused multiply-adds over k in ascending
//! order, `c = fma(a[m][k], b[k][n], c)`, starting from 0 or, when accumulating, from the value
//! already there. So a row's result depends on that row and `b` alone, and accumulating a sum over
//! tokens in several calls gives the bits of one call. In bf16 the operands are rounded first, the chain
//! is the same, in f32. (The AVX-512 instruction for bf16 takes subnormal numbers for zero: there, and
//! only there, variants can differ.)
//!
//! Operands are laid out once ([`Packed`], [`Scratch::rows`]) and may serve several products. The inner
//! kernels hold a tile of c in registers.

mod pack;
mod tile;
mod view;

use std::ops::Range;

pub use crate::Threads;
pub use pack::{Packed, Placed, Rows, Scratch};
use tile::{Tile, max_height};
pub use view::{PANEL, View};

/// Steps of a block of k: its panel and a tile's rows of a stay in the nearest caches.
const DEPTH: usize = 512;
/// Words of a that stay in the last cache, and in a core's second.
const SHARED_WORDS: usize = 1 << 21;
const CACHED_WORDS: usize = 1 << 18;
/// Products smaller than this many multiply-adds stay on the calling thread.
const PARALLEL_FROM: usize = 1 << 19;
/// The same where the other threads are awake.
const FINE_FROM: usize = 1 << 16;

/// A raw pointer to c that tasks writing disjoint columns may share.
#[derive(Clone, Copy)]
struct Output {
    pointer: *mut f32,
    row_stride: usize,
}

// SAFETY: every task writes its own columns and rows of c only; see `gemm_each`.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

/// c = a b, or c += a b.
///
/// # Shapes
/// `a`: `[M, K]`; `b`: `[K, N]`; `c`: `[M, N]` row-major.
///
/// # Panics
/// If the shapes or precisions disagree.
pub fn gemm(a: Rows, b: &Packed, c: &mut [f32], accumulate: bool, threads: Threads) {
    gemm_each(a, [(b, c)], accumulate, threads);
}

/// Several products with one left operand.
///
/// # Panics
/// If the shapes or precisions disagree.
pub fn gemm_each<const P: usize>(
    a: Rows,
    products: [(&Packed, &mut [f32]); P],
    accumulate: bool,
    threads: Threads,
) {
    // Few rows: several panels side by side, so that enough independent chains are in flight.
    let side_by_side = match a.m {
        0..=3 => 4,
        4..=6 => 2,
        _ => 1,
    };
    let width = side_by_side * PANEL;
    let columns: usize = products.iter().map(|(b, _)| b.n()).sum();
    let worth_it = match threads {
        Threads::Spin(_) => FINE_FROM,
        _ => PARALLEL_FROM,
    };
    let threads = if a.m * columns * a.k < worth_it { Threads::One } else { threads };
    let groups: usize = products.iter().map(|(b, _)| b.n().div_ceil(width)).sum();
    let wanted = if threads.is_one() { 1 } else { 2 * threads.count() };
    let (cuts, height) = cut_rows(a, wanted, groups);
    let products = products.map(|(b, c)| {
        assert_eq!((a.k, a.precision), (b.k(), b.precision()), "operands of one product");
        assert_eq!(c.len(), a.m * b.n(), "c holds {} elements, {} x {} expected", c.len(), a.m, b.n());
        if a.k == 0 && !accumulate {
            c.fill(0.0);
        }
        (b, Output { pointer: c.as_mut_ptr(), row_stride: b.n() })
    });
    if a.m == 0 || groups == 0 || a.k == 0 {
        return;
    }
    let task = |index: usize| {
        let (cut, mut group) = (index / groups, index % groups);
        for (b, output) in &products {
            let groups = b.n().div_ceil(width);
            if group < groups {
                let columns = group * width..b.n().min((group + 1) * width);
                let rows = cut * height..a.m.min((cut + 1) * height);
                return piece(a, rows, b, columns, *output, accumulate);
            }
            group -= groups;
        }
    };
    threads.for_each(groups * cuts, task);
}

/// Into how many pieces to cut the rows, and the rows of each: at least so many that there are `wanted` tasks, and so
/// few rows that they stay in a core's second cache while the panels go by, where all of them do not stay in the last.
fn cut_rows(a: Rows, wanted: usize, groups: usize) -> (usize, usize) {
    let tallest = max_height(1);
    let for_tasks = a.m.div_ceil(wanted.div_ceil(groups.max(1)));
    let steps = a.precision.steps(a.k).max(1);
    let for_cache = if a.m * steps > SHARED_WORDS { (CACHED_WORDS / steps).max(4 * tallest) } else { a.m };
    let height = for_tasks.min(for_cache).next_multiple_of(tallest).max(tallest);
    (a.m.div_ceil(height), height)
}

/// Some rows by some neighbouring panels of one product.
fn piece(a: Rows, rows: Range<usize>, b: &Packed, columns: Range<usize>, c: Output, accumulate: bool) {
    let steps = a.precision.steps(a.k);
    for from in (0..steps).step_by(DEPTH) {
        let depth = from..steps.min(from + DEPTH);
        let panels = Panels {
            words: &b.words()[columns.start * steps + from * PANEL..],
            stride: steps * PANEL,
            count: columns.len().div_ceil(PANEL),
        };
        tile_rows(a, rows.clone(), depth, panels, columns.clone(), c, !accumulate && from == 0);
    }
}

/// Packed panels side by side, `stride` words apart.
#[derive(Clone, Copy)]
struct Panels<'a> {
    words: &'a [u32],
    stride: usize,
    count: usize,
}

/// Multiplies rows `rows` of `a`, steps `depth`, with packed panels covering `columns` of c.
fn tile_rows(
    a: Rows,
    rows: Range<usize>,
    depth: Range<usize>,
    panels: Panels,
    columns: Range<usize>,
    c: Output,
    fresh: bool,
) {
    assert!(panels.words.len() >= (panels.count - 1) * panels.stride + depth.len() * PANEL);
    let mut edge = [0.0f32; 12 * 4 * PANEL];
    let tallest = tile_height(a, rows.len(), panels.count);
    for row in rows.clone().step_by(tallest) {
        let height = tallest.min(rows.end - row);
        assert!(a.at(row + height - 1, depth.end - 1) < a.words.len());
        let tile = Tile {
            precision: a.precision,
            a: a.words[a.at(row, depth.start)..].as_ptr(),
            row_stride: a.row_stride,
            step_stride: a.step_stride,
            steps: depth.len(),
            panels: panels.words.as_ptr(),
            panel_stride: panels.stride,
            panel_count: panels.count,
            fresh,
        };
        // SAFETY: `row < rows.end <= M` and `columns.start < N`, so the pointer lies in c.
        let target = unsafe { c.pointer.add(row * c.row_stride + columns.start) };
        if columns.len() == panels.count * PANEL {
            // SAFETY: the tile reads a within the bound asserted above and panels within theirs, and
            // writes `height` rows of whole panels of c, which no other task touches.
            unsafe { tile.run(height, target, c.row_stride) };
        } else {
            edge_tile(&tile, height, columns.len(), target, c.row_stride, &mut edge);
        }
    }
}

/// Rows of the tiles that cover `rows` rows: as tall as fits in registers; few rows are shared evenly.
/// Grouped rows stay within their group.
fn tile_height(a: Rows, rows: usize, panel_count: usize) -> usize {
    let tallest = max_height(panel_count);
    if a.group == 1 && rows < 4 * tallest { rows.div_ceil(rows.div_ceil(tallest)) } else { tallest }
}

/// A tile whose last panel is cut by the right edge of c: computed in a scratch of whole panels.
fn edge_tile(tile: &Tile, height: usize, width: usize, c: *mut f32, row_stride: usize, scratch: &mut [f32]) {
    let padded = tile.panel_count * PANEL;
    if !tile.fresh {
        for r in 0..height {
            for j in 0..width {
                // SAFETY: row r and column j of this task's part of c.
                scratch[r * padded + j] = unsafe { *c.add(r * row_stride + j) };
            }
            scratch[r * padded + width..(r + 1) * padded].fill(0.0);
        }
    }
    // SAFETY: scratch holds 12 * 4 panels of 32, at least height * padded.
    unsafe { tile.run(height, scratch.as_mut_ptr(), padded) };
    for r in 0..height {
        for j in 0..width {
            // SAFETY: row r and column j of this task's part of c.
            unsafe { *c.add(r * row_stride + j) = scratch[r * padded + j] };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;

    pub(super) fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// The contract, word for word.
    fn reference(a: View, b: View, c: &mut [f32], accumulate: bool, precision: Precision) {
        let rounded =
            |x: f32| if precision == Precision::Bf16 { thinktune_compute::precision::round(x) } else { x };
        for m in 0..a.rows {
            for n in 0..b.cols {
                let mut sum = if accumulate { c[m * b.cols + n] } else { 0.0 };
                for k in 0..a.cols {
                    sum = rounded(a.at(m, k)).mul_add(rounded(b.at(k, n)), sum);
                }
                c[m * b.cols + n] = sum;
            }
        }
    }

    // what the interpreter that looks for undefined behaviour gets through in a minute
    const SIZES: &[usize] = if cfg!(miri) { &[1, 33] } else { &[1, 2, 3, 5, 7, 13, 31, 33, 65] };
    const DEPTHS: &[usize] = if cfg!(miri) { &[3] } else { &[1, 2, 17, 64, 1027] };
    const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

    #[test]
    fn every_shape_and_layout_has_the_bits_of_the_reference() {
        for &m in SIZES {
            for &n in SIZES {
                for &k in DEPTHS {
                    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
                    let (a_t, b_t) = (transpose(&a, m, k), transpose(&b, k, n));
                    let start = numbers(m * n, 3);
                    for (accumulate, precision) in
                        [false, true].into_iter().flat_map(|x| PRECISIONS.map(|p| (x, p)))
                    {
                        let mut expected = start.clone();
                        reference(
                            View::new(&a, m, k),
                            View::new(&b, k, n),
                            &mut expected,
                            accumulate,
                            precision,
                        );
                        for a in [View::new(&a, m, k), View::new(&a_t, k, m).t()] {
                            for b in [View::new(&b, k, n), View::new(&b_t, n, k).t()] {
                                for threads in [Threads::One, Threads::All] {
                                    let mut c = start.clone();
                                    let mut scratch = Scratch::default();
                                    let a = scratch.rows(a, precision, Threads::All);
                                    gemm(a, &Packed::new(b, precision), &mut c, accumulate, threads);
                                    assert_eq!(c, expected, "{m} {n} {k} {precision:?}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn transpose(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
        (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect()
    }

    #[test]
    fn memory_that_held_another_matrix_serves_again() {
        for precision in PRECISIONS {
            let (mut scratch, mut packed) = (Scratch::default(), Packed::default());
            for (m, n, k) in [(14, 35, 9), (3, 5, 7), (13, 33, 6), (1, 1, 1)] {
                let (a, b) = (numbers(m * k, 4), numbers(n * k, 5));
                let (a, b) = (View::new(&a, m, k), View::new(&b, n, k).t());
                let (mut c, mut expected) = (vec![0.0; m * n], vec![0.0; m * n]);
                packed.fill(b, precision, Threads::All);
                gemm(scratch.rows(a, precision, Threads::All), &packed, &mut c, false, Threads::One);
                reference(a, b, &mut expected, false, precision);
                assert_eq!(c, expected);
            }
        }
    }

    #[test]
    fn several_products_are_those_of_one_call_each() {
        let k = if cfg!(miri) { 5 } else { 300 };
        for precision in PRECISIONS {
            for m in if cfg!(miri) { [1, 2, 3] } else { [1, 5, 40] } {
                let (a, b) = (numbers(m * k, 1), numbers(k * 200, 2));
                let mut scratch = Scratch::default();
                let a = scratch.rows(View::new(&a, m, k), precision, Threads::All);
                let (wide, narrow) = (View::new(&b, k, 200), View::new(&b[..k * 41], 41, k).t());
                let (wide, narrow) = (Packed::new(wide, precision), Packed::new(narrow, precision));
                let (mut one, mut two) = (vec![0.0; m * 200], vec![0.0; m * 41]);
                gemm_each(a, [(&wide, &mut one), (&narrow, &mut two)], false, Threads::All);
                let (mut first, mut second) = (vec![0.0; m * 200], vec![0.0; m * 41]);
                gemm(a, &wide, &mut first, false, Threads::One);
                gemm(a, &narrow, &mut second, false, Threads::One);
                assert_eq!((one, two), (first, second));
            }
        }
    }

    #[test]
    fn columns_come_back_out_of_a_packed_matrix() {
        let b = numbers(7 * 40, 3);
        for precision in PRECISIONS {
            let packed = Packed::new(View::new(&b, 40, 7).t(), precision);
            let mut column = [0.0; 7];
            for n in [0, 31, 32, 39] {
                packed.column(n, &mut column);
                let rounded = |x: &f32| {
                    if precision == Precision::Bf16 { thinktune_compute::precision::round(*x) } else { *x }
                };
                assert!(
                    column.iter().eq(b[n * 7..(n + 1) * 7].iter().map(rounded).collect::<Vec<_>>().iter())
                );
            }
        }
    }

    #[test]
    fn nan_and_infinity_propagate_and_empty_products_are_fine() {
        let product = |a: &[f32], b: &[f32], c: &mut [f32], (m, n, k): (usize, usize, usize), precision| {
            let mut scratch = Scratch::default();
            let a = scratch.rows(View::new(a, m, k), precision, Threads::All);
            gemm(a, &Packed::new(View::new(b, k, n), precision), c, false, Threads::All);
        };
        for precision in PRECISIONS {
            let mut c = [1.0f32; 2];
            product(&[f32::NAN, 0.0], &[0.0], &mut c, (2, 1, 1), precision);
            assert!(c[0].is_nan() && c[1] == 0.0);
            product(&[f32::INFINITY], &[1.0, f32::NEG_INFINITY], &mut c, (1, 2, 1), precision);
            assert_eq!(c, [f32::INFINITY, f32::NEG_INFINITY]);
            product(&[f32::INFINITY, 1.0], &[0.0, 1.0], &mut c[..1], (1, 1, 2), precision);
            assert!(c[0].is_nan());
            product(&[], &[], &mut c, (2, 1, 0), precision);
            assert_eq!(c, [0.0, 0.0]);
            product(&[], &[0.0; 3], &mut [], (0, 1, 3), precision);
            product(&[0.0; 3], &[], &mut [], (1, 0, 3), precision);
        }
    }
}
