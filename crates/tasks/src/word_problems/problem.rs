//! One problem: somebody owns a number of things, and two to four events change it.

use crate::seeded_rng::SeededRng;

/// The side of the divide that a problem is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// Seen in training.
    Train,
    /// Never seen in training.
    HeldOut,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The count grows by this.
    Add(u32),
    /// The count shrinks by this.
    Take(u32),
    /// The count is multiplied by this, 2 or 3.
    Times(u32),
}

/// The largest count in any problem.
pub(super) const LARGEST: u32 = 60;

impl Step {
    /// The count after the event.
    pub(super) fn apply(self, count: u32) -> u32 {
        match self {
            Self::Add(by) => count + by,
            Self::Take(by) => count - by,
            Self::Times(by) => count * by,
        }
    }

    /// The event as a calculation, `7+5=12`.
    pub(super) fn equation(self, count: u32) -> String {
        let (sign, by) = match self {
            Self::Add(by) => ('+', by),
            Self::Take(by) => ('-', by),
            Self::Times(by) => ('*', by),
        };
        format!("{count}{sign}{by}={}", self.apply(count))
    }
}

/// A word problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The owner's name.
    pub name: &'static str,
    /// The things counted, in the plural.
    pub thing: &'static str,
    /// Number of them at first.
    pub start: u32,
    /// Changes of that number, in order.
    pub steps: Vec<Step>,
    verbs: Vec<&'static str>,
}

const NAMES: [&str; 8] = ["Tom", "Ann", "Ben", "Mia", "Raj", "Lea", "Sam", "Zoe"];
const THINGS: [&str; 6] = ["apples", "books", "coins", "shells", "cards", "beads"];
const GAINS: [&str; 3] = ["gets", "buys", "finds"];
const LOSSES: [&str; 3] = ["loses", "sells", "spends"];

impl Problem {
    /// A problem of the wanted side with `steps` events.
    pub(super) fn draw(rng: &mut SeededRng, split: Split, steps: usize) -> Self {
        loop {
            let problem = Self::any(rng, steps);
            if problem.split() == split {
                return problem;
            }
        }
    }

    fn any(rng: &mut SeededRng, steps: usize) -> Self {
        let start = rng.between(2, 9);
        let (mut count, mut events, mut verbs) = (start, Vec::new(), Vec::new());
        while events.len() < steps {
            let step = match rng.below(5) {
                0 | 1 => Step::Add(rng.between(2, 9)),
                2 | 3 => Step::Take(rng.between(2, 9)),
                _ => Step::Times(rng.between(2, 3)),
            };
            if matches!(step, Step::Take(by) if by >= count) || step.apply(count) > LARGEST {
                continue;
            }
            count = step.apply(count);
            events.push(step);
            verbs.push(match step {
                Step::Add(_) => rng.pick(&GAINS),
                Step::Take(_) => rng.pick(&LOSSES),
                Step::Times(2) => "doubles",
                Step::Times(_) => "triples",
            });
        }
        Self { name: rng.pick(&NAMES), thing: rng.pick(&THINGS), start, steps: events, verbs }
    }

    /// The side a problem is on: held out where the hash of its numbers and operations, names and
    /// words left aside, is 0 modulo 8.
    pub fn split(&self) -> Split {
        let mut hash = mix(u64::from(self.start));
        for step in &self.steps {
            let (kind, by) = match *step {
                Step::Add(by) => (1, by),
                Step::Take(by) => (2, by),
                Step::Times(by) => (3, by),
            };
            hash = mix(hash ^ (kind << 32 | u64::from(by)));
        }
        if hash.is_multiple_of(8) { Split::HeldOut } else { Split::Train }
    }

    /// The question as asked.
    pub fn text(&self) -> String {
        let Self { name, thing, start, .. } = self;
        let events: String =
            self.steps.iter().zip(&self.verbs).map(|(step, verb)| event(*step, verb)).collect();
        format!("{name} has {start} {thing}.{events} How many {thing} now?")
    }

    /// The count at the end.
    pub fn answer(&self) -> u32 {
        self.steps.iter().fold(self.start, |count, step| step.apply(count))
    }

    /// Every step as an equation, `7+5=12, 12-3=9`.
    pub fn working(&self) -> String {
        let mut count = self.start;
        let equations: Vec<String> = self
            .steps
            .iter()
            .map(|step| {
                let equation = step.equation(count);
                count = step.apply(count);
                equation
            })
            .collect();
        equations.join(", ")
    }

    /// The counts on the way, the start included, the answer not.
    pub(super) fn counts_before_answer(&self) -> Vec<u32> {
        let mut count = self.start;
        self.steps
            .iter()
            .map(|step| {
                let before = count;
                count = step.apply(count);
                before
            })
            .collect()
    }
}

fn event(step: Step, verb: &str) -> String {
    match step {
        Step::Add(by) | Step::Take(by) => format!(" Then {verb} {by}."),
        Step::Times(_) => format!(" Then {verb} them."),
    }
}

/// The finaliser of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
