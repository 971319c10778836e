//! Advantage-aware shaping: the weight of guided tokens, which the student did not sample itself.

use crate::settings::LossSettings;

/// Weight where the denominator would be 0 or negative: p is divided by p / 1.0001.
const FLOOR: f64 = 1.0001;
/// Weight where the denominator would pass 1: p is divided by p / 0.9999.
const CEILING: f64 = 0.9999;

/// c(A) = c1 + (c2 - c1) (A_max - A) / (A_max - A_min), with A clamped to `[A_min, A_max]`.
pub fn c(advantage: f64, settings: &LossSettings) -> f64 {
    let LossSettings {
        c_at_max_advantage: c1, c_at_min_advantage: c2, advantage_range: [a_min, a_max], ..
    } = *settings;
    c1 + (c2 - c1) * (a_max - advantage.clamp(a_min, a_max)) / (a_max - a_min)
}

/// w_aas = min(m, p / (sg(p) + c(A))), with p = pi(o_t) and m = `max_weight`, 2.
///
/// Guards: where p + c <= 0 the denominator is p / 1.0001, so the weight is 1.0001; where p + c > 1 it is
/// p / 0.9999, so the weight is 0.9999; where the weight would pass m it is p / m: there c is
/// negative and p below -c m / (m - 1), with m = 2 below -2 c. Because the denominator is
/// detached, the gradient is w_aas times grad log p in every case.
pub fn w_aas(p: f64, advantage: f64, settings: &LossSettings) -> f64 {
    let denominator = p + c(advantage, settings);
    if denominator <= 0.0 {
        FLOOR
    } else if denominator > 1.0 {
        CEILING
    } else {
        (p / denominator).min(settings.max_weight)
    }
}

/// Returns true where a guided token is left alone: it should be pushed down, and is unlikely already.
pub fn is_low_confidence(p: f64, advantage: f64, settings: &LossSettings) -> bool {
    advantage < 0.0 && p < settings.low_confidence_below
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-15, "{a} {b}");
    }

    #[test]
    fn c_runs_from_c2_to_c1_and_is_clamped() {
        let settings = testing::loss();
        close(c(4.0, &settings), 1e-4);
        close(c(-4.0, &settings), -1e-4);
        close(c(0.0, &settings), 0.0);
        close(c(2.0, &settings), 0.5e-4);
        close(c(99.0, &settings), 1e-4);
        close(c(-99.0, &settings), -1e-4);
    }

    #[test]
    fn between_the_guards_it_is_the_formula() {
        let settings = testing::loss();
        close(w_aas(0.5, 4.0, &settings), 0.5 / 0.5001);
        close(w_aas(1e-4, 4.0, &settings), 0.5);
        close(w_aas(0.5, -4.0, &settings), 0.5 / 0.4999);
        close(w_aas(0.3, 0.0, &settings), 1.0);
    }

    #[test]
    fn guards() {
        let settings = testing::loss();
        assert_eq!(w_aas(0.5e-4, -4.0, &settings), 1.0001, "p + c < 0");
        assert_eq!(w_aas(1e-4, -4.0, &settings), 1.0001, "p + c = 0");
        assert_eq!(w_aas(0.0, 0.0, &settings), 1.0001, "0 / 0");
        assert_eq!(w_aas(1.0, 4.0, &settings), 0.9999, "p + c > 1");
        close(w_aas(1.0 - 1e-4, 4.0, &settings), 1.0 - 1e-4);
    }

    /// With the released code's c = -1e-3 a token of p = 1.001e-3 would get a weight of 1001.
    #[test]
    fn no_weight_passes_two() {
        let released =
            LossSettings { c_at_max_advantage: -1e-3, c_at_min_advantage: -1e-3, ..testing::loss() };
        for advantage in [-1.0, 1.0] {
            assert_eq!(w_aas(1.001e-3, advantage, &released), 2.0);
            assert_eq!(w_aas(1.9e-3, advantage, &released), 2.0);
            close(w_aas(3e-3, advantage, &released), 1.5);
        }
    }

    #[test]
    fn low_confidence_needs_both_a_negative_advantage_and_a_small_p() {
        let settings = testing::loss();
        assert!(is_low_confidence(0.009, -1.0, &settings));
        assert!(!is_low_confidence(0.01, -1.0, &settings));
        assert!(!is_low_confidence(0.009, 0.0, &settings));
        assert!(!is_low_confidence(0.009, 1.0, &settings));
    }

    proptest! {
        /// A > 0 never lifts a token by more than weight 1, A < 0 never pushes by less; always finite.
        #[test]
        fn conservative_where_positive_stronger_where_negative(log_p in -40.0f64..0.0, advantage in -6.0f64..6.0) {
            let (p, settings) = (log_p.exp(), testing::loss());
            let weight = w_aas(p, advantage, &settings);
            prop_assert!(weight > 0.0 && weight <= settings.max_weight);
            if advantage > 1e-9 {
                prop_assert!(weight < 1.0);
            } else if advantage < -1e-9 && p + c(advantage, &settings) <= 1.0 {
                prop_assert!(weight > 1.0);
            }
        }
    }
}
