use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, Method};

type Fields = dyn Fn(&Method, &HeaderMap) -> HeaderMap + Send + Sync;

/// The fields that let a page of another origin read an answer (Fetch Standard, section 3.3), for answers that are made before
/// any router is reached. None by default.
#[derive(Clone, Default)]
pub struct CrossOrigin(Option<Arc<Fields>>);

impl CrossOrigin {
    /// Asks `fields` for them, by the request's method and those of its fields that it depends on: `Origin`,
    /// `Access-Control-Request-Method` and `-Headers`.
    pub fn new(fields: impl Fn(&Method, &HeaderMap) -> HeaderMap + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(fields)))
    }

    pub(super) fn fields(&self, method: &Method, request: &HeaderMap) -> HeaderMap {
        self.0.as_ref().map(|fields| fields(method, request)).unwrap_or_default()
    }
}

impl fmt::Debug for CrossOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CrossOrigin").field(&self.0.is_some()).finish()
    }
}
