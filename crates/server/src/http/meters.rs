//! The metrics of the REST front door.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Duration;

use axum::http::StatusCode;
use chatsphere_core::TokenRefusal;
use metrics::{Counter, Histogram, counter, histogram};

use crate::observability::CounterFamily;

static ERRORS: CounterFamily = CounterFamily::new("chatsphere_errors_total", Some(("door", "http")), "code");
static REFUSED: CounterFamily =
    CounterFamily::new("chatsphere_authentications_refused_total", Some(("door", "http")), "reason");

static CALLS: LazyLock<Calls> = LazyLock::new(Calls::default);

/// Counters of calls by route. Handles are looked up once: routes, methods and statuses are few.
#[derive(Default)]
struct Calls(RwLock<HashMap<String, Route>>);

struct Route {
    seconds: Histogram,
    answered: Vec<(&'static str, StatusCode, Counter)>,
}

/// Records an answered call.
pub(super) fn answered(method: &'static str, route: &str, status: StatusCode, elapsed: Duration) {
    CALLS.answered(method, route, status, elapsed);
}

/// Records a failed call.
pub(super) fn failed(code: &'static str, refusal: Option<TokenRefusal>) {
    ERRORS.increment(code);
    if let Some(refusal) = refusal {
        REFUSED.increment(refusal.code());
    }
}

impl Calls {
    fn answered(&self, method: &'static str, route: &str, status: StatusCode, elapsed: Duration) {
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(route)
            && let Some((_, _, counter)) = known.answered.iter().find(|(by, with, _)| *by == method && *with == status)
        {
            counter.increment(1);
            return known.seconds.record(elapsed.as_secs_f64());
        }
        drop(routes);
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = routes.entry(route.to_owned()).or_insert_with(|| Route {
            seconds: histogram!("chatsphere_http_request_seconds", "route" => route.to_owned()),
            answered: Vec::new(),
        });
        let (name, code) = ("chatsphere_http_requests_total", status.as_str().to_owned());
        let counter = counter!(name, "method" => method, "route" => route.to_owned(), "status" => code);
        counter.increment(1);
        known.seconds.record(elapsed.as_secs_f64());
        if !known.answered.iter().any(|(by, with, _)| *by == method && *with == status) {
            known.answered.push((method, status, counter));
        }
    }
}
