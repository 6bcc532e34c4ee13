//! Sources whose pictures can share a stream with encoded ones.

use super::{
    configuration::Configuration,
    ineligible::Ineligible,
    nal::{Kind, units},
    parameter_sets::{ParameterSets, SEVERAL_LAYERS, Set, moved_pps, new_vps, pps_ids, vps_layers},
    slices::{PPS_IDS, move_to_pps},
    sps::{Bounds, Format, MAX_SPS_ID, MAX_VPS_ID, Replacement, Sps, Window},
};
use crate::nal::LengthSize;

const MAIN: u8 = 1;
const MAIN_10: u8 = 2;
const YUV_420: u8 = 1;

/// A source whose pictures may share a stream with encoded ones.
///
/// The encoder must be told to make progressive pictures in the source's [`Format`], without
/// sub-layers and without reordering, and to begin each part with an IDR picture.
#[derive(Debug, Clone)]
pub struct JoinableSource {
    configuration: Configuration,
    sets: ParameterSets,
    /// The first sequence parameter set; the others match it.
    sps: Sps,
    /// Bounds that suffice for all pictures of the source.
    bounds: Bounds,
    ids: Ids,
}

/// Ids that no parameter set of the source uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ids {
    vps: u8,
    sps: u8,
    pps: u8,
}

impl JoinableSource {
    /// A source with this configuration record. `sets` are the sets of the record and of all
    /// samples that will be copied.
    ///
    /// # Errors
    /// Why encoded pictures cannot be joined with it.
    pub fn new(configuration: Configuration, sets: ParameterSets) -> Result<Self, Ineligible> {
        if !sets.are_complete() {
            return Err("the source lacks parameter sets".into());
        }
        if sets.vps.iter().any(|vps| vps_layers(&vps.nal) != Some(1)) {
            return Err(SEVERAL_LAYERS.into());
        }
        let all: Option<Vec<Sps>> = sets.sps.iter().map(|set| Sps::read(&set.nal)).collect();
        let all = all.ok_or("the source's parameters (SPS) cannot be read")?;
        let (sps, others) = all.split_first().ok_or("the source lacks parameter sets")?;
        if !others.iter().all(|other| is_like(other, sps)) {
            return Err("the source has parameters (SPS) of several kinds".into());
        }
        check(sps)?;
        if all
            .iter()
            .any(|sps| sps.vui.as_ref().is_some_and(|vui| vui.is_field_coded))
        {
            return Err("the source's pictures are fields".into());
        }
        let bounds = others
            .iter()
            .fold(sps.bounds, |bounds, other| bounds.both(other.bounds));
        Ok(Self {
            ids: Ids::unused(&sets).ok_or("the source uses every id of parameter sets")?,
            sps: sps.clone(),
            configuration,
            sets,
            bounds,
        })
    }

    /// What encoded pictures must have in common with the source's.
    #[must_use]
    pub fn format(&self) -> Format {
        self.sps.format
    }

    /// The parameter sets of encoded parts, changed to be used beside the source's.
    ///
    /// # Errors
    /// Why the parts cannot be joined with the source: the encoder did not do as it was told.
    fn encoded_sets(&self, encoded: &ParameterSets) -> Result<ParameterSets, Ineligible> {
        let ([_], [sps], [pps]) = (&encoded.vps[..], &encoded.sps[..], &encoded.pps[..]) else {
            return Err("the encoder did not use one parameter set of each kind".into());
        };
        let sps = Sps::read(&sps.nal).ok_or("the encoder's parameters (SPS) cannot be read")?;
        if pps_ids(&pps.nal) != Some((0, sps.id)) {
            return Err("the encoder's picture parameters have another id than 0".into());
        }
        if sps.format != self.sps.format {
            return Err("the encoder's pictures differ in size, chroma or bit depth".into());
        }
        // If it sets no window, it was given uncropped pictures.
        if sps.window != Window::default() && sps.window != self.sps.window {
            return Err("the encoder's pictures are cropped differently".into());
        }
        if !matches!(sps.profile(), MAIN | MAIN_10) || sps.profile_space() != 0 {
            return Err("the encoder used another profile than the source".into());
        }
        if sps.bounds.reordering > 0 {
            return Err("the encoder reordered pictures".into());
        }
        let bounds = Bounds {
            buffering: self.bounds.buffering.max(sps.bounds.buffering),
            ..self.bounds
        };
        let Ids {
            vps: vps_id,
            sps: id,
            pps: pps_id,
        } = self.ids;
        let replacement = Replacement {
            vps_id,
            id,
            source: &self.sps,
            bounds,
        };
        let sps = sps.replaced(&replacement);
        let sps = sps.ok_or("the encoder used sub-layers or a reference decoder (HRD)")?;
        let pps = moved_pps(&pps.nal, pps_id, id);
        let pps = pps.ok_or("the encoder's picture parameters (PPS) cannot be read")?;
        let set = |id, nal| vec![Set { id, nal }];
        Ok(ParameterSets {
            vps: set(vps_id, new_vps(vps_id, &self.sps.general, bounds)),
            sps: set(id, sps),
            pps: set(pps_id, pps),
        })
    }

    /// What follows the header of the `hvcC` box of an `hvc1` sample entry for the source's
    /// pictures and those of encoded parts, given the parameter sets `encoded` of each.
    ///
    /// # Errors
    /// Why the parts cannot be joined: the encoder did not do as it was told.
    pub fn configuration<'a>(
        &self,
        encoded: impl IntoIterator<Item = &'a ParameterSets>,
    ) -> Result<Vec<u8>, Ineligible> {
        let mut sets = self.sets.clone();
        for part in encoded {
            let merged = sets.merge(&self.encoded_sets(part)?);
            merged.map_err(|_| "the encoder used different parameters for start and end")?;
        }
        let written = self.configuration.with(&sets);
        written.ok_or_else(|| "the source's HEVC configuration (hvcC) cannot be written".into())
    }

    /// A sample of an encoded part, changed to share a stream with the source's: its slices refer
    /// to other parameter set ids, and the sets themselves are left out. `encoded` is the size of
    /// NAL unit lengths in the sample; the result uses the source's.
    ///
    /// # Errors
    /// If the sample is damaged, or the encoder did not do as it was told.
    pub fn sample(&self, sample: &[u8], encoded: LengthSize) -> Result<Vec<u8>, Ineligible> {
        let size = self.configuration.length_size();
        let mut moved = Vec::with_capacity(sample.len() + 64);
        for unit in units(sample, encoded) {
            let unit = unit.ok_or("an encoded picture is damaged")?;
            if !unit.is_whole || unit.layer != 0 {
                return Err("an encoded picture is damaged".into());
            }
            let appended = match unit.kind {
                Kind::Slice(_) => {
                    let slice = move_to_pps(&unit, self.ids.pps);
                    let slice = slice.ok_or("the encoder's slices name another id than 0")?;
                    size.append(&mut moved, &slice)
                }
                Kind::Sei => size.append(&mut moved, unit.bytes),
                // An end-of-sequence unit would make decoders drop pictures not shown yet.
                Kind::Vps | Kind::Sps | Kind::Pps | Kind::Other => Some(()),
            };
            appended.ok_or("an encoded picture is too long for the source's NAL units")?;
        }
        Ok(moved)
    }
}

impl Ids {
    /// `None` if all ids of one kind are taken.
    fn unused(sets: &ParameterSets) -> Option<Self> {
        let unused = |sets: &[Set], mut ids: std::ops::RangeInclusive<u8>| {
            ids.find(|id| !sets.iter().any(|set| set.id == *id))
        };
        Some(Self {
            vps: unused(&sets.vps, 0..=MAX_VPS_ID)?,
            sps: unused(&sets.sps, 0..=MAX_SPS_ID)?,
            pps: unused(&sets.pps, PPS_IDS)?,
        })
    }
}

fn is_like(one: &Sps, other: &Sps) -> bool {
    (one.general, one.format, one.window) == (other.general, other.format, other.window)
}

fn check(sps: &Sps) -> Result<(), Ineligible> {
    let Format {
        chroma_format_idc,
        luma_depth,
        chroma_depth,
        ..
    } = sps.format;
    if chroma_format_idc != YUV_420 {
        return Err("the source's chroma is not 4:2:0".into());
    }
    match (sps.profile(), luma_depth, chroma_depth) {
        _ if sps.profile_space() != 0 => Err("the source's HEVC profile is unknown".into()),
        (MAIN | MAIN_10, 8, 8) | (MAIN_10, 10, 10) => Ok(()),
        (MAIN | MAIN_10, luma, chroma) => {
            Err(format!("the source has {luma} bits of luma and {chroma} of chroma").into())
        }
        (profile, ..) => {
            Err(format!("the source's HEVC profile is {profile}, which is not encoded").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hevc::{
        configuration::tests::record,
        parameter_sets::tests::{PPS, VPS, sets},
        sps::tests::{KVAZAAR, Written, X265, X265_HRD, X265_MAIN_10, written},
    };
    use proptest::prelude::*;

    fn source_of(sets: &ParameterSets) -> Result<JoinableSource, String> {
        let configuration = record(&[(39, &[&[78, 1, 5]])]);
        JoinableSource::new(configuration, sets.clone()).map_err(|why| why.to_string())
    }

    fn source(units: &[&[u8]]) -> Result<JoinableSource, String> {
        source_of(&sets(units).expect("sets"))
    }

    /// Sets of an encoder that made pictures like those of `nal`, but without reordering.
    fn encoded(nal: &[u8]) -> ParameterSets {
        encoded_with(nal, |_| {})
    }

    /// The same, with the limits and the window of `nal` changed.
    fn encoded_with(nal: &[u8], change: impl FnOnce(&mut Sps)) -> ParameterSets {
        let sps = Sps::read(nal).expect("parameters");
        let mut changed = sps.clone();
        changed.bounds.reordering = 0;
        change(&mut changed);
        let with = Replacement {
            vps_id: 0,
            id: 0,
            source: &changed,
            bounds: changed.bounds,
        };
        sets(&[VPS, &sps.replaced(&with).expect("parameters"), PPS]).expect("sets")
    }

    fn joined(source: &JoinableSource, parts: &[&ParameterSets]) -> Result<ParameterSets, String> {
        let body = source
            .configuration(parts.iter().copied())
            .map_err(|why| why.to_string())?;
        let configuration = Configuration::read(&body).expect("a record");
        Ok(configuration.parameter_sets().expect("sets"))
    }

    /// A sample of slices that begin with `first`, after parameter sets and an end of sequence.
    fn encoded_sample(first: u8) -> Vec<u8> {
        let mut sample = Vec::new();
        for unit in [
            VPS,
            X265,
            PPS,
            &[78, 1, 5],
            &[40, 1, first, 7],
            &[40, 1, first, 8],
            &[72, 1],
        ] {
            LengthSize::Four
                .append(&mut sample, unit)
                .expect("a short unit");
        }
        sample
    }

    #[test]
    fn both_sets_stand_in_one_record() {
        let own = sets(&[VPS, X265_MAIN_10, PPS]).expect("sets");
        let source = source_of(&own).expect("a source");
        let part = encoded(X265_MAIN_10);
        let both = joined(&source, &[&part, &part]).expect("a record");
        let ids = |sets: &[Set]| sets.iter().map(|set| set.id).collect::<Vec<u8>>();
        assert_eq!(
            (ids(&both.vps), ids(&both.sps), ids(&both.pps)),
            (vec![0, 1], vec![0, 1], vec![0, 15])
        );
        assert_eq!(pps_ids(&both.pps[1].nal), Some((15, 1)));
        let [copied, encoded] = [0, 1].map(|at| Sps::read(&both.sps[at].nal).expect("parameters"));
        assert_eq!(
            (copied.general, copied.bounds),
            (encoded.general, encoded.bounds)
        );
        assert_eq!(joined(&source, &[]), Ok(own));
    }

    #[test]
    fn cuts_of_cuts_use_ids_until_none_is_left() {
        let first = sets(&[VPS, X265, PPS]).expect("sets");
        let mut all = first;
        // The source's own and 15 others: sequence parameter sets have 16 ids.
        for generation in 0..15 {
            let source = source_of(&all).expect("a source");
            assert_eq!(source.ids.pps, 15 + generation);
            all = joined(&source, &[&encoded(X265)]).expect("a record");
        }
        let why = "the source uses every id of parameter sets";
        assert_eq!(source_of(&all).map(|_| ()), Err(why.to_owned()));
    }

    #[test]
    fn slices_of_encoded_samples_are_moved_and_all_else_is_left_out() {
        let source = source(&[VPS, X265, PPS]).expect("a source");
        let sample = source.sample(&encoded_sample(0b1010_0000), LengthSize::Four);
        let slice = |last| [&[0, 0, 0, 5, 40, 1, 0b1000_0010, 0][..], &[last]].concat();
        assert_eq!(
            sample,
            Ok([&[0, 0, 0, 3, 78, 1, 5][..], &slice(7), &slice(8)].concat())
        );
        let other_id = encoded_sample(0b1001_1000);
        let why = source
            .sample(&other_id, LengthSize::Four)
            .map_err(|why| why.to_string());
        assert_eq!(
            why,
            Err("the encoder's slices name another id than 0".to_owned())
        );
        let cut_off = &encoded_sample(0b1010_0000)[..60];
        let why = source
            .sample(cut_off, LengthSize::Four)
            .map_err(|why| why.to_string());
        assert_eq!(why, Err("an encoded picture is damaged".to_owned()));
    }

    #[test]
    fn reason_names_what_the_source_has() {
        let why = |units: &[&[u8]]| source(units).map(|_| ()).expect_err("a reason");
        assert_eq!(why(&[VPS, X265]), "the source lacks parameter sets");
        let mut layered = VPS.to_vec();
        layered[3] |= 0x10;
        let several = "the source has several layers (MV-HEVC or scalable)";
        assert_eq!(why(&[&layered, X265, PPS]), several);
        assert_eq!(
            source(&[VPS, KVAZAAR, PPS]).map(|source| source.sps.sub_layers),
            Ok(2)
        );
    }

    #[test]
    fn encoder_that_did_not_do_as_told_is_refused() {
        let source = source(&[VPS, X265_MAIN_10, PPS]).expect("a source");
        let why = |units: &[&[u8]]| {
            let encoded = sets(units).expect("sets");
            joined(&source, &[&encoded]).expect_err("a reason")
        };
        let number = "the encoder did not use one parameter set of each kind";
        assert_eq!(why(&[VPS, X265_MAIN_10]), number);
        let depth = "the encoder's pictures differ in size, chroma or bit depth";
        assert_eq!(why(&[VPS, X265, PPS]), depth);
        assert_eq!(why(&[VPS, X265_HRD, PPS]), depth);
        let id = "the encoder's picture parameters have another id than 0";
        assert_eq!(
            why(&[
                VPS,
                X265_MAIN_10,
                &moved_pps(PPS, 1, 0).expect("parameters")
            ]),
            id
        );
        let reordered = "the encoder reordered pictures";
        assert_eq!(why(&[VPS, X265_MAIN_10, PPS]), reordered);
        let other_profile = encoded_with(X265_MAIN_10, |sps| sps.general[0] = 4);
        let profile = "the encoder used another profile than the source".to_owned();
        assert_eq!(joined(&source, &[&other_profile]), Err(profile));
        let start = encoded(X265_MAIN_10);
        let mut end = start.clone();
        end.pps[0].nal[3] ^= 2;
        let different = "the encoder used different parameters for start and end";
        assert_eq!(joined(&source, &[&start, &end]), Err(different.to_owned()));
    }

    /// Parameters that encoded pictures can be joined with.
    fn usual(written: Written) -> Written {
        let mut written = Written {
            sub_layers: 1,
            vui: written.vui.map(|_| false),
            ..written
        };
        written.general[0] = MAIN_10;
        written.format.chroma_format_idc = YUV_420;
        (written.format.luma_depth, written.format.chroma_depth) = (10, 10);
        written
    }

    #[test]
    fn encoded_parameters_allow_what_either_needs() {
        let source = source(&[VPS, X265, PPS]).expect("a source");
        let buffered = |buffering| {
            let part = encoded_with(X265, |sps| sps.bounds.buffering = buffering);
            let both = joined(&source, &[&part]).expect("a record");
            Sps::read(&both.sps[1].nal).expect("parameters").bounds
        };
        let own = source.bounds;
        assert_eq!(buffered(1), own);
        assert_eq!(
            buffered(9),
            Bounds {
                buffering: 9,
                ..own
            }
        );
    }

    proptest! {
        #[test]
        fn encoded_pictures_are_cropped_as_the_source_or_not_at_all(
            source_written in written().prop_map(usual),
            window in prop::option::of(any::<[u8; 4]>()),
        ) {
            let source = source(&[VPS, &source_written.nal(0), PPS]).expect("a source");
            let mut part = source_written;
            part.bounds.reordering = 0;
            let own = part.window;
            for (window, is_joined) in [
                (None, true),
                (own, true),
                (
                    window.map(|sides| sides.map(u32::from)),
                    matches!(window, None | Some([0, 0, 0, 0])),
                ),
            ] {
                part.window = window;
                let part = sets(&[VPS, &part.nal(0), PPS]).expect("sets");
                let both = joined(&source, &[&part]);
                prop_assert_eq!(both.is_ok(), is_joined);
                if let Ok(both) = both {
                    let sps = Sps::read(&both.sps[1].nal).expect("parameters");
                    prop_assert_eq!(sps.window, own.unwrap_or_default());
                }
            }
        }

        #[test]
        fn parameters_decide_whether_a_source_is_eligible(
            written in written().prop_map(usual),
            chroma_format_idc in 0_u8..4,
            depths in (8_u8..12, 8_u8..12),
            profile in prop::sample::select(&[0, MAIN, MAIN_10, 4, 0x41][..]),
            vui in prop::option::of(any::<bool>()),
        ) {
            let why = |change: &dyn Fn(&mut Written)| {
                let mut written = written;
                change(&mut written);
                source(&[VPS, &written.nal(0), PPS]).err()
            };
            prop_assert_eq!(why(&|_| {}), None);
            let refused = why(&|written| written.format.chroma_format_idc = chroma_format_idc);
            prop_assert_eq!(refused.is_none(), chroma_format_idc == YUV_420);
            let refused = why(&|written| {
                (written.format.luma_depth, written.format.chroma_depth) = depths;
            });
            prop_assert_eq!(refused.is_none(), matches!(depths, (8, 8) | (10, 10)));
            let refused = why(&|written| written.general[0] = profile);
            prop_assert_eq!(refused.is_none(), profile == MAIN_10);
            let refused = why(&|written| written.vui = vui);
            let fields = "the source's pictures are fields".to_owned();
            prop_assert_eq!(refused, if vui == Some(true) { Some(fields) } else { None });
        }

        #[test]
        fn sources_of_one_kind_are_joined_by_the_widest_bounds(
            written in written().prop_map(usual),
            other in written(),
        ) {
            let alike = Written { bounds: other.bounds, ..written };
            let sets = [&written.nal(0)[..], &alike.nal(1)];
            let source = source(&[VPS, sets[0], sets[1], PPS]).expect("a source");
            prop_assert_eq!(source.bounds, written.bounds.both(alike.bounds));
            prop_assert_eq!(source.ids, Ids { vps: 1, sps: 2, pps: 15 });
            let unlike = [VPS, sets[0], &other.nal(1), PPS];
            let why = source_of(&super::tests::sets(&unlike).expect("sets")).map(|_| ());
            let kinds = "the source has parameters (SPS) of several kinds".to_owned();
            prop_assert_eq!(why, Err(kinds));
        }
    }
}
