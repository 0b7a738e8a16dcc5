use std::net::SocketAddr;

use axum::Router;
use axum::extract::Extension;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::get;
use chatsphere_net::listener::{ListenerOptions, Peer, TrustedProxies};

use crate::support::{patient, start};

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    fields.iter().map(field).collect()
}

const XFF: &str = "x-forwarded-for";

#[test]
fn the_client_is_the_rightmost_address_that_is_no_proxy() {
    let proxies = TrustedProxies::parse("10.0.0.0/8, ::1 fd00::/8,::ffff:192.168.0.0/112").unwrap();
    // (TCP peer, fields, client)
    let cases: &[(&str, &[&str], &str)] = &[
        ("10.0.0.1:9", &[], "10.0.0.1:9"),
        ("10.0.0.1:9", &["203.0.113.7"], "203.0.113.7:0"),
        ("10.0.0.1:9", &["1.1.1.1, 203.0.113.7"], "203.0.113.7:0"),
        ("10.0.0.1:9", &["1.1.1.1, 203.0.113.7, 10.2.3.4"], "203.0.113.7:0"),
        ("10.0.0.1:9", &["1.1.1.1", "203.0.113.7,10.2.3.4", "10.9.9.9"], "203.0.113.7:0"),
        ("10.0.0.1:9", &["1.1.1.1", "203.0.113.7 , fd00::5"], "203.0.113.7:0"),
        ("10.0.0.1:9", &["10.1.1.1, 10.2.2.2"], "10.1.1.1:0"),
        ("[::1]:9", &["2001:db8::1"], "[2001:db8::1]:0"),
        ("[::1]:9", &["[2001:db8::1]:1234"], "[2001:db8::1]:0"),
        ("[::1]:9", &["[2001:db8::1]"], "[2001:db8::1]:0"),
        ("[::1]:9", &["203.0.113.7:1234"], "203.0.113.7:0"),
        ("[::1]:9", &["::ffff:203.0.113.7"], "203.0.113.7:0"),
        ("[::ffff:10.0.0.1]:9", &["203.0.113.7"], "203.0.113.7:0"),
        ("192.168.0.77:9", &["203.0.113.7"], "203.0.113.7:0"),
        // An untrusted proxy: its entries do not count.
        ("203.0.113.1:9", &["10.0.0.1"], "203.0.113.1:9"),
        ("127.0.0.1:9", &["203.0.113.7"], "127.0.0.1:9"),
        ("[::ffff:203.0.113.1]:9", &[], "203.0.113.1:9"),
        ("192.169.0.77:9", &["203.0.113.7"], "192.169.0.77:9"),
        // Malformed entries that matter, and ones that do not.
        ("10.0.0.1:9", &["203.0.113.7, nonsense"], "10.0.0.1:9"),
        ("10.0.0.1:9", &["203.0.113.7, unknown, 10.1.1.1"], "10.0.0.1:9"),
        ("10.0.0.1:9", &[""], "10.0.0.1:9"),
        ("10.0.0.1:9", &["203.0.113.7,"], "10.0.0.1:9"),
        ("10.0.0.1:9", &["203.0.113.7/8"], "10.0.0.1:9"),
        ("10.0.0.1:9", &["nonsense, 203.0.113.7"], "203.0.113.7:0"),
    ];
    for (tcp, fields, client) in cases {
        let fields: Vec<_> = fields.iter().map(|value| (XFF, *value)).collect();
        let peer = proxies.peer(tcp.parse().unwrap(), false, &headers(&fields));
        assert_eq!(peer.addr, client.parse::<SocketAddr>().unwrap(), "{tcp} {fields:?}");
    }
    let hostile = HeaderMap::from_iter([(HeaderName::from_static(XFF), HeaderValue::from_bytes(b"\xff, 1.1.1.1").unwrap())]);
    assert_eq!(proxies.peer("10.0.0.1:9".parse().unwrap(), false, &hostile).addr.to_string(), "10.0.0.1:9");
}

#[test]
fn the_scheme_is_believed_of_proxies_alone() {
    let proxies = TrustedProxies::parse("10.0.0.0/8").unwrap();
    let proto = "x-forwarded-proto";
    for (tcp, tls, fields, secure) in [
        ("10.0.0.1:9", false, vec![(proto, "https")], true),
        ("10.0.0.1:9", false, vec![(proto, "HTTPS")], true),
        ("10.0.0.1:9", false, vec![(proto, "https, http")], false),
        ("10.0.0.1:9", true, vec![(proto, "http")], false),
        ("10.0.0.1:9", true, vec![(XFF, "1.1.1.1")], true),
        ("1.1.1.1:9", false, vec![(proto, "https")], false),
        ("1.1.1.1:9", true, vec![(proto, "http")], true),
        ("1.1.1.1:9", true, vec![], true),
    ] {
        let peer = proxies.peer(tcp.parse().unwrap(), tls, &headers(&fields));
        assert_eq!(peer.secure, secure, "{tcp} {tls} {fields:?}");
    }
}

#[test]
fn only_a_loopback_peer_without_a_proxy_is_direct() {
    for proxies in ["", "127.0.0.1, ::1"] {
        let proxies = TrustedProxies::parse(proxies).unwrap();
        for (tcp, fields, direct) in [
            ("127.0.0.1:9", vec![], true),
            ("127.8.8.8:9", vec![], true),
            ("[::1]:9", vec![], true),
            ("[::ffff:127.0.0.1]:9", vec![("host", "localhost")], true),
            ("192.168.0.1:9", vec![], false),
            ("127.0.0.1:9", vec![(XFF, "127.0.0.1")], false),
            ("127.0.0.1:9", vec![(XFF, "")], false),
            ("127.0.0.1:9", vec![("forwarded", "for=127.0.0.1")], false),
            ("127.0.0.1:9", vec![("via", "1.1 proxy")], false),
            ("127.0.0.1:9", vec![("x-real-ip", "127.0.0.1")], false),
            ("127.0.0.1:9", vec![("x-forwarded-proto", "http")], false),
        ] {
            let peer = proxies.peer(tcp.parse().unwrap(), false, &headers(&fields));
            assert_eq!(peer.direct_loopback, direct, "{tcp} {fields:?} {proxies}");
        }
    }
}

#[test]
fn what_is_no_network_is_refused_by_name() {
    for list in
        ["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0", "localhost", "1.2.3.4/8/8", "1.2.3.4:80"]
    {
        let refused = TrustedProxies::parse(&format!("::1, {list}")).unwrap_err();
        assert!(refused.to_string().contains(&format!("`{list}`")), "{refused}");
    }
    let proxies = TrustedProxies::parse("10.0.0.0/8 ,, ::1").unwrap();
    assert_eq!(proxies.to_string(), "10.0.0.0/8, ::1/128");
    let everyone = TrustedProxies::parse("0.0.0.0/0").unwrap();
    assert!(everyone.contains("203.0.113.7".parse().unwrap()) && !everyone.contains("2001:db8::1".parse().unwrap()));
    assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
}

#[tokio::test]
async fn every_request_carries_its_peer() {
    let app = Router::new().route("/", get(|Extension(peer): Extension<Peer>| async move { format!("{peer:?}") }));
    let trusted_proxies = TrustedProxies::parse("127.0.0.1").unwrap();
    let server = start(app, ListenerOptions { trusted_proxies, ..patient() }).await;
    let text = server.exchange(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(text.contains("addr: 127.0.0.1:") && text.contains("direct_loopback: true"), "{text}");
    let text = server
        .exchange(
            b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nX-Forwarded-For: \
     203.0.113.7\r\nX-Forwarded-Proto: https\r\n\r\n",
        )
        .await;
    assert!(text.contains("addr: 203.0.113.7:0, secure: true") && text.contains("direct_loopback: false"), "{text}");
}
