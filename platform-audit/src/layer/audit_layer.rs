use std::sync::Arc;

use tower_layer::Layer;

use super::AuditService;
use crate::core::Core;

/// The [audit layer](crate::layer) of a router. [`Audit::layer`](crate::Audit::layer) returns it.
#[derive(Clone, Debug)]
pub struct AuditLayer {
    core: Arc<Core>,
}

impl AuditLayer {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = AuditService<S>;

    fn layer(&self, inner: S) -> AuditService<S> {
        AuditService {
            inner,
            core: Arc::clone(&self.core),
        }
    }
}
