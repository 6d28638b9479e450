//! Operations of JSON patches.

use json_patch::{PatchOperation, ReplaceOperation, TestOperation, jsonptr::PointerBuf};
use serde_json::Value;

/// Replaces the field at a path.
pub(crate) fn replace(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation { path, value })
}

/// Refuses the patch unless the field at a path has this value.
pub(crate) fn test(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation { path, value })
}

/// Pointer to a field by the names on the way to it.
pub(crate) fn path(names: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(names.iter().copied())
}
