//! Register tiles: the innermost loops of the matrix product, one variant per instruction set and precision.
//!
//! A step is one word of k: one element in f32, two in bf16. Every variant adds the products of a step to
//! the sum one after the other, the even k first, each with one rounding.

use super::pack::GROUP;
use super::view::PANEL;
use crate::{Isa, Precision, isa};

/// Rows per tile, by the number of panels side by side: what fits in registers.
pub(super) fn max_height(panel_count: usize) -> usize {
    match panel_count {
        1 => GROUP,
        2 => 6,
        _ => 3,
    }
}

/// Operands of one register tile.
pub(super) struct Tile {
    pub(super) precision: Precision,
    pub(super) a: *const u32,
    pub(super) row_stride: usize,
    pub(super) step_stride: usize,
    pub(super) steps: usize,
    pub(super) panels: *const u32,
    /// Words from one panel to the next.
    pub(super) panel_stride: usize,
    pub(super) panel_count: usize,
    /// Whether sums start from zero instead of from c.
    pub(super) fresh: bool,
}

impl Tile {
    /// Computes `height` rows by `panel_count` panels.
    ///
    /// # Safety
    /// `a` must be readable at every (row < height, step < steps), `panels` over
    /// `steps * PANEL` for each of `panel_count` panels, and `c` writable over `height` rows of whole panels.
    pub(super) unsafe fn run(&self, height: usize, c: *mut f32, ldc: usize) {
        // SAFETY: the caller's promise; `isa()` returns only what the machine has.
        unsafe { self.run_on(isa(), height, c, ldc) }
    }

    /// # Safety
    /// As [`run`](Self::run); the machine has `isa`.
    unsafe fn run_on(&self, isa: Isa, height: usize, c: *mut f32, ldc: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match (isa, self.precision) {
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx512Bf16, Precision::Bf16) => x86::tile_dot(self, height, c, ldc),
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx512Bf16 | Isa::Avx512, Precision::F32) => x86::tile_avx512(self, height, c, ldc),
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx512, Precision::Bf16) => x86::tile_avx512_widened(self, height, c, ldc),
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx2, Precision::F32) => x86::tile_avx2(self, height, c, ldc),
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx2, Precision::Bf16) => x86::tile_avx2_widened(self, height, c, ldc),
                #[allow(unreachable_patterns)]
                (_, Precision::F32) => tile_portable::<false>(self, height, c, ldc),
                #[allow(unreachable_patterns)]
                (_, Precision::Bf16) => tile_portable::<true>(self, height, c, ldc),
            }
        }
    }
}

/// Columns of the portable kernel.
const WIDTH: usize = 16;

/// The two elements of a bf16 word, the even k first.
#[inline(always)]
fn widened(word: u32) -> [f32; 2] {
    [f32::from_bits(word & 0xffff_0000), f32::from_bits(word << 16)]
}

/// R rows by [`WIDTH`] columns, in arrays that the compiler keeps in vector registers.
///
/// # Safety
/// As [`Tile::run`] for these rows and columns.
unsafe fn block_portable<const R: usize, const BF16: bool>(
    tile: &Tile,
    a: *const u32,
    b: *const u32,
    c: *mut f32,
    ldc: usize,
) {
    let mut sums = [[0.0f32; WIDTH]; R];
    // SAFETY: within the bounds promised by the caller.
    unsafe {
        if !tile.fresh {
            for (r, sums) in sums.iter_mut().enumerate() {
                std::ptr::copy_nonoverlapping(c.add(r * ldc), sums.as_mut_ptr(), WIDTH);
            }
        }
        for step in 0..tile.steps {
            let b = &*b.add(step * PANEL).cast::<[u32; WIDTH]>();
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = *a.add(r * tile.row_stride + step * tile.step_stride);
                for j in 0..WIDTH {
                    if BF16 {
                        let (a, b) = (widened(a), widened(b[j]));
                        sums[j] = a[1].mul_add(b[1], a[0].mul_add(b[0], sums[j]));
                    } else {
                        sums[j] = f32::from_bits(a).mul_add(f32::from_bits(b[j]), sums[j]);
                    }
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
unsafe fn tile_portable<const BF16: bool>(tile: &Tile, height: usize, c: *mut f32, ldc: usize) {
    for row in (0..height).step_by(4) {
        for part in 0..tile.panel_count * PANEL / WIDTH {
            let column = part * WIDTH;
            // SAFETY: the caller's promise; rows and columns stay inside the tile.
            unsafe {
                let a = tile.a.add(row * tile.row_stride);
                let b = tile.panels.add(column / PANEL * tile.panel_stride + column % PANEL);
                let c = c.add(row * ldc + column);
                match height - row {
                    1 => block_portable::<1, BF16>(tile, a, b, c, ldc),
                    2 => block_portable::<2, BF16>(tile, a, b, c, ldc),
                    3 => block_portable::<3, BF16>(tile, a, b, c, ldc),
                    _ => block_portable::<4, BF16>(tile, a, b, c, ldc),
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{PANEL, Tile};

    /// Words from the one in use to the one fetched ahead: panels are streamed, and the hardware stops
    /// fetching at page borders.
    const AHEAD: usize = 64 * PANEL;

    /// Calls the block of the tile's size.
    macro_rules! pick_block {
        ($block:ident, $tile:ident, $height:ident, $c:ident, $ldc:ident, $($rows:literal x $panels:literal),*) => {
            // SAFETY: the caller's promise.
            match ($height, $tile.panel_count) {
                $(($rows, $panels) => unsafe { $block::<$rows, $panels>($tile, $c, $ldc) },)*
                _ => unreachable!("no tile of {} rows by {} panels", $height, $tile.panel_count),
            }
        };
    }

    /// Defines a tile of up to 12 rows by one panel, 6 by two, or 3 by four, all sums in registers.
    macro_rules! avx512_tile {
        ($tile:ident, $block:ident, $features:literal, $multiply:ident) => {
            /// R rows by P panels.
            ///
            /// # Safety
            /// As [`Tile::run`], with `height` = R; the machine has the features.
            #[target_feature(enable = $features)]
            unsafe fn $block<const R: usize, const P: usize>(tile: &Tile, c: *mut f32, ldc: usize) {
                let mut sums = [[[_mm512_setzero_ps(); 2]; P]; R];
                // SAFETY: within the bounds promised by the caller; prefetching reads nothing.
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
                    for step in 0..tile.steps {
                        let mut b = [[_mm512_setzero_si512(); 2]; P];
                        for (p, b) in b.iter_mut().enumerate() {
                            let at = tile.panels.add(p * tile.panel_stride + step * PANEL);
                            *b = [_mm512_load_si512(at.cast()), _mm512_load_si512(at.add(16).cast())];
                            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD).cast());
                            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD + 16).cast());
                        }
                        for (r, sums) in sums.iter_mut().enumerate() {
                            let word = *tile.a.add(r * tile.row_stride + step * tile.step_stride);
                            let a = _mm512_set1_epi32(word as i32);
                            for p in 0..P {
                                for h in 0..2 {
                                    sums[p][h] = $multiply(sums[p][h], a, b[p][h]);
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
            /// As [`Tile::run`]; the machine has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $tile(tile: &Tile, height: usize, c: *mut f32, ldc: usize) {
                pick_block!($block, tile, height, c, ldc,
                    1 x 1, 2 x 1, 3 x 1, 4 x 1, 5 x 1, 6 x 1, 7 x 1, 8 x 1, 9 x 1, 10 x 1, 11 x 1, 12 x 1,
                    1 x 2, 2 x 2, 3 x 2, 4 x 2, 5 x 2, 6 x 2,
                    1 x 3, 2 x 3, 3 x 3,
                    1 x 4, 2 x 4, 3 x 4
                );
            }
        };
    }

    /// sum + a b, f32.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn multiply(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum)
    }

    /// The two products of a bf16 step, by widening.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn multiply_widened(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        let mask = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        let sum = multiply(sum, _mm512_and_si512(a, mask), _mm512_and_si512(b, mask));
        multiply(sum, _mm512_slli_epi32::<16>(a), _mm512_slli_epi32::<16>(b))
    }

    /// The two products of a bf16 step: the instruction adds the upper half's first.
    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline]
    fn multiply_dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: both types are 512 bits without padding.
        unsafe {
            let [a, b] = [a, b].map(|x| std::mem::transmute::<__m512i, __m512bh>(x));
            _mm512_dpbf16_ps(sum, a, b)
        }
    }

    avx512_tile!(tile_avx512, block_avx512, "avx512f", multiply);
    avx512_tile!(tile_avx512_widened, block_avx512_widened, "avx512f", multiply_widened);
    avx512_tile!(tile_dot, block_dot, "avx512f,avx512bf16", multiply_dot);

    /// Defines a tile that works through blocks of `$height` rows by half a panel.
    macro_rules! avx2_tile {
        ($tile:ident, $block:ident, $multiply:ident, $height:literal: $($rows:literal)*) => {
            /// R rows by half a panel.
            ///
            /// # Safety
            /// As [`Tile::run`] for these rows and columns; the machine has AVX2 and FMA.
            #[target_feature(enable = "avx2,fma")]
            unsafe fn $block<const R: usize>(
                tile: &Tile,
                a: *const u32,
                b: *const u32,
                c: *mut f32,
                ldc: usize,
            ) {
                let mut sums = [[_mm256_setzero_ps(); 2]; R];
                // SAFETY: within the bounds promised by the caller.
                unsafe {
                    if !tile.fresh {
                        for (r, sums) in sums.iter_mut().enumerate() {
                            *sums = [_mm256_loadu_ps(c.add(r * ldc)), _mm256_loadu_ps(c.add(r * ldc + 8))];
                        }
                    }
                    for step in 0..tile.steps {
                        let at = b.add(step * PANEL).cast::<__m256i>();
                        let b = [_mm256_load_si256(at), _mm256_load_si256(at.add(1))];
                        for (r, sums) in sums.iter_mut().enumerate() {
                            let word = *a.add(r * tile.row_stride + step * tile.step_stride);
                            let a = _mm256_set1_epi32(word as i32);
                            sums[0] = $multiply(sums[0], a, b[0]);
                            sums[1] = $multiply(sums[1], a, b[1]);
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
            pub(super) unsafe fn $tile(tile: &Tile, height: usize, c: *mut f32, ldc: usize) {
                for row in (0..height).step_by($height) {
                    for part in 0..tile.panel_count * 2 {
                        let (panel, half) = (part / 2, part % 2);
                        // SAFETY: the caller's promise; rows and columns stay inside the tile.
                        unsafe {
                            let a = tile.a.add(row * tile.row_stride);
                            let b = tile.panels.add(panel * tile.panel_stride + half * 16);
                            let c = c.add(row * ldc + panel * PANEL + half * 16);
                            match height - row {
                                $($rows => $block::<$rows>(tile, a, b, c, ldc),)*
                                _ => $block::<$height>(tile, a, b, c, ldc),
                            }
                        }
                    }
                }
            }
        };
    }

    /// sum + a b, f32.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn multiply_avx2(sum: __m256, a: __m256i, b: __m256i) -> __m256 {
        _mm256_fmadd_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), sum)
    }

    /// The two products of a bf16 step, by widening.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn multiply_avx2_widened(sum: __m256, a: __m256i, b: __m256i) -> __m256 {
        let mask = _mm256_set1_epi32(0xffff_0000_u32 as i32);
        let sum = multiply_avx2(sum, _mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
        multiply_avx2(sum, _mm256_slli_epi32::<16>(a), _mm256_slli_epi32::<16>(b))
    }

    avx2_tile!(tile_avx2, block_avx2, multiply_avx2, 6: 1 2 3 4 5);
    avx2_tile!(tile_avx2_widened, block_avx2_widened, multiply_avx2_widened, 4: 1 2 3);
}

#[cfg(test)]
mod tests {
    use super::super::pack::{Packed, Scratch};
    use super::super::tests::numbers;
    use super::super::{Threads, View};
    use super::*;

    /// All variants of the machine against the portable one, on one tile each.
    #[test]
    fn all_variants_give_the_same_bits() {
        let k = if cfg!(miri) { 3 } else { 37 };
        let (a, b) = (numbers(12 * k, 6), numbers(k * 4 * PANEL, 5));
        for precision in [Precision::F32, Precision::Bf16] {
            let panels = Packed::new(View::new(&b, k, 4 * PANEL), precision);
            let mut scratch = Scratch::default();
            let rows = scratch.rows(View::new(&a, 12, k), precision, Threads::All);
            let steps = precision.steps(k);
            for panel_count in 1..=4 {
                for height in 1..=max_height(panel_count) {
                    for fresh in [false, true] {
                        let tile = Tile {
                            precision,
                            a: rows.words.as_ptr(),
                            row_stride: rows.row_stride,
                            step_stride: rows.step_stride,
                            steps,
                            panels: panels.words().as_ptr(),
                            panel_stride: steps * PANEL,
                            panel_count,
                            fresh,
                        };
                        let ldc = panel_count * PANEL;
                        let start = numbers(height * ldc, 7);
                        let run = |isa| {
                            let mut c = start.clone();
                            // SAFETY: all buffers have the sizes the tile names; the machine has `isa`.
                            unsafe { tile.run_on(isa, height, c.as_mut_ptr(), ldc) };
                            c
                        };
                        let expected = run(Isa::Portable);
                        for isa in Isa::available() {
                            let name = (isa.name(), precision.name());
                            assert_eq!(run(isa), expected, "{name:?} {height} x {panel_count}");
                        }
                    }
                }
            }
        }
    }
}
