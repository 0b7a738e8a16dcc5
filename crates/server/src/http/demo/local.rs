use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::HOST;
use axum::http::request::Parts;
use chatsphere_net::listener::Peer;

use crate::http::failure::Failure;
use crate::http::state::HttpState;

/// A call from a browser on this machine, to an address of this machine.
///
/// The peer's address alone does not prove that: by DNS rebinding, a page from anywhere can resolve its own name to 127.0.0.1
/// and call as if it were served from here. Its `Host` still contains its own name.
pub(super) struct Local(pub(super) Peer);

impl FromRequestParts<Arc<HttpState>> for Local {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<HttpState>) -> Result<Self, Failure> {
        if is_local(parts)
            && let Some(peer) = parts.extensions.get::<Peer>()
        {
            return Ok(Self(*peer));
        }
        Err(Failure::forbidden("loopback_only", "the demo works only in a browser on the server's own machine, at localhost"))
    }
}

/// Whether the call comes from this machine, and its `Host` names this machine.
fn is_local(parts: &Parts) -> bool {
    let here = parts.extensions.get::<Peer>().is_some_and(|peer| peer.direct_loopback);
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    here && host.is_some_and(names_this_machine) && hosts.next().is_none()
}

fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if port.is_empty() || is_port(port) => address,
        Some(_) => return false,
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::names_this_machine;

    #[test]
    fn only_this_machines_names_are_taken() {
        for good in ["localhost", "localhost:3001", "LOCALHOST", "127.0.0.1:80", "127.0.0.1", "[::1]:3001", "[::1]"] {
            assert!(names_this_machine(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:3001",
            "localhost.evil.example",
            "192.168.1.2",
            "[::1",
            "localhost:x",
            "0.0.0.0",
            "a@localhost",
        ] {
            assert!(!names_this_machine(bad), "{bad}");
        }
    }
}
