//! The pictures of the brain of every space: cortical surfaces, and volumes of labelled voxels.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::input::ReportInput;
use crate::picture::{FIRST_ROI, Picture};
use crate::{surface, volume};

/// What the maps of one space are painted on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    /// ROIs in order of appearance: the k-th has the number k + 2 in the pictures.
    pub rois: Vec<String>,
    code_of: HashMap<String, u32>,
    pub views: Vec<Drawn>,
}

/// A picture with its place on the page.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    pub title: String,
    /// Views that are shown together.
    pub group: &'static str,
    pub picture: Picture,
}

impl Space {
    /// The number of an ROI in the pictures.
    pub fn code(&mut self, roi: &str) -> u32 {
        if let Some(code) = self.code_of.get(roi) {
            return *code;
        }
        let code = self.rois.len() as u32 + FIRST_ROI;
        self.rois.push(roi.to_owned());
        self.code_of.insert(roi.to_owned(), code);
        code
    }

    fn json(&self, name: &str) -> Value {
        let views: Vec<Value> = self.views.iter().map(|v| v.picture.json(&v.title, v.group)).collect();
        json!({ "space": name, "rois": self.rois, "views": views })
    }
}

/// Every space that has pictures; surfaces stand before volumes.
pub(crate) fn spaces(input: &ReportInput) -> BTreeMap<String, Space> {
    let mut spaces = BTreeMap::new();
    surface::draw_all(input, &mut spaces);
    volume::draw_all(input, &mut spaces);
    spaces.retain(|_, space| !space.views.is_empty());
    spaces
}

/// The pictures as the page reads them; null where there are none.
pub(crate) fn embedded(spaces: &BTreeMap<String, Space>) -> Value {
    if spaces.is_empty() {
        return Value::Null;
    }
    spaces.iter().map(|(name, space)| space.json(name)).collect()
}

/// Whether any space shows a volume.
pub(crate) fn has_volume(spaces: &BTreeMap<String, Space>) -> bool {
    spaces.values().flat_map(|s| &s.views).any(Drawn::is_of_volume)
}

/// Where the maps are, in words; `None` where there are none.
pub(crate) fn place(spaces: &BTreeMap<String, Space>) -> Option<&'static str> {
    let has_surface = spaces.values().flat_map(|s| &s.views).any(|v| !v.is_of_volume());
    match (has_surface, has_volume(spaces)) {
        (true, false) => Some("on the cortical surface"),
        (false, true) => Some("in the volume"),
        (true, true) => Some("on the surface and in the volume"),
        (false, false) => None,
    }
}

impl Drawn {
    fn is_of_volume(&self) -> bool {
        volume::GROUPS.contains(&self.group)
    }
}
