//! The range of advantages in a group.

/// [A_min, A_max] where nothing else is set: -+(n - 1) / sqrt(n), the advantage of a single reward of 1 among n - 1 of
/// 0, which no standardised value in a group of n exceeds. A group of one keeps its reward, so its range is [-1, 1].
pub fn largest_advantages(group_size: usize) -> [f64; 2] {
    let n = group_size as f64;
    let largest = if group_size < 2 { 1.0 } else { (n - 1.0) / n.sqrt() };
    [-largest, largest]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::advantage::advantages;
    use crate::settings::RewardScale;

    #[test]
    fn largest_advantages_are_those_of_one_among_n() {
        assert_eq!(largest_advantages(1), [-1.0, 1.0]);
        for n in [2, 5, 8] {
            let mut rewards = vec![0.0; n];
            rewards[0] = 1.0;
            let largest = advantages(&rewards, RewardScale::Std)[0];
            let [low, high] = largest_advantages(n);
            assert!((high - largest).abs() < 1e-5 && low == -high, "{n}: {high} {largest}");
        }
    }
}
