//! How a model reads texts: its tokenizer, and how it makes one vector of many. Ours is compiled in; a directory of the
//! operator's may have its own beside the weights, as sentence-transformers lays them out.

use std::io;
use std::path::{Path, PathBuf};

use fastembed::{Pooling, TokenizerFiles};
use serde::Deserialize;

use super::{NAME, Tokenizer};

/// How a model reads texts.
pub(super) struct Manner {
    /// What its vectors' model id begins with.
    pub(super) name: String,
    /// Its tokenizer.
    pub(super) tokenizer: TokenizerFiles,
    /// What it makes of the tokens' vectors.
    pub(super) pooling: Pooling,
}

impl Default for Manner {
    fn default() -> Self {
        let tokenizer = TokenizerFiles {
            tokenizer_file: Tokenizer::VOCABULARY.to_vec(),
            config_file: Tokenizer::CONFIG.to_vec(),
            special_tokens_map_file: Tokenizer::SPECIAL_TOKENS.to_vec(),
            tokenizer_config_file: Tokenizer::SETTINGS.to_vec(),
        };
        Self { name: NAME.to_owned(), tokenizer, pooling: Pooling::Mean }
    }
}

/// `1_Pooling/config.json`.
#[derive(Default, Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
}

impl Manner {
    /// That of the model in a directory; ours, where it has no tokenizer.
    pub(super) fn beside(directory: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let mut own = Self::default();
        let read = |name: &str| {
            let path = directory.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err((path, error)),
            }
        };
        if let Some(tokenizer) = read("tokenizer.json")? {
            own.name = name_of(directory).unwrap_or(own.name);
            own.tokenizer.tokenizer_file = tokenizer;
            let files = &mut own.tokenizer;
            for (name, file) in [
                ("config.json", &mut files.config_file),
                ("special_tokens_map.json", &mut files.special_tokens_map_file),
                ("tokenizer_config.json", &mut files.tokenizer_config_file),
            ] {
                if let Some(bytes) = read(name)? {
                    *file = bytes;
                }
            }
        }
        if let Some(bytes) = read("1_Pooling/config.json")? {
            let invalid = |error| (directory.join("1_Pooling/config.json"), io::Error::other(error));
            let config: PoolingConfig = serde_json::from_slice(&bytes).map_err(invalid)?;
            own.pooling = if config.pooling_mode_cls_token { Pooling::Cls } else { Pooling::Mean };
        }
        Ok(own)
    }
}

/// The directory's own name, as far as a model id can hold it.
fn name_of(directory: &Path) -> Option<String> {
    let name = directory.canonicalize().ok()?.file_name()?.to_str()?.to_owned();
    let plain = name.replace(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')), "-");
    Some(plain.chars().take(64).collect()).filter(|name: &String| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_brings_its_own_or_has_ours() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("bge small (v1.5)");
        std::fs::create_dir_all(directory.join("1_Pooling")).unwrap();
        let bare = Manner::beside(&directory).unwrap();
        assert_eq!((bare.name.as_str(), bare.pooling), (NAME, Pooling::Mean));
        assert_eq!(bare.tokenizer.tokenizer_file, Tokenizer::VOCABULARY);
        std::fs::write(directory.join("tokenizer.json"), "{}").unwrap();
        std::fs::write(directory.join("1_Pooling/config.json"), r#"{"pooling_mode_cls_token": true}"#)
            .unwrap();
        let own = Manner::beside(&directory).unwrap();
        assert_eq!((own.name.as_str(), own.pooling), ("bge-small--v1.5-", Pooling::Cls));
        assert_eq!(
            (own.tokenizer.tokenizer_file, own.tokenizer.config_file),
            (b"{}".to_vec(), Tokenizer::CONFIG.to_vec())
        );
        std::fs::write(directory.join("1_Pooling/config.json"), "[").unwrap();
        let (path, _) = Manner::beside(&directory).map(|_| ()).unwrap_err();
        assert!(path.ends_with("1_Pooling/config.json"));
    }
}
