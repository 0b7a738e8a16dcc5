//! The gate that decides whether this node may deliver events of other nodes at the moment.

use std::fmt;
use std::sync::Arc;

/// Checked before events of other nodes are delivered. While it is closed, they stay in the store; after it opens, the next
/// reconciliation delivers them. The server decides when and why the gate closes.
#[derive(Clone)]
pub struct DeliveryGate(Arc<dyn Fn() -> bool + Send + Sync>);

impl DeliveryGate {
    /// A gate that is open while `is_open` returns true.
    pub fn new(is_open: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_open))
    }

    /// A gate that never closes.
    pub fn open() -> Self {
        Self::new(|| true)
    }

    /// Whether the gate is open now.
    pub fn is_open(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for DeliveryGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryGate")
    }
}
