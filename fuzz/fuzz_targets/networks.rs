//! Any bytes as a network.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use stereotax_models::network::blocks::{blocks, units_first};
use stereotax_models::network::graph::Network;

fuzz_target!(|data: &[u8]| {
    if let Ok(network) = Network::parse(Path::new("network"), data.to_vec()) {
        let found = blocks(&network);
        for tensor in &found {
            units_first(&network, tensor);
        }
        network.with_outputs(&found);
    }
});
