//! Which instruction set the kernels use, chosen once at run time.

use std::sync::OnceLock;

/// A kernel variant. All give the same bits; they differ in speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// [`Avx512`](Self::Avx512) with dot products of bf16 pairs.
    Avx512Bf16,
    /// x86-64 with AVX-512 (F, VL, BW, DQ) and FMA.
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// Anything else: plain Rust, vectorised by the compiler (NEON on Arm).
    Portable,
}

impl Isa {
    /// Name as the environment variable `THINKTUNE_ISA` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512Bf16 => "avx512bf16",
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// The variants this machine can run, fastest first.
    pub fn available() -> Vec<Isa> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let fma = is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2");
            if fma
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
            {
                if is_x86_feature_detected!("avx512bf16") {
                    found.push(Isa::Avx512Bf16);
                }
                found.push(Isa::Avx512);
            }
            if fma {
                found.push(Isa::Avx2);
            }
        }
        found.push(Isa::Portable);
        found
    }
}

/// The environment variable that forces a variant.
pub const ISA_VARIABLE: &str = "THINKTUNE_ISA";

/// The variant in use: the fastest available, or the one `THINKTUNE_ISA` names if the machine has it.
pub fn isa() -> Isa {
    static CHOSEN: OnceLock<Isa> = OnceLock::new();
    *CHOSEN.get_or_init(|| forced().ok().flatten().unwrap_or(Isa::available()[0]))
}

/// A value of `THINKTUNE_ISA` that names no variant of this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{ISA_VARIABLE}={found}: expected one of what this machine has, {}, or nothing", names())]
pub struct UnknownIsa {
    /// The value found.
    pub found: String,
}

fn names() -> String {
    Isa::available().iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ")
}

/// The variant that `THINKTUNE_ISA` names, if it is set.
///
/// # Errors
/// A name of no variant of this machine.
pub fn forced() -> Result<Option<Isa>, UnknownIsa> {
    let Some(wanted) = std::env::var_os(ISA_VARIABLE) else { return Ok(None) };
    let found = Isa::available().into_iter().find(|isa| *isa.name() == *wanted);
    found.map(Some).ok_or_else(|| UnknownIsa { found: wanted.to_string_lossy().into_owned() })
}

/// Defines a function compiled once per instruction set from one body, and dispatched at run time.
/// Rust neither contracts nor reorders floating-point operations, so all variants give the same bits.
macro_rules! multiversion {
    ($(#[$meta:meta])* pub fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        pub fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }

            match $crate::isa() {
                // SAFETY: `isa()` returns a variant only if the machine has its features.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx512Bf16 | $crate::Isa::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx2 => unsafe { avx2($($arg),*) },
                #[allow(unreachable_patterns)]
                _ => body($($arg),*),
            }
        }
    };
}
pub(crate) use multiversion;
