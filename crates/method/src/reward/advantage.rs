//! A: how much better a response is than its group.

use crate::settings::RewardScale;

/// Added to the standard deviation.
const EPSILON: f64 = 1e-6;

/// A_i = (r_i - mean) / (std + 1e-6) over the whole group, std with n - 1.
/// A group of one has mean 0 and std 1; where all rewards are equal every A is exactly 0.
///
/// Without scale, A_i = r_i - mean (Dr. GRPO, arXiv 2503.20783).
pub fn advantages(rewards: &[f64], scale: RewardScale) -> Vec<f64> {
    let n = rewards.len() as f64;
    let (mean, std) = match rewards {
        [] | [_] => (0.0, 1.0),
        [first, rest @ ..] if rest.iter().all(|reward| reward == first) => return vec![0.0; rewards.len()],
        _ => {
            let mean = rewards.iter().sum::<f64>() / n;
            let squares: f64 = rewards.iter().map(|reward| (reward - mean).powi(2)).sum();
            (mean, (squares / (n - 1.0)).sqrt())
        }
    };
    let divisor = match scale {
        RewardScale::Std => std + EPSILON,
        RewardScale::None => 1.0,
    };
    rewards.iter().map(|reward| (reward - mean) / divisor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn advantages(rewards: &[f64]) -> Vec<f64> {
        super::advantages(rewards, RewardScale::Std)
    }

    #[test]
    fn worked_by_hand() {
        // mean 1/4; variance (9 + 1 + 1 + 1)/16/3 = 1/4.
        let all = advantages(&[1.0, 0.0, 0.0, 0.0]);
        assert!((all[0] - 0.75 / (0.5 + 1e-6)).abs() < 1e-15);
        assert!((all[1] + 0.25 / (0.5 + 1e-6)).abs() < 1e-15);
        // mean 1/2, std sqrt(1/2): n - 1 = 1.
        let pair = advantages(&[0.0, 1.0]);
        assert!((pair[1] - 0.5 / (0.5f64.sqrt() + 1e-6)).abs() < 1e-15);
        assert_eq!(pair[0], -pair[1]);
    }

    #[test]
    fn a_group_of_one_keeps_its_reward() {
        assert_eq!(advantages(&[1.0]), [1.0 / (1.0 + 1e-6)]);
        assert_eq!(advantages(&[0.0]), [0.0]);
        assert!(advantages(&[]).is_empty());
    }

    #[test]
    fn without_scale_only_the_mean_is_taken_off() {
        let plain = |rewards: &[f64]| super::advantages(rewards, RewardScale::None);
        assert_eq!(plain(&[1.0, 0.0, 0.0, 0.0]), [0.75, -0.25, -0.25, -0.25]);
        assert_eq!(plain(&[0.1; 3]), [0.0; 3]);
        assert_eq!(plain(&[0.5]), [0.5], "a group of one keeps its reward");
    }

    #[test]
    fn equal_rewards_give_exactly_zero() {
        // 3 * 0.1 / 3 is not 0.1 in binary: the mean alone would leave a residue.
        assert_eq!(advantages(&[0.1; 3]), [0.0; 3]);
        assert_eq!(advantages(&[1.5; 5]), [0.0; 5]);
    }

    proptest! {
        #[test]
        fn centred_and_ordered_like_the_rewards(rewards in prop::collection::vec(0u8..4, 2..12)) {
            let rewards: Vec<f64> = rewards.into_iter().map(|r| f64::from(r) * 0.5).collect();
            let all = advantages(&rewards);
            prop_assert!(all.iter().sum::<f64>().abs() < 1e-9);
            for (i, j) in (0..rewards.len()).flat_map(|i| (0..i).map(move |j| (i, j))) {
                prop_assert_eq!(rewards[i].total_cmp(&rewards[j]), all[i].total_cmp(&all[j]));
            }
        }
    }
}
