use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::judge::record::Record;

/// Writes all observations in order, one per line, for debugging.
pub(super) fn write(record: &Record, path: &Path) -> io::Result<()> {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (number, device) in record.devices.iter().enumerate() {
        for seen in &device.seen {
            let (user, connection, what) = (device.user, seen.connection, &seen.what);
            lines.push((seen.at, format!("client {number} (user {user}) connection {connection}: {what:?}")));
        }
    }
    for change in &record.changes {
        lines.push((change.began, format!("began {change:?}")));
        lines.push((change.returned, format!("returned {change:?}")));
    }
    lines.sort_unstable();
    let mut text = String::new();
    for (room, told) in record.rooms.iter().enumerate() {
        for event in &told.events {
            let _ = writeln!(text, "room {room} ({}) stores {event}", told.id);
        }
    }
    for (at, line) in lines {
        let _ = writeln!(text, "{at} {line}");
    }
    std::fs::write(path, text)
}
