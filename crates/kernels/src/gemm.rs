//! Matrix product in f32.
//!
//! Contract: every element of the result is one chain of fused multiply-adds over k in ascending
//! order, `c = fma(a[m][k], b[k][n], c)`, starting from 0 or, when accumulating, from the value
//! already there. So a row's result depends on that row and `b` alone, and accumulating a sum over
//! tokens in several calls gives the bits of one call.
//!
//! `b` is packed into panels of [`PANEL`] columns; weights can be packed once ([`Packed`]) and used for
//! many calls. The inner kernels hold a tile of c in registers.

mod tile;

use std::ops::Range;

use rayon::prelude::*;

use tile::{Tile, max_height};

/// Columns of a packed panel.
pub const PANEL: usize = 32;
/// Depth of a block of k: its panel and a tile's rows of a stay in the nearest caches.
const DEPTH: usize = 512;
/// Products smaller than this many multiply-adds stay on the calling thread.
const PARALLEL_FROM: usize = 1 << 19;

/// A read-only strided matrix view.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix.
    ///
    /// # Panics
    /// If `data` does not hold `rows * cols` elements.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows} x {cols} view over {} elements", data.len());
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The transpose, without moving anything.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    #[inline(always)]
    fn at(&self, row: usize, col: usize) -> f32 {
        self.data[row * self.row_stride + col * self.col_stride]
    }
}

/// A `[K, N]` matrix packed into panels of [`PANEL`] columns, zero-padded on the right.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    k: usize,
    n: usize,
    panels: Vec<f32>,
}

impl Packed {
    /// Packs `b`, `[K, N]`.
    pub fn new(b: View) -> Self {
        let (k, n) = (b.rows, b.cols);
        let mut panels = vec![0.0; n.div_ceil(PANEL) * k * PANEL];
        if k > 0 {
            panels
                .par_chunks_mut(k * PANEL)
                .enumerate()
                .for_each(|(panel, out)| pack_panel(b, panel * PANEL, 0..k, out));
        }
        Self { k, n, panels }
    }

    /// K.
    pub fn k(&self) -> usize {
        self.k
    }

    /// N.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(self.panels.as_slice())
    }
}

/// Copies columns `from..from + PANEL` of rows `ks` of `b` into `out`, `[ks, PANEL]`, zero-padded.
fn pack_panel(b: View, from: usize, ks: Range<usize>, out: &mut [f32]) {
    let width = PANEL.min(b.cols - from);
    if b.col_stride == 1 {
        for (row, k) in out.chunks_exact_mut(PANEL).zip(ks) {
            let start = k * b.row_stride + from;
            row[..width].copy_from_slice(&b.data[start..start + width]);
            row[width..].fill(0.0);
        }
    } else {
        for (row, k) in out.chunks_exact_mut(PANEL).zip(ks) {
            for (j, slot) in row.iter_mut().enumerate() {
                *slot = if j < width { b.at(k, from + j) } else { 0.0 };
            }
        }
    }
}

/// Whether a call may use the other threads of the pool. It never changes the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// Stay on the calling thread (it is one of many doing the like).
    One,
    /// Cut the work among the pool.
    All,
}

/// A raw pointer to c that tasks writing disjoint columns may share.
#[derive(Clone, Copy)]
struct Output {
    pointer: *mut f32,
    row_stride: usize,
}

// SAFETY: every task writes its own columns and rows of c only; see `for_tiles`.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

/// c = a b, or c += a b, with `b` packed.
///
/// # Shapes
/// `a`: `[M, K]`; `b`: `[K, N]`; `c`: `[M, N]` row-major.
///
/// # Panics
/// If the shapes disagree.
pub fn gemm_packed(a: View, b: &Packed, c: &mut [f32], accumulate: bool, threads: Threads) {
    let k = b.k;
    // Few rows: several panels side by side, so that enough independent chains are in flight.
    let side_by_side = match a.rows {
        0..=3 => 4,
        4..=6 => 2,
        _ => 1,
    };
    by_pieces(a, (k, b.n), c, accumulate, threads, side_by_side, |output, rows, columns| {
        for from in (0..k).step_by(DEPTH) {
            let depths = from..k.min(from + DEPTH);
            let panels = Panels { data: &b.panels[columns.start * k + from * PANEL..], stride: k * PANEL };
            tile_rows(a, rows.clone(), depths, panels, columns.clone(), output, !accumulate && from == 0);
        }
    });
}

/// c = a b, or c += a b.
///
/// # Shapes
/// `a`: `[M, K]`; `b`: `[K, N]`; `c`: `[M, N]` row-major.
///
/// # Panics
/// If the shapes disagree.
pub fn gemm(a: View, b: View, c: &mut [f32], accumulate: bool, threads: Threads) {
    by_pieces(a, (b.rows, b.cols), c, accumulate, threads, 1, |output, rows, columns| {
        let mut packed = vec![0.0; b.rows.min(DEPTH) * PANEL];
        for from in (0..b.rows).step_by(DEPTH) {
            let depths = from..b.rows.min(from + DEPTH);
            let packed = &mut packed[..depths.len() * PANEL];
            pack_panel(b, columns.start, depths.clone(), packed);
            let panels = Panels { data: packed, stride: packed.len() };
            tile_rows(a, rows.clone(), depths, panels, columns.clone(), output, !accumulate && from == 0);
        }
    });
}

/// Checks shapes, cuts c into pieces of whole groups of panels and some rows, and runs `piece` on each.
fn by_pieces(
    a: View,
    (k, n): (usize, usize),
    c: &mut [f32],
    accumulate: bool,
    threads: Threads,
    panels_of_piece: usize,
    piece: impl Fn(Output, Range<usize>, Range<usize>) + Sync + Send,
) {
    let m = a.rows;
    assert_eq!(a.cols, k, "a is {m} x {}, b is {k} x {n}", a.cols);
    assert_eq!(c.len(), m * n, "c holds {} elements, {m} x {n} expected", c.len());
    if k == 0 && !accumulate {
        c.fill(0.0);
    }
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    let output = Output { pointer: c.as_mut_ptr(), row_stride: n };
    let width = panels_of_piece * PANEL;
    let groups = n.div_ceil(width);
    let alone = threads == Threads::One || m * n * k < PARALLEL_FROM;
    let (cuts, height) = if alone { (1, m) } else { cut_rows(m, groups) };
    let task = |index: usize| {
        let (group, cut) = (index / cuts, index % cuts);
        let rows = cut * height..m.min((cut + 1) * height);
        piece(output, rows, group * width..n.min((group + 1) * width));
    };
    if alone {
        (0..groups * cuts).for_each(task);
    } else {
        (0..groups * cuts).into_par_iter().for_each(task);
    }
}

/// Into how many pieces to cut the rows so that every thread has work, and the rows of each piece.
fn cut_rows(m: usize, groups: usize) -> (usize, usize) {
    let wanted = (2 * rayon::current_num_threads()).div_ceil(groups);
    let height = m.div_ceil(wanted).next_multiple_of(max_height(1));
    (m.div_ceil(height), height)
}

/// Packed panels side by side, `stride` floats apart.
#[derive(Clone, Copy)]
struct Panels<'a> {
    data: &'a [f32],
    stride: usize,
}

/// Multiplies rows `rows` of `a`, columns `depths`, with packed panels covering `columns` of c.
fn tile_rows(
    a: View,
    rows: Range<usize>,
    depths: Range<usize>,
    panels: Panels,
    columns: Range<usize>,
    c: Output,
    fresh: bool,
) {
    let panel_count = columns.len().div_ceil(PANEL);
    assert!(panels.data.len() >= (panel_count - 1) * panels.stride + depths.len() * PANEL);
    let mut edge = [0.0f32; 12 * 4 * PANEL];
    for row in rows.clone().step_by(max_height(panel_count)) {
        let height = max_height(panel_count).min(rows.end - row);
        let last = (row + height - 1) * a.row_stride + (depths.end - 1) * a.col_stride;
        assert!(last < a.data.len());
        let tile = Tile {
            a: a.data[row * a.row_stride + depths.start * a.col_stride..].as_ptr(),
            row_stride: a.row_stride,
            col_stride: a.col_stride,
            depth: depths.len(),
            panels: panels.data.as_ptr(),
            panel_stride: panels.stride,
            panel_count,
            fresh,
        };
        // SAFETY: `row < rows.end <= M` and `columns.start < N`, so the pointer lies in c.
        let target = unsafe { c.pointer.add(row * c.row_stride + columns.start) };
        if columns.len() == panel_count * PANEL {
            // SAFETY: the tile reads a within the bound asserted above and panels within theirs, and
            // writes `height` rows of whole panels of c, which no other task touches.
            unsafe { tile.run(height, target, c.row_stride) };
        } else {
            edge_tile(&tile, height, columns.len(), target, c.row_stride, &mut edge);
        }
    }
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
    fn reference(a: View, b: View, c: &mut [f32], accumulate: bool) {
        for m in 0..a.rows {
            for n in 0..b.cols {
                let mut sum = if accumulate { c[m * b.cols + n] } else { 0.0 };
                for k in 0..a.cols {
                    sum = a.at(m, k).mul_add(b.at(k, n), sum);
                }
                c[m * b.cols + n] = sum;
            }
        }
    }

    const SIZES: [usize; 9] = [1, 2, 3, 5, 7, 13, 31, 33, 65];

    #[test]
    fn every_shape_and_layout_has_the_bits_of_the_reference() {
        for &m in &SIZES {
            for &n in &SIZES {
                for &k in &[1usize, 2, 17, 64, 1025] {
                    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
                    let (a_t, b_t) = (transpose(&a, m, k), transpose(&b, k, n));
                    let start = numbers(m * n, 3);
                    for accumulate in [false, true] {
                        let mut expected = start.clone();
                        reference(View::new(&a, m, k), View::new(&b, k, n), &mut expected, accumulate);
                        for a in [View::new(&a, m, k), View::new(&a_t, k, m).t()] {
                            for b in [View::new(&b, k, n), View::new(&b_t, n, k).t()] {
                                let mut c = start.clone();
                                gemm(a, b, &mut c, accumulate, Threads::All);
                                assert_eq!(c, expected, "gemm {m} {n} {k}");
                                let mut c = start.clone();
                                gemm_packed(a, &Packed::new(b), &mut c, accumulate, Threads::One);
                                assert_eq!(c, expected, "gemm_packed {m} {n} {k}");
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
    fn nan_and_infinity_propagate_and_empty_products_are_fine() {
        let mut c = [1.0f32; 2];
        gemm(View::new(&[f32::NAN, 0.0], 2, 1), View::new(&[0.0], 1, 1), &mut c, false, Threads::All);
        assert!(c[0].is_nan() && c[1] == 0.0);
        gemm(View::new(&[], 2, 0), View::new(&[], 0, 1), &mut c, false, Threads::All);
        assert_eq!(c, [0.0, 0.0]);
        gemm(View::new(&[], 0, 3), View::new(&[0.0; 3], 3, 1), &mut [], false, Threads::All);
    }
}
