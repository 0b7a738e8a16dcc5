//! The rules that a run can violate.

use std::fmt;

/// Maximum number of reported violations per rule.
const MAX_TOLD: usize = 12;

/// A rule of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A room's events have the `seq` 1, 2, 3 … without a gap.
    Numbers,
    /// A room's events, messages and counts agree.
    History,
    /// An acknowledged message is stored as acknowledged.
    Lost,
    /// A message that is sent again is stored once.
    StoredTwice,
    /// A message that is sent again gets the same answer.
    AnswersDiffer,
    /// Only messages that were sent are stored.
    NeverSent,
    /// A rejected message is not stored.
    RefusedYetStored,
    /// Every message is answered eventually.
    NoAnswer,
    /// No message is rejected without a reason.
    Refused,
    /// The messages of one connection are stored in the order of sending.
    Order,
    /// Memberships follow the changes made, and only members write.
    Membership,
    /// Only members can join.
    LetIn,
    /// A join brings everything after `since`, and at least everything acknowledged before.
    Replay,
    /// No event is skipped.
    Gap,
    /// No event is repeated or out of order.
    Repeated,
    /// No event arrives for a room that the connection has not joined.
    NotListening,
    /// No event above a removal arrives.
    AfterRemoval,
    /// Every event up to a removal arrives, and `left` arrives only for a removal.
    Left,
    /// Received events equal the stored ones.
    Content,
    /// Every client has every event in the end.
    Incomplete,
    /// Every frame is expected.
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
        Self::NoAnswer,
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
            Self::NoAnswer => "unanswered",
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

/// A violation: the rule, the place, and what was expected.
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

    /// All violations as text, abridged for rules that were violated very often.
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
