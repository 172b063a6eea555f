//! Print the references for the methods a study uses.

use stereotax_study::{Study, references};

use crate::args::CiteArgs;
use crate::{Failure, print_line};

pub(crate) fn run(args: &CiteArgs) -> Result<(), Failure> {
    let study = args.study.as_deref().map(Study::load).transpose()?;
    for entry in stereotax_report::bibliography(&references(study.as_ref())) {
        print_line(&entry);
    }
    Ok(())
}
