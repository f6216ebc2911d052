//! What operators note about a shadow. No site sees it, and no version counts it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gnomon_schemas::key::ShadowKey;

use super::command::{Answer, Created, Done, Effect};
use super::labels;
use super::node::Node;
use super::rejection::Rejection;

impl Node {
    /// Takes other tags for a shadow.
    pub(super) fn tag(
        &mut self,
        key: ShadowKey,
        tags: BTreeMap<String, String>,
    ) -> Result<Done, Rejection> {
        labels::check(&tags)?;
        if !self.has(&key) {
            return Err(Rejection::UnknownShadow { node: self.name.clone(), key });
        }
        let op = self.shadows.tag(&self.name, &key, tags);
        let answer = Answer::Shadow(Arc::new(self.shadow(&key)), Created(false));
        Ok(Done { answer, effects: vec![Effect::Persist(vec![op])] })
    }
}
