//! What stands before the data: parametric stimuli (gratings, dots), a small video network to show them to, and the
//! activations of networks in ONNX files.
//!
//! [`extract`](mod@extract) runs a network over images, sounds or texts as a preparation file says and writes a store
//! that a study reads.

pub mod error;
pub mod extract;
pub mod network;
pub mod pool;
pub mod prepare;
pub mod stimuli;
pub mod video_network;

pub use error::{ModelError, Result};
