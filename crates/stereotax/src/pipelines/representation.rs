//! Name the representations of a network that are scored beside each other.

/// One way to turn the layers of a network into one matrix of features.
///
/// They differ in nothing else: folds, components, penalties and scores are the same for all, so that a
/// difference of scores is a difference of representations (specs: nfas-dmd 7 and 13).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Representation {
    /// The stable mode of the depth dynamics: the claim.
    StableMode,
    /// A weighting of layers: the stable mode, the mean, the POD mode and single layers, mixed per ROI by
    /// inner cross-validation.
    Adaptive,
    /// The uniform mean of the scaled layers.
    LayerMean,
    /// The layer that inner cross-validation prefers.
    BestLayer,
    /// The first proper orthogonal mode over depth: the top eigenvector of the depth Gram matrix.
    Pod,
    /// A single layer, by position.
    Layer(usize),
    /// The stable mode of the layers in a random order, by number of the shuffle.
    Shuffled(usize),
    /// The stable mode under alternative choices, by number of the multiverse's cell.
    Alternative(usize),
}

impl Representation {
    /// The word in the column `representation`; all single layers share one.
    pub fn name(&self) -> String {
        match self {
            Representation::StableMode => "stable_mode".into(),
            Representation::Adaptive => "adaptive".into(),
            Representation::LayerMean => "layer_mean".into(),
            Representation::BestLayer => "best_layer".into(),
            Representation::Pod => "pod".into(),
            Representation::Layer(_) => "layer".into(),
            Representation::Shuffled(index) => format!("shuffled_{:02}", index + 1),
            Representation::Alternative(index) => format!("alternative_{:02}", index + 1),
        }
    }

    /// Whether it is made from the spectrum of the trajectory.
    pub fn needs_depth(&self) -> bool {
        matches!(
            self,
            Self::StableMode | Self::Shuffled(_) | Self::Pod | Self::Adaptive | Self::Alternative(_)
        )
    }

    /// Whether it is chosen among others by their inner cross-validation.
    pub fn is_selected(&self) -> bool {
        matches!(self, Self::BestLayer | Self::Adaptive)
    }

    /// Whether its cell keeps bootstrap and null draws: everything that a claim or a control's interval
    /// rests on. Inner layers and shuffles are compared by their scores alone.
    pub fn keeps_draws(&self, n_layers: usize) -> bool {
        match self {
            Self::Layer(layer) => *layer == 0 || layer + 1 == n_layers,
            Self::Shuffled(_) | Self::Alternative(_) => false,
            _ => true,
        }
    }
}
