//! A check before anything is begun: can guidance be given within the limits of the plan?

use std::path::Path;

use thinktune_method::act::questions::Questions;
use thinktune_method::help::limits::{self, Needs, Tokenizers};
use thinktune_method::settings::RlSettings;
use thinktune_model::ModelSpec;
use thinktune_policy::Tokenizer;
use thinktune_text::ChatTokenizer;

use crate::plan::{Help, Plan, Teacher};

/// A check that guidance can be given: the examples of the prompt set fit the limits, and a request fits the teacher.
pub struct HelpCheck<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its settings.
    pub settings: &'a RlSettings,
    /// The teacher and its prompts.
    pub help: &'a Help,
    /// The questions to learn from.
    pub questions: &'a Questions,
}

impl HelpCheck<'_> {
    /// Checks with the student's tokenizer and context, and with those of the teacher in `dir`. A teacher that has no
    /// files on this machine is not judged.
    ///
    /// # Errors
    /// The first limit that is too low, with its key, its value and what it needs.
    pub fn run(
        &self,
        student: &ChatTokenizer,
        context: Option<usize>,
        dir: Option<&Path>,
    ) -> anyhow::Result<()> {
        let own = dir.filter(|dir| dir.join("tokenizer.json").exists());
        let own = own.map(|dir| ChatTokenizer::load(dir, &self.plan.date)).transpose()?;
        let (teacher, context) = match &self.help.teacher {
            Teacher::Initial => (Some(student), context),
            Teacher::Model(_) => {
                (own.as_ref(), dir.and_then(|dir| ModelSpec::from_dir(dir).ok()).map(|spec| spec.context))
            }
            Teacher::Remote { .. } => (own.as_ref(), None),
        };
        let tokenizers = Tokenizers { student, teacher: teacher.map(|teacher| teacher as &dyn Tokenizer) };
        let needs =
            Needs::of(&self.help.prompts, limits::typical(self.questions), self.settings, tokenizers)?;
        needs.check(self.settings)?;
        if let Some(context) = context {
            needs.check_context(self.settings, context)?;
        }
        Ok(())
    }
}
