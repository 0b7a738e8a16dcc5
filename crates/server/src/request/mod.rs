//! What both front doors read of a request: its id, its token, and the origin of the page that makes it.

mod bearer;
mod id;
mod origins;

pub(crate) use bearer::bearer;
pub(crate) use id::{RequestId, X_REQUEST_ID};
pub use origins::AllowedOrigins;
