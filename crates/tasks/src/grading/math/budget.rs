//! Bounded work: every reading and every comparison spends steps of one budget.

/// Steps of one comparison; a step is some ten to a hundred nanoseconds.
const STEPS: u64 = 200_000;

/// The longest answer that is read, in bytes.
pub(super) const LONGEST: usize = 10_000;

/// The deepest nesting of brackets, powers and the like.
pub(super) const DEEPEST: u32 = 40;

/// Why a reading or a comparison came to no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// It would have taken too much work; what would have.
    OverBudget(&'static str),
    /// This cannot be read as mathematics.
    Unreadable(String),
    /// There is no such value: a division by zero, a logarithm of zero.
    Undefined(&'static str),
    /// No precision within the budget tells.
    Undecided,
}

/// Steps left to spend.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    depth: u32,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: STEPS, depth: 0 }
    }

    /// Takes steps off.
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), Stop> {
        self.left = self.left.checked_sub(steps).ok_or(Stop::OverBudget("too many steps"))?;
        Ok(())
    }

    /// Runs one level deeper; no comparison needs more levels than two answers have.
    pub(super) fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        if self.depth == 4 * DEEPEST {
            return Err(Stop::OverBudget("nested too deeply"));
        }
        self.depth += 1;
        let done = run(self);
        self.depth -= 1;
        done
    }
}
