//! Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011). A number is a pure function of (seed, stream, step, question, sample, position),
//! so it depends on no order of execution.

/// Identity of one sample. With the seed and the token position it keys the counter-based
/// random numbers, so a sample never depends on its neighbours in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleKey {
    /// What the sample is for.
    pub stream: Stream,
    /// Training step, counted from 1; 0 outside training.
    pub step: u32,
    /// Index of the question in its data set (or of the row in a request).
    pub question: u32,
    /// Index of the sample within its question.
    pub sample: u32,
}

/// Streams of random numbers: one per use, so that no two uses share numbers. The discriminants are part of a run's
/// bytes: they never change, and a new use takes the next free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u32", into = "u32")]
#[repr(u32)]
pub enum Stream {
    /// Attempts sampled while training.
    Attempt = 0,
    /// The teacher's feedback.
    Teacher = 1,
    /// Choice of the attempts that are guided.
    Choice = 2,
    /// Order of the questions.
    Shuffle = 3,
    /// Held-out sets evaluated during a run.
    HeldOut = 4,
    /// `thinktune generate`.
    Generate = 5,
    /// Random initial weights.
    Init = 6,
    /// Benchmarks of `thinktune eval`.
    Benchmark = 7,
    /// Resampling of results.
    Bootstrap = 8,
    /// `thinktune serve`, requests with a seed.
    Serve = 9,
    /// `thinktune serve`, requests without a seed: `step` counts them.
    ServeUnseeded = 10,
    /// Waiting time before a remote teacher is asked again.
    Jitter = 11,
    /// Choice and order of the examples that a teacher is shown.
    Examples = 12,
}

impl Stream {
    const ALL: [Stream; 13] = [
        Stream::Attempt,
        Stream::Teacher,
        Stream::Choice,
        Stream::Shuffle,
        Stream::HeldOut,
        Stream::Generate,
        Stream::Init,
        Stream::Benchmark,
        Stream::Bootstrap,
        Stream::Serve,
        Stream::ServeUnseeded,
        Stream::Jitter,
        Stream::Examples,
    ];

    /// The number that keys it, and that names it on the wire.
    pub fn number(self) -> u32 {
        self as u32
    }
}

impl From<Stream> for u32 {
    fn from(stream: Stream) -> Self {
        stream.number()
    }
}

/// A number that no stream of random numbers has.
#[derive(Debug, thiserror::Error)]
#[error("stream {0} of random numbers: expected 0 to {last}", last = Stream::ALL.len() - 1)]
pub struct UnknownStream(u32);

impl TryFrom<u32> for Stream {
    type Error = UnknownStream;

    fn try_from(number: u32) -> Result<Self, UnknownStream> {
        Self::ALL.into_iter().find(|stream| stream.number() == number).ok_or(UnknownStream(number))
    }
}

const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The Philox 4x32-10 block function.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let low = u64::from(MULTIPLIER[0]) * u64::from(counter[0]);
        let high = u64::from(MULTIPLIER[1]) * u64::from(counter[2]);
        counter = [
            (high >> 32) as u32 ^ counter[1] ^ key[0],
            high as u32,
            (low >> 32) as u32 ^ counter[3] ^ key[1],
            low as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// Random numbers of one sample: a function of the position alone.
#[derive(Debug, Clone, Copy)]
pub struct SampleRng {
    key: [u32; 2],
}

impl SampleRng {
    /// The numbers of `key` under `seed`: the key's four words are the counter of a first block,
    /// whose output keys the blocks of the positions.
    pub fn new(seed: u64, key: SampleKey) -> Self {
        let block = philox4x32(
            [key.stream as u32, key.step, key.question, key.sample],
            [seed as u32, (seed >> 32) as u32],
        );
        Self { key: [block[0], block[1]] }
    }

    /// Four random words for a position.
    pub fn words(&self, position: u32) -> [u32; 4] {
        philox4x32([position, 0, 0, 0], self.key)
    }

    /// Uniform in [0, 1), with 53 random bits.
    pub fn uniform(&self, position: u32) -> f64 {
        let words = self.words(position);
        let bits = (u64::from(words[0]) << 32 | u64::from(words[1])) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

/// Four random words for one position of one sample.
pub fn philox(seed: u64, stream: Stream, step: u32, question: u32, sample: u32, position: u32) -> [u32; 4] {
    SampleRng::new(seed, SampleKey { stream, step, question, sample }).words(position)
}

/// Uniform in [0, 1) for one position of one sample.
pub fn uniform(seed: u64, key: SampleKey, position: u32) -> f64 {
    SampleRng::new(seed, key).uniform(position)
}

/// Fisher-Yates shuffle.
pub fn shuffle<T>(seed: u64, key: SampleKey, items: &mut [T]) {
    let rng = SampleRng::new(seed, key);
    for last in (1..items.len()).rev() {
        let pick = (rng.uniform(last as u32) * (last + 1) as f64) as usize;
        items.swap(last, pick);
    }
}

/// A standard normal number by Box and Muller.
pub fn normal(rng: &SampleRng, position: u32) -> f32 {
    let words = rng.words(position);
    let unit = |word: u32| (f64::from(word) + 0.5) / 4_294_967_296.0;
    ((-2.0 * unit(words[0]).ln()).sqrt() * (std::f64::consts::TAU * unit(words[1])).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with the Random123 library.
    #[test]
    fn philox_matches_the_published_vectors() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(
            philox4x32(pi, [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn shuffle_is_uniform_over_first_places() {
        let mut counts = [0usize; 5];
        for question in 0..5000 {
            let mut items = [0, 1, 2, 3, 4];
            shuffle(7, SampleKey { stream: Stream::Attempt, step: 0, question, sample: 0 }, &mut items);
            counts[items[0]] += 1;
        }
        assert!(counts.iter().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }

    #[test]
    fn numbers_differ_by_every_part_of_the_key() {
        let base = philox(1, Stream::Choice, 3, 4, 5, 6);
        for other in [
            philox(0, Stream::Choice, 3, 4, 5, 6),
            philox(1, Stream::Attempt, 3, 4, 5, 6),
            philox(1, Stream::Choice, 0, 4, 5, 6),
            philox(1, Stream::Choice, 3, 0, 5, 6),
            philox(1, Stream::Choice, 3, 4, 0, 6),
            philox(1, Stream::Choice, 3, 4, 5, 0),
            philox(1 << 32 | 1, Stream::Choice, 3, 4, 5, 6),
        ] {
            assert_ne!(base, other);
        }
    }
}
