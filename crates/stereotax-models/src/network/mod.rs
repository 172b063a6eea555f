//! Networks in ONNX files: what is in them, where their blocks end, and how they run.

pub mod blocks;
pub mod engine;
pub mod graph;
mod outside;
mod protobuf;
