//! The loss of one token and its derivative by log pi(o_t). The loss is minimised: it is the objective, negated.

use thinktune_runlog::event::Author;

use crate::rollout::{Scored, Token};
use crate::settings::{LossSettings, LowConfidence, Scope};
use crate::train::shaping::{is_low_confidence, w_aas};

/// Term of a token in the loss, before its share in the mini-batch is applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLoss {
    /// The loss.
    pub value: f64,
    /// d value / d log pi(o_t).
    pub slope: f64,
    /// The branch it came from.
    pub kind: Kind,
}

/// Branch of the objective that a token took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Ordinary: the ratio w, unclipped.
    Ratio,
    /// Ordinary: the clipped ratio was the smaller one; no gradient.
    Clipped,
    /// Guided: the weight w_aas.
    Shaped(f64),
    /// Guided, A < 0 and unlikely already: left alone.
    Masked,
}

/// The policy term of a token of `row`.
pub fn token_loss(logprob: f64, token: &Token, row: &Scored, settings: &LossSettings) -> TokenLoss {
    let shaped = row.guided.is_guided()
        && match settings.scope {
            Scope::Trajectory => true,
            Scope::Guidance => token.author == Author::Teacher,
        };
    // Only a shaped token may lack pi_old, and it does not need one unless it falls back to the ratio.
    let old = token.old_logprob.map_or(logprob, f64::from);
    if shaped {
        shaped_loss(logprob, old, row.advantage, settings)
    } else {
        ratio_loss(logprob, old, row.advantage, settings)
    }
}

/// -min(w A, clip(w, 1 - eps_low, 1 + eps_high) A), w = pi / pi_old.
pub fn ratio_loss(logprob: f64, old: f64, advantage: f64, settings: &LossSettings) -> TokenLoss {
    let w = (logprob - old).exp();
    let clipped = w.clamp(1.0 - settings.eps_low, 1.0 + settings.eps_high);
    if clipped * advantage < w * advantage {
        TokenLoss { value: -clipped * advantage, slope: 0.0, kind: Kind::Clipped }
    } else {
        TokenLoss { value: -w * advantage, slope: -w * advantage, kind: Kind::Ratio }
    }
}

/// -w_aas A; unlikely tokens with A < 0 are masked, or fall back to the clipped ratio.
pub fn shaped_loss(logprob: f64, old: f64, advantage: f64, settings: &LossSettings) -> TokenLoss {
    let p = logprob.exp();
    if is_low_confidence(p, advantage, settings) {
        return match settings.low_confidence {
            LowConfidence::Mask => TokenLoss { value: 0.0, slope: 0.0, kind: Kind::Masked },
            LowConfidence::Clip => ratio_loss(logprob, old, advantage, settings),
        };
    }
    let weight = w_aas(p, advantage, settings);
    TokenLoss { value: -weight * advantage, slope: -weight * advantage, kind: Kind::Shaped(weight) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;

    fn ratio(w: f64, advantage: f64) -> TokenLoss {
        ratio_loss(-1.0 + w.ln(), -1.0, advantage, &testing::loss())
    }

    #[test]
    fn the_ratio_is_clipped_only_where_that_lowers_the_objective() {
        for (w, advantage, value, slope) in [
            (1.1, 2.0, -2.2, -2.2),
            (1.3, 2.0, -2.4, 0.0),
            (0.7, 2.0, -1.4, -1.4),
            (0.9, -2.0, 1.8, 1.8),
            (0.7, -2.0, 1.6, 0.0),
            (1.3, -2.0, 2.6, 2.6),
        ] {
            let loss = ratio(w, advantage);
            assert!((loss.value - value).abs() < 1e-12, "{w} {advantage}: {loss:?}");
            assert!((loss.slope - slope).abs() < 1e-12, "{w} {advantage}: {loss:?}");
            assert_eq!(loss.kind, if slope == 0.0 { Kind::Clipped } else { Kind::Ratio });
        }
        assert_eq!(ratio(1.0, 0.0), TokenLoss { value: 0.0, slope: 0.0, kind: Kind::Ratio });
    }

    #[test]
    fn the_two_sides_of_the_clip_are_separate() {
        let settings = LossSettings { eps_high: 0.5, ..testing::loss() };
        assert_eq!(ratio_loss(1.4f64.ln(), 0.0, 1.0, &settings).kind, Kind::Ratio);
        assert_eq!(ratio_loss(0.7f64.ln(), 0.0, -1.0, &settings).kind, Kind::Clipped);
    }

    #[test]
    fn shaped_tokens_get_w_aas_and_no_clip() {
        let loss = shaped_loss(0.5f64.ln(), -9.0, 4.0, &testing::loss());
        let weight = 0.5 / 0.5001;
        assert!((loss.slope + 4.0 * weight).abs() < 1e-12 && loss.value == loss.slope);
        assert_eq!(shaped_loss(-1.0, -1.0, 0.0, &testing::loss()).slope, 0.0, "A = 0");
    }

    #[test]
    fn low_confidence_is_masked_or_falls_back() {
        let mut settings = testing::loss();
        let masked = shaped_loss(0.005f64.ln(), 0.005f64.ln(), -1.0, &settings);
        assert_eq!(masked, TokenLoss { value: 0.0, slope: 0.0, kind: Kind::Masked });
        settings.low_confidence = LowConfidence::Clip;
        let loss = |p: f64| shaped_loss(p.ln(), 0.005f64.ln(), -1.0, &settings);
        assert!((loss(0.0055).slope - 1.1).abs() < 1e-12);
        assert_eq!(loss(0.003).kind, Kind::Clipped);
        assert!(matches!(loss(0.5).kind, Kind::Shaped(_)));
    }

    #[test]
    fn scope_decides_which_tokens_of_a_guided_row_are_shaped() {
        let row = testing::scored_guided("ab<end>", "no", "yes", 1.0);
        let kinds = |scope| {
            let settings = LossSettings { scope, ..testing::loss() };
            let shaped =
                |token: &Token| matches!(token_loss(-1.0, token, &row, &settings).kind, Kind::Shaped(_));
            row.guided.tokens.iter().map(shaped).collect::<Vec<_>>()
        };
        assert_eq!(kinds(Scope::Trajectory), [true; 12]);
        assert_eq!(kinds(Scope::Guidance), [vec![false; 2], vec![true; 10]].concat());
    }

    proptest! {
        /// The slope is the derivative of the value, the detached denominator held fixed.
        #[test]
        fn slopes_agree_with_differences(
            logprob in -6.0f64..-0.01, old in -6.0f64..-0.01, advantage in -3.0f64..3.0,
        ) {
            let (settings, h) = (testing::loss(), 1e-6);
            let ratio = |x| ratio_loss(x, old, advantage, &settings);
            let numeric = (ratio(logprob + h).value - ratio(logprob - h).value) / (2.0 * h);
            if ratio(logprob + h).kind == ratio(logprob - h).kind {
                prop_assert!((ratio(logprob).slope - numeric).abs() < 1e-5 * (1.0 + numeric.abs()));
            }
            let shaped = shaped_loss(logprob, old, advantage, &settings);
            if let Kind::Shaped(weight) = shaped.kind {
                let detached = logprob.exp() / weight;
                let value = |x: f64| -x.exp() / detached * advantage;
                let numeric = (value(logprob + h) - value(logprob - h)) / (2.0 * h);
                prop_assert!((shaped.slope - numeric).abs() < 1e-6);
            }
        }
    }
}
