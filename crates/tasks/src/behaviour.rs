//! The four behaviours of reflection that guidance shows.

use serde::{Deserialize, Serialize};

/// A way of reflecting on one's own attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Challenge one's own response with a conflicting perspective.
    SelfConflict,
    /// Name weaknesses, suggest improvements.
    SelfCritique,
    /// Affirm and justify what is right.
    SelfAgreement,
    /// Draw on another inner voice or source of expertise for new advice.
    SelfConsultancy,
}

impl Behaviour {
    /// All four, in the paper's order.
    pub const ALL: [Self; 4] =
        [Self::SelfConflict, Self::SelfCritique, Self::SelfAgreement, Self::SelfConsultancy];

    /// The name in guidance prompt files.
    pub fn name(self) -> &'static str {
        match self {
            Self::SelfConflict => "self-conflict",
            Self::SelfCritique => "self-critique",
            Self::SelfAgreement => "self-agreement",
            Self::SelfConsultancy => "self-consultancy",
        }
    }
}
