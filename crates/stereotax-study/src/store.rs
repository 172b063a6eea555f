//! Keep finished nodes on disk: whole, checked, and never under their name before they are finished.
//!
//! One file per node, `nodes/KIND/KEY.safetensors`: named arrays, with the node's description and a
//! digest of the arrays in the header. A file that is damaged (a full disk, a copied folder cut short)
//! is reported and computed again; it is never believed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::Value;
use stereotax_io::write_atomic;

use crate::error::StudyError;
use crate::node::NodeSpec;

/// Named arrays and the small facts beside them: what a kernel returns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Payload {
    arrays: BTreeMap<String, Stored>,
    /// Scalars, names, diagnostics.
    pub facts: Value,
}

/// A row-major array of double or single precision.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    shape: Vec<usize>,
    precise: bool,
    bytes: Vec<u8>,
}

impl Payload {
    /// Facts only.
    pub fn of(facts: Value) -> Self {
        Payload { arrays: BTreeMap::new(), facts }
    }

    /// Add doubles, row after row.
    pub fn put(&mut self, name: &str, shape: &[usize], values: &[f64]) {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len(), "array `{name}`");
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.arrays.insert(name.into(), Stored { shape: shape.to_vec(), precise: true, bytes });
    }

    /// Add values for which single precision is enough (predictions, draws).
    pub fn put_single(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f32>) {
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        debug_assert_eq!(shape.iter().product::<usize>() * 4, bytes.len(), "array `{name}`");
        self.arrays.insert(name.into(), Stored { shape: shape.to_vec(), precise: false, bytes });
    }

    /// Add bytes that have a format of their own.
    pub fn put_bytes(&mut self, name: &str, bytes: &[u8]) {
        let mut padded = (bytes.len() as u64).to_le_bytes().to_vec();
        padded.extend_from_slice(bytes);
        padded.resize(padded.len().div_ceil(8) * 8, 0);
        self.arrays
            .insert(name.into(), Stored { shape: vec![padded.len() / 8], precise: true, bytes: padded });
    }

    /// An array as doubles; `None` where there is none of that name.
    pub fn get(&self, name: &str) -> Option<Vec<f64>> {
        let stored = self.arrays.get(name)?;
        Some(if stored.precise {
            stored.bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
        } else {
            stored.bytes.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
        })
    }

    /// An array as it was put by [`Payload::put_single`]; `None` where there is none of that name and precision.
    pub fn get_single(&self, name: &str) -> Option<Vec<f32>> {
        let stored = self.arrays.get(name).filter(|stored| !stored.precise)?;
        Some(stored.bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// What [`Payload::put_bytes`] put there.
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        let stored = self.arrays.get(name)?;
        let length = u64::from_le_bytes(*stored.bytes.first_chunk()?);
        stored.bytes.get(8..8 + usize::try_from(length).ok()?)
    }

    fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (name, stored) in &self.arrays {
            hasher.update(name.as_bytes());
            hasher.update(&[u8::from(stored.precise)]);
            for extent in &stored.shape {
                hasher.update(&(*extent as u64).to_le_bytes());
            }
            hasher.update(&stored.bytes);
        }
        hasher.update(self.facts.to_string().as_bytes());
        hasher.finalize().to_hex().to_string()
    }
}

/// The finished nodes of an output folder.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in `DIR/nodes`, made if it is not there.
    pub fn open(out: &Path) -> Result<Self, StudyError> {
        let folder = out.join("nodes");
        fs::create_dir_all(&folder).map_err(|e| StudyError::write(&folder, &e))?;
        Ok(Store { folder })
    }

    /// A store that is only read; it need not exist.
    pub fn at(out: &Path) -> Self {
        Store { folder: out.join("nodes") }
    }

    fn path(&self, kind: &str, key: &str) -> PathBuf {
        self.folder.join(kind).join(format!("{key}.safetensors"))
    }

    /// Whether the node is finished. Its contents are checked when they are read.
    pub fn holds(&self, spec: &NodeSpec) -> bool {
        self.path(&spec.kind, &spec.key()).is_file()
    }

    /// Read a finished node; `None` where there is none or where its file is damaged.
    pub fn load(&self, spec: &NodeSpec) -> Option<Payload> {
        let bytes = fs::read(self.path(&spec.kind, &spec.key())).ok()?;
        decode(&bytes).map(|(_, payload)| payload)
    }

    /// Keep a node: all of it, or nothing under its name.
    pub fn save(&self, spec: &NodeSpec, payload: &Payload) -> Result<(), StudyError> {
        let path = self.path(&spec.kind, &spec.key());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| StudyError::write(folder, &e))?;
        }
        write_atomic(&path, &encode(spec, payload)?).map_err(StudyError::from)
    }

    /// Descriptions of all finished nodes whose key begins with `prefix`, sorted by kind and key.
    pub fn find(&self, prefix: &str) -> Vec<NodeSpec> {
        let mut found: Vec<(String, NodeSpec)> = Vec::new();
        let kinds = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for file in kinds.flat_map(|kind| fs::read_dir(kind.path()).into_iter().flatten().flatten()) {
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(key) = name.strip_suffix(".safetensors") else { continue };
            if !key.starts_with(prefix) {
                continue;
            }
            if let Some((spec, _)) = fs::read(file.path()).ok().and_then(|bytes| decode(&bytes)) {
                found.push((key.to_owned(), spec));
            }
        }
        found.sort_by(|(a, x), (b, y)| x.kind.cmp(&y.kind).then(a.cmp(b)));
        found.into_iter().map(|(_, spec)| spec).collect()
    }
}

fn encode(spec: &NodeSpec, payload: &Payload) -> Result<Vec<u8>, StudyError> {
    let header = std::collections::HashMap::from([(
        "stereotax".to_owned(),
        serde_json::json!({"node": spec, "facts": payload.facts, "digest": payload.digest()}).to_string(),
    )]);
    let views: Result<Vec<(&String, TensorView)>, _> = payload
        .arrays
        .iter()
        .map(|(name, stored)| {
            let dtype = if stored.precise { Dtype::F64 } else { Dtype::F32 };
            TensorView::new(dtype, stored.shape.clone(), &stored.bytes).map(|view| (name, view))
        })
        .collect();
    views
        .and_then(|views| serialize(views, Some(header)))
        .map_err(|e| StudyError::Internal { what: format!("node `{}` cannot be written: {e}", spec.label) })
}

fn decode(bytes: &[u8]) -> Option<(NodeSpec, Payload)> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let mut described: Value = serde_json::from_str(header.metadata().as_ref()?.get("stereotax")?).ok()?;
    let mut payload = Payload::of(described["facts"].take());
    for (name, view) in SafeTensors::deserialize(bytes).ok()?.tensors() {
        let precise = match view.dtype() {
            Dtype::F64 => true,
            Dtype::F32 => false,
            _ => return None,
        };
        let stored = Stored { shape: view.shape().to_vec(), precise, bytes: view.data().to_vec() };
        payload.arrays.insert(name, stored);
    }
    let whole = described["digest"].as_str() == Some(payload.digest().as_str());
    whole.then_some((serde_json::from_value(described["node"].take()).ok()?, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (NodeSpec, Payload) {
        let spec = NodeSpec {
            kind: "cell".into(),
            kernel_version: 1,
            params: serde_json::json!({"alpha": 1.5}),
            inputs: BTreeMap::new(),
            label: "an example".into(),
        };
        let mut payload = Payload::of(serde_json::json!({"rank": 3, "share": 0.1}));
        payload.put("r", &[2, 2], &[0.5, f64::NAN, -0.25, 1.0 / 3.0]);
        payload.put_single("draws", &[3], [1.0, 2.0, 3.5]);
        payload.put_bytes("moments", b"thirteen char");
        (spec, payload)
    }

    #[test]
    fn a_node_comes_back_as_it_was_put() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (spec, payload) = example();
        assert!(!store.holds(&spec));
        store.save(&spec, &payload).unwrap();
        let back = store.load(&spec).unwrap();
        assert_eq!(back.get("r").unwrap()[3].to_bits(), (1.0f64 / 3.0).to_bits());
        assert!(back.get("r").unwrap()[1].is_nan());
        assert_eq!(back.get("draws").unwrap(), [1.0, 2.0, 3.5]);
        assert_eq!((back.get_single("draws").unwrap(), back.get_single("r")), (vec![1.0, 2.0, 3.5], None));
        assert_eq!(back.get_bytes("moments").unwrap(), b"thirteen char");
        assert_eq!(back.facts, payload.facts);
        assert_eq!(store.find(&spec.key()[..6]), [spec]);
    }

    #[test]
    fn a_damaged_file_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (spec, payload) = example();
        store.save(&spec, &payload).unwrap();
        let path = store.path(&spec.kind, &spec.key());
        let whole = fs::read(&path).unwrap();
        for cut in [0, 5, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(store.load(&spec), None, "cut at {cut}");
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, flipped).unwrap();
        assert_eq!(store.load(&spec), None);
    }
}
