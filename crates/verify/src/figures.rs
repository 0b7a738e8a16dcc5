use chatsphere_protocol::close;

use super::judge::record::{Record, Seen, What};
use chatsphere_bench::report::Report;

/// Adds figures on the activity of a run, so that an idle run is not mistaken for a good one.
pub(super) fn add(report: &mut Report, record: &Record) {
    let count = |is: &dyn Fn(&What) -> bool| {
        record.devices.iter().flat_map(|device| &device.seen).filter(|Seen { what, .. }| is(what)).count()
    };
    let stored: usize = record.rooms.iter().map(|room| room.events.len()).sum();
    report.figure("clients", record.devices.len()).figure("rooms", record.rooms.len()).figure("eventsStored", stored);
    report.figure("messagesSent", count(&|what| matches!(what, What::Sent { .. })));
    report.figure("acknowledgements", count(&|what| matches!(what, What::Acked { .. })));
    report.figure("edits", count(&|what| matches!(what, What::Edited { .. })));
    report.figure("messagesRefused", count(&|what| matches!(what, What::Refused { .. })));
    report.figure("memberChanges", record.changes.len());
    report.figure("connections", count(&|what| matches!(what, What::Connected { .. })));
    report.figure("joins", count(&|what| matches!(what, What::Joined(_))));
    report.figure("joinsRefused", count(&|what| matches!(what, What::JoinRefused { .. })));
    report.figure("leftByRemoval", count(&|what| matches!(what, What::Left { .. })));
    report.figure("eventsLive", count(&|what| matches!(what, What::Event { .. })));
    let replayed = record.devices.iter().flat_map(|device| &device.seen).map(|seen| match &seen.what {
        What::Page(page) => page.messages.len() + page.others.len(),
        _ => 0,
    });
    report.figure("eventsReplayed", replayed.sum::<usize>());
    // A client that sleeps for long may not get the close frame: the server waits only two seconds for it.
    report.figure("endedAsleep", count(&|what| matches!(what, What::Ended { overslept: true, .. })));
    report.figure("closedAsTooSlow", count(&|what| matches!(what, What::Ended { code: Some(close::SLOW_CONSUMER), .. })));
}
