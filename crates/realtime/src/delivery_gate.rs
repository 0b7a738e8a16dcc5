//! Whether this node may hand out at this moment what other nodes wrote.

use std::fmt;
use std::sync::Arc;

/// Asked before events of other nodes are handed out. While it is shut they are left in the store, from where the comparison
/// brings them once it is open again. Who shuts it, and why, is not for this crate to know.
#[derive(Clone)]
pub struct DeliveryGate(Arc<dyn Fn() -> bool + Send + Sync>);

impl DeliveryGate {
    /// Open as long as `is_open` says so.
    pub fn new(is_open: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_open))
    }

    /// Never shut.
    pub fn open() -> Self {
        Self::new(|| true)
    }

    /// Whether it is open at this moment.
    pub fn is_open(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for DeliveryGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryGate")
    }
}
