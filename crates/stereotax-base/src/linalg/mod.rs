//! Products and decompositions with one promise more than the matrix library gives: the same bits for
//! any number of threads.
//!
//! Every call here runs on the calling thread. Parallelism comes from the callers, who hand whole
//! tasks (folds, tiles, permutations) to the thread pool and add results in a fixed order.
//! Orders and signs are promised: eigenvalues of symmetric matrices and singular values descend,
//! and of each eigenvector or left singular vector the entry of largest modulus is positive.

mod assignment;
mod cone;
mod decompose;
mod lanczos;
mod minimise;
mod nnls;
mod product;
mod real;
mod schur;
mod singular;
mod transport;

pub use assignment::assignment;
pub use cone::cone_weights;
pub use decompose::{
    Eig, Eigh, Svd, cholesky_factor, cholesky_inverse, cholesky_solve, eig, eigh, eigh_leading,
    least_squares, lower_cholesky_solve, orthogonal_factor, pseudo_inverse, solve, svd, thin_qr,
    upper_factor,
};
pub use lanczos::eigh_largest;
pub use minimise::{Minimum, lbfgs};
pub use nnls::{nnls, nnls_of_design};
pub use product::{
    add_gram, add_product, all_finite, centre_columns, column_means, cross, dot, gram, lower_cross,
    lower_product, mirror_lower, product, product_into, select_rows,
};
pub use real::Real;
pub use schur::{Schur, schur};
pub use singular::singular_values;
pub use transport::uniform_transport;

use std::sync::Once;

/// Make the matrix library run on the calling thread only.
fn sequential() -> faer::Par {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| faer::set_global_parallelism(faer::Par::Seq));
    faer::Par::Seq
}
