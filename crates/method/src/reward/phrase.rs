//! The bonus of the "unknown behaviour" experiment.

use crate::settings::RewardSettings;

/// The bonus, if the phrase appears exactly once in the response.
pub fn phrase_bonus(text: &str, settings: &RewardSettings) -> f64 {
    match &settings.phrase {
        Some(phrase) if says_once(text, phrase) => settings.phrase_bonus,
        _ => 0.0,
    }
}

/// Returns true where a phrase appears exactly once.
pub fn says_once(text: &str, phrase: &str) -> bool {
    text.matches(phrase).count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn exactly_once() {
        let settings = RewardSettings {
            phrase: Some("aha now".into()),
            phrase_bonus: 0.5,
            ..testing::rl_settings().reward
        };
        let bonus = |text| phrase_bonus(text, &settings);
        assert_eq!(bonus("well, aha now!"), 0.5);
        assert_eq!(bonus("aha now, aha now"), 0.0);
        assert_eq!(bonus("Aha now"), 0.0);
        assert_eq!(bonus("aha  now"), 0.0);
        assert_eq!(bonus(""), 0.0);
        assert_eq!(phrase_bonus("aha now", &RewardSettings { phrase: None, ..settings }), 0.0);
    }
}
