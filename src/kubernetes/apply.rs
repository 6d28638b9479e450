//! Objects as server-side apply takes them.

use serde_json::{Map, Value};

/// Removes the null fields of an object: server-side apply would own them.
pub(crate) fn drop_nulls(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        let kept: Map<_, _> = std::mem::take(fields)
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect();
        *fields = kept;
    }
}
