//! Register tiles: the innermost loops of the matrix product, one variant per instruction set.

use super::PANEL;
use crate::{Isa, isa};

/// Rows per tile, by the number of panels side by side: what fits in registers.
pub(super) fn max_height(panel_count: usize) -> usize {
    match panel_count {
        1 => 12,
        2 => 6,
        _ => 3,
    }
}

/// Operands of one register tile.
pub(super) struct Tile {
    pub(super) a: *const f32,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
    pub(super) depth: usize,
    pub(super) panels: *const f32,
    /// Floats from one panel to the next.
    pub(super) panel_stride: usize,
    pub(super) panel_count: usize,
    pub(super) fresh: bool,
}

impl Tile {
    /// Computes `height` rows by `panel_count` panels.
    ///
    /// # Safety
    /// `a` must be readable at every (row < height, k < depth), `panels` over
    /// `depth * PANEL` for each of `panel_count` panels, and `c` writable over `height` rows of whole panels.
    pub(super) unsafe fn run(&self, height: usize, c: *mut f32, ldc: usize) {
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

/// Columns of the portable kernel.
const WIDTH: usize = 16;

/// R rows by [`WIDTH`] columns, in arrays that the compiler keeps in vector registers.
///
/// # Safety
/// As [`Tile::run`] for these rows and columns.
unsafe fn block_portable<const R: usize>(tile: &Tile, a: *const f32, b: *const f32, c: *mut f32, ldc: usize) {
    let mut sums = [[0.0f32; WIDTH]; R];
    // SAFETY: within the bounds promised by the caller.
    unsafe {
        if !tile.fresh {
            for (r, sums) in sums.iter_mut().enumerate() {
                std::ptr::copy_nonoverlapping(c.add(r * ldc), sums.as_mut_ptr(), WIDTH);
            }
        }
        for k in 0..tile.depth {
            let b = &*b.add(k * PANEL).cast::<[f32; WIDTH]>();
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = *a.add(r * tile.row_stride + k * tile.col_stride);
                for j in 0..WIDTH {
                    sums[j] = a.mul_add(b[j], sums[j]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            std::ptr::copy_nonoverlapping(sums.as_ptr(), c.add(r * ldc), WIDTH);
        }
    }
}

/// The portable kernel.
///
/// # Safety
/// As [`Tile::run`].
unsafe fn tile_portable(tile: &Tile, height: usize, c: *mut f32, ldc: usize) {
    for row in (0..height).step_by(4) {
        for part in 0..tile.panel_count * PANEL / WIDTH {
            let column = part * WIDTH;
            // SAFETY: the caller's promise; rows and columns stay inside the tile.
            unsafe {
                let a = tile.a.add(row * tile.row_stride);
                let b = tile.panels.add(column / PANEL * tile.panel_stride + column % PANEL);
                let c = c.add(row * ldc + column);
                match height - row {
                    1 => block_portable::<1>(tile, a, b, c, ldc),
                    2 => block_portable::<2>(tile, a, b, c, ldc),
                    3 => block_portable::<3>(tile, a, b, c, ldc),
                    _ => block_portable::<4>(tile, a, b, c, ldc),
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
                    let at = tile.panels.add(p * tile.panel_stride + k * PANEL);
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
                    let b = tile.panels.add(panel * tile.panel_stride + half * 16);
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
    use super::super::tests::numbers;
    use super::*;

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
                        panel_stride: depth * PANEL,
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
}
