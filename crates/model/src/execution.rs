//! Names and ARNs of executions.

use crate::identity::{Identity, is_clip_id};

/// The most reruns that a name has room for: with `-r` and five digits the longest one has 80 characters.
const MAX_RERUN: u32 = 99_999;

/// The name of an execution, taken apart: `{clipId}-{hash12}`, or `{clipId}-{hash12}-r{rerun}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionName {
    /// The clip that it makes.
    pub clip_id: String,
    /// The first 12 digits of the request's hash.
    pub hash12: String,
    /// Which new execution of the same request it is; 0 for the first one, also after it was redriven.
    pub rerun: u32,
}

impl ExecutionName {
    /// Parses `name`, if it is one of clipflow's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, last) = name.rsplit_once('-')?;
        let rerun = last
            .strip_prefix('r')
            .and_then(|number| number.parse().ok());
        let (rest, hash12) = if rerun.is_some() {
            rest.rsplit_once('-')?
        } else {
            (rest, last)
        };
        let is_hash = hash12.len() == 12
            && hash12
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (is_hash && is_clip_id(rest)).then(|| Self {
            clip_id: rest.to_owned(),
            hash12: hash12.to_owned(),
            rerun: rerun.unwrap_or(0),
        })
    }

    /// The name of the next new execution of the same request; `None` after 99,999 of them.
    #[must_use]
    pub fn next(&self) -> Option<Self> {
        (self.rerun < MAX_RERUN).then(|| Self {
            rerun: self.rerun + 1,
            ..self.clone()
        })
    }
}

impl std::fmt::Display for ExecutionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.clip_id, self.hash12)?;
        if self.rerun > 0 {
            write!(f, "-r{}", self.rerun)
        } else {
            Ok(())
        }
    }
}

impl From<&Identity> for ExecutionName {
    fn from(identity: &Identity) -> Self {
        Self {
            clip_id: identity.clip_id.clone(),
            hash12: identity.hash12().to_owned(),
            rerun: 0,
        }
    }
}

/// The ARN of an execution of a state machine.
#[must_use]
pub fn execution_arn(state_machine_arn: &str, name: &str) -> String {
    format!(
        "{}:{name}",
        state_machine_arn.replacen(":stateMachine:", ":execution:", 1)
    )
}

/// The ARN of an execution's state machine, if `execution_arn` is an execution's.
#[must_use]
pub fn state_machine_arn(execution_arn: &str) -> Option<String> {
    let (machine, _) = execution_arn.rsplit_once(':')?;
    machine
        .contains(":execution:")
        .then(|| machine.replacen(":execution:", ":stateMachine:", 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reruns_are_counted_in_the_name() {
        let first = ExecutionName::parse("a-0123456789ab").expect("a name");
        assert_eq!((first.clip_id.as_str(), first.rerun), ("a", 0));
        let second = first
            .next()
            .and_then(|name| name.next())
            .expect("there is room");
        assert_eq!(second.to_string(), "a-0123456789ab-r2");
        assert_eq!(
            ExecutionName::parse("a-0123456789ab-r99999")
                .expect("a name")
                .next(),
            None
        );
    }

    #[test]
    fn what_start_did_not_name_is_no_name() {
        for name in [
            "a",
            "a-0123456789AB",
            "-0123456789ab",
            "a-r1",
            "a-0123456789ab-x1",
            "a-0123456789ab-r",
        ] {
            assert_eq!(ExecutionName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn execution_and_state_machine_are_found_from_each_other() {
        let (machine, execution) = (
            "arn:aws:states:eu-west-1:1:stateMachine:clip",
            "arn:aws:states:eu-west-1:1:execution:clip:a",
        );
        assert_eq!(execution_arn(machine, "a"), execution);
        assert_eq!(state_machine_arn(execution).as_deref(), Some(machine));
        assert_eq!(
            (state_machine_arn(machine), state_machine_arn("a")),
            (None, None)
        );
    }

    proptest! {
        #[test]
        fn every_name_is_read_back_and_fits(clip_id in "[A-Za-z0-9_-]{1,60}", hash12 in "[0-9a-f]{12}", rerun in 0..=MAX_RERUN) {
            let name = ExecutionName { clip_id, hash12, rerun };
            prop_assert!(name.to_string().len() <= 80);
            prop_assert_eq!(ExecutionName::parse(&name.to_string()), Some(name));
        }
    }
}
