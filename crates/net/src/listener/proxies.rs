//! Trusted proxies and `X-Forwarded-For`. Any client can send that field, so only entries written by proxies with a trusted
//! address count.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::HeaderMap;
use ipnet::{IpNet, Ipv4Net};

use super::Peer;

/// Fields that proxies add. One of them shows that the TCP peer is not the client.
const FORWARDING: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "via",
    "cf-connecting-ip",
];

/// The networks of trusted proxies. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Not a network in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an IP address nor a network such as 10.0.0.0/8 or fd00::/8")]
pub struct BadNetwork(String);

impl TrustedProxies {
    /// Parses a list of addresses and networks (RFC 4632, section 3.1), separated by commas or white space.
    ///
    /// # Errors
    /// [`BadNetwork`] with the first invalid entry.
    pub fn parse(list: &str) -> Result<Self, BadNetwork> {
        list.split(|c: char| c == ',' || c.is_whitespace())
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                let network = entry.parse().or_else(|_| entry.parse().map(IpAddr::into));
                network.map_err(|_| BadNetwork(entry.to_owned()))
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Self::from)
    }

    /// Whether `addr` is that of a trusted proxy.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        self.0.iter().any(|network| network.contains(&addr))
    }

    /// The client behind a request that arrived from `tcp`, over TLS or not.
    #[must_use]
    pub fn peer(&self, tcp: SocketAddr, tls: bool, headers: &HeaderMap) -> Peer {
        let tcp = SocketAddr::new(tcp.ip().to_canonical(), tcp.port());
        let forwarded = FORWARDING.iter().any(|name| headers.contains_key(*name));
        let direct_loopback = tcp.ip().is_loopback() && !forwarded;
        if !forwarded || !self.contains(tcp.ip()) {
            return Peer { addr: tcp, secure: tls, direct_loopback };
        }
        let addr = self.client(headers).map_or(tcp, |ip| SocketAddr::new(ip, 0));
        let secure = last_value(headers, "x-forwarded-proto").map_or(tls, |scheme| scheme.eq_ignore_ascii_case("https"));
        Peer { addr, secure, direct_loopback }
    }

    /// The rightmost address that is not a trusted proxy's; if all are trusted, the leftmost. `None` if an entry up to there is
    /// malformed.
    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = None;
        // Several fields are one list, in the order sent (RFC 9110, section 5.3).
        for field in headers.get_all("x-forwarded-for").iter().rev() {
            for entry in field.to_str().ok()?.rsplit(',') {
                let ip = address(entry.trim())?;
                client = Some(ip);
                if !self.contains(ip) {
                    return client;
                }
            }
        }
        client
    }
}

/// The nearest proxy wrote the last value; earlier values may come from the client.
fn last_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next().map(str::trim)
}

/// Parses an address as some proxies write it: with a port, IPv6 in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|addr| addr.ip())).ok()?;
    Some(ip.to_canonical())
}

impl From<Vec<IpNet>> for TrustedProxies {
    fn from(networks: Vec<IpNet>) -> Self {
        Self(networks.into_iter().map(canonical).collect())
    }
}

/// Maps IPv4-mapped IPv6 networks to IPv4, because peers are compared in that form even if an IPv6 socket accepted them.
fn canonical(network: IpNet) -> IpNet {
    let prefix = network.prefix_len().checked_sub(96);
    match (network.addr(), network.addr().to_canonical(), prefix) {
        (IpAddr::V6(_), IpAddr::V4(base), Some(prefix)) => Ipv4Net::new(base, prefix).map_or(network, IpNet::from),
        _ => network,
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, network) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{network}")?;
        }
        Ok(())
    }
}

impl FromStr for TrustedProxies {
    type Err = BadNetwork;

    fn from_str(list: &str) -> Result<Self, BadNetwork> {
        Self::parse(list)
    }
}
