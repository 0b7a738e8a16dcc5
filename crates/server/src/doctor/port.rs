//! Checks that the port is free, and otherwise finds its user.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::finding::Finding;
use crate::config::Settings;
use crate::lock::server_on;
use crate::start_error::StartError;

const CHECK: &str = "port";
const ELSEWHERE: &str = "run doctor in its working directory and with its environment, or with its --data-dir; if not, choose \
 another port with --port";
/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

struct Holder {
    process: u32,
    name: String,
}

pub(super) fn check(settings: &Settings) -> Finding {
    let addr = SocketAddr::new(settings.host, settings.port);
    match TcpListener::bind(addr) {
        Ok(_) => Finding::ok(CHECK, format!("{addr} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => taken(addr, server_on(&settings.data_dir)),
        Err(source) => Finding::from_error(CHECK, &StartError::Listen { addr, source }.to_string()),
    }
}

fn taken(addr: SocketAddr, own_server: Option<Option<u32>>) -> Finding {
    let holder = holder(addr.port());
    match (&holder, own_server) {
        (Some(holder), Some(Some(own))) if holder.process == own => {
            Finding::ok(CHECK, format!("{addr} is served by the server of this data directory, process {own}"))
        }
        // Another user's sockets are not visible; a server on this data directory is the likely user.
        (None, Some(_)) => Finding::ok(CHECK, format!("{addr} is taken, and a server runs on this data directory")),
        _ => {
            let port = addr.port();
            let Some(Holder { process, name }) = holder else {
                let found = format!("{addr} is taken by a program that this user can't look into");
                return Finding::wrong(
                    CHECK,
                    found,
                    format!("`sudo ss -ltnp sport = :{port}` tells which; if it is the server that you mean, {ELSEWHERE}"),
                );
            };
            // Do not suggest stopping a server that may be running as intended.
            let to_do = if name.starts_with("chatsphere") {
                format!("if it is the server that you mean, {ELSEWHERE}")
            } else {
                "stop it, or choose another port with --port".to_owned()
            };
            let place = std::fs::read_link(format!("/proc/{process}/cwd"));
            let place = place.map_or_else(|_| String::new(), |path| format!(", started in {}", path.display()));
            Finding::wrong(CHECK, format!("{addr} is taken by {name} (process {process}){place}"), to_do)
        }
    }
}

/// The process that listens on a port, if `/proc` shows it.
fn holder(port: u16) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> =
        tables.iter().flat_map(|table| listening(table, port)).map(|inode| format!("socket:[{inode}]")).collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|process: u32| {
        holds(process, &sockets).then(|| {
            let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            Holder { process, name: name.trim().to_owned() }
        })
    })
}

fn holds(process: u32, sockets: &[String]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("fd")) else { return false };
    let mut targets = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.any(|target| target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target)))
}

/// The inodes of sockets that listen on a port, from a table in the format of proc(5).
fn listening<'t>(table: &'t str, port: u16) -> Vec<&'t str> {
    let port = format!(":{port:04X}");
    let inode = |line: &'t str| {
        let mut fields = line.split_ascii_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        fields.nth(5).filter(|_| local.ends_with(&port) && state == LISTENING)
    };
    table.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let settings = Settings { port, ..Settings::default() };
        let finding = check(&settings);
        assert!(!finding.ok && finding.found.contains(&format!("(process {})", std::process::id())), "{finding:?}");
        assert!(finding.to_do.unwrap().contains("--port"));
        assert!(taken(socket.local_addr().unwrap(), Some(Some(std::process::id()))).ok, "one's own server is no obstacle");
        drop(socket);
        assert!(check(&settings).ok);
    }

    #[test]
    fn the_table_is_read_by_column() {
        let table = [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            "   0: 0100007F:0BB9 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0 100 0 0 10 0",
            "   1: 0100007F:0BB9 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 777 1 0 20 4 30 10 -1",
        ];
        let table = &table.join("\n");
        assert_eq!(listening(table, 3_001), ["12345"]);
        assert_eq!(listening(table, 3_002), Vec::<&str>::new());
    }
}
