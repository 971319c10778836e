//! bfloat16: the upper half of an f32, rounded to nearest, ties to even.

/// What the operands of a matrix product are. Sums are f32 in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16 operands: half the memory traffic and twice the arithmetic per instruction.
    Bf16,
}

impl Precision {
    /// Words of 32 bits that hold `k` elements.
    #[inline(always)]
    pub fn steps(self, k: usize) -> usize {
        match self {
            Precision::F32 => k,
            Precision::Bf16 => k.div_ceil(2),
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::Bf16 => 2,
        }
    }

    /// Name as settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }
}

/// The bits of `x` rounded to bf16, in the upper half; NaN stays NaN, overflow is infinite.
#[inline(always)]
pub fn round_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    // rounding could carry a NaN's payload into an infinity
    let quiet = bits | 0x0040_0000;
    (if x.is_nan() { quiet } else { rounded }) & 0xffff_0000
}

/// `x` rounded to bf16.
#[inline(always)]
pub fn round(x: f32) -> f32 {
    f32::from_bits(round_bits(x))
}

/// Two neighbours along k in one word: the even one in the upper half.
#[inline(always)]
pub fn pair(even: f32, odd: f32) -> u32 {
    round_bits(even) | (round_bits(odd) >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_even_and_keeps_what_is_special() {
        for (x, expected) in [
            (1.0f32, 0x3f80),
            (1.0 + 1.0 / 256.0, 0x3f80), // tie, to even
            (1.0 + 3.0 / 256.0, 0x3f82), // tie, to even
            (1.003_906_4, 0x3f81),
            (-0.0, 0x8000),
            (f32::INFINITY, 0x7f80),
            (f32::MAX, 0x7f80),
            (-1e-40, 0x8001),
        ] {
            assert_eq!(round_bits(x) >> 16, expected, "{x:e}");
        }
        assert!(round(f32::from_bits(0x7f80_0001)).is_nan());
        assert_eq!(pair(1.0, -2.0), 0x3f80_c000);
    }
}
