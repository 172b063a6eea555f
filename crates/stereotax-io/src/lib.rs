//! Files to data and back. No mathematics.
//!
//! Every count or shape that a file states is checked before memory is taken for it, archives never
//! leave their folder, pickled objects are refused, and results appear under their name only when
//! they are complete.

pub mod activation_store;
pub mod activations;
pub mod array;
pub mod atlas;
pub mod atomic;
mod cifti;
pub mod delimited;
pub mod digest;
pub mod element;
pub mod error;
mod freesurfer;
pub mod fuzzing;
mod gifti;
mod hdf5;
pub mod names;
pub mod nifti;
mod npy;
mod npz;
pub mod parquet;
mod positioned;
pub mod responses;
pub mod stimuli;
pub mod surface;
pub mod table;
mod tensors;
mod volume_responses;
pub mod zarr;

pub use crate::parquet::{json_lines, read_parquet, write_csv, write_json_lines, write_parquet};
pub use activation_store::{IDS_KEY, StoreWriter, StoredLayer};
pub use activations::{FileLayers, Pooling};
pub use array::{ArrayFile, ArrayInfo, FileFormat, FileInfo, info, keys, own_ids, read_texts};
pub use atlas::{Atlas, RegionSeries, VoxelSeries};
pub use atomic::{AtomicFile, recover_folder, stage_folder, swap_folder, write_atomic};
pub use delimited::{Delimited, read_csv};
pub use digest::{FileDigest, digest_bytes, digest_file};
pub use element::{Element, Endian};
pub use error::{IoError, IoErrorKind, Result};
pub use nifti::{VolumeFile, VolumeGrid};
pub use positioned::read_bytes;
pub use responses::{
    LoadedResponses, LoadedVoxels, NanPolicy, ResponseAxis, ResponsesParams, RoiInfo, Targets,
    load_responses, load_voxels, read_rois,
};
pub use stimuli::{RowMatch, StimulusTable, match_by_order, match_rows, read_stimuli};
pub use surface::{Mesh, VertexLabels, read_mesh, read_vertex_labels};
pub use table::{Column, Table, Values};
pub use zarr::{ZarrWriter, is_zarr};
