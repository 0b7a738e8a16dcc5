//! What a run can find wrong.

use std::fmt;

/// Violations told of one rule. More of them say nothing new.
const MAX_TOLD: usize = 12;

/// A promise that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A room's events are numbered 1, 2, 3 … without a gap.
    Numbers,
    /// A room tells the same by its events, its messages and its counts.
    History,
    /// What was acknowledged is stored, as it was acknowledged.
    Lost,
    /// What is sent again is stored once.
    StoredTwice,
    /// What is sent again is answered as at first.
    AnswersDiffer,
    /// Nothing is stored that nobody sent.
    NeverSent,
    /// What was refused is not stored.
    RefusedYetStored,
    /// Every message is answered in the end.
    Unanswered,
    /// Nothing is refused without a reason.
    Refused,
    /// The messages of one connection are stored in the order in which they were sent.
    Order,
    /// Memberships are as they were changed, and only members write.
    Membership,
    /// Nobody listens who is not a member.
    LetIn,
    /// A join brings everything after `since`, and at least what was acknowledged before it.
    Replay,
    /// No event is left out.
    Gap,
    /// No event comes twice or out of order.
    Repeated,
    /// Nothing comes of a room that the connection does not listen to.
    NotListening,
    /// Nothing comes from above a removal.
    AfterRemoval,
    /// Everything up to a removal comes, and `left` only for a removal.
    Left,
    /// What comes is what is stored.
    Content,
    /// Everybody has everything in the end.
    Incomplete,
    /// Every frame has its place.
    Strange,
}

impl Rule {
    #[cfg(test)]
    pub(crate) const ALL: &[Self] = &[
        Self::Numbers,
        Self::History,
        Self::Lost,
        Self::StoredTwice,
        Self::AnswersDiffer,
        Self::NeverSent,
        Self::RefusedYetStored,
        Self::Unanswered,
        Self::Refused,
        Self::Order,
        Self::Membership,
        Self::LetIn,
        Self::Replay,
        Self::Gap,
        Self::Repeated,
        Self::NotListening,
        Self::AfterRemoval,
        Self::Left,
        Self::Content,
        Self::Incomplete,
        Self::Strange,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Numbers => "numbers",
            Self::History => "history",
            Self::Lost => "lost",
            Self::StoredTwice => "stored-twice",
            Self::AnswersDiffer => "answers-differ",
            Self::NeverSent => "never-sent",
            Self::RefusedYetStored => "refused-yet-stored",
            Self::Unanswered => "unanswered",
            Self::Refused => "refused",
            Self::Order => "order",
            Self::Membership => "membership",
            Self::LetIn => "let-in",
            Self::Replay => "replay",
            Self::Gap => "gap",
            Self::Repeated => "repeated",
            Self::NotListening => "not-listening",
            Self::AfterRemoval => "after-removal",
            Self::Left => "left",
            Self::Content => "content",
            Self::Incomplete => "incomplete",
            Self::Strange => "strange",
        }
    }
}

/// A broken promise: which, where, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.rule.name(), self.text)
    }
}

/// Collects violations.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<Violation>);

impl Violations {
    pub(crate) fn add(&mut self, rule: Rule, text: impl Into<String>) {
        self.0.push(Violation { rule, text: text.into() });
    }

    #[cfg(test)]
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self.0.iter().map(|violation| violation.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    /// All of them as texts, shortened where one rule was broken very often.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut counts = std::collections::BTreeMap::<Rule, usize>::new();
        for violation in &self.0 {
            let count = counts.entry(violation.rule).or_default();
            *count += 1;
            if *count <= MAX_TOLD {
                told.push(violation.to_string());
            }
        }
        let more = counts.into_iter().filter(|(_, count)| *count > MAX_TOLD);
        told.extend(more.map(|(rule, count)| format!("[{}] and {} more", rule.name(), count - MAX_TOLD)));
        told
    }
}
