//! Aggregation of token terms into one number.

use crate::settings::Aggregation;

/// The factor of each response's tokens in the loss of a mini-batch. Denominators are counts over the whole
/// mini-batch, responses without gradient included, so no choice of micro-batches or masks changes them.
///
/// With N responses of lengths len_i: sequence mean 1 / (N len_i), token mean 1 / sum len_i,
/// dr_grpo 1 / (N max_response_tokens).
pub fn shares(aggregation: Aggregation, lengths: &[usize], max_response_tokens: usize) -> Vec<f64> {
    let responses = lengths.len() as f64;
    let total = lengths.iter().sum::<usize>().max(1) as f64;
    let share = |&length: &usize| match aggregation {
        Aggregation::SequenceMean => 1.0 / (responses * length.max(1) as f64),
        Aggregation::TokenMean => 1.0 / total,
        Aggregation::DrGrpo => 1.0 / (responses * max_response_tokens as f64),
    };
    lengths.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denominators_are_counts() {
        let lengths = [2, 6];
        assert_eq!(shares(Aggregation::SequenceMean, &lengths, 10), [0.25, 1.0 / 12.0]);
        assert_eq!(shares(Aggregation::TokenMean, &lengths, 10), [0.125, 0.125]);
        assert_eq!(shares(Aggregation::DrGrpo, &lengths, 10), [0.05, 0.05]);
        assert!(shares(Aggregation::TokenMean, &[], 10).is_empty());
        assert!(shares(Aggregation::SequenceMean, &[0], 10)[0].is_finite(), "an empty response");
    }
}
