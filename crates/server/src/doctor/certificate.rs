//! Checks that the certificate is usable.

use chatsphere_net::listener::Tls;

use super::finding::Finding;
use crate::config::Settings;
use crate::start_error::StartError;

const CHECK: &str = "certificate";

pub(super) fn check(settings: &Settings) -> Option<Finding> {
    let (Some(certificate), Some(key)) = (&settings.tls_cert, &settings.tls_key) else { return None };
    Some(match Tls::load(certificate, key) {
        Ok(_) => Finding::ok(CHECK, format!("{} with its key", certificate.display())),
        Err(error) => Finding::from_error(CHECK, &StartError::Tls { error }.to_string()),
    })
}
