//! The text that a server prints when it is ready.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The contents of the banner.
#[derive(Debug)]
pub struct Banner<'a> {
    /// The address on which the server listens.
    pub addr: SocketAddr,
    /// Whether it uses TLS.
    pub tls: bool,
    /// The data directory.
    pub data_dir: &'a Path,
    /// The database.
    pub database: String,
    /// The file with the CLIENT token, only on the first start.
    pub first_token_file: Option<&'a Path>,
    /// That token; only if standard output is a terminal.
    pub first_token: Option<&'a str>,
    /// An invitation to the demo; only if standard output is a terminal.
    pub demo_invite: Option<String>,
}

impl Banner<'_> {
    /// The URL of the server on this machine.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", reachable(self.addr))
    }

    /// The text for a terminal.
    pub fn human(&self) -> String {
        let url = self.url();
        let mut text = format!("\n  ChatSphere {} is running\n\n", env!("CARGO_PKG_VERSION"));
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<10} {value}");
        };
        line("REST", &format!("{url}/api"));
        line("WebSocket", &format!("{}/ws", url.replacen("http", "ws", 1)));
        line("docs", &format!("{url}/docs"));
        if let Some(invite) = &self.demo_invite {
            line("demo", &format!("{url}/demo#invite={invite}"));
            line("", "(for one browser on this machine, within ten minutes)");
        }
        line("data", &self.data_dir.display().to_string());
        line("database", &self.database);
        let _ = writeln!(text, "\n  {}", self.who_gets_in());
        if let Some(file) = self.first_token_file {
            let _ = writeln!(
                text,
                "\n  This is the first start. The CLIENT token, which may do everything, is in {}",
                file.display()
            );
            if let Some(token) = self.first_token {
                let _ = writeln!(text, "\n  {token}");
            }
            let _ = writeln!(text, "\n  Try it from another terminal:\n");
            for command in first_commands(&url, file) {
                let _ = writeln!(text, "{command}\n");
            }
        }
        text
    }

    /// The text for a log: short, and without credentials.
    pub fn plain(&self) -> String {
        let mut text = format!("ChatSphere {}\nlistening on {}\n", env!("CARGO_PKG_VERSION"), self.url());
        let _ = writeln!(text, "data in {}, database {}", self.data_dir.display(), self.database);
        if let Some(file) = self.first_token_file {
            let _ = writeln!(text, "first start: the CLIENT token is in {}", file.display());
        }
        let _ = writeln!(text, "{}", self.who_gets_in());
        text
    }

    fn who_gets_in(&self) -> String {
        let ip = self.addr.ip();
        match (ip.is_loopback(), self.tls) {
            (true, _) => {
                format!("listening on {ip} only; to let other machines in: --host 0.0.0.0 (behind TLS)")
            }
            (false, true) => format!("listening on {}", self.addr),
            (false, false) => {
                format!("listening on {} without TLS: let a proxy speak it, or set tls_cert and tls_key", self.addr)
            }
        }
    }
}

/// A local address of a server that listens on all addresses.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// Shell commands that create a user and a room and post a message, to be run in this order.
pub fn first_commands(url: &str, token_file: &Path) -> [String; 3] {
    let post = |path: &str, body: &str| {
        format!(
            "curl -sS -w '\\n' {url}/api/{path} -H \"Authorization: Bearer $(cat {})\" -H 'Content-Type: application/json' -d \
             '{body}'",
            quoted(&token_file.display().to_string())
        )
    };
    [
        // A name that the documentation does not use, so that its examples still work.
        post("users", r#"{"username":"first"}"#),
        format!(
            "ROOM=$({} | grep -o '\"id\":\"[^\"]*\"' | head -n 1 | cut -d '\"' -f 4); echo \"$ROOM\"",
            post("rooms", r#"{"name":"General"}"#)
        ),
        post("rooms/$ROOM/messages", r#"{"content":"Hello, world"}"#),
    ]
}

/// Quotes the text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(addr: &str) -> Banner<'static> {
        Banner {
            addr: addr.parse().unwrap(),
            tls: false,
            data_dir: Path::new("/var/lib/chat"),
            database: "sqlite:/var/lib/chat/chatsphere.db".to_owned(),
            first_token_file: Some(Path::new("/var/lib/chat/client-token")),
            first_token: Some("t0ken"),
            demo_invite: Some("inv1te".to_owned()),
        }
    }

    #[test]
    fn a_log_gets_no_secrets() {
        let text = banner("127.0.0.1:3001").plain();
        assert!(!text.contains("t0ken") && !text.contains("inv1te"), "{text}");
        assert!(text.contains("listening on http://127.0.0.1:3001\n") && text.contains("/client-token"), "{text}");
    }

    #[test]
    fn a_person_gets_all_to_begin_with() {
        let text = banner("127.0.0.1:3001").human();
        for part in ["ws://127.0.0.1:3001/ws", "/demo#invite=inv1te", "/docs", "t0ken", "--host 0.0.0.0", "$(cat /var"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn the_address_is_one_that_can_be_called() {
        assert_eq!(banner("0.0.0.0:3001").url(), "http://127.0.0.1:3001");
        assert_eq!(banner("[::]:3001").url(), "http://[::1]:3001");
        assert!(banner("0.0.0.0:3001").plain().contains("without TLS"));
    }

    #[test]
    fn odd_directories_survive_the_shell() {
        assert_eq!(quoted("/a/b-c"), "/a/b-c");
        assert_eq!(quoted("/a b's"), r"'/a b'\''s'");
    }
}
