//! What an agent can do: A2A skills, and the Bloom filter that answers "surely not" without reading them.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::words::spoken;

/// Most skills of one agent.
pub const MAX_SKILLS: usize = 256;
/// Most examples of one skill.
pub const MAX_EXAMPLES: usize = 5;
/// Most skills of one agent whose examples have a vector on its card.
pub const MAX_SKILLS_BY_EXAMPLE: usize = 64;
/// Most characters of one example.
pub const MAX_EXAMPLE_CHARS: usize = 200;

/// One thing an agent can do, in the shape of A2A's `AgentSkill`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skill {
    /// Unique within the agent; what a task requires by name.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Further words it can be required by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Requests it can answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

impl Skill {
    /// The text that stands for this skill in the space of meanings: its name as one would say it, and its description.
    /// Its examples stand for themselves.
    #[must_use]
    pub fn text(&self) -> String {
        let name = spoken(&self.name);
        let mut parts = vec![name.as_str(), self.description.as_str()];
        parts.retain(|p| !p.trim().is_empty());
        parts.join(". ")
    }

    /// The words this skill can be required by: id and tags, lower case.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        std::iter::once(&self.id).chain(&self.tags).map(|k| k.trim().to_lowercase()).filter(|k| !k.is_empty())
    }
}

/// Every word these skills can be required by, lower case.
#[must_use]
pub fn keys(skills: &[Skill]) -> BTreeSet<String> {
    skills.iter().flat_map(Skill::keys).collect()
}

/// Which skills have a vector of their examples, each with those examples: the first [`MAX_SKILLS_BY_EXAMPLE`] that have
/// any, and of each the first [`MAX_EXAMPLES`].
pub(crate) fn by_example(skills: &[Skill]) -> impl Iterator<Item = (&Skill, &[String])> {
    let with = skills.iter().take(MAX_SKILLS).filter(|skill| !skill.examples.is_empty());
    let first = |skill: &'_ Skill| skill.examples.len().min(MAX_EXAMPLES);
    with.take(MAX_SKILLS_BY_EXAMPLE).map(move |skill| (skill, &skill.examples[..first(skill)]))
}

/// Cuts skills down to what a card may carry; says, for the operator, what was cut.
#[must_use]
pub fn trim(mut skills: Vec<Skill>) -> (Vec<Skill>, Vec<String>) {
    let mut warnings = Vec::new();
    if skills.len() > MAX_SKILLS {
        warnings.push(format!("wanted at most {MAX_SKILLS} skills, found {}: kept the first", skills.len()));
        skills.truncate(MAX_SKILLS);
    }
    for skill in &mut skills {
        if skill.examples.len() > MAX_EXAMPLES {
            let found = skill.examples.len();
            warnings.push(format!(
                "skill {:?}: wanted at most {MAX_EXAMPLES} examples, found {found}: kept the first",
                skill.id
            ));
            skill.examples.truncate(MAX_EXAMPLES);
        }
        for example in &mut skill.examples {
            if let Some((cut, _)) = example.char_indices().nth(MAX_EXAMPLE_CHARS) {
                warnings.push(format!(
                    "skill {:?}: an example was cut to {MAX_EXAMPLE_CHARS} characters",
                    skill.id
                ));
                example.truncate(cut);
            }
        }
    }
    (skills, warnings)
}

const BLOOM_BYTES: usize = 128;
const BLOOM_HASHES: usize = 7;

/// A Bloom filter of 1024 bits and 7 hashes over lower-case skill ids and tags. No false "no"; with 70 words about
/// one false "yes" in 250, so a hit is confirmed against the skill list. On the wire: base64 of its 128 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Bloom([u8; BLOOM_BYTES]);

impl Bloom {
    /// The filter of these skills.
    #[must_use]
    pub fn of(skills: &[Skill]) -> Self {
        let mut bits = [0; BLOOM_BYTES];
        for key in skills.iter().flat_map(Skill::keys) {
            for bit in positions(&key) {
                bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        Self(bits)
    }

    /// Whether a skill or tag of this name may be there; `false` is certain.
    #[must_use]
    pub fn maybe_contains(&self, key: &str) -> bool {
        positions(&key.trim().to_lowercase()).all(|bit| self.0[bit / 8] & (1 << (bit % 8)) != 0)
    }
}

/// Bit positions: seven 16-bit big-endian pieces of SHA-256 of the word, modulo 1024.
fn positions(key: &str) -> impl Iterator<Item = usize> {
    let hash = Sha256::digest(key.as_bytes());
    (0..BLOOM_HASHES)
        .map(move |i| usize::from(u16::from_be_bytes([hash[2 * i], hash[2 * i + 1]])) % (BLOOM_BYTES * 8))
}

impl fmt::Debug for Bloom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bloom({} of {} bits)", self.0.iter().map(|b| b.count_ones()).sum::<u32>(), BLOOM_BYTES * 8)
    }
}

impl Serialize for Bloom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Bloom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).ok();
        let wanted = || de::Error::custom("wanted a Bloom filter as base64 of 128 bytes");
        bytes.and_then(|b| b.try_into().ok()).map(Self).ok_or_else(wanted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn trims_to_the_limits_and_says_so() {
        let long = Skill {
            id: "s".to_owned(),
            examples: vec!["ü".repeat(MAX_EXAMPLE_CHARS + 1); MAX_EXAMPLES + 2],
            ..Skill::default()
        };
        let (skills, warnings) = trim(vec![long; MAX_SKILLS + 3]);
        assert_eq!(skills.len(), MAX_SKILLS);
        assert_eq!(skills[0].examples.len(), MAX_EXAMPLES);
        assert_eq!(skills[0].examples[0].chars().count(), MAX_EXAMPLE_CHARS);
        // One for the skills, and for each one for the number and five for the length of its examples.
        assert_eq!(warnings.len(), 1 + MAX_SKILLS * (1 + MAX_EXAMPLES));
        assert_eq!(trim(skills.clone()), (skills, vec![]));
    }

    #[test]
    fn a_bloom_filter_is_mostly_right_about_what_is_not_there() {
        let skills: Vec<Skill> =
            (0..70).map(|i| Skill { id: format!("skill-{i}"), ..Skill::default() }).collect();
        let bloom = Bloom::of(&skills);
        let wrong = (0..10_000).filter(|i| bloom.maybe_contains(&format!("other-{i}"))).count();
        assert!(wrong < 100, "{wrong} of 10 000 were false hits");
        let wire = serde_json::to_string(&bloom).unwrap();
        assert_eq!(serde_json::from_str::<Bloom>(&wire).unwrap(), bloom);
        assert!(serde_json::from_str::<Bloom>("\"AAAA\"").is_err());
    }

    #[test]
    fn bloom_bits_are_frozen() {
        let skill = Skill { id: "Add".to_owned(), ..Skill::default() };
        let set: Vec<usize> = positions("add").collect();
        let bloom = Bloom::of(&[skill]);
        assert!(set.iter().all(|b| bloom.0[b / 8] & (1 << (b % 8)) != 0));
        assert_eq!(set, [670, 707, 802, 765, 982, 506, 305]);
    }

    proptest! {
        #[test]
        fn never_denies_what_is_there(ids in prop::collection::vec("[A-Za-z ]{1,12}", 0..40)) {
            let skills: Vec<Skill> = ids
                .iter()
                .map(|id| Skill { id: id.clone(), tags: vec![format!("tag {id}")], ..Skill::default() })
                .collect();
            let bloom = Bloom::of(&skills);
            for key in keys(&skills) {
                prop_assert!(bloom.maybe_contains(&key) && bloom.maybe_contains(&key.to_uppercase()));
            }
        }
    }
}
