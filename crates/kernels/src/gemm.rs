//! Matrix product in f32.
//!
//! Contract: every element of the result is one chain of fused multiply-adds over k in ascending
//! order, `c = fma(a[m][k], b[k][n], c)`, starting from 0 or, when accumulating, from the value
//! already there. So a row's result depends on that row and `b` alone, and accumulating a sum over
//! tokens in several calls gives the bits of one call.
//!
//! `b` is packed into panels of [`PANEL`] columns; weights can be packed once ([`Packed`]) and used for
//! many calls. The inner kernels hold a tile of c in registers.

use rayon::prelude::*;

use crate::{Isa, isa};

/// Columns of a packed panel.
pub const PANEL: usize = 32;
/// Depth of a block of k packed at a time when `b` is packed on the fly.
const DEPTH: usize = 1024;
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
fn pack_panel(b: View, from: usize, ks: std::ops::Range<usize>, out: &mut [f32]) {
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
    let (m, k, n) = (a.rows, b.k, b.n);
    assert_eq!(a.cols, k, "a is {m} x {}, b is {k} x {n}", a.cols);
    assert_eq!(c.len(), m * n, "c holds {} elements, {m} x {n} expected", c.len());
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            c.fill(0.0);
        }
        return;
    }
    let output = Output { pointer: c.as_mut_ptr(), row_stride: n };
    // Few rows: several panels side by side, so that enough independent chains are in flight.
    let side_by_side = match m {
        1..=3 => 4,
        4..=6 => 2,
        _ => 1,
    };
    let groups = n.div_ceil(PANEL * side_by_side);
    let (row_cuts, rows_each) = cut_rows(m, groups, m * n * k, threads);
    let task = |index: usize| {
        let (group, cut) = (index / row_cuts, index % row_cuts);
        let panels = &b.panels[group * side_by_side * PANEL * k..];
        let columns = group * side_by_side * PANEL..n.min((group + 1) * side_by_side * PANEL);
        let rows = cut * rows_each..m.min((cut + 1) * rows_each);
        tile_rows(a, rows, 0, k, panels, columns, output, !accumulate);
    };
    run(groups * row_cuts, m * n * k, threads, task);
}

/// c = a b, or c += a b.
///
/// # Shapes
/// `a`: `[M, K]`; `b`: `[K, N]`; `c`: `[M, N]` row-major.
///
/// # Panics
/// If the shapes disagree.
pub fn gemm(a: View, b: View, c: &mut [f32], accumulate: bool, threads: Threads) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!(b.rows, k, "a is {m} x {k}, b is {} x {n}", b.rows);
    assert_eq!(c.len(), m * n, "c holds {} elements, {m} x {n} expected", c.len());
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            c.fill(0.0);
        }
        return;
    }
    let output = Output { pointer: c.as_mut_ptr(), row_stride: n };
    let groups = n.div_ceil(PANEL);
    let (row_cuts, rows_each) = cut_rows(m, groups, m * n * k, threads);
    let task = |index: usize| {
        let (panel, cut) = (index / row_cuts, index % row_cuts);
        let columns = panel * PANEL..n.min((panel + 1) * PANEL);
        let rows = cut * rows_each..m.min((cut + 1) * rows_each);
        let mut packed = vec![0.0; k.min(DEPTH) * PANEL];
        for from in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - from);
            let packed = &mut packed[..depth * PANEL];
            pack_panel(b, columns.start, from..from + depth, packed);
            let fresh = !accumulate && from == 0;
            tile_rows(a, rows.clone(), from, depth, packed, columns.clone(), output, fresh);
        }
    };
    run(groups * row_cuts, m * n * k, threads, task);
}

/// Into how many pieces to cut the rows so that every thread has work, and the rows of each piece.
fn cut_rows(m: usize, groups: usize, work: usize, threads: Threads) -> (usize, usize) {
    if threads == Threads::One || work < PARALLEL_FROM {
        return (1, m);
    }
    let wanted = (2 * rayon::current_num_threads()).div_ceil(groups);
    let rows_each = m.div_ceil(wanted.max(1)).next_multiple_of(12);
    (m.div_ceil(rows_each), rows_each)
}

fn run(tasks: usize, work: usize, threads: Threads, task: impl Fn(usize) + Sync + Send) {
    if threads == Threads::One || work < PARALLEL_FROM || tasks == 1 {
        (0..tasks).for_each(task);
    } else {
        (0..tasks).into_par_iter().for_each(task);
    }
}

/// Multiplies rows `rows` of `a`, columns `from..from + depth`, with packed panels covering `columns`.
#[allow(clippy::too_many_arguments)]
fn tile_rows(
    a: View,
    rows: std::ops::Range<usize>,
    from: usize,
    depth: usize,
    panels: &[f32],
    columns: std::ops::Range<usize>,
    c: Output,
    fresh: bool,
) {
    let panel_count = columns.len().div_ceil(PANEL);
    assert!(panels.len() >= panel_count * depth * PANEL);
    let mut edge = [0.0f32; 12 * 4 * PANEL];
    let mut row = rows.start;
    while row < rows.end {
        let height = max_height(panel_count).min(rows.end - row);
        let last = (row + height - 1) * a.row_stride + (from + depth - 1) * a.col_stride;
        assert!(last < a.data.len());
        let tile = Tile {
            a: a.data[row * a.row_stride + from * a.col_stride..].as_ptr(),
            row_stride: a.row_stride,
            col_stride: a.col_stride,
            depth,
            panels: panels.as_ptr(),
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
        row += height;
    }
}

/// Rows per tile, by the number of panels side by side: what fits in registers.
fn max_height(panel_count: usize) -> usize {
    match panel_count {
        1 => 12,
        2 => 6,
        _ => 3,
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

/// Operands of one register tile.
struct Tile {
    a: *const f32,
    row_stride: usize,
    col_stride: usize,
    depth: usize,
    panels: *const f32,
    panel_count: usize,
    fresh: bool,
}

impl Tile {
    /// Computes `height` rows by `panel_count` panels.
    ///
    /// # Safety
    /// `a` must be readable at every (row < height, k < depth), `panels` over
    /// `panel_count * depth * PANEL`, and `c` writable over `height` rows of whole panels.
    unsafe fn run(&self, height: usize, c: *mut f32, ldc: usize) {
        // SAFETY: the caller's promise; `isa()` returns only what the machine has.
        unsafe {
            match isa() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::tile_avx512(self, height, c, ldc),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::tile_avx2(self, height, c, ldc),
                #[allow(unreachable_patterns)]
                _ => tile_portable(self, height, c, ldc),
            }
        }
    }
}

/// The portable kernel: one row and 16 columns at a time.
///
/// # Safety
/// As [`Tile::run`].
unsafe fn tile_portable(tile: &Tile, height: usize, c: *mut f32, ldc: usize) {
    const WIDTH: usize = 16;
    for r in 0..height {
        for panel in 0..tile.panel_count {
            for half in 0..PANEL / WIDTH {
                let mut sums = [0.0f32; WIDTH];
                // SAFETY: within the bounds promised by the caller.
                unsafe {
                    let out = c.add(r * ldc + panel * PANEL + half * WIDTH);
                    let b = tile.panels.add(panel * tile.depth * PANEL + half * WIDTH);
                    if !tile.fresh {
                        std::ptr::copy_nonoverlapping(out, sums.as_mut_ptr(), WIDTH);
                    }
                    for k in 0..tile.depth {
                        let a = *tile.a.add(r * tile.row_stride + k * tile.col_stride);
                        let b = std::slice::from_raw_parts(b.add(k * PANEL), WIDTH);
                        for j in 0..WIDTH {
                            sums[j] = a.mul_add(b[j], sums[j]);
                        }
                    }
                    std::ptr::copy_nonoverlapping(sums.as_ptr(), out, WIDTH);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{PANEL, Tile};

    /// R rows by P panels, all sums in registers.
    ///
    /// # Safety
    /// As [`Tile::run`], with `height` = R; the machine has AVX-512F.
    #[target_feature(enable = "avx512f")]
    unsafe fn block_avx512<const R: usize, const P: usize>(tile: &Tile, c: *mut f32, ldc: usize) {
        let mut sums = [[[_mm512_setzero_ps(); 2]; P]; R];
        // SAFETY: within the bounds promised by the caller.
        unsafe {
            if !tile.fresh {
                for r in 0..R {
                    for p in 0..P {
                        for h in 0..2 {
                            sums[r][p][h] = _mm512_loadu_ps(c.add(r * ldc + p * PANEL + h * 16));
                        }
                    }
                }
            }
            for k in 0..tile.depth {
                let mut b = [[_mm512_setzero_ps(); 2]; P];
                for (p, b) in b.iter_mut().enumerate() {
                    let at = tile.panels.add((p * tile.depth + k) * PANEL);
                    *b = [_mm512_loadu_ps(at), _mm512_loadu_ps(at.add(16))];
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = _mm512_set1_ps(*tile.a.add(r * tile.row_stride + k * tile.col_stride));
                    for p in 0..P {
                        for h in 0..2 {
                            sums[p][h] = _mm512_fmadd_ps(a, b[p][h], sums[p][h]);
                        }
                    }
                }
            }
            for r in 0..R {
                for p in 0..P {
                    for h in 0..2 {
                        _mm512_storeu_ps(c.add(r * ldc + p * PANEL + h * 16), sums[r][p][h]);
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`Tile::run`]; the machine has AVX-512F.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn tile_avx512(tile: &Tile, height: usize, c: *mut f32, ldc: usize) {
        macro_rules! pick {
            ($($rows:literal x $panels:literal),*) => {
                // SAFETY: the caller's promise.
                match (height, tile.panel_count) {
                    $(($rows, $panels) => unsafe { block_avx512::<$rows, $panels>(tile, c, ldc) },)*
                    _ => unreachable!("no tile of {height} rows by {} panels", tile.panel_count),
                }
            };
        }
        pick!(
            1 x 1, 2 x 1, 3 x 1, 4 x 1, 5 x 1, 6 x 1, 7 x 1, 8 x 1, 9 x 1, 10 x 1, 11 x 1, 12 x 1,
            1 x 2, 2 x 2, 3 x 2, 4 x 2, 5 x 2, 6 x 2,
            1 x 3, 2 x 3, 3 x 3,
            1 x 4, 2 x 4, 3 x 4
        );
    }

    /// R rows by half a panel.
    ///
    /// # Safety
    /// As [`Tile::run`] for these rows and columns; the machine has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn block_avx2<const R: usize>(tile: &Tile, a: *const f32, b: *const f32, c: *mut f32, ldc: usize) {
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        // SAFETY: within the bounds promised by the caller.
        unsafe {
            if !tile.fresh {
                for (r, sums) in sums.iter_mut().enumerate() {
                    *sums = [_mm256_loadu_ps(c.add(r * ldc)), _mm256_loadu_ps(c.add(r * ldc + 8))];
                }
            }
            for k in 0..tile.depth {
                let at = b.add(k * PANEL);
                let b = [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))];
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = _mm256_set1_ps(*a.add(r * tile.row_stride + k * tile.col_stride));
                    sums[0] = _mm256_fmadd_ps(a, b[0], sums[0]);
                    sums[1] = _mm256_fmadd_ps(a, b[1], sums[1]);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                _mm256_storeu_ps(c.add(r * ldc), sums[0]);
                _mm256_storeu_ps(c.add(r * ldc + 8), sums[1]);
            }
        }
    }

    /// # Safety
    /// As [`Tile::run`]; the machine has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn tile_avx2(tile: &Tile, height: usize, c: *mut f32, ldc: usize) {
        for row in (0..height).step_by(6) {
            let rows = 6.min(height - row);
            for part in 0..tile.panel_count * 2 {
                let (panel, half) = (part / 2, part % 2);
                // SAFETY: the caller's promise; rows and columns stay inside the tile.
                unsafe {
                    let a = tile.a.add(row * tile.row_stride);
                    let b = tile.panels.add(panel * tile.depth * PANEL + half * 16);
                    let c = c.add(row * ldc + panel * PANEL + half * 16);
                    match rows {
                        1 => block_avx2::<1>(tile, a, b, c, ldc),
                        2 => block_avx2::<2>(tile, a, b, c, ldc),
                        3 => block_avx2::<3>(tile, a, b, c, ldc),
                        4 => block_avx2::<4>(tile, a, b, c, ldc),
                        5 => block_avx2::<5>(tile, a, b, c, ldc),
                        _ => block_avx2::<6>(tile, a, b, c, ldc),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
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

    /// All variants of the machine against the portable one, on one tile each.
    #[test]
    fn all_variants_give_the_same_bits() {
        let (depth, panels) = (37, numbers(4 * 37 * PANEL, 5));
        let a = numbers(12 * depth, 6);
        for panel_count in 1..=4 {
            for height in 1..=max_height(panel_count) {
                for fresh in [false, true] {
                    let tile = Tile {
                        a: a.as_ptr(),
                        row_stride: depth,
                        col_stride: 1,
                        depth,
                        panels: panels.as_ptr(),
                        panel_count,
                        fresh,
                    };
                    let ldc = panel_count * PANEL;
                    let start = numbers(height * ldc, 7);
                    let mut expected = start.clone();
                    // SAFETY: all buffers have the sizes the tile names.
                    unsafe { tile_portable(&tile, height, expected.as_mut_ptr(), ldc) };
                    #[cfg(target_arch = "x86_64")]
                    for isa in Isa::available() {
                        let mut c = start.clone();
                        // SAFETY: as above; the machine has this variant.
                        unsafe {
                            match isa {
                                Isa::Avx512 => x86::tile_avx512(&tile, height, c.as_mut_ptr(), ldc),
                                Isa::Avx2 => x86::tile_avx2(&tile, height, c.as_mut_ptr(), ldc),
                                Isa::Portable => tile_portable(&tile, height, c.as_mut_ptr(), ldc),
                            }
                        }
                        assert_eq!(c, expected, "{} {height} x {panel_count}", isa.name());
                    }
                }
            }
        }
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
