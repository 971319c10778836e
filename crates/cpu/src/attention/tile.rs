//! Register tiles of attention: scores of a few rows against blocks of keys, and sums of rows weighed by
//! them. What is loaded once serves every row of a tile; each row's chain of operations is its own, so the
//! tile it falls in does not show in its bits.

use super::LANES;
use crate::isa::multiversion;
use crate::{Isa, isa};

/// Rows of a tile: what fits in registers.
pub(super) const ROWS: usize = 6;

/// Blocks of keys, or of values, of one head: `count` blocks `[d, 16]`, `stride` floats apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
    pub(super) count: usize,
}

/// Rows to be weighed: `depth` rows, `stride` floats apart, of which the first `width` floats count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
    pub(super) width: usize,
    pub(super) depth: usize,
}

/// Weights of R sums over K rows: weight (r, k) lies at `r * row_stride + k * col_stride`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) data: &'a [f32],
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
    pub(super) rows: usize,
}

/// Length of the buffer that holds `rows` rows of `width` floats, `stride` apart.
fn extent(rows: usize, stride: usize, width: usize) -> usize {
    if rows == 0 || width == 0 { 0 } else { (rows - 1) * stride + width }
}

/// Height of the tiles that `rows` rows are cut into: nearly equal, none above `limit`.
#[inline(always)]
fn tile_height(rows: usize, limit: usize) -> usize {
    if rows <= limit { rows } else { rows.div_ceil(rows.div_ceil(limit)) }
}

multiversion! {
    /// scores = scale q k for every row of `q` and every position of `keys`: each dot product in two chains
    /// of multiply-adds, over the even and the odd components.
    ///
    /// # Shapes
    /// `q`: `[R, d]`; `scores`: `[R, stride]`, of which whole blocks are written.
    pub fn dots(
        q: &[f32], dim: usize, keys: Blocks<'_>, scale: f32, scores: &mut [f32], stride: usize,
    ) {
        let rows = q.len() / dim;
        assert!(keys.data.len() >= extent(keys.count, keys.stride, dim * LANES));
        assert!(scores.len() >= extent(rows, stride, keys.count * LANES));
        let (limit, together) = match (isa(), rows) {
            (Isa::Avx512Bf16 | Isa::Avx512, _) => (ROWS, 2),
            (_, 1) => (1, 2),
            _ => (ROWS / 2, 1),
        };
        let highest = tile_height(rows, limit);
        let mut block = 0;
        while block < keys.count {
            let mut row = 0;
            while row < rows {
                let height = highest.min(rows - row);
                // SAFETY: rows and blocks inside the buffers, whose lengths were checked above.
                unsafe {
                    let tile = DotTile {
                        q: q.as_ptr().add(row * dim),
                        dim,
                        block: keys.data.as_ptr().add(block * keys.stride),
                        block_stride: keys.stride,
                        scale,
                        scores: scores.as_mut_ptr().add(row * stride + block * LANES),
                        stride,
                    };
                    if together.min(keys.count - block) == 2 {
                        tile.run::<2>(height);
                    } else {
                        tile.run::<1>(height);
                    }
                }
                row += height;
            }
            block += together;
        }
    }
}

/// Operands of one tile of [`dots`].
struct DotTile {
    q: *const f32,
    dim: usize,
    block: *const f32,
    block_stride: usize,
    scale: f32,
    scores: *mut f32,
    stride: usize,
}

impl DotTile {
    /// # Safety
    /// `q` must be readable over `height` rows, `block` over B blocks, and `scores` writable over B blocks
    /// of `height` rows.
    #[inline(always)]
    unsafe fn run<const B: usize>(&self, height: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match height {
                1 => self.block::<1, B>(),
                2 => self.block::<2, B>(),
                3 => self.block::<3, B>(),
                4 => self.block::<4, B>(),
                5 => self.block::<5, B>(),
                _ => self.block::<ROWS, B>(),
            }
        }
    }

    /// # Safety
    /// As [`DotTile::run`] with `height` = R.
    #[inline(always)]
    unsafe fn block<const R: usize, const B: usize>(&self) {
        let mut even = [[[0.0f32; LANES]; B]; R];
        let mut odd = [[[0.0f32; LANES]; B]; R];
        // SAFETY: within the bounds promised by the caller.
        unsafe {
            for c in (1..self.dim).step_by(2) {
                self.step(c - 1, &mut even);
                self.step(c, &mut odd);
            }
            if self.dim % 2 == 1 {
                self.step(self.dim - 1, &mut even);
            }
            for r in 0..R {
                for b in 0..B {
                    let scores = &mut *self.scores.add(r * self.stride + b * LANES).cast::<[f32; LANES]>();
                    for i in 0..LANES {
                        scores[i] = (even[r][b][i] + odd[r][b][i]) * self.scale;
                    }
                }
            }
        }
    }

    /// One component more: sums += q_c k_c.
    ///
    /// # Safety
    /// As [`DotTile::block`], with `c` < dim.
    #[inline(always)]
    unsafe fn step<const R: usize, const B: usize>(&self, c: usize, sums: &mut [[[f32; LANES]; B]; R]) {
        // SAFETY: the caller's promise.
        unsafe {
            let keys: [[f32; LANES]; B] = std::array::from_fn(|b| {
                *self.block.add(b * self.block_stride + c * LANES).cast::<[f32; LANES]>()
            });
            for r in 0..R {
                let q = *self.q.add(r * self.dim + c);
                for b in 0..B {
                    for i in 0..LANES {
                        sums[r][b][i] = q.mul_add(keys[b][i], sums[r][b][i]);
                    }
                }
            }
        }
    }
}

multiversion! {
    /// sums_r += sum_k weight_rk row_k: for each row of `sums` one chain of multiply-adds, in the order of k.
    ///
    /// # Shapes
    /// `sums`: `[R, stride]`, of which the first `rows.width` columns are added to.
    pub fn weigh(weights: Weights<'_>, rows: Rows<'_>, sums: &mut [f32], stride: usize) {
        let Weights { row_stride, col_stride, .. } = weights;
        if weights.rows == 0 || rows.depth == 0 || rows.width == 0 {
            return;
        }
        let last_weight = (weights.rows - 1) * row_stride + (rows.depth - 1) * col_stride;
        assert!(weights.data.len() > last_weight);
        assert!(rows.data.len() >= extent(rows.depth, rows.stride, rows.width));
        assert!(sums.len() >= extent(weights.rows, stride, rows.width));
        // 12 vectors of 8 floats, or 24 of 16
        let widest = match (isa(), weights.rows) {
            (Isa::Avx512Bf16 | Isa::Avx512, _) | (_, 1) => 4,
            (_, 2 | 3) => 2,
            _ => 1,
        };
        let mut column = 0;
        while column < rows.width {
            let left = rows.width - column;
            let panel = [4, 2, 1].into_iter().find(|&n| n <= widest && n * LANES <= left).unwrap_or(0);
            let highest = if panel == 0 { 1 } else { tile_height(weights.rows, ROWS) };
            let mut row = 0;
            while row < weights.rows {
                let height = highest.min(weights.rows - row);
                // SAFETY: rows and columns inside the buffers, whose lengths were checked above.
                unsafe {
                    let tile = WeighTile {
                        weights: weights.data.as_ptr().add(row * row_stride),
                        row_stride,
                        col_stride,
                        rows: rows.data.as_ptr().add(column),
                        stride: rows.stride,
                        depth: rows.depth,
                        sums: sums.as_mut_ptr().add(row * stride + column),
                        sums_stride: stride,
                    };
                    match panel {
                        4 => tile.run::<4>(height),
                        2 => tile.run::<2>(height),
                        1 => tile.run::<1>(height),
                        _ if left >= 4 => tile.block::<1, 1, 4>(),
                        _ => tile.block::<1, 1, 1>(),
                    }
                }
                row += height;
            }
            column += match panel {
                0 if left >= 4 => 4,
                0 => 1,
                panel => panel * LANES,
            };
        }
    }
}

/// What [`weigh`] over `rows.depth` leaves out where row r goes on to `depth(r)`, which never falls.
/// Rows of `sums` lie close together.
#[inline(always)]
pub(super) fn weigh_ragged(
    weights: Weights<'_>,
    rows: Rows<'_>,
    depth: impl Fn(usize) -> usize,
    sums: &mut [f32],
) {
    let mut r = 0;
    while r < weights.rows {
        let to = depth(r);
        let same = (r..weights.rows).take_while(|&r| depth(r) == to).count();
        if to > rows.depth {
            let data = &weights.data[r * weights.row_stride + rows.depth * weights.col_stride..];
            let weights = Weights { data, rows: same, ..weights };
            let data = &rows.data[rows.depth * rows.stride..];
            let more = Rows { data, depth: to - rows.depth, ..rows };
            weigh(weights, more, &mut sums[r * rows.width..], rows.width);
        }
        r += same;
    }
}

/// Operands of one tile of [`weigh`].
struct WeighTile {
    weights: *const f32,
    row_stride: usize,
    col_stride: usize,
    rows: *const f32,
    stride: usize,
    depth: usize,
    sums: *mut f32,
    sums_stride: usize,
}

impl WeighTile {
    /// # Safety
    /// `weights` must be readable at every (r < height, k < depth), `rows` over V vectors of `depth` rows,
    /// and `sums` writable over V vectors of `height` rows.
    #[inline(always)]
    unsafe fn run<const V: usize>(&self, height: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match height {
                1 => self.block::<1, V, LANES>(),
                2 => self.block::<2, V, LANES>(),
                3 => self.block::<3, V, LANES>(),
                4 => self.block::<4, V, LANES>(),
                5 => self.block::<5, V, LANES>(),
                _ => self.block::<ROWS, V, LANES>(),
            }
        }
    }

    /// R rows of V vectors of W floats.
    ///
    /// # Safety
    /// As [`WeighTile::run`] with `height` = R, for V vectors of W floats.
    #[inline(always)]
    unsafe fn block<const R: usize, const V: usize, const W: usize>(&self) {
        let mut sums = [[[0.0f32; W]; V]; R];
        // SAFETY: within the bounds promised by the caller.
        unsafe {
            for r in 0..R {
                for v in 0..V {
                    sums[r][v] = *self.sums.add(r * self.sums_stride + v * W).cast::<[f32; W]>();
                }
            }
            for k in 0..self.depth {
                let row: [[f32; W]; V] =
                    std::array::from_fn(|v| *self.rows.add(k * self.stride + v * W).cast::<[f32; W]>());
                for r in 0..R {
                    let weight = *self.weights.add(r * self.row_stride + k * self.col_stride);
                    for v in 0..V {
                        for i in 0..W {
                            sums[r][v][i] = weight.mul_add(row[v][i], sums[r][v][i]);
                        }
                    }
                }
            }
            for r in 0..R {
                for v in 0..V {
                    *self.sums.add(r * self.sums_stride + v * W).cast::<[f32; W]>() = sums[r][v];
                }
            }
        }
    }
}
