//! Name a piece of work by what goes into it.
//!
//! A node's key is the hash of its kind, the version of its kernel, its parameters and the digests of
//! its inputs, and of nothing else: not of names of folders, the time, or other nodes of the plan.
//! Two studies that ask for the same work share it; nothing stale can be served.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a node computes and from what.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NodeSpec {
    /// The kernel: "moments", "depth", "cell", ….
    pub kind: String,
    /// Raised whenever the kernel's numbers change; a golden test guards it.
    pub kernel_version: u32,
    /// Every setting that the numbers depend on.
    pub params: Value,
    /// Digest of each input: of a file's bytes, or the key of the node that makes it.
    pub inputs: BTreeMap<String, String>,
    /// What a person calls it: "cell: silero-vad · stable_mode · group". Not part of the key.
    pub label: String,
}

impl NodeSpec {
    /// The node's key: 32 hexadecimal digits.
    pub fn key(&self) -> String {
        let what = serde_json::json!({
            "kind": self.kind,
            "kernel_version": self.kernel_version,
            "params": self.params,
            "inputs": self.inputs,
        });
        digest_of_json(&what)
    }
}

/// Hash of a JSON value; object keys are sorted, so equal values have equal hashes.
pub fn digest_of_json(value: &Value) -> String {
    let mut digest = blake3::hash(value.to_string().as_bytes()).to_hex().to_string();
    digest.truncate(32);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> NodeSpec {
        NodeSpec {
            kind: "moments".into(),
            kernel_version: 1,
            params: serde_json::json!({"blocks": 4}),
            inputs: BTreeMap::from([("conv1".into(), "aa".into())]),
            label: "moments: a model".into(),
        }
    }

    #[test]
    fn the_key_depends_on_everything_but_the_label() {
        let key = spec().key();
        assert_eq!(key, NodeSpec { label: "another name".into(), ..spec() }.key());
        assert_ne!(key, NodeSpec { kernel_version: 2, ..spec() }.key());
        assert_ne!(key, NodeSpec { params: serde_json::json!({"blocks": 5}), ..spec() }.key());
        assert_ne!(key, NodeSpec { kind: "depth".into(), ..spec() }.key());
        let inputs = BTreeMap::from([("conv1".into(), "ab".into())]);
        assert_ne!(key, NodeSpec { inputs, ..spec() }.key());
    }

    #[test]
    fn keys_are_frozen() {
        assert_eq!(spec().key(), "20991098bc76ae2e2b37b845a2944f45");
    }
}
