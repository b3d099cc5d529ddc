use std::sync::Arc;

use tower_layer::Layer;

use super::AuditService;
use crate::core::Core;

/// Puts the [request guard](crate::layer) around a router; made by [`Audit::layer`](crate::Audit::layer).
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
