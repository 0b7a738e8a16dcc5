//! Finds violations in the record of a run.

mod devices;
mod edits;
mod messages;
mod rooms;
#[cfg(test)]
mod tests;
mod view;

pub(super) mod memberships;
pub(super) mod record;
pub(super) mod violation;

use memberships::Memberships;
use record::Record;
use violation::Violations;

/// All violations in the record.
pub(super) fn judge(record: &Record) -> Violations {
    let mut violations = Violations::default();
    let memberships = Memberships::read(record, &mut violations);
    rooms::judge(record, &mut violations);
    messages::judge(record, &memberships, &mut violations);
    devices::judge(record, &memberships, &mut violations);
    edits::judge(record, &mut violations);
    violations
}
