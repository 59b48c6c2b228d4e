//! Texts to vectors: one model session on a thread of its own, shared by every node of the process.
//!
//! Requests that wait at the same time share a batch (4.3 ms a text instead of 7.4), and a vector computed once is kept,
//! by the hash of its text, in memory and in a [`VectorCache`] that outlives the process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use data_encoding::HEXLOWER;
use fastembed::{InitOptionsUserDefined, TextEmbedding, UserDefinedEmbeddingModel};
use foa_capability::{ModelId, Vector};
use ort::environment::Environment;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use super::cache::{Key, Memory, VectorCache, key};
use super::fetch::{self, Files, Options, Origin, Progress};
use super::manner::Manner;
use super::source::{HUB_WEIGHTS, WEIGHTS};

/// Texts in one run of the model.
const ALIKE: usize = 8;
/// Texts of one request; a longer list becomes several requests, which sessions share.
const BATCH: usize = 16;
/// Requests are taken together until they have this many texts.
const TOGETHER: usize = 8;
/// Tokens of a text the model reads; it was trained on 128 and is used on 256, the rest is cut.
const MAX_TOKENS: usize = 256;
/// Vectors kept in memory while in use, 1.5 KB each.
const IN_MEMORY: usize = 8192;

/// A handle to the embedding model; clones share it.
#[derive(Clone)]
pub struct Embedder {
    shared: Arc<Shared>,
}

struct Shared {
    model: ModelId,
    queue: mpsc::Sender<Request>,
    memory: Memory,
    store: Option<Arc<dyn VectorCache>>,
}

struct Request {
    texts: Vec<String>,
    reply: Reply,
}

type Reply = oneshot::Sender<Result<Vec<Vector>, EmbedError>>;

/// Why a text has no vector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The model failed on it.
    #[error("the embedding model failed: {problem}")]
    Model {
        /// What it said.
        problem: String,
    },
    /// The model's thread is gone.
    #[error("the embedding model has stopped")]
    Stopped,
}

/// Why the model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its files are not to be had.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// The weights cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The weights in the cache are damaged.
    #[error("{path}: wanted sha256 {wanted}, found {found}\nhint: remove the file; it is fetched again")]
    Hash {
        /// The file.
        path: PathBuf,
        /// The pinned hash.
        wanted: &'static str,
        /// Its hash.
        found: String,
    },
    /// The runtime library does not load.
    #[error("cannot load the ONNX Runtime library {path}: {problem}")]
    Runtime {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        problem: String,
    },
    /// The weights do not make a model.
    #[error("cannot load the embedding model {path}: {problem}")]
    Model {
        /// The weights.
        path: PathBuf,
        /// What the runtime said.
        problem: String,
    },
}

impl Embedder {
    /// Finds or fetches the model and loads it; takes half a second once the files are there. `store` keeps vectors
    /// beyond the process.
    ///
    /// # Errors
    /// When the files cannot be had or do not load.
    pub async fn load(
        options: &Options,
        store: Option<Arc<dyn VectorCache>>,
        progress: &dyn Progress,
    ) -> Result<Self, LoadError> {
        let files = fetch::fetch(options, progress).await?;
        match Self::open(files.clone(), store.clone(), options.sessions).await {
            // A distribution's library may be too old; the pinned one is not.
            Err(LoadError::Runtime { path, problem }) if files.runtime_from == Origin::System => {
                let why = format!("{}: {problem}", path.display());
                progress.report(fetch::Event::Unavailable { from: Origin::System, why });
                let own = Options { system: false, ..options.clone() };
                Self::open(fetch::fetch(&own, progress).await?, store, options.sessions).await
            }
            opened => opened,
        }
    }

    /// Loads the model from files that are there, `wanted` times, but once a core at most.
    ///
    /// # Errors
    /// When the files do not load.
    pub async fn open(
        files: Files,
        store: Option<Arc<dyn VectorCache>>,
        wanted: usize,
    ) -> Result<Self, LoadError> {
        let first = files.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&first));
        let (model, session) = loaded.await.expect("loading the model does not panic")?;
        let (queue, requests) = mpsc::channel();
        let requests = Arc::new(Mutex::new(requests));
        let mut sessions = vec![Some(session)];
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // A further session loads in its own thread, so that the first is not held up.
        sessions.resize_with(cores.min(wanted).max(1), || None);
        for session in sessions {
            let (files, requests) = (files.clone(), Arc::clone(&requests));
            std::thread::Builder::new()
                .name("embedder".to_owned())
                .spawn(move || match session.map_or_else(|| load(&files).map(|(_, s)| s), Ok) {
                    Ok(session) => serve(session, &requests),
                    Err(error) => tracing::warn!(%error, "embedding goes on with fewer sessions"),
                })
                .expect("a process may start one more thread");
        }
        Ok(Self { shared: Arc::new(Shared { model, queue, memory: Memory::new(IN_MEMORY), store }) })
    }

    /// Which model, and which weights.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.shared.model
    }

    /// The vectors of these texts, in their order.
    ///
    /// # Errors
    /// When the model fails or has stopped.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vector>, EmbedError> {
        let keys: Vec<Key> = texts.iter().map(|t| key(&self.shared.model, t)).collect();
        let mut vectors: Vec<Option<Vector>> = keys.iter().map(|k| self.kept(k)).collect();
        let mut missing: Vec<usize> = (0..texts.len()).filter(|&i| vectors[i].is_none()).collect();
        // Texts of one length share a batch without padding.
        missing.sort_by_key(|&i| texts[i].len());
        let mut answers = Vec::new();
        for batch in missing.chunks(BATCH) {
            let (reply, answer) = oneshot::channel();
            let texts = batch.iter().map(|&i| texts[i].clone()).collect();
            self.shared.queue.send(Request { texts, reply }).map_err(|_| EmbedError::Stopped)?;
            answers.push((batch, answer));
        }
        for (batch, answer) in answers {
            let computed = answer.await.map_err(|_| EmbedError::Stopped)??;
            for (&i, vector) in batch.iter().zip(computed) {
                self.shared.memory.put(&keys[i], &vector);
                if let Some(store) = &self.shared.store {
                    store.put(&keys[i], &vector);
                }
                vectors[i] = Some(vector);
            }
        }
        Ok(vectors.into_iter().map(|v| v.expect("every text is kept or computed")).collect())
    }

    /// The vector of one text.
    ///
    /// # Errors
    /// When the model fails or has stopped.
    pub async fn embed_one(&self, text: &str) -> Result<Vector, EmbedError> {
        let vectors = self.embed(vec![text.to_owned()]).await?;
        Ok(vectors.into_iter().next().expect("one text has one vector"))
    }

    fn kept(&self, key: &Key) -> Option<Vector> {
        if let Some(vector) = self.shared.memory.get(key) {
            return Some(vector);
        }
        let vector = self.shared.store.as_ref()?.get(key)?;
        self.shared.memory.put(key, &vector);
        Some(vector)
    }
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Embedder({})", self.shared.model)
    }
}

/// A session's thread: takes what waits, up to a batch, and runs it at once. Ends when the last handle is gone.
fn serve(mut session: TextEmbedding, requests: &Mutex<mpsc::Receiver<Request>>) {
    while let Some((texts, replies)) = take(requests) {
        let mut computed = run(&mut session, &texts);
        for (reply, count) in replies {
            let part = match &mut computed {
                Ok(vectors) => Ok(vectors.drain(..count).collect()),
                Err(error) => Err(error.clone()),
            };
            // Whoever asked may have given up; the vector is then lost, not the thread.
            let _ = reply.send(part);
        }
    }
}

/// Texts of one or more requests, and who wants how many of their vectors.
type Batch = (Vec<String>, Vec<(Reply, usize)>);

/// The next requests, together while they are short; `None` when nobody will ask any more. One session waits at a time.
fn take(requests: &Mutex<mpsc::Receiver<Request>>) -> Option<Batch> {
    let requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
    let first = requests.recv().ok()?;
    let mut texts: Vec<String> = first.texts;
    let mut replies = vec![(first.reply, texts.len())];
    while texts.len() < TOGETHER {
        let Ok(next) = requests.try_recv() else { break };
        replies.push((next.reply, next.texts.len()));
        texts.extend(next.texts);
    }
    Some((texts, replies))
}

/// The vectors of `texts`, in their order. Texts of like length run together: the model pays for every text of a run as
/// if it were as long as the longest.
fn run(session: &mut TextEmbedding, texts: &[String]) -> Result<Vec<Vector>, EmbedError> {
    let failed = |problem: String| EmbedError::Model { problem };
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&i| (texts[i].len(), i));
    let mut vectors: Vec<Option<Vector>> = vec![None; texts.len()];
    for alike in order.chunks(ALIKE) {
        let batch: Vec<&str> = alike.iter().map(|&i| texts[i].as_str()).collect();
        let raw = session.embed(batch, Some(ALIKE)).map_err(|e| failed(e.to_string()))?;
        if raw.len() != alike.len() {
            return Err(failed(format!("wanted {} vectors, found {}", alike.len(), raw.len())));
        }
        for (&i, vector) in alike.iter().zip(raw) {
            vectors[i] = Some(Vector::new(vector).map_err(|e| failed(e.to_string()))?);
        }
    }
    Ok(vectors.into_iter().map(|v| v.expect("every text is in one chunk")).collect())
}

fn load(files: &Files) -> Result<(ModelId, TextEmbedding), LoadError> {
    let path = &files.weights;
    let weights = std::fs::read(path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
    let sha256 = HEXLOWER.encode(&Sha256::digest(&weights));
    if files.weights_from != Origin::Operator {
        let pinned = [WEIGHTS.artifact, HUB_WEIGHTS];
        let pin = pinned.iter().find(|a| path.ends_with(a.file));
        if let Some(pin) = pin.filter(|a| a.sha256 != sha256) {
            return Err(LoadError::Hash { path: path.clone(), wanted: pin.sha256, found: sha256 });
        }
    }
    let environment = environment(&files.runtime)?;
    let bad = |problem: String| LoadError::Model { path: path.clone(), problem };
    let own = match (files.weights_from, path.parent()) {
        (Origin::Operator, Some(directory)) => {
            Manner::beside(directory).map_err(|(path, source)| LoadError::Read { path, source })?
        }
        _ => Manner::default(),
    };
    let model = UserDefinedEmbeddingModel::new(weights, own.tokenizer).with_pooling(own.pooling);
    // More threads only spin: the model is too small to share.
    let options = InitOptionsUserDefined::new()
        .with_environment(environment)
        .with_intra_threads(1)
        .with_max_length(MAX_TOKENS);
    let mut session =
        TextEmbedding::try_new_from_user_defined(model, options).map_err(|e| bad(e.to_string()))?;
    let probe = run(&mut session, &["dimension".to_owned()]).map_err(|e| bad(e.to_string()))?;
    let id = format!("{}/{}@{}", own.name, probe[0].dimension(), &sha256[..12]);
    Ok((id.parse().expect("a name, a dimension and a hash make a model id"), session))
}

/// The runtime's one environment of this process; the library that is loaded first stays.
fn environment(library: &Path) -> Result<Environment, LoadError> {
    static LOADED: Mutex<Option<Environment>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = loaded.as_ref() {
        return Ok(environment.clone());
    }
    let failed = |problem: String| LoadError::Runtime { path: library.to_owned(), problem };
    let builder = ort::init_from(library).map_err(|e| failed(e.to_string()))?;
    let environment =
        builder.with_name("foa").with_telemetry(false).build().map_err(|e| failed(e.to_string()))?;
    Ok(loaded.insert(environment).clone())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::Silent;

    /// The model for tests, loaded once; `None`, said loudly, where no source of it can be reached.
    pub(crate) async fn shared() -> Option<Embedder> {
        static ONE: tokio::sync::OnceCell<Option<Embedder>> = tokio::sync::OnceCell::const_new();
        let loaded = ONE.get_or_init(|| async {
            match Embedder::load(&Options::from_env(), None, &Silent).await {
                Ok(embedder) => Some(embedder),
                Err(LoadError::Fetch(fetch::Error::NoSource { missing, tried })) => {
                    eprintln!("SKIPPED: no source of the embedding model ({missing}; tried {tried:?})");
                    None
                }
                Err(error) => panic!("{error}"),
            }
        });
        loaded.await.clone()
    }

    #[tokio::test]
    async fn texts_that_mean_the_same_are_near() {
        let Some(embedder) = shared().await else { return };
        let texts = ["How do I reset my password?", "I forgot my login credentials", "Recipe for onion soup"];
        let v = embedder.embed(texts.map(str::to_owned).to_vec()).await.unwrap();
        assert!(v[0].cosine(&v[1]) > v[0].cosine(&v[2]) + 0.2);
        assert_eq!(embedder.model().dimension(), v[0].dimension());
    }

    #[tokio::test]
    async fn order_is_kept_and_company_in_a_batch_changes_little() {
        let Some(embedder) = shared().await else { return };
        let texts: Vec<String> = (0..70).map(|i| format!("{} number {i}", "word ".repeat(70 - i))).collect();
        let all = embedder.embed(texts.clone()).await.unwrap();
        let fresh = embedder.embed(vec![format!("{} ", texts[3])]).await.unwrap();
        assert!(fresh[0].cosine(&all[3]) > 0.97, "{}", fresh[0].cosine(&all[3]));
        assert_eq!(embedder.embed(vec![texts[69].clone()]).await.unwrap()[0], all[69]);
    }

    #[tokio::test]
    async fn requests_at_the_same_time_each_get_their_own() {
        let Some(embedder) = shared().await else { return };
        let tasks: Vec<_> = (0..40)
            .map(|i| {
                let embedder = embedder.clone();
                tokio::spawn(async move { embedder.embed_one(&format!("topic {i} of forty")).await.unwrap() })
            })
            .collect();
        for (i, task) in tasks.into_iter().enumerate() {
            let alone = embedder.embed_one(&format!("topic {i} of forty")).await.unwrap();
            assert_eq!(task.await.unwrap(), alone);
        }
    }
}
